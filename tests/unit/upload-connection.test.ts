// The bytes of a GET over a connection that can send files by itself, and over one that says so and cannot.
// Invariant: whichever way each part goes, the bytes that leave are the file's, in order, each once.
// Never: opens a socket; the connection stands still unless the test moves it.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { encodeRequest } from "../../src/protocol/requests.ts";
import { CANNOT_SEND, type Connection } from "../../src/transport/connection.ts";
import { createFairRate } from "../../src/upload/fair-rate.ts";
import { SLICE_BYTES } from "../../src/upload/outgoing.ts";
import { createUploadConnection } from "../../src/upload/upload-connection.ts";
import { createVirtualClock, turn } from "../support/clock.ts";
import { createFarEnd } from "../support/net.ts";
import { contentOf } from "../support/sharer.ts";

setDefaultTimeout(60_000);

const FD = 7;
const SIZE = 2_000_000;
const FILE = contentOf(SIZE);
const ADDRESS = { ip: "127.0.0.1", port: 1 };

type Reading = { rate?: number; firstBytes?: number; readBytes?: number };

/**
 * One GET of the whole file over a connection whose sendFile moves what `moves` allows, and whose other side reads so
 * many bytes at a time: how long it took, in milliseconds, and what it was sent with.
 */
async function get(
  moves: (offset: number, room: number) => number,
  { rate, firstBytes = 100_000, readBytes = 70_000 }: Reading = {},
) {
  const clock = createVirtualClock();
  let sent = 0;
  let sentFiles = 0;
  const serveOn = (connection: Connection) =>
    createUploadConnection({
      transport: connection,
      payer: createFairRate(rate, clock).payer(ADDRESS.ip),
      serve(upload) {
        const read = (into: Uint8Array, offset: number): number => {
          into.set(FILE.subarray(offset, offset + into.length));
          return into.length;
        };
        const onSent = (bytes: number): void => {
          sent += bytes;
        };
        upload.send(0, SIZE, { fd: FD, inMemory: () => true, read, onSent });
        return undefined;
      },
      onClose() {},
    }).handlers;
  const [, far] = createFarEnd(ADDRESS, serveOn, (fd, offset, length, room) => {
    sentFiles++;
    expect(fd).toBe(FD);
    const count = moves(offset, room);
    return count < 0 ? undefined : FILE.subarray(offset, offset + Math.min(length, count));
  });
  far.room = firstBytes;
  far.say(encodeRequest({ verb: "GET", offset: 0, length: SIZE }));
  const line = `DATA 0 ${SIZE}\n`.length;
  for (let turn = 0; turn < 1000 && far.sentBytes.length < line + SIZE; turn++) {
    if (far.read(readBytes)) far.drain();
    await clock.advance(10);
  }
  expect(far.sentBytes.subarray(line).equals(FILE)).toBe(true);
  expect(sent).toBe(SIZE);
  return { ms: clock.now(), sends: far.sends, sentFiles };
}

describe("a connection that sends files", () => {
  test("a connection that sends files by itself, and is full now and then, gives every byte once", async () => {
    expect((await get((_, room) => room)).sentFiles).toBeGreaterThan(10);
  });

  test("a connection that sends files in odd parts does so as well", async () => {
    await get((offset, room) => Math.min(room, 1 + ((offset * 31) % 40_000)));
  });

  test("a connection that sends files but not this one is asked once, and the bytes are read", async () => {
    const { sends, sentFiles } = await get(() => CANNOT_SEND, { firstBytes: 2 * SIZE, readBytes: 2 * SIZE });
    expect(sentFiles).toBe(1);
    expect(sends).toBeLessThan(10);
  });

  test("a connection that sends files keeps to the rate", async () => {
    // A second's worth, of which a burst of 0.1 s passes at once.
    expect((await get((_, room) => Math.min(room, 30_000), { rate: SIZE })).ms).toBeGreaterThanOrEqual(890);
  });
});

/** A GET of the whole file over a connection without sendFile, which keeps what it was sent until it is let go. */
async function hold(failFrom = Number.POSITIVE_INFINITY) {
  const size = 3 * SLICE_BYTES + 5;
  const file = contentOf(size);
  const held: Uint8Array[] = [];
  const reads: number[] = [];
  let isGone = false;
  const serveOn = (connection: Connection) =>
    createUploadConnection({
      transport: {
        ...connection,
        send: (bytes) => void (typeof bytes === "string" || held.push(bytes)),
        get queued() {
          return held.length;
        },
        destroy: () => {
          isGone = true;
        },
      },
      payer: createFairRate(undefined, createVirtualClock()).payer(ADDRESS.ip),
      serve(upload) {
        const read = async (into: Uint8Array, offset: number): Promise<number> => {
          reads.push(offset);
          into.set(file.subarray(offset, offset + into.length));
          return offset >= failFrom ? 0 : into.length;
        };
        upload.send(0, size, { fd: undefined, inMemory: () => false, read, onSent() {} });
        return undefined;
      },
      onClose() {},
    }).handlers;
  const [, far] = createFarEnd(ADDRESS, serveOn);
  far.say(encodeRequest({ verb: "GET", offset: 0, length: size }));
  await turn();
  return {
    file,
    reads,
    get isGone() {
      return isGone;
    },
    /** What waits to leave, as it is by now; then it has left. */
    async letGo(): Promise<Uint8Array> {
      const bytes = Buffer.concat(held.splice(0));
      far.drain();
      await turn();
      return bytes;
    },
  };
}

describe("a connection that cannot send files", () => {
  test("a connection that cannot send files has its next slice read while one leaves, and none beyond that", async () => {
    const { reads, letGo } = await hold();
    expect(reads).toEqual([0, SLICE_BYTES]);
    await letGo();
    expect(reads).toEqual([0, SLICE_BYTES, 2 * SLICE_BYTES]);
  });

  test("a connection that cannot send files is given every byte once: nothing is read over what has not left", async () => {
    const { file, letGo } = await hold();
    const parts: Uint8Array[] = [];
    for (let part = await letGo(); part.length > 0; part = await letGo()) parts.push(part);
    expect(Buffer.concat(parts).equals(file)).toBe(true);
  });

  test("a connection that cannot send files gets what could be read before it is closed for what could not", async () => {
    const held = await hold(SLICE_BYTES);
    expect(held.isGone).toBe(false);
    expect(await held.letGo()).toEqual(Buffer.from(held.file.subarray(0, SLICE_BYTES)));
    expect(held.isGone).toBe(true);
  });

  test("a connection that cannot send files keeps to the rate, in parts of what was read", async () => {
    const limits = { rate: SIZE, firstBytes: 2 * SIZE, readBytes: 2 * SIZE };
    expect((await get(() => CANNOT_SEND, limits)).ms).toBeGreaterThanOrEqual(890);
    await get(() => CANNOT_SEND, { rate: SIZE });
  });
});
