// Memory of both peers for a small and a giant file: it must be little, and the same.
// Invariant: both sizes are sparse files on the disk, and the source hashes the file in the process that serves it.
// Never: takes a giant file that would leave the disk without room.

import { join } from "node:path";
import { startNetwork } from "../ours.ts";
import { type Found, notTried } from "../report.ts";
import type { Row, RowContext } from "../rows.ts";
import { emptyFolder, writeSparse } from "../scratch.ts";
import { GIB, megabytes, sizeText, spread } from "../stats.ts";

const PEAK_MOST = 150e6;
const GROWTH_MOST = 1.1;
const SPARE_BYTES = 4 * GIB;
const SMALL_ROUNDS_MAX = 3;
const COPY_SECONDS_MAX = 900;

type Peaks = { readonly source: number; readonly taker: number; readonly seconds: number };

export const memory: Row = {
  name: "memory",
  what: "resident memory does not grow with the file",
  async run(context): Promise<Found> {
    const small = context.bytes / 2;
    const room = context.scratch.freeBytes("disk") - SPARE_BYTES;
    const large = Math.min(16 * context.bytes, Math.floor(room / GIB) * GIB);
    if (large <= 2 * small) return notTried("memory", "≤ 150 MB", "the disk has no room for a giant file");
    const few: Peaks[] = [];
    for (let round = 0; round < Math.min(SMALL_ROUNDS_MAX, context.rounds); round++)
      few.push(await peaks(context, small));
    const many = [await peaks(context, large)];
    const most = (list: readonly Peaks[], side: "source" | "taker") => Math.max(...list.map((peak) => peak[side]));
    const line = (name: string, list: readonly Peaks[]) => [
      name,
      megabytes(most(list, "source")),
      megabytes(most(list, "taker")),
      spread(list.map(({ seconds }) => seconds)),
    ];
    const goals = (["source", "taker"] as const).flatMap((side) => {
      const growth = most(many, side) / most(few, side);
      return [
        {
          what: `peak resident memory of the ${side}, ${sizeText(large)}`,
          ours: megabytes(most(many, side)),
          theirs: "",
          goal: "≤ 150 MB",
          met: most(many, side) <= PEAK_MOST,
        },
        {
          what: `peak resident memory of the ${side}, against ${sizeText(small)}`,
          ours: megabytes(most(many, side)),
          theirs: megabytes(most(few, side)),
          ratio: growth.toFixed(2),
          goal: "0.9 to 1.1",
          met: growth <= GROWTH_MOST,
        },
      ];
    });
    return {
      goals,
      tables: [
        {
          title: "Peak resident memory (sparse source, disk to disk)",
          head: ["", "source, hashing included", "taker", "seconds"],
          lines: [line(sizeText(small), few), line(sizeText(large), many)],
        },
      ],
    };
  },
};

async function peaks({ scratch, programs, say }: RowContext, bytes: number): Promise<Peaks> {
  const source = scratch.folder("disk", "source");
  const target = scratch.folder("disk", "target");
  writeSparse(join(source, "aula.mp4"), bytes);
  const network = await startNetwork({ programs, cache: scratch.folder("disk", "cache") });
  const { child, address } = await network.share(source, { hashed: "aula.mp4" });
  const get = network.get("aula.mp4", target, { from: address });
  const seconds = await get.finish(COPY_SECONDS_MAX);
  const found = { source: child.usage().peakBytes, taker: get.usage().peakBytes, seconds };
  say(`  ${sizeText(bytes)}: ${megabytes(found.source)} and ${megabytes(found.taker)}, ${seconds.toFixed(1)} s`);
  await network.close();
  emptyFolder(target);
  return found;
}
