// Hashing a folder of a disk that is in memory (just written, synced and read once): bench/hash.ts, as a row of the table.
// Invariant: its own verdict is taken over.
// Never: measures anything itself.

import { join } from "node:path";
import { startChild } from "../child.ts";
import { type Found, notTried } from "../report.ts";
import type { Row } from "../rows.ts";
import { GIB } from "../stats.ts";

const RATIO_LEAST = 0.9;

const GOAL = "hashing a folder of a disk, in memory, against cores × openssl speed sha256";

/** So much more than a file of the other rows: the start of the threads, 40 ms, is to weigh nothing. */
const TIMES = 4;

export const hashing: Row = {
  name: "hash",
  what: "hashing a folder",
  async run({ scratch, rounds, bytes, say }): Promise<Found> {
    if (scratch.freeBytes("disk") < TIMES * bytes + 4 * GIB) return notTried(GOAL, "≥ 0.9", "no room on the disk");
    const folder = scratch.folder("disk", "hash");
    const words = ["--gib", String((TIMES * bytes) / GIB), "--rounds", String(rounds), "--dir", folder];
    const child = startChild({
      command: [process.execPath, join(import.meta.dir, "..", "hash.ts"), ...words],
      onLine: (line) => say(`  ${line}`),
    });
    await child.finish(600);
    const ratio = Number(/median ratio ([\d.]+)/.exec(child.stdout())?.[1]);
    const speeds = [...child.stdout().matchAll(/ours ([\d.]+) GB\/s, openssl × \d+ ([\d.]+)/g)].at(-1);
    return {
      goals: [
        {
          what: GOAL,
          ours: `${speeds?.[1]} GB/s`,
          theirs: `${speeds?.[2]} GB/s`,
          ratio: ratio.toFixed(2),
          goal: "≥ 0.9",
          met: ratio >= RATIO_LEAST,
          note: `${(TIMES * bytes) / GIB} GiB just written, synced and read once: no disk is waited for`,
        },
      ],
      tables: [],
    };
  },
};
