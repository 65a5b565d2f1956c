// A peer moving bytes at full speed: its menu and its SEARCH answer all the same.
// Invariant: every answer is timed while bytes really move; uploading through the menu, downloading from within.
// Never: counts the time before the first byte moves.

import { join } from "node:path";
import type { Child } from "../child.ts";
import { type Network, startNetwork } from "../ours.ts";
import type { Found, Goal } from "../report.ts";
import { freePort } from "../rivals/rival.ts";
import type { Row, RowContext } from "../rows.ts";
import { emptyFolder, partBytes, writeRandom } from "../scratch.ts";
import { quantile } from "../stats.ts";

const MS_MOST = 50;
const PAUSE_MS = 20;
const NAME = "aula.mp4";
const FOUND = "peers com arquivo solicitado";

export const busy: Row = {
  name: "busy",
  what: "the menu and SEARCH of a peer at full speed",
  async run(context): Promise<Found> {
    const { scratch, programs, bytes } = context;
    const source = scratch.folder("memory", "source");
    writeRandom(join(source, NAME), bytes);
    const network = await startNetwork({ programs, cache: scratch.folder("disk", "cache") });
    const { child } = await network.share(source, { hashed: NAME });
    await child.stop(); // its hashes stay in the cache
    const menu = network.menu();
    const from = `127.0.0.1:${freePort()}`;
    menu.type(`JOIN\n${from.replace(":", "\n")}\n${source}\n`);
    await menu.shows(/^Sou peer /m);
    const idle = await timeSearches(menu, 50, () => true);
    const uploading = await whileUploading(context, network, menu, from);
    const downloading = await whileDownloading(context, network, from);
    await network.close();
    return {
      goals: [
        goal("menu and SEARCH while uploading at full speed", uploading, `idle: ${text(idle)}`),
        goal("SEARCH from within a peer that downloads at full speed", downloading),
      ],
      tables: [],
    };
  },
};

const text = (times: readonly number[]): string =>
  `median ${quantile(times, 0.5).toFixed(1)} ms, 99 % ${quantile(times, 0.99).toFixed(1)}, most ${Math.max(...times).toFixed(1)} (${times.length})`;

const goal = (what: string, times: readonly number[], note?: string): Goal => ({
  what,
  ours: text(times),
  theirs: "",
  goal: "≤ 50 ms",
  met: times.length > 0 && Math.max(...times) <= MS_MOST,
  ...(note === undefined ? {} : { note }),
});

/** Types SEARCH and its answer into the menu and waits for the dictated line, again and again; milliseconds each. */
async function timeSearches(menu: Child, most: number, going: () => boolean): Promise<number[]> {
  const times: number[] = [];
  const count = () => menu.stdout().split(FOUND).length;
  while (times.length < most && going()) {
    await Bun.sleep(PAUSE_MS);
    const before = count();
    const start = performance.now();
    menu.type(`SEARCH\n${NAME}\n`);
    while (count() === before) {
      if (performance.now() - start > 30_000) throw new Error("SEARCH is not answered");
      await Bun.sleep(1);
    }
    times.push(performance.now() - start);
  }
  return times;
}

async function whileUploading(context: RowContext, network: Network, menu: Child, from: string): Promise<number[]> {
  const target = context.scratch.folder("memory", "target");
  const times: number[] = [];
  for (let round = 0; round < context.rounds; round++) {
    const get = network.get(NAME, target, { from });
    while (partBytes(target) === 0 && get.running) await Bun.sleep(2);
    times.push(...(await timeSearches(menu, 1000, () => get.running)));
    await get.finish(120);
    emptyFolder(target);
  }
  return times;
}

async function whileDownloading(context: RowContext, network: Network, from: string): Promise<number[]> {
  const target = context.scratch.folder("memory", "target");
  const times: number[] = [];
  for (let round = 0; round < context.rounds; round++) {
    const runner = network.runner({ folder: target, get: { name: NAME, from }, probeMs: PAUSE_MS }, (event) => {
      // A loop that is late to ask is as bad as one that is late to hear.
      if (event.type === "probe") times.push((event.ms ?? 0) + Math.max(0, event.late ?? 0));
    });
    await runner.finish(120);
    emptyFolder(target);
  }
  return times;
}
