// Three limited sources of one file: their rates add up, and one that dies costs its share only.
// Invariant: each source is a process of its own with --max-upload-rate; the one that is killed alternates.
// Never: counts the sources' start or hashing.

import * as fs from "node:fs";
import { join } from "node:path";
import { seconds } from "../child.ts";
import { type Network, type Sharer, startNetwork } from "../ours.ts";
import type { Found } from "../report.ts";
import type { Row, RowContext } from "../rows.ts";
import { emptyFolder, partBytes, writeRandom } from "../scratch.ts";
import { MIB, median, sizeText, spread } from "../stats.ts";

const SOURCES = 3;
const IDEAL_SECONDS = 10;
const RATE_LEAST = 0.95;
const KILLED_MOST = 1.1;
const NAME = "aula.mp4";

export const sources: Row = {
  name: "sources",
  what: "three sources, each limited",
  async run(context): Promise<Found> {
    const { scratch, programs, rounds, bytes, say } = context;
    const size = bytes / 2;
    const rate = Math.floor(size / SOURCES / IDEAL_SECONDS);
    const network = await startNetwork({ programs, cache: scratch.folder("disk", "cache") });
    const folders = makeFolders(context, size);
    const target = scratch.folder("memory", "target");
    const ratios: number[] = [];
    const killed: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const sharers = await startSharers(network, folders, rate);
      const whole = await fetchAll(network, target, sharers[0] as Sharer).finish(20 * IDEAL_SECONDS);
      ratios.push(size / whole / (SOURCES * rate));
      emptyFolder(target);

      const get = fetchAll(network, target, sharers[0] as Sharer);
      await seconds(() => partBytes(target) >= size / 2, 0, 20 * IDEAL_SECONDS, "half the file");
      sharers[round % SOURCES]?.child.kill("SIGKILL");
      const took = await get.finish(20 * IDEAL_SECONDS);
      killed.push(took / (size / 2 / (SOURCES * rate) + size / 2 / ((SOURCES - 1) * rate)));
      emptyFolder(target);
      await Promise.all(sharers.map(({ child }) => child.stop()));
      say(`  round ${round + 1}: ${whole.toFixed(2)} s; with one killed ${took.toFixed(2)} s`);
    }
    await network.close();
    for (const folder of folders) fs.rmSync(folder, { recursive: true });
    return {
      goals: [
        {
          what: `3 sources of ${sizeText(size)}, each limited to ${(rate / MIB).toFixed(1)} MiB/s: rate, command to end`,
          ours: spread(ratios, " × 3r"),
          theirs: "",
          goal: "≥ 0.95 × 3r",
          met: median(ratios) >= RATE_LEAST,
        },
        {
          what: "3 sources, one killed half-way: time, against ideal",
          ours: spread(killed, " × ideal"),
          theirs: "",
          goal: "≤ 1.1",
          met: median(killed) <= KILLED_MOST,
          note: `round by round ${killed.map((value) => value.toFixed(2)).join(", ")}; the chosen peer is the one killed in the first round`,
        },
      ],
      tables: [],
    };
  },
};

/** The same file in three folders, taking the room of one. */
function makeFolders({ scratch }: RowContext, size: number): string[] {
  const folders = Array.from({ length: SOURCES }, () => scratch.folder("memory", "source"));
  const [first = ""] = folders;
  writeRandom(join(first, NAME), size);
  for (const folder of folders.slice(1)) fs.linkSync(join(first, NAME), join(folder, NAME));
  return folders;
}

const startSharers = (network: Network, folders: readonly string[], maxUploadRate: number): Promise<Sharer[]> =>
  Promise.all(folders.map((folder) => network.share(folder, { maxUploadRate, hashed: NAME })));

const fetchAll = (network: Network, target: string, chosen: Sharer) =>
  network.get(NAME, target, { from: chosen.address });
