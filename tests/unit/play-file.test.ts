// A file as players read it: what a stream gives, when it waits, and what is told of where it stands.

import { describe, expect, test } from "bun:test";
import { createPlayFile, type PlayedBytes, SILENT_MS } from "../../src/play/play-file.ts";
import { type Fault, fault, isFault } from "../../src/protocol/fault.ts";
import { createBitfield, setBit } from "../../src/shared/bitfield.ts";
import { createVirtualClock, turn } from "../support/clock.ts";

const PIECE = 256 * 1024;
const SIZE = 4 * PIECE + 100;
const CONTENT = crypto.getRandomValues(new Uint8Array(65_536));
const byteAt = (at: number): number => (CONTENT[at % CONTENT.length] as number) ^ ((at / PIECE) & 0xff);

function playing(there: readonly number[] | "all", read: PlayedBytes["read"] = readContent) {
  const clock = createVirtualClock();
  const told: (readonly [readonly number[], number])[] = [];
  const files = { opened: 0, closed: 0 };
  const pieces = createBitfield(5);
  if (there !== "all") for (const index of there) setBit(pieces, index);
  const file = createPlayFile({
    size: SIZE,
    pieceBytes: PIECE,
    pieces: there === "all" ? undefined : pieces,
    async open() {
      files.opened++;
      return { read, close: () => void files.closed++ };
    },
    clock,
    onStreams: (positions, open) => told.push([positions, open]),
  });
  return { clock, file, files, told };
}

async function readContent(into: Uint8Array, offset: number): Promise<number> {
  for (let at = 0; at < into.length; at++) into[at] = byteAt(offset + at);
  return into.length;
}

type Next = { next(): Promise<Uint8Array | Fault | undefined> };

async function restOf(stream: Next): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const chunk = await stream.next();
    if (isFault(chunk)) throw new Error(chunk.fault);
    if (chunk === undefined) return Buffer.concat(chunks);
    chunks.push(chunk);
  }
}

const expected = (start: number, end: number) =>
  Uint8Array.from({ length: end - start }, (_, at) => byteAt(start + at));

/** Whether `promise` is settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.then(() => (settled = true));
  await turn();
  return settled;
}

describe("a stream of a played file", () => {
  test("gives exactly the bytes that were asked for, over the borders of pieces", async () => {
    const { file } = playing("all");
    for (const [start, end] of [
      [0, SIZE],
      [1, 2],
      [PIECE - 1, PIECE + 1],
      [SIZE - 1, SIZE],
      [3 * PIECE + 7, SIZE],
    ] as const)
      expect(Buffer.compare(await restOf(file.stream(start, end)), expected(start, end))).toBe(0);
  });

  test("waits where a piece is not verified yet, and goes on when it is", async () => {
    const { file } = playing([0]);
    const stream = file.stream(PIECE - 10, PIECE + 10);
    expect(await stream.next()).toEqual(expected(PIECE - 10, PIECE));
    const next = stream.next();
    file.have([2]);
    expect(await isSettled(next)).toBe(false);
    file.have([1]);
    expect(await next).toEqual(expected(PIECE, PIECE + 10));
    expect(await stream.next()).toBeUndefined();
  });

  test("gives nothing of a piece that was taken back, not even where it was being read", async () => {
    const reading = Promise.withResolvers<void>();
    const { file } = playing([0, 1], async (into, offset) => {
      await reading.promise;
      return readContent(into, offset);
    });
    const next = file.stream(0, 10).next();
    await turn();
    file.lost([0]);
    reading.resolve();
    expect(await isSettled(next)).toBe(false);
    file.have([0]);
    expect(await next).toEqual(expected(0, 10));
  });

  test("that is closed while it waits ends at once, and the file is closed with the last one", async () => {
    const { file, files } = playing([0]);
    const [waits, other] = [file.stream(PIECE, SIZE), file.stream(0, 10)];
    await other.next();
    const next = waits.next();
    waits.close();
    expect(await next).toBeUndefined();
    expect(files).toEqual({ opened: 1, closed: 0 });
    other.close();
    other.close();
    await turn();
    expect(files).toEqual({ opened: 1, closed: 1 });
  });

  test("ends with the fault of a file that cannot be read, or is shorter than it was", async () => {
    const broken = playing("all", async () => fault("DISK_ERROR", "disk", "read"));
    expect(await broken.file.stream(0, 10).next()).toMatchObject({ fault: "DISK_ERROR" });
    const short = playing("all", async () => 3);
    expect(await short.file.stream(0, 10).next()).toMatchObject({ fault: "CHANGED" });
    await turn();
    expect(short.files.closed).toBe(1);
  });

  test("of a file that became whole needs no further word", async () => {
    const { file } = playing([]);
    const bytes = restOf(file.stream(0, SIZE));
    await turn();
    file.whole();
    expect((await bytes).length).toBe(SIZE);
  });
});

describe("where the streams stand", () => {
  test("is told when one begins, enters another piece, and ends; never for bytes of one piece", async () => {
    const { clock, file, told } = playing("all");
    const stream = file.stream(0, SIZE);
    await clock.advance(100);
    expect(told).toEqual([[[0], 1]]);
    await stream.next();
    await clock.advance(100);
    expect(told.slice(1)).toEqual([[[PIECE], 1]]);
    stream.close();
    await clock.advance(100);
    expect(told.slice(2)).toEqual([[[], 0]]);
  });

  test("is told at most every 20 ms, however fast a player reads", async () => {
    const { clock, file, told } = playing("all");
    for (let times = 0; times < 50; times++) await restOf(file.stream(0, SIZE));
    await clock.advance(19);
    expect(told.length).toBeLessThanOrEqual(2);
  });

  test("leaves out a player that has asked for nothing for a minute, until it asks again", async () => {
    const { clock, file, told } = playing("all");
    const stream = file.stream(0, SIZE);
    await clock.advance(SILENT_MS - 1);
    expect(told).toEqual([[[0], 1]]);
    await clock.advance(2);
    expect(told.slice(1)).toEqual([[[], 1]]);
    await stream.next();
    await clock.advance(100);
    expect(told.at(-1)).toEqual([[PIECE], 1]);
  });

  test("names a player that waits for a piece, however long it takes", async () => {
    const { clock, file, told } = playing([]);
    void file.stream(2 * PIECE, SIZE).next();
    await clock.advance(10 * SILENT_MS);
    expect(told).toEqual([[[2 * PIECE], 1]]);
  });

  test("leaves no timer behind once the last stream is closed", async () => {
    const { clock, file } = playing("all");
    file.stream(0, SIZE);
    file.close();
    await clock.advance(100);
    expect(clock.pending).toBe(0);
  });
});
