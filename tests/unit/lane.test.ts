// One lane: what it asks, what it takes, and what ends it.
// Invariant: a piece is reported once, with the hash of the bytes that were written.
// Never: needs a socket; the source is the test.

import { beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createPieceHasher, HASH_BYTES } from "../../src/content/hashing/merkle.ts";
import { createLane, type Lane, type LaneEvent } from "../../src/download/lanes/lane.ts";
import { type Fault, fault } from "../../src/protocol/fault.ts";
import { STALL_SECONDS_MAX } from "../../src/protocol/limits.ts";
import { createSharedRate, type SharedRate, setSharedRate, sharedBucketOf } from "../../src/shared/shared-rate.ts";
import { createVirtualClock, turn, type VirtualClock } from "../support/clock.ts";
import { createNet, type FarEnd, type Net } from "../support/net.ts";
import { contentOf, data, hashOf } from "../support/sharer.ts";

setDefaultTimeout(60_000);

const PIECE = 256 * 1024;
const CONTENT = contentOf(2 * PIECE + 10);
const { layer } = hashOf(CONTENT);
const hashAt = (index: number) => layer.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
const order = (index: number) => ({
  index,
  offset: index * PIECE,
  length: Math.min(PIECE, CONTENT.length - index * PIECE),
});
const bytesOf = (index: number) => CONTENT.subarray(index * PIECE, (index + 1) * PIECE);
const TICKET = "1".repeat(32);

let clock: VirtualClock;
let net: Net;
let written: Uint8Array;
let refuse: Fault | undefined;
let events: LaneEvent[];
let lane: Lane;
let shared: SharedRate;
let far: FarEnd;

const pieces = () => events.filter((event) => event.type === "piece");
const over = () => events.filter((event) => event.type === "over").map((event) => event.fault.fault);

/** A lane whose far end is `far`. */
async function open(stallSeconds?: number, rate?: number): Promise<void> {
  clock = createVirtualClock();
  net = createNet();
  written = new Uint8Array(CONTENT.length);
  refuse = undefined;
  events = [];
  shared = createSharedRate(rate);
  lane = createLane({
    source: { ip: "127.0.0.1", port: 1 },
    ticket: TICKET,
    connect: net.connect,
    clock,
    bucket: sharedBucketOf(shared, clock),
    part: {
      hasher: createPieceHasher(CONTENT.length, PIECE),
      write(chunk, offset) {
        if (refuse === undefined) written.set(chunk, offset);
        return refuse;
      },
      read(into, offset) {
        into.set(written.subarray(offset, offset + into.length));
        return into.length;
      },
    },
    onEvent: (event) => events.push(event),
    ...(stallSeconds !== undefined && { stallSeconds }),
  });
  await turn();
  far = net.dialled[0] as FarEnd;
}
beforeEach(() => open());

/** The far end answers every GET that has come since, all at once, as a source on a fast link does. Returns them. */
function answerGets(): { offset: number; length: number }[] {
  const gets = [...far.take().matchAll(/^GET (\d+) (\d+)$/gm)].map(([, offset, length]) => ({
    offset: Number(offset),
    length: Number(length),
  }));
  for (const { offset, length } of gets) far.say(data(offset, CONTENT.subarray(offset, offset + length)));
  return gets;
}

