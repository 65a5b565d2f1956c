// What can be played, and under which address: a download under way, the same once it has its name, a file of the folder.

import { describe, expect, test } from "bun:test";
import type { Hashed } from "../../src/content/hashing/merkle.ts";
import type { OnStreams } from "../../src/play/play-thread.ts";
import type { Playing } from "../../src/play/play-worker.ts";
import { createPlays, IDLE_MS } from "../../src/play/plays.ts";
import { fault } from "../../src/protocol/fault.ts";
import { hasBit } from "../../src/shared/bitfield.ts";
import { createVirtualClock, turn } from "../support/clock.ts";
import { codeOf, good } from "../support/good.ts";

const SIZE = 10 * 262_144;
const content = (root: string): Hashed => ({ root, size: SIZE, pieceBytes: 262_144, layer: new Uint8Array(320) });
const part = (ino: bigint) => ({ folder: "videos", part: "a.mp4", identity: { dev: 1n, ino } });
const whole = (ino: bigint, mtimeNs = 5n) => ({
  folder: "videos",
  file: "a.mp4",
  size: SIZE,
  mtimeNs,
  ctimeNs: 5n,
  ino,
});

function playing() {
  const clock = createVirtualClock();
  const told: string[] = [];
  const opened: Playing[] = [];
  let streams: OnStreams = () => {};
  let tokens = 0;
  const plays = createPlays({
    start(onStreams) {
      told.push("start");
      streams = onStreams;
      return {
        port: Promise.resolve(4000),
        async open(what) {
          opened.push({ ...what, pieces: what.pieces?.slice() });
        },
        have: (token, indexes) => void told.push(`${token} have ${indexes}`),
        lost: (token, indexes) => void told.push(`${token} lost ${indexes}`),
        whole: (token) => void told.push(`${token} whole`),
        close: (token) => void told.push(`${token} close`),
        async stop() {
          told.push("stop");
        },
      };
    },
    newToken: () => `t${++tokens}`,
    clock,
  });
  return { clock, plays, told, opened, streams: ((...args) => streams(...args)) as OnStreams };
}

/** Whether `promise` is settled by now. */
async function isSettled(promise: Promise<unknown> | undefined): Promise<boolean> {
  let settled = false;
  void promise?.then(() => (settled = true));
  await turn();
  return settled;
}

