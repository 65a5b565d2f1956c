// The executables and a real player: videos are watched, and jumped about in, while they arrive from a slow source.
// What the player decodes is what it decodes of the source, whatever dies meanwhile.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { statSync } from "node:fs";
import { join } from "node:path";
import { type Machine, openNative, type Place, type Sharing, share, startServer } from "../support/napster.ts";
import type { Program } from "../support/program.ts";
import { run } from "../support/run.ts";
import { describeWith } from "../support/tools.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

/** Bytes a second of each source: none of the videos is there when the jumps are over. */
const RATE = 1_000_000;
const VIDEOS = {
  "index at the end.mp4": [],
  "index in front.mp4": ["-movflags", "+faststart"],
  "film #1 100%.mkv": [],
};
const SECONDS = 40;
const PICTURE = [
  "-f",
  "lavfi",
  "-i",
  "testsrc2=s=640x360:r=25",
  "-f",
  "lavfi",
  "-i",
  "sine=440",
  "-t",
  String(SECONDS),
];
const CODECS = ["-vf", "noise=alls=40:allf=t+u", "-c:v", "mpeg4", "-b:v", "4M", "-g", "25", "-c:a", "aac"];

describeWith(["ffmpeg"], "a video that is played while it arrives", () => {
  let machine: Machine;
  let films: Place;
  let server: { server: Program; at: string };
  let sources: Sharing[];

  beforeAll(async () => {
    machine = await openNative();
    films = machine.place("films");
    const [first = "", ...others] = Object.keys(VIDEOS).map((name) => join(films.path, name));
    await run(["ffmpeg", "-v", "error", "-y", ...PICTURE, ...CODECS, first]);
    for (const path of others) {
      const flags = path.includes("front") ? VIDEOS["index in front.mp4"] : [];
      await run(["ffmpeg", "-v", "error", "-y", "-i", first, "-c", "copy", ...flags, path]);
    }
    server = await startServer(machine);
    const open = () => share(machine, server.at, films, "--max-upload-rate", String(RATE), "--json");
    sources = await Promise.all([open(), open()]);
    const isHashed = ({ peer }: Sharing) => peer.stdout().split('"event":"hashed"').length > Object.keys(VIDEOS).length;
    await until("the roots", () => sources.every(isHashed));
  }, 180_000);
  afterAll(async () => {
    for (const { peer } of sources) await peer[Symbol.asyncDispose]();
    await server.server[Symbol.asyncDispose]();
    await machine[Symbol.asyncDispose]();
  });

  /** What a player shows of a second of it, as hashes of frames. */
  async function framesAt(seconds: number, source: string): Promise<string> {
    const seek = ["-ss", String(seconds), "-i", source, "-map", "0:v", "-frames:v", "20", "-f", "framemd5", "-"];
    return run(["ffmpeg", "-v", "error", ...seek]);
  }

  const watch = (name: string, folder: Place, ...args: string[]): Program =>
    machine.start("napster-peer", ["play", name, "--server", server.at, "--dir", folder.typed, "--json", ...args]);

  const addressOf = (player: Program): Promise<string> =>
    until("the address", () => /"event":"playing".*"address":"([^"]+)"/.exec(player.stdout())?.[1], 30, player.stderr);

  const isDone = (player: Program): boolean => player.stdout().includes('"event":"downloaded"');

  async function leave(player: Program): Promise<number | null> {
    player.signal("SIGINT");
    return player.exit();
  }

  for (const name of Object.keys(VIDEOS))
    test(`${name} shows the source's frames at any jump, long before it is there`, async () => {
      await using player = watch(name, machine.place(`watched ${name}`), "--only");
      const address = await addressOf(player);
      const source = join(films.path, name);
      for (const seconds of [35, 10]) expect(await framesAt(seconds, address)).toBe(await framesAt(seconds, source));
      expect(isDone(player)).toBe(false);
      expect(await leave(player)).toBe(1); // cancelled
    });

  test("it goes on when a source dies, after a kill of its own program, and past its final name", async () => {
    const [name = ""] = Object.keys(VIDEOS);
    const source = join(films.path, name);
    const place = machine.place("killed");
    {
      await using player = watch(name, place);
      const address = await addressOf(player);
      expect(await framesAt(30, address)).toBe(await framesAt(30, source));
      await sources[0]?.peer[Symbol.asyncDispose]();
      expect(await framesAt(15, address)).toBe(await framesAt(15, source));
      player.signal("SIGKILL");
      await player.exit();
    }
    await using fast = (await share(machine, server.at, films)).peer;
    await using again = watch(name, place, "--max-download-rate", "8M");
    const address = await addressOf(again);
    expect(await framesAt(38, address)).toBe(await framesAt(38, source));
    const whole = ["-map", "0", "-f", "framemd5", "-"];
    const [shown, wanted] = [address, source].map((from) => run(["ffmpeg", "-v", "error", "-i", from, ...whole]));
    expect(await shown).toBe((await wanted) as string);
    await until(
      "the whole file",
      () => isDone(again),
      30,
      () => again.stdout() + again.stderr(),
    );
    expect(await framesAt(20, address)).toBe(await framesAt(20, source));
    expect(statSync(join(place.path, name)).size).toBe(statSync(source).size);
    // What is in the folder is opened as it is, without a download.
    await using third = watch(name, place, "--no-share");
    expect(await framesAt(5, await addressOf(third))).toBe(await framesAt(5, source));
    expect([await leave(again), await leave(third), fast.running()]).toEqual([0, 0, true]);
  });
});
