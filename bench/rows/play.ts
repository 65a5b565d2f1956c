// A video that is watched while it arrives from a source of 5 MB/s: how soon is there a picture, and what does it cost?
// Invariant: what the player needs for the same picture of the source's file is told beside each time.
// Never: counts a download that was over before the last jump.

import { join } from "node:path";
import { run } from "../child.ts";
import { eventsOf, startNetwork } from "../ours.ts";
import type { Found, Goal } from "../report.ts";
import type { Row } from "../rows.ts";
import { emptyFolder } from "../scratch.ts";
import { spread } from "../stats.ts";

const RATE = 5_000_000;
const FIRST_MOST = 1;
const JUMP_MOST = 2;
const SLOWER_MOST = 1.05;
const NAME = "aula.mp4";
const CLIP_SECONDS = 60;
const REPEATS = 14;
const JUMPS = [600, 300, 800, 100];
const PICTURE = [
  "-f",
  "lavfi",
  "-i",
  "testsrc2=s=640x360:r=30",
  "-f",
  "lavfi",
  "-i",
  "sine=440",
  "-t",
  String(CLIP_SECONDS),
];
const CODECS = ["-vf", "noise=alls=30:allf=t+u", "-c:v", "mpeg4", "-b:v", "10M", "-g", "30", "-c:a", "aac"];
/** What is downloaded whole, with a player and without. */
const SMALL = "curta.mp4";

export const play: Row = {
  name: "play",
  what: "a video that is watched while it arrives",
  async run({ scratch, programs, rounds }): Promise<Found> {
    const source = scratch.folder("memory", "source");
    const [film, small] = [NAME, SMALL].map((name) => join(source, name)) as [string, string];
    run(["ffmpeg", "-v", "error", "-y", ...PICTURE, ...CODECS, small], source);
    const loop = ["-stream_loop", String(REPEATS - 1), "-i", small, "-c", "copy"];
    run(["ffmpeg", "-v", "error", "-y", ...loop, film], source);
    const target = scratch.folder("memory", "target");
    const network = await startNetwork({ programs, cache: scratch.folder("disk", "cache") });
    await network.share(source, { hashed: NAME, maxUploadRate: RATE });
    const [first, jumps, ours]: [number[], number[], number[]] = [[], [], []];
    for (let round = 0; round < rounds; round++) {
      emptyFolder(target);
      const getter = network.get(NAME, target, { isPlayed: true });
      const [, address = ""] = await getter.shows(/"event":"playing".*"address":"([^"]+)"/);
      first.push(pictureSeconds(address, 0));
      for (const at of JUMPS) jumps.push(pictureSeconds(address, at));
      ours.push(...[0, ...JUMPS].map((at) => pictureSeconds(film, at)));
      if (eventsOf(getter, "downloaded").length > 0) throw new Error("the download was over before the last jump");
      await getter.stop();
    }
    const ratios: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const alone = await download(false);
      ratios.push((await download(true)) / alone);
    }
    await network.close();
    const file = `of the file itself ffmpeg needs ${spread(ours, " s")}`;
    return {
      goals: [
        goal("1 GB at 5 MB/s, watched: the first picture", first, FIRST_MOST, file),
        goal("the same: a picture after a jump", jumps, JUMP_MOST, file),
        {
          what: "a download that is watched, against one that is not",
          ours: spread(ratios),
          theirs: "",
          goal: `≤ ${SLOWER_MOST}`,
          met: Math.max(...ratios) <= SLOWER_MOST,
        },
      ],
      tables: [],
    };

    async function download(isPlayed: boolean): Promise<number> {
      emptyFolder(target);
      const getter = network.get(SMALL, target, { isPlayed });
      if (isPlayed) {
        const [, address = ""] = await getter.shows(/"event":"playing".*"address":"([^"]+)"/);
        pictureSeconds(address, CLIP_SECONDS / 2);
        pictureSeconds(address, 1);
      }
      await getter.shows(/"event":"downloaded"/);
      const took = (performance.now() - getter.startedAt) / 1000;
      await getter.stop();
      return took;
    }
  },
};

/** How long ffmpeg takes to show the frame at a second of a video. */
function pictureSeconds(from: string, at: number): number {
  const began = performance.now();
  run(["ffmpeg", "-v", "error", "-ss", String(at), "-i", from, "-frames:v", "1", "-f", "null", "-"], ".");
  return (performance.now() - began) / 1000;
}

const goal = (what: string, times: readonly number[], most: number, note: string): Goal => ({
  what,
  ours: spread(times, " s"),
  theirs: "",
  goal: `≤ ${most} s`,
  met: Math.max(...times) <= most,
  note,
});