describe("a lane", () => {
  test("a lane shows its ticket, asks for its orders in their order, and reports each with its hash", async () => {
    lane.fetch(order(2));
    lane.fetch(order(0));
    expect(far.sent).toBe(`HELLO 1\nLANE ${TICKET}\nGET ${2 * PIECE} 10\nGET 0 ${PIECE}\n`);
    far.say("HELLO 1\nLANE_OK\n");
    far.say(data(2 * PIECE, bytesOf(2)));
    far.say(data(0, bytesOf(0)));
    expect(pieces()).toEqual([
      { type: "piece", index: 2, hash: hashAt(2) },
      { type: "piece", index: 0, hash: hashAt(0) },
    ]);
    expect(Buffer.compare(written.subarray(0, PIECE), bytesOf(0))).toBe(0);
    await clock.advance(300);
    const moved = events.reduce((sum, event) => sum + (event.type === "moved" ? event.bytes : 0), 0);
    expect(moved).toBe(PIECE + 10);
  });

  test("a lane takes its bytes in whatever cuts they come", () => {
    lane.fetch(order(0));
    lane.fetch(order(2));
    const all = Buffer.concat([Buffer.from("HELLO 1\nLANE_OK\n"), data(0, bytesOf(0)), data(2 * PIECE, bytesOf(2))]);
    for (let at = 0, cut = 1; at < all.length; at += cut, cut = (cut * 7 + 1) % 5000 || 1)
      far.say(all.subarray(at, at + cut));
    expect(pieces().length).toBe(2);
    expect(pieces()).toContainEqual({ type: "piece", index: 0, hash: hashAt(0) });
  });

  test("a lane reports wrong bytes with their own hash: it does not compare", () => {
    lane.fetch(order(2));
    far.say("LANE_OK\n");
    far.say(data(2 * PIECE, new Uint8Array(10)));
    expect(pieces().length).toBe(1);
    expect(pieces()[0]).not.toEqual({ type: "piece", index: 2, hash: hashAt(2) });
    expect(over()).toEqual([]);
  });

  const lies: readonly (readonly [string, string | Uint8Array, string])[] = [
    ["data before LANE_OK", `DATA 0 ${PIECE}\n`, "BAD_REPLY"],
    ["a refusal", "ERROR BAD_STATE final no such ticket\n", "BAD_STATE"],
    ["no reply at all", "hello\n", "BAD_REPLY"],
    ["another kind of reply", "LANE_OK\nPONG\n", "BAD_REPLY"],
    ["the wrong offset", `LANE_OK\nDATA 1 ${PIECE}\n`, "BAD_REPLY"],
    ["another length", "LANE_OK\nDATA 0 5\nhello", "BAD_REPLY"],
    ["a line without an end", "x".repeat(2000), "LINE_TOO_LONG"],
  ];
  for (const [what, said, code] of lies) {
    test(`a lane is over with ${code} at ${what}`, () => {
      lane.fetch(order(0));
      far.say(said);
      expect(over().join()).toBe(code);
      expect(far.state).toBe("closed");
      expect(pieces()).toEqual([]);
    });
  }

  test("a lane is over with BAD_REPLY at data that was not asked for", () => {
    lane.fetch(order(2));
    far.say("LANE_OK\n");
    far.say(data(2 * PIECE, bytesOf(2)));
    far.say(data(0, bytesOf(0)));
    expect(over()).toEqual(["BAD_REPLY"]);
    expect(pieces().length).toBe(1);
  });

  test("a lane is over with the disk's fault when a write fails, and reports no such piece", () => {
    lane.fetch(order(2));
    refuse = fault("DISK_FULL", "disk", "write", true);
    far.say("LANE_OK\n");
    far.say(data(2 * PIECE, bytesOf(2)));
    expect([over(), pieces()]).toEqual([["DISK_FULL"], []]);
  });

  test("a lane is over with PEER_GONE when the source closes or says no more, once", () => {
    lane.fetch(order(0));
    far.say(`LANE_OK\nDATA 0 ${PIECE}\nxyz`);
    far.end();
    far.close();
    expect([over(), pieces()]).toEqual([["PEER_GONE"], []]);
  });

  test("a lane waits for as long as the person says", async () => {
    await open(4 * STALL_SECONDS_MAX);
    lane.fetch(order(0));
    await clock.advance((4 * STALL_SECONDS_MAX - 1) * 1000);
    expect(over()).toEqual([]);
    await clock.advance(3000);
    expect(over()).toEqual(["STALLED"]);
  });

  test("a lane is over with STALLED when nothing comes for STALL_SECONDS_MAX although something is on order", async () => {
    await clock.advance(3 * STALL_SECONDS_MAX * 1000);
    expect(over()).toEqual([]);
    lane.fetch(order(0));
    await clock.advance((STALL_SECONDS_MAX + 1) * 1000);
    expect(over()).toEqual(["STALLED"]);
  });

  test("a lane is over when it is closed, and does nothing after", async () => {
    lane.fetch(order(0));
    lane.close();
    lane.close();
    far.say(data(0, bytesOf(0)));
    expect([over(), pieces()]).toEqual([["CANCELLED"], []]);
    expect(written.every((byte) => byte === 0)).toBe(true);
    await clock.advance(60_000);
    expect(clock.pending).toBe(0);
  });
});