describe("a download under way", () => {
  test("has an address once its content is known, with the pieces that were verified by then", async () => {
    const { plays, told, opened } = playing();
    const download = plays.download("Aula 1?.mp4");
    const address = plays.ofDownload("Aula 1?.mp4");
    expect(await isSettled(address)).toBe(false);
    const feed = download.begin(content("r"), part(7n), () => {});
    feed.have([1, 2, 3]);
    feed.lost([2]);
    expect(await address).toBe("http://127.0.0.1:4000/t1/Aula%201%3F.mp4");
    expect([1, 2, 3].map((index) => hasBit(opened[0]?.pieces as Uint8Array, index))).toEqual([true, false, true]);
    feed.have([4]);
    feed.lost([1]);
    expect(told).toEqual(["start", "t1 have 4", "t1 lost 1"]);
  });

  test("starts no thread while nothing is played", async () => {
    const { plays, told } = playing();
    const download = plays.download("a.mp4");
    download.begin(content("r"), part(7n), () => {}).have([1]);
    download.end(undefined);
    await plays.close();
    expect(told).toEqual([]);
  });

  test("that ends before its content is known gives its fault, and its address is closed when it fails later", async () => {
    const { plays, told } = playing();
    const early = plays.download("a.mp4");
    const address = plays.ofDownload("a.mp4");
    early.end(fault("PEER_GONE", "network"));
    expect(codeOf(await address)).toBe("PEER_GONE");
    expect(plays.ofDownload("a.mp4")).toBeUndefined();
    const late = plays.download("a.mp4");
    late.begin(content("r"), part(7n), () => {});
    await plays.ofDownload("a.mp4");
    late.end(fault("CANCELLED", "ours"));
    expect(told).toEqual(["start", "t2 close"]);
  });

  test("keeps its address past its name, also for a player that opens the file of the folder", async () => {
    const { plays, told, opened } = playing();
    const download = plays.download("a.mp4");
    download.begin(content("r"), part(7n), () => {});
    const address = await plays.ofDownload("a.mp4");
    download.end(undefined);
    expect(told).toEqual(["start", "t1 whole"]);
    expect(await plays.ofFile("a.mp4", whole(7n))).toBe(good(address) as string);
    expect(opened).toHaveLength(1);
    expect(await plays.ofFile("a.mp4", whole(8n))).not.toBe(address as string);
    expect(told.at(-1)).toBe("t1 close");
  });

  test("that goes on with another source keeps what is verified of the same content, and begins anew with another", async () => {
    const { plays, opened } = playing();
    const download = plays.download("a.mp4");
    download.begin(content("r"), part(7n), () => {}).have([1]);
    await plays.ofDownload("a.mp4");
    download.begin(content("r"), part(7n), () => {});
    expect(opened.map(({ tag }) => tag)).toEqual(["r"]);
    download.begin(content("other"), part(9n), () => {});
    expect(opened.map(({ tag, token }) => [tag, token])).toEqual([
      ["r", "t1"],
      ["other", "t1"],
    ]);
    expect(hasBit(opened[1]?.pieces as Uint8Array, 1)).toBe(false);
  });

  test("is fetched at its beginning and its end as soon as a player is expected, until that says where it reads", async () => {
    const { clock, plays, streams } = playing();
    const heard: (readonly number[])[] = [];
    const download = plays.download("a.mp4");
    const address = plays.ofDownload("a.mp4");
    download.begin(content("r"), part(7n), (positions) => heard.push(positions));
    await address;
    expect(heard).toEqual([[0, SIZE - 1024 * 1024]]);
    streams("t1", [5], 1);
    await clock.advance(60_000);
    expect(heard.slice(1)).toEqual([[5]]);
    streams("t1", [], 0);
    void plays.ofDownload("a.mp4");
    await clock.advance(60_000);
    expect(heard.slice(2)).toEqual([[], [0, SIZE - 1024 * 1024], []]);
  });

  test("hears where its players read, and a second download of its name does not disturb it", async () => {
    const { plays, streams } = playing();
    const heard: (readonly number[])[] = [];
    const download = plays.download("a.mp4");
    download.begin(content("r"), part(7n), (positions) => heard.push(positions));
    const address = await plays.ofDownload("a.mp4");
    plays.download("a.mp4").end(fault("IN_USE", "ours"));
    streams("t1", [5, 900_000], 2);
    streams("another", [7], 1);
    expect(heard).toEqual([
      [0, SIZE - 1024 * 1024],
      [5, 900_000],
    ]);
    expect(await plays.ofDownload("a.mp4")).toBe(address as string);
  });
});

describe("a file of the folder", () => {
  test("keeps its address while it is the same, and gets another when it changes", async () => {
    const { plays } = playing();
    const first = await plays.ofFile("a.mp4", whole(7n));
    expect(await plays.ofFile("a.mp4", whole(7n))).toBe(first as string);
    expect(await plays.ofFile("a.mp4", whole(7n, 6n))).not.toBe(first as string);
  });

  test("is played out a minute after its last stream has ended", async () => {
    const { clock, plays, streams } = playing();
    await plays.ofFile("a.mp4", whole(7n));
    streams("t1", [0], 1);
    const over = plays.idle("a.mp4");
    await clock.advance(10 * IDLE_MS);
    expect(await isSettled(over)).toBe(false);
    streams("t1", [], 0);
    await clock.advance(IDLE_MS - 1);
    streams("t1", [0], 1);
    await clock.advance(IDLE_MS);
    expect(await isSettled(over)).toBe(false);
    streams("t1", [], 0);
    await clock.advance(IDLE_MS);
    expect(await isSettled(over)).toBe(true);
    expect(await isSettled(plays.idle("nothing of that name"))).toBe(true);
  });
});
