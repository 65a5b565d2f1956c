// Eight downloads from one peer at once, against one alone: together they must move almost as much.
// Invariant: everybody fetches the same file and keeps to that peer (--only), so that every byte is its own.
// Never: compares different lengths: a program's start would weigh more in the shorter ones.

import * as fs from "node:fs";
import { join } from "node:path";
import { startNetwork } from "../ours.ts";
import { type Found, notTried } from "../report.ts";
import type { Row } from "../rows.ts";
import { emptyFolder, writeRandom } from "../scratch.ts";
import { GIB, median, ratioOf, sizeText, spread } from "../stats.ts";

const TOGETHER = 8;
const NAME = "aula.mp4";
const RATE_LEAST = 0.9;

export const parallel: Row = {
  name: "parallel",
  what: "eight downloads from one peer",
  async run({ scratch, programs, rounds, bytes }): Promise<Found> {
    const source = scratch.folder("memory", "source");
    const size = bytes / 2; // nine of them fit into the memory of a small machine
    if (scratch.freeBytes("memory") < (TOGETHER + 2) * size)
      return notTried("8 downloads from one peer at once", "≥ 0.9", "no room in memory");
    writeRandom(join(source, NAME), size);
    const network = await startNetwork({ programs, cache: scratch.folder("disk", "cache") });
    const { address } = await network.share(source, { hashed: NAME });
    const targets = Array.from({ length: TOGETHER }, () => scratch.folder("memory", "target"));
    const alone: number[] = [];
    const together: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const [first = ""] = targets;
      const one = network.get(NAME, first, { from: address, only: true });
      alone.push(size / (await one.finish(120)) / GIB);
      emptyFolder(first);
      const start = performance.now();
      const gets = targets.map((target) => network.get(NAME, target, { from: address, only: true }));
      await Promise.all(gets.map((get) => get.finish(240)));
      together.push((TOGETHER * size) / ((performance.now() - start) / 1000) / GIB);
      for (const target of targets) emptyFolder(target);
    }
    await network.close();
    fs.rmSync(source, { recursive: true });
    const ratio = ratioOf(together, alone);
    return {
      goals: [
        {
          what: `8 downloads of ${sizeText(size)} from one peer at once, together, against one alone (GiB/s)`,
          ours: spread(together),
          theirs: spread(alone),
          ratio: ratio.toFixed(2),
          goal: "≥ 0.9",
          met: median(together) > 0 && ratio >= RATE_LEAST,
          note: "command to end, program starts included",
        },
      ],
      tables: [],
    };
  },
};
