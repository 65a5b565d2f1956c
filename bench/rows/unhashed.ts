// A giant file that nobody has hashed yet: how soon does the first byte lie on the downloader's disk?
// Invariant: each round has a source that has just started, with an empty hash cache.
// Never: waits for anything between the source's readiness and the command.

import { join } from "node:path";
import { seconds } from "../child.ts";
import { startNetwork } from "../ours.ts";
import type { Found } from "../report.ts";
import type { Row } from "../rows.ts";
import { emptyFolder, partBytes, writeSparse } from "../scratch.ts";
import { sizeText, spread } from "../stats.ts";

const SECONDS_MOST = 1;

export const unhashed: Row = {
  name: "unhashed",
  what: "the first byte of a giant file that is not hashed yet",
  async run({ scratch, programs, rounds, bytes }): Promise<Found> {
    const size = 8 * bytes;
    const source = scratch.folder("disk", "source");
    const target = scratch.folder("disk", "target");
    writeSparse(join(source, "aula.mp4"), size);
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const network = await startNetwork({ programs, cache: scratch.folder("disk", "cache") });
      const { address } = await network.share(source);
      const get = network.get("aula.mp4", target, { from: address });
      times.push(await seconds(() => partBytes(target) > 0 || !get.running, get.startedAt, 60, "the first byte"));
      get.kill("SIGKILL");
      await network.close();
      emptyFolder(target);
    }
    return {
      goals: [
        {
          what: `un-hashed ${sizeText(size)}: command → first byte on the disk`,
          ours: spread(times, " s"),
          theirs: "",
          goal: "< 1 s",
          met: Math.max(...times) < SECONDS_MOST,
        },
      ],
      tables: [],
    };
  },
};
