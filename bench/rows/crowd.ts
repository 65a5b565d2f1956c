// A class of peers on one limited source: they pass on to each other what they have.
// Invariant: the source and every downloader upload at most r; all commands start at once.
// Never: lets a downloader stay longer than `get` does.

import { join } from "node:path";
import { startNetwork } from "../ours.ts";
import type { Found } from "../report.ts";
import type { Row } from "../rows.ts";
import { emptyFolder, writeRandom } from "../scratch.ts";
import { MIB, median, sizeText, spread } from "../stats.ts";

const DOWNLOADERS = 8;
const IDEAL_SECONDS = 16;
const TIME_MOST = 1.5;
const NAME = "aula.mp4";

export const crowd: Row = {
  name: "crowd",
  what: "one limited source, eight downloaders",
  async run({ scratch, programs, rounds, bytes, say }): Promise<Found> {
    const size = bytes / 8;
    const rate = Math.floor(size / IDEAL_SECONDS);
    const source = scratch.folder("memory", "source");
    writeRandom(join(source, NAME), size);
    const network = await startNetwork({ programs, cache: scratch.folder("disk", "cache") });
    const sharer = await network.share(source, { maxUploadRate: rate, hashed: NAME });
    const targets = Array.from({ length: DOWNLOADERS }, () => scratch.folder("memory", "target"));
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const gets = targets.map((target) => network.get(NAME, target, { from: sharer.address, maxUploadRate: rate }));
      const each = await Promise.all(gets.map((get) => get.finish(10 * IDEAL_SECONDS)));
      times.push(Math.max(...each));
      say(`  round ${round + 1}: ${each.map((one) => one.toFixed(1)).join(", ")} s`);
      for (const target of targets) emptyFolder(target);
    }
    await network.close();
    const parts = times.map((time) => time / (size / rate));
    return {
      goals: [
        {
          what: `one source of ${sizeText(size)} limited to ${(rate / MIB).toFixed(1)} MiB/s, 8 downloaders likewise: all done`,
          ours: spread(parts, " × size/r"),
          theirs: "",
          goal: "≤ 1.5 × size/r",
          met: median(parts) <= TIME_MOST,
        },
      ],
      tables: [],
    };
  },
};
