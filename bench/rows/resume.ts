// A giant download killed near its end, again and again: how soon does it go on, and what is fetched twice?
// Invariant: what was uploaded in a run less what its journal then says more than before is counted as fetched twice.
// Never: ends a run gently.

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { decodeJournal } from "../../src/download/disk/journal.ts";
import { seconds } from "../child.ts";
import { startNetwork } from "../ours.ts";
import { type Found, notTried } from "../report.ts";
import type { Row } from "../rows.ts";
import { partBytes, writeSparse } from "../scratch.ts";
import { GIB, MIB, megabytes, sizeText, spread } from "../stats.ts";

const SECONDS_MOST = 2;
const TWICE_MOST = 64 * MIB;
const DONE_PART = 15 / 16;
const RUN_SECONDS_MAX = 600;

/** The bytes of the pieces that a journal says are there, synced or written. */
function journaledBytes(path: string): number {
  const content = decodeJournal(readFileSync(path));
  if (content === undefined) throw new Error(`${path} is no journal`);
  return (content.pieces.size + content.written.size) * content.head.pieceBytes;
}

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
    const held = [0]; // bytes that the journal speaks of before the first run and after each
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
      get.kill("SIGKILL");
      await get.ended(10);
      await seconds(() => sharer.uploaded().length === kill + 1, 0, 30, "the source's account");
      say(`  run ${kill}: first new byte after ${moved.toFixed(2)} s, over ${megabytes(held.at(-1) ?? 0)}`);
      held.push(journaledBytes(join(target, `${name}.part.journal`)));
    }
    const last = network.get(name, target, { from: sharer.address });
    const finishing = await last.finish(RUN_SECONDS_MAX);
    held.push(size);
    if (statSync(join(target, name)).size !== size) throw new Error("the file is not whole");
    const sent = sharer.uploaded();
    const twice = sent.map((bytes, run) => bytes - ((held[run + 1] ?? 0) - (held[run] ?? 0)));
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
          note: `per run, of which all but the last are killed: ${twice.map(sizeText).join(", ")}, counting what still lay in the source's buffers; sent in all ${sizeText(sent.reduce((sum, bytes) => sum + bytes, 0))}; the last run took ${finishing.toFixed(1)} s with everything read again`,
        },
      ],
      tables: [],
    };
  },
};
