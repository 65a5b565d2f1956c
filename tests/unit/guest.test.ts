// The bytes of a GET over a connection that can send files by itself, and over one that says so and cannot.
// Invariant: whichever way each part goes, the bytes that leave are the file's, in order, each once.
// Never: opens a socket; the connection stands still unless the test moves it.

import { describe, expect, test } from "bun:test";
import { encodeRequest } from "../../src/protocol/requests.ts";
import { createBucket } from "../../src/transfer/bucket.ts";
import { createGuest } from "../../src/transfer/guest.ts";
import type { Connection } from "../../src/transport/connection.ts";
import { createVirtualClock } from "../support/clock.ts";
import { contentOf } from "../support/sharer.ts";

const FD = 7;
const SIZE = 2_000_000;
const FILE = contentOf(SIZE);
const ADDRESS = { ip: "127.0.0.1", port: 1 };

/** A connection whose `room` is what it takes before somebody reads, and whose sendFile moves what `moves` allows. */
function createPipe(moves: (offset: number, room: number) => number) {
  const got: Uint8Array[] = [];
  let room = 100_000;
  let waiting: Uint8Array[] = [];
  const calls = { send: 0, sendFile: 0 };
  const take = (bytes: Uint8Array): void => {
    const part = bytes.slice(0, room);
    got.push(part);
    room -= part.length;
    if (part.length < bytes.length) waiting.push(bytes.slice(part.length));
  };
  const connection: Connection = {
    remote: ADDRESS,
    local: ADDRESS,
    send(bytes) {
      calls.send++;
      take(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
    },
    sendFile(fd, offset, length) {
      calls.sendFile++;
      expect(fd).toBe(FD);
      expect(waiting).toEqual([]);
      const bytes = Math.min(length, moves(offset, room));
      take(FILE.subarray(offset, offset + bytes));
      return bytes;
    },
    get queued() {
      return waiting.reduce((sum, { length }) => sum + length, 0);
    },
    pause() {},
    resume() {},
    end() {},
    destroy() {},
  };
  return {
    connection,
    calls,
    get received() {
      return Buffer.concat(got);
    },
    /** The other side reads; whether everything had left by then. */
    read(bytes: number): boolean {
      room = bytes;
      const rest = waiting;
      waiting = [];
      for (const each of rest) take(each);
      return waiting.length === 0;
    },
  };
}

/** One GET of the whole file over `pipe`, whose other side reads so many bytes at a time; how long it took, in milliseconds. */
async function get(
  pipe: ReturnType<typeof createPipe>,
  { rate, readBytes = 70_000 }: { rate?: number; readBytes?: number } = {},
) {
  const clock = createVirtualClock();
  let sent = 0;
  const { handlers } = createGuest({
    connection: pipe.connection,
    bucket: createBucket(rate, clock),
    clock,
    serve(guest) {
      const read = (into: Uint8Array, offset: number): number => {
        into.set(FILE.subarray(offset, offset + into.length));
        return into.length;
      };
      const onSent = (bytes: number): void => {
        sent += bytes;
      };
      guest.send(0, SIZE, { fd: FD, read, onSent });
      return undefined;
    },
    onClose() {},
  });
  handlers.data(new TextEncoder().encode(encodeRequest({ verb: "GET", offset: 0, length: SIZE })));
  const line = `DATA 0 ${SIZE}\n`.length;
  for (let turn = 0; turn < 1000 && pipe.received.length < line + SIZE; turn++) {
    if (pipe.read(readBytes)) handlers.drain();
    await clock.advance(10);
  }
  expect(pipe.received.subarray(line).equals(FILE)).toBe(true);
  expect(sent).toBe(SIZE);
  return clock.now();
}

describe("a connection that sends files", () => {
  test("by itself, and is full now and then, gives every byte once", async () => {
    const pipe = createPipe((_, room) => room);
    await get(pipe);
    expect(pipe.calls.sendFile).toBeGreaterThan(10);
  });

  test("in odd parts does so as well", async () => {
    await get(createPipe((offset, room) => Math.min(room, 1 + ((offset * 31) % 40_000))));
  });

  test("but not this one is asked once, and the bytes are read", async () => {
    const pipe = createPipe(() => 0);
    pipe.read(2 * SIZE);
    await get(pipe, { readBytes: 2 * SIZE });
    expect(pipe.calls.sendFile).toBe(1);
    expect(pipe.calls.send).toBeLessThan(10);
  });

  test("keeps to the rate", async () => {
    const pipe = createPipe((_, room) => Math.min(room, 30_000));
    expect(await get(pipe, { rate: SIZE })).toBeGreaterThanOrEqual(890); // a second's worth, of which a burst of 0.1 s passes at once
  });
});