describe("our own limit", () => {
  for (const rate of [1024, 4096, 6 * 1024, 20 * 1024, 60 * 1024, 1024 * 1024]) {
    test(`our own limit of ${rate} bytes a second is kept within 5 %, and is never the silence of the source`, async () => {
      await open(undefined, rate);
      for (const index of [0, 1, 2]) lane.fetch(order(index));
      far.say("HELLO 1\nLANE_OK\n");
      const gets = [];
      let most = 0;
      const seconds = (CONTENT.length / rate) * 1.05;
      while (pieces().length < 3 && clock.now() < seconds * 1000) {
        gets.push(...answerGets());
        await clock.advance(50);
        const moved = events.reduce((sum, event) => sum + (event.type === "moved" ? event.bytes : 0), 0);
        most = Math.max(most, (moved - 0.2 * rate) / (rate * (clock.now() / 1000)));
      }
      expect([pieces().length, over()]).toEqual([3, []]);
      expect(clock.now() / 1000).toBeGreaterThan((CONTENT.length / rate) * 0.95 - 0.2);
      expect(most).toBeLessThan(1.05);
      expect(gets.reduce((sum, { length }) => sum + length, 0)).toBe(CONTENT.length);
      // Nothing is asked for so far ahead that its source could take us for idle, or for too slow.
      expect(Math.max(...gets.map(({ length }) => length))).toBeLessThanOrEqual(Math.max(16 * 1024, 4 * rate));
      expect(Buffer.compare(written, CONTENT)).toBe(0);
    });
  }

  test("another limit is kept from then on, and one that is lifted holds nothing up", async () => {
    await open(undefined, 1024);
    for (const index of [0, 1, 2]) lane.fetch(order(index));
    far.say("HELLO 1\nLANE_OK\n");
    const moved = () => events.reduce((sum, event) => sum + (event.type === "moved" ? event.bytes : 0), 0);
    const forSeconds = async (seconds: number): Promise<number> => {
      const before = moved();
      for (let left = seconds * 20; left > 0 && pieces().length < 3; left--) {
        answerGets();
        await clock.advance(50);
      }
      return (moved() - before) / seconds;
    };
    expect(await forSeconds(10)).toBeLessThan(1.1 * 1024);
    setSharedRate(shared, 20 * 1024);
    expect((await forSeconds(10)) / (20 * 1024)).toBeWithin(0.9, 1.1);
    setSharedRate(shared, 4096);
    await forSeconds(1);
    expect((await forSeconds(20)) / 4096).toBeWithin(0.9, 1.1);
    setSharedRate(shared, undefined);
    await forSeconds(1);
    expect([pieces().length, over()]).toEqual([3, []]);
    expect(Buffer.compare(written, CONTENT)).toBe(0);
  });

  test("our own limit does not lose what came right before the source hung up", async () => {
    await open(undefined, 16 * 1024);
    lane.fetch(order(2));
    lane.fetch(order(0));
    far.say("HELLO 1\nLANE_OK\n");
    answerGets();
    far.end();
    far.close();
    await clock.advance(60_000);
    const have = events.flatMap((event) => (event.type === "moved" ? [event.have ?? 0] : []));
    expect([pieces().length, Math.max(...have), over()]).toEqual([1, 64 * 1024, ["PEER_GONE"]]);
  });
});

describe("a piece that broke off", () => {
  test("a piece that broke off goes on behind what is on the disk, and is reported with the hash of all of it", () => {
    const have = 5 * 16 * 1024;
    written.set(bytesOf(0).subarray(0, have));
    lane.fetch({ ...order(0), have });
    far.say("HELLO 1\nLANE_OK\n");
    expect(answerGets()).toEqual([{ offset: have, length: PIECE - have }]);
    expect(pieces()).toEqual([{ type: "piece", index: 0, hash: hashAt(0) }]);
  });

  test("a piece that broke off is reported as far as it has come, and with another hash where the disk holds something else", async () => {
    lane.fetch({ ...order(0), have: 16 * 1024 });
    far.say("HELLO 1\nLANE_OK\n");
    far.say(`DATA ${16 * 1024} ${PIECE - 16 * 1024}\n`);
    far.say(bytesOf(0).subarray(16 * 1024, 50_000));
    await clock.advance(300);
    expect(events).toContainEqual({ type: "moved", bytes: 50_000 - 16 * 1024, index: 0, have: 50_000 });
    far.say(bytesOf(0).subarray(50_000));
    expect(pieces()).not.toEqual([{ type: "piece", index: 0, hash: hashAt(0) }]);
    expect(pieces().length).toBe(1);
  });
});

test("a slow source is asked for a few seconds' worth at a time, a fast one for whole pieces", async () => {
  lane.fetch(order(0));
  lane.fetch(order(1));
  far.say("HELLO 1\nLANE_OK\n");
  far.say(`DATA 0 ${PIECE}\n`);
  far.take();
  for (let at = 0; at < PIECE; at += 4096) {
    await clock.advance(1000);
    far.say(bytesOf(0).subarray(at, at + 4096));
  }
  const slow = [...far.take().matchAll(/^GET \d+ (\d+)$/gm)].map(([, length]) => Number(length));
  expect(slow).toEqual([64 * 1024]);
  expect(over()).toEqual([]);
});
