// A giant download killed near its end, again and again: how soon does it go on, and what is fetched twice?
// Invariant: what was uploaded in a run less what the next run starts with beyond the last is counted as fetched twice.
// Never: ends a run gently.

import { statSync } from "node:fs";
import { join } from "node:path";
import { seconds } from "../child.ts";
import { eventsOf, startNetwork } from "../ours.ts";
import { type Found, notTried } from "../report.ts";
import type { Row } from "../rows.ts";
import { partBytes, writeSparse } from "../scratch.ts";
import { GIB, MIB, megabytes, sizeText, spread } from "../stats.ts";

const SECONDS_MOST = 2;
const TWICE_MOST = 64 * MIB;
const DONE_PART = 15 / 16;
const RUN_SECONDS_MAX = 600;

export const resume: Row = {
  name: "resume",
  what: "kill -9 near the end of a giant download",
  async run({ scratch, programs, rounds, bytes, say }): Promise<Found> {
    const size = 8 * bytes;
    if (scratch.freeBytes("disk") < size + 4 * GIB)
      return notTried("kill -9 near the end", "< 2 s", "no room on the disk");
    const source = scratch.folder("disk", "source");
    const target = scratch.folder("disk", "target");
    const name = "aula.mp4";
    writeSparse(join(source, name), size);
    const network = await startNetwork({ programs, cache: scratch.folder("disk", "cache") });
    const sharer = await network.share(source, { hashed: name });
    const times: number[] = [];
    const starts: number[] = []; // verified bytes with which each run began
    for (let kill = 0; kill <= rounds; kill++) {
      const before = partBytes(target);
      const get = network.get(name, target, { from: sharer.address });
      const moved = await seconds(
        () => partBytes(target) > before || !get.running,
        get.startedAt,
        60,
        "the first new byte",
      );
      if (kill > 0) times.push(moved);
      const until = Math.floor(size * (DONE_PART + ((1 - DONE_PART) * kill) / (rounds + 1)));
      await seconds(() => partBytes(target) >= until || !get.running, 0, RUN_SECONDS_MAX, "the part before the kill");
      starts.push(eventsOf(get, "progress")[0]?.bytes ?? 0);
      get.kill("SIGKILL");
      await get.ended(10);
      await seconds(() => sharer.uploaded().length === kill + 1, 0, 30, "the source's account");
      say(`  run ${kill}: first new byte after ${moved.toFixed(2)} s, from ${megabytes(starts.at(-1) ?? 0)} verified`);
    }
    const last = network.get(name, target, { from: sharer.address });
    const finishing = await last.finish(RUN_SECONDS_MAX);
    starts.push(eventsOf(last, "progress")[0]?.bytes ?? size);
    if (statSync(join(target, name)).size !== size) throw new Error("the file is not whole");
    const sent = sharer.uploaded();
    const twice = starts.slice(1).map((start, run) => (sent[run] ?? 0) - (start - (starts[run] ?? 0)));
    await network.close();
    return {
      goals: [
        {
          what: `${sizeText(size)}, 15/16 done, kill -9: command → first new byte`,
          ours: spread(times, " s"),
          theirs: "",
          goal: "< 2 s",
          met: Math.max(...times) < SECONDS_MOST,
        },
        {
          what: `${sizeText(size)}, kill -9: bytes fetched twice, at most`,
          ours: sizeText(Math.max(...twice)),
          theirs: "",
          goal: "≤ 64 MiB",
          met: Math.max(...twice) <= TWICE_MOST,
          note: `per kill ${twice.map(sizeText).join(", ")}, counting what still lay in the source's buffers; the last run took ${finishing.toFixed(1)} s with everything read again`,
        },
      ],
      tables: [],
    };
  },
};
