// Real redis-servers on free ports of loopback, alone or three as a cluster, which a test may freeze, kill and start again.
// Invariant: they keep nothing that a test needs on disk, and are gone when the test file is done.
// Never: used when the program is not installed: tests then skip by name, or fail where CI says that it must be there.

import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "./folders.ts";
import { until } from "./until.ts";

export const hasRedis = Bun.which("redis-server") !== null || process.env.CI === "true";
/** Debian bookworm has it in backports only, so CI does without where it is not there. */
export const hasValkey = Bun.which("valkey-server") !== null;

export type Redis = {
  readonly url: string;
  readonly port: number;
  signal(name: "SIGSTOP" | "SIGCONT" | "SIGKILL"): void;
  stop(): Promise<void>;
};

/** Three masters that share the slots. */
export type Cluster = { readonly url: string; readonly nodes: readonly Redis[]; stop(): Promise<void> };

const running = new Set<Bun.Subprocess>();
const folders: string[] = [];
afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A port that was free a moment ago: redis-server takes no port 0. */
export const freePort = (): number => freePorts(1)[0] as number;

export async function startRedis({
  port = freePort(),
  flags = [] as readonly string[],
  program = "redis-server",
} = {}): Promise<Redis> {
  const child = Bun.spawn(
    [program, "--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", ...flags],
    { stdin: "ignore", stdout: "pipe", stderr: "ignore" },
  );
  running.add(child);
  const reader = child.stdout.getReader();
  for (let text = ""; !text.includes("Ready to accept connections"); ) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`${program} ended: ${text}`);
    text += new TextDecoder().decode(value);
  }
  // What it says from now on is read and dropped, so that it never waits for us.
  void (async () => {
    while (!(await reader.read().catch(() => ({ done: true }))).done);
  })();
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    signal: (name) => child.kill(name),
    async stop() {
      child.kill("SIGKILL");
      await child.exited;
      running.delete(child);
    },
  };
}

/** One command at one node. */
export async function ask(node: Redis, command: string, ...args: string[]): Promise<unknown> {
  const client = new Bun.RedisClient(node.url);
  try {
    return await client.send(command, args);
  } finally {
    client.close();
  }
}

/** `replicas` more nodes, each of which follows one of the three. */
export async function startCluster({ replicas = 0 } = {}): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), "napster-cluster-"));
  folders.push(folder);
  // Nodes speak to each other at a port of their own; Redis' default, 10,000 above, may be another program's.
  const buses = freePorts(3 + replicas);
  const start = (bus: number, i: number): Promise<Redis> =>
    startRedis({
      flags: [
        ...["--cluster-port", String(bus)],
        ...["--cluster-enabled", "yes", "--cluster-config-file", `nodes-${i}.conf`, "--dir", folder],
        ...["--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"],
      ],
    });
  const nodes = await Promise.all(buses.map(start));
  const first = nodes[0] as Redis;
  for (const [i, node] of nodes.entries())
    if (i > 0) await ask(first, "CLUSTER", "MEET", "127.0.0.1", String(node.port), String(buses[i]));
  for (const [i, node] of nodes.slice(0, 3).entries()) {
    const [from, to] = [Math.ceil((i * 16_384) / 3), Math.ceil(((i + 1) * 16_384) / 3) - 1];
    await ask(node, "CLUSTER", "ADDSLOTSRANGE", String(from), String(to));
  }
  const info = async (node: Redis) => String(await ask(node, "CLUSTER", "INFO"));
  await until("the cluster to be one", async () => {
    const told = await Promise.all(nodes.map(info));
    return told.every((text) => text.includes("cluster_state:ok") && text.includes(`known_nodes:${nodes.length}`));
  });
  for (const [i, node] of nodes.slice(3).entries())
    await ask(node, "CLUSTER", "REPLICATE", String(await ask(nodes[i % 3] as Redis, "CLUSTER", "MYID")));
  for (const node of nodes.slice(3))
    await until("the replica to follow", async () =>
      String(await ask(node, "INFO", "replication")).includes("master_link_status:up"),
    );
  return {
    url: first.url,
    nodes,
    stop: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
  };
}
