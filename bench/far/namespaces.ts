// Two network namespaces with a long link between them: by netem where the kernel has it, else by link.ts.
// Invariant: the names are of this process alone, and close() removes whatever was made.
// Never: touches the machine's own interfaces.

import { join } from "node:path";
import { type Child, run, startChild } from "../child.ts";

export type LinkOptions = {
  readonly roundTripMs: number;
  readonly rateBits: number;
  /** From 0 to 1. */
  readonly loss: number;
};

export type FarLink = {
  readonly how: string;
  /** Put before a command to run it on that side. */
  readonly near: readonly string[];
  readonly far: readonly string[];
  readonly nearIp: string;
  readonly farIp: string;
  close(): Promise<void>;
};

const NEAR_IP = "10.77.0.1";
const FAR_IP = "10.77.0.2";

/** How long a packet may wait for its turn before it is dropped: one round trip, as a well-set router has it. */
export async function openFarLink(options: LinkOptions): Promise<FarLink> {
  const id = process.pid % 100_000;
  const [near, far] = [`nb-near-${id}`, `nb-far-${id}`];
  const [deviceNear, deviceFar] = [`nbn${id}`, `nbf${id}`];
  const made: string[] = [];
  let relay: Child | undefined;
  const close = async (): Promise<void> => {
    await relay?.stop();
    for (const name of made) Bun.spawnSync(["ip", "netns", "del", name]);
  };
  try {
    for (const name of [near, far]) {
      run(["ip", "netns", "add", name]);
      made.push(name);
    }
    relay = hasNetem() ? undefined : await startRelay(deviceNear, deviceFar, options);
    if (relay === undefined) run(["ip", "link", "add", deviceNear, "type", "veth", "peer", "name", deviceFar]);
    for (const [name, device, ip] of [
      [near, deviceNear, NEAR_IP],
      [far, deviceFar, FAR_IP],
    ] as const) {
      run(["ip", "link", "set", device, "netns", name]);
      run(["ip", "-n", name, "addr", "add", `${ip}/24`, "dev", device]);
      run(["ip", "-n", name, "link", "set", device, "txqueuelen", "10000", "up"]);
      run(["ip", "-n", name, "link", "set", "lo", "up"]);
      if (relay === undefined) run(["tc", "-n", name, ...netem(device, options)]);
    }
    const inside = (name: string) => ["ip", "netns", "exec", name];
    const how = relay === undefined ? "tc netem" : "packets delayed by bench/far/link.ts between two TUN devices";
    return { how, near: inside(near), far: inside(far), nearIp: NEAR_IP, farIp: FAR_IP, close };
  } catch (error) {
    await close();
    throw error;
  }
}

const netem = (device: string, { roundTripMs, rateBits, loss }: LinkOptions): string[] => [
  ...["qdisc", "add", "dev", device, "root", "netem", "delay", `${roundTripMs / 2}ms`, "rate", `${rateBits}`],
  ...["limit", "20000", ...(loss > 0 ? ["loss", `${loss * 100}%`] : [])],
];

function hasNetem(): boolean {
  const trial = `nb-trial-${process.pid}`;
  run(["ip", "netns", "add", trial]);
  const { exitCode } = Bun.spawnSync(["tc", "-n", trial, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]);
  run(["ip", "netns", "del", trial]);
  return exitCode === 0;
}

async function startRelay(near: string, far: string, { roundTripMs, rateBits, loss }: LinkOptions): Promise<Child> {
  const words = [near, far, roundTripMs / 2, rateBits, roundTripMs, loss].map(String);
  const child = startChild({ command: [process.execPath, join(import.meta.dir, "link.ts"), ...words] });
  await child.shows(/^ready$/m);
  return child;
}
