// Eight downloads from one peer at once, against one alone: together they must move almost as much.
// Invariant: everybody keeps to that peer (--only), so that every byte is its own.
// Never: compares different contents: the eight fetch the same file, the one a larger one.

import * as fs from "node:fs";
import { join } from "node:path";
import { startNetwork } from "../ours.ts";
import type { Found } from "../report.ts";
import type { Row } from "../rows.ts";
import { emptyFolder, writeRandom } from "../scratch.ts";
import { GIB, median, ratioOf, spread } from "../stats.ts";

const TOGETHER = 8;
const RATE_LEAST = 0.9;

export const parallel: Row = {
  name: "parallel",
  what: "eight downloads from one peer",
  async run({ scratch, programs, rounds, bytes }): Promise<Found> {
    const source = scratch.folder("memory", "source");
    const small = bytes / 4;
    writeRandom(join(source, "um.mp4"), bytes);
    writeRandom(join(source, "oito.mp4"), small);
    const network = await startNetwork({ programs, cache: scratch.folder("disk", "cache") });
    const { address } = await network.share(source, { hashed: "um.mp4" });
    const targets = Array.from({ length: TOGETHER }, () => scratch.folder("memory", "target"));
    const alone: number[] = [];
    const together: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const [first = ""] = targets;
      const one = network.get("um.mp4", first, { from: address, only: true });
      alone.push(bytes / (await one.finish(120)) / GIB);
      emptyFolder(first);
      const start = performance.now();
      const gets = targets.map((target) => network.get("oito.mp4", target, { from: address, only: true }));
      await Promise.all(gets.map((get) => get.finish(240)));
      together.push((TOGETHER * small) / ((performance.now() - start) / 1000) / GIB);
      for (const target of targets) emptyFolder(target);
    }
    await network.close();
    fs.rmSync(source, { recursive: true });
    const ratio = ratioOf(together, alone);
    return {
      goals: [
        {
          what: "8 downloads from one peer at once, together, against one alone (GiB/s)",
          ours: spread(together),
          theirs: spread(alone),
          ratio: ratio.toFixed(2),
          goal: "≥ 0.9",
          met: median(together) > 0 && ratio >= RATE_LEAST,
          note: "command to end; the eight pay for eight program starts on the same cores",
        },
      ],
      tables: [],
    };
  },
};
