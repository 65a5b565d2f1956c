// One story told on purpose: a server and a few machines, of which the last one is the downloader's.

import { expect } from "bun:test";
import type { Done } from "../../src/peer.ts";
import { type Fault, isFault } from "../../src/protocol/fault.ts";
import { type Content, contentOf, same } from "./contents.ts";
import { createDisk } from "./disk.ts";
import type { Weather } from "./network.ts";
import type { How } from "./peer.ts";
import { createRandom } from "./random.ts";
import { type Machine, openStage } from "./scenario.ts";
import { createTime } from "./time.ts";

export const CONTENT = contentOf(8); // eight pieces, the last one whole
export const QUICK: Weather = {
  latency: 5,
  bytesPerSecond: 250_000,
  windowBytes: 100_000,
  sliceBytes: 16_384,
  tiny: false,
};
export const BOUND_MS = 300_000;
const JOURNAL_HEAD_BYTES = 128;
const JOURNAL_PIECE_BYTES = 40;

export type Part = Partial<Pick<Machine, "lie" | "maxUploads" | "maxUploadRate" | "hashSpeed" | "hashedAtStart">> & {
  has?: Content | readonly Content[];
};
type Options = {
  readonly content?: Content;
  /** What the downloader has already. */
  readonly ours?: Content;
  /** Files of one peer that the server takes. */
  readonly namesMax?: number;
  readonly weather?: (a: string, b: string) => Weather;
  readonly maxDownloadRate?: number;
};

/** A server and a machine for each part; the last one is the downloader's. */
export function tell(
  parts: Record<string, Part>,
  { content = CONTENT, weather = () => QUICK, maxDownloadRate, ours, namesMax }: Options = {},
) {
  const time = createTime();
  const random = createRandom(1);
  const contents = new Set([content]);
  const machines = [...Object.values(parts), { has: ours ?? [] }].map(({ has = [], ...kind }: Part, index): Machine => {
    const disk = createDisk(time, random.fork());
    for (const one of [has].flat()) {
      disk.plant(one.name, one.bytes);
      if (![...contents].some(({ name }) => name === one.name)) contents.add(one);
    }
    const wants: Content[] = [];
    const program = { process: undefined, peer: undefined, goneSince: undefined };
    return { ip: `192.0.2.${index + 10}`, disk, wants, lie: undefined, maxDownloadRate, ...kind, ...program };
  });
  const stage = openStage({ time, random, machines, contents: [...contents], weather, namesMax, tell() {} });
  const names = [...Object.keys(parts), "us"];
  const machine = (name: string): Machine => machines[names.indexOf(name)] as Machine;
  const us = machine("us");
  stage.startServer();
  return {
    ...stage,
    us,
    machine,
    begin: (which: string) => stage.start(machine(which)),
    start(...which: string[]) {
      for (const name of which) stage.start(machine(name));
      time.run(10_000, () => false);
    },
    /** Downloads from one of them; "stuck" when it takes longer than the bound. */
    download(from: string, ms = BOUND_MS, how: How = {}): Done | Fault | "stuck" {
      const asked = this.ask(from, how);
      time.run(ms, () => asked.result !== "stuck");
      return asked.result;
    },
    /** The same; what comes of it is seen as time passes. */
    ask(from: string, how: How = {}): { result: Done | Fault | "stuck" } {
      const asked: { result: Done | Fault | "stuck" } = { result: "stuck" };
      const { peer } = us;
      const go = async () => {
        await peer?.search(content.name);
        asked.result = (await peer?.download(content.name, { ip: machine(from).ip, port: 8776 }, how)) ?? "stuck";
      };
      void go();
      return asked;
    },
    /** Downloads from one of them until so many pieces stand in the journal, and then the program is killed. */
    breakOff(from: string, pieces: number): void {
      const journaled = () => us.disk.file(`${content.name}.part.journal`)?.size ?? 0;
      void us.peer?.download(content.name, { ip: machine(from).ip, port: 8776 });
      time.run(BOUND_MS, () => journaled() >= JOURNAL_HEAD_BYTES + pieces * JOURNAL_PIECE_BYTES);
      stage.crash(us, "kill");
    },
  };
}

export const code = (result: Done | Fault | "stuck"): string =>
  result === "stuck" ? "stuck" : isFault(result) ? result.fault : "done";

export function expectArrived({ us, checks }: ReturnType<typeof tell>, content = CONTENT): void {
  const file = us.disk.file(content.name);
  expect(file && same(file.bytes.subarray(0, file.size), content.bytes)).toBe(true);
  expect(checks.breaches).toEqual([]);
}
