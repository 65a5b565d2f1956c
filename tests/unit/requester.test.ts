// A download at work, with lanes that do what the test says, when the test says it.
// Invariant: no two lanes ever write the same piece at once, and the file outlives every lane.
// Never: a socket, a thread or a real clock.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { JournalPiece } from "../../src/download/disk/journal.ts";
import type { PartFile } from "../../src/download/disk/part-file.ts";
import type { LaneEvent } from "../../src/download/lanes/lane.ts";
import type { Order } from "../../src/download/lanes/piece-writer.ts";
import type { Source } from "../../src/download/peers/source.ts";
import { createPiecePicker } from "../../src/download/pieces/piece-picker.ts";
import { createVerifier, type Verifier } from "../../src/download/pieces/verifier.ts";
import { createRateMeter } from "../../src/download/rate-meter.ts";
import { createRequester } from "../../src/download/requests/requester.ts";
import type { Address } from "../../src/protocol/address.ts";
import { fault } from "../../src/protocol/fault.ts";
import { HASH_BYTES, PIECE_BYTES_MIN } from "../../src/protocol/limits.ts";
import { createVirtualClock } from "../support/clock.ts";

setDefaultTimeout(60_000);

const PIECES = 6;
const SIZE = PIECES * PIECE_BYTES_MIN;
const hashOf = (index: number): Uint8Array => new Uint8Array(HASH_BYTES).fill(index + 1);
const layerOf = (pieces: number) => Uint8Array.from(Array.from({ length: pieces }, (_, i) => [...hashOf(i)]).flat());

type FakeLane = { source: Address; orders: Order[]; closed: boolean; tell: (event: LaneEvent) => void };

function scene(pieces = PIECES, maxDownloadRate?: number) {
  const clock = createVirtualClock();
  const lanes: FakeLane[] = [];
  const lost: string[] = [];
  const verified: number[] = [];
  const written: JournalPiece[] = [];
  const content = { size: pieces * PIECE_BYTES_MIN, pieceBytes: PIECE_BYTES_MIN };
  // Of all ties the first.
  const picker = createPiecePicker(content.size, content.pieceBytes, () => 0.5);
  const partFile: PartFile = {
    resume: async () => undefined,
    begin: async () => undefined,
    retitle: async () => undefined,
    trim: async () => undefined,
    disown: async () => {},
    identify: async () => {},
    written: (piece) => void written.push(piece),
    begun() {},
    forgetBegun() {},
    flush: async () => verifier.kept(written.splice(0)),
    roomBytes: () => Number.POSITIVE_INFINITY,
    busyMs: () => 0,
    close: async () => {},
  };
  const verifier: Verifier = createVerifier({
    picker,
    partFile,
    onVerified: (indexes) => void verified.push(...indexes),
    onRead() {},
    lookAgain: async () => [],
    onChecked: () => requester.fill(),
  });
  const requester = createRequester({
    picker,
    verifier,
    partFile,
    maxDownloadRate: () => maxDownloadRate,
    clock,
    meter: createRateMeter(clock),
    openLane({ address }, tell) {
      const lane: FakeLane = { source: address, orders: [], closed: false, tell };
      lanes.push(lane);
      return {
        fetch: (order) => void lane.orders.push(order),
        close() {
          lane.closed = true;
        },
      };
    },
    events: {
      onArrived() {},
      onPaused() {},
      onSourceLost: (address, why) => void lost.push(`${address.port} ${why.fault}`),
    },
  });
  verifier.setLayer(layerOf(pieces));
  return { clock, lanes, lost, verified, verifier, requester, picker };
}

function source(port: number, pieces = PIECES): Source {
  return {
    address: { ip: "127.0.0.1", port },
    grant: { ticket: "0".repeat(32), size: pieces * PIECE_BYTES_MIN, pieceBytes: PIECE_BYTES_MIN, root: undefined },
    byRoot: false,
    roundTripMs: 100, // far: several lanes, each with two pieces at first
    layer: async () => fault("NOT_READY", "theirs"),
    available: async () => "all",
    damaged: () => {},
    ping: async () => true,
    closed: new Promise(() => {}),
    close() {},
  };
}

const deliver = (lane: FakeLane, hash = hashOf): void => {
  const order = lane.orders.shift();
  if (order !== undefined) lane.tell({ type: "piece", index: order.index, hash: hash(order.index) });
};
const over = (lane: FakeLane): void => lane.tell({ type: "over", fault: fault("CANCELLED", "ours") });
const indexes = (lane: FakeLane | undefined) => lane?.orders.map(({ index }) => index);

describe("a lane that was given up", () => {
  test("a lane that was given up keeps its pieces from the others until it has said that it is over", () => {
    const { requester, lanes, lost } = scene();
    requester.addSource(source(1), "all");
    const given = [...lanes];
    expect(given.map(indexes)).toEqual([[0, 1], [2, 3], [4, 5], []]);
    const [first] = given as [FakeLane];
    deliver(first, () => new Uint8Array(HASH_BYTES)); // a lie: the source is dropped
    expect(lost).toEqual(["1 CORRUPT"]);
    expect(given.map(({ closed }) => closed)).toEqual([true, true, true, true]);

    requester.addSource(source(2), "all");
    const taken = lanes.slice(given.length);
    const ordered = () => taken.flatMap((lane) => indexes(lane) ?? []).sort();
    // Piece 0 was written to its end and is free; the others may still be written by the lanes that were told to close.
    expect(ordered()).toEqual([0]);
    over(first);
    expect(ordered()).toEqual([0, 1]);
    for (const lane of given.slice(1)) over(lane);
    expect(ordered()).toEqual([0, 1, 2, 3, 4, 5]);
    for (let i = 0; i < PIECES; i++) for (const lane of taken) deliver(lane);
    expect(requester.keptBytes).toBe(SIZE);
  });

  test("a lane that was given up keeps the file open: stop resolves after the last lane's end, and not before", async () => {
    const { requester, lanes } = scene();
    requester.addSource(source(1), "all");
    let stopped = false;
    const stopping = requester.stop().then(() => {
      stopped = true;
    });
    for (const lane of lanes) {
      await Promise.resolve();
      expect([lane.closed, stopped]).toEqual([true, false]);
      over(lane);
    }
    await stopping;
    expect(stopped).toBe(true);
  });

  test("a lane that was given up has the pieces counted that it finished before it heard of it", () => {
    const { requester, lanes, verified } = scene();
    requester.addSource(source(1), "all");
    const given = [...lanes];
    const [first] = given as [FakeLane];
    requester.drop({ ip: "127.0.0.1", port: 1 }, fault("PEER_GONE", "network"));
    deliver(first);
    for (const lane of given) over(lane);
    requester.addSource(source(2), "all");
    for (let i = 0; i < PIECES; i++) for (const lane of lanes.slice(given.length)) deliver(lane);
    expect(verified.sort()).toEqual([0, 1, 2, 3, 4, 5]);
  });
});

describe("a near source", () => {
  test("a near source has one lane and one piece until it has shown that it is fast", () => {
    const { requester, lanes, clock } = scene(400);
    requester.addSource({ ...source(1, 400), roundTripMs: 0 }, "all");
    expect(lanes.map(indexes)).toEqual([[0]]);
    const [first] = lanes as [FakeLane];
    for (let i = 0; i < 40; i++) deliver(first);
    expect(lanes.length).toBe(2);
    expect(indexes(lanes[1])?.length).toBeGreaterThan(0);
    expect(clock.now()).toBe(0);
  });

  test("a near source that is slow is asked for the next piece before the one on order is whole", async () => {
    const { requester, lanes, clock } = scene();
    requester.addSource({ ...source(1), roundTripMs: 0 }, "all");
    const [lane] = lanes as [FakeLane];
    await clock.advance(4000);
    deliver(lane); // 64 KiB a second
    expect(indexes(lane)).toEqual([1]);
    lane.tell({ type: "moved", bytes: PIECE_BYTES_MIN - 40 * 1024 });
    expect(indexes(lane)).toEqual([1]);
    lane.tell({ type: "moved", bytes: 10 * 1024 });
    expect(indexes(lane)).toEqual([1, 2]);
  });
});

describe("a download", () => {
  test("a download takes over what a dead source had on order, and is whole once, with every piece verified", async () => {
    const { requester, verifier, lanes, verified } = scene();
    await verifier.resume({ kept: new Map(), written: new Map(), begun: new Map(), root: undefined }, async () => []);
    requester.addSource(source(1), "all");
    requester.addSource(source(2), "all");
    const dead = lanes.filter(({ source: { port } }) => port === 1);
    for (const lane of dead) lane.tell({ type: "over", fault: fault("PEER_GONE", "network", "", true) });
    const alive = () => lanes.filter(({ source: { port } }) => port === 2);
    for (let i = 0; i < PIECES; i++) for (const lane of alive()) deliver(lane);
    await verifier.whole;
    expect(verified.sort()).toEqual([0, 1, 2, 3, 4, 5]);
  });
});

describe("a piece that broke off", () => {
  const BLOCK = 16 * 1024;
  const NEAR = { roundTripMs: 0 };
  const gone = (lane: FakeLane): void => lane.tell({ type: "over", fault: fault("PEER_GONE", "network", "", true) });
  const wrong = () => new Uint8Array(HASH_BYTES);
  const last = (lanes: readonly FakeLane[]): FakeLane => lanes.at(-1) as FakeLane;

  test("a piece that broke off comes first, and goes on from where it was", () => {
    const { requester, lanes } = scene();
    requester.addSource({ ...source(1), ...NEAR }, "all");
    last(lanes).tell({ type: "moved", bytes: 5 * BLOCK + 7, index: 0, have: 5 * BLOCK + 7 });
    gone(last(lanes));
    expect(requester.begunBytes).toBe(5 * BLOCK);
    requester.addSource({ ...source(2), ...NEAR }, "all");
    expect(last(lanes).orders).toEqual([{ index: 0, offset: 0, length: PIECE_BYTES_MIN, have: 5 * BLOCK }]);
    for (let i = 0; i < PIECES; i++) deliver(last(lanes));
    expect([requester.keptBytes, requester.begunBytes]).toEqual([SIZE, 0]);
  });

  test("a piece that broke off and is wrong with two sources' bytes is no source's fault, comes again whole, and then has one culprit", () => {
    const { requester, lanes, lost } = scene();
    requester.addSource({ ...source(1), ...NEAR }, "all");
    last(lanes).tell({ type: "moved", bytes: 5 * BLOCK, index: 0, have: 5 * BLOCK });
    gone(last(lanes));
    requester.addSource({ ...source(2), ...NEAR }, "all");
    deliver(last(lanes), wrong);
    expect([lost, requester.wrongPieces]).toEqual([["1 PEER_GONE"], 1]);
    const again = last(lanes).orders.find(({ index }) => index === 0);
    expect(again).toEqual({ index: 0, offset: 0, length: PIECE_BYTES_MIN });
    while (indexes(last(lanes))?.[0] !== 0) deliver(last(lanes));
    deliver(last(lanes), wrong);
    expect(lost).toEqual(["1 PEER_GONE", "2 CORRUPT"]);
  });

  test("a piece that broke off is fetched from its beginning once the disk has refused: what came may not be on it", () => {
    const { requester, lanes } = scene();
    requester.addSource({ ...source(1), ...NEAR }, "all");
    last(lanes).tell({ type: "moved", bytes: 5 * BLOCK, index: 0, have: 5 * BLOCK });
    requester.pause(fault("DISK_ERROR", "disk", "sync", true));
    last(lanes).tell({ type: "moved", bytes: BLOCK, index: 0, have: 6 * BLOCK });
    over(last(lanes));
    expect(requester.begunBytes).toBe(0);
  });

  test("a piece that broke off at each lane, after much of it, does not cost its source", () => {
    const { requester, lanes, lost } = scene();
    requester.addSource(source(1), "all"); // far: four lanes
    for (let i = 0; i < 3; i++) {
      const lane = lanes.find(({ orders }) => orders.length > 0 && orders[0]?.have === undefined) as FakeLane;
      lane.tell({ type: "moved", bytes: 4 * BLOCK, index: lane.orders[0]?.index as number, have: 4 * BLOCK });
      gone(lane);
      lane.orders.length = 0;
    }
    expect(lost).toEqual([]);
  });
});

test("under our own limit no lane is called slow, and a source has one", async () => {
  const limited = scene(PIECES, 20 * 1024);
  limited.requester.addSource(source(1), "all");
  limited.requester.addSource(source(2), "all");
  expect(limited.lanes.length).toBe(2);
  const [one, two] = limited.lanes as [FakeLane, FakeLane];
  while (two.orders.length > 0) deliver(two); // it has nothing to do, and would help
  for (let seconds = 0; seconds < 30; seconds++) {
    one.tell({ type: "moved", bytes: 20 * 1024 });
    await limited.clock.advance(1000);
  }
  expect([limited.lost, one.closed]).toEqual([[], false]);
});

describe("what players wait for", () => {
  /** Two sources at work, of which the first has brought its first pieces in 100 ms each, and the second in 4 s. */
  async function played() {
    const one = scene(400);
    const near = (port: number): Source => ({ ...source(port, 400), roundTripMs: 1 });
    one.requester.addSource(near(1), "all");
    one.requester.addSource(near(2), "all");
    const [fast, slow] = one.lanes as [FakeLane, FakeLane];
    for (let tenths = 1; tenths <= 40; tenths++) {
      await one.clock.advance(100);
      deliver(fast);
      if (tenths === 40) deliver(slow);
    }
    expect([fast.source.port, slow.source.port, one.lanes.length]).toEqual([1, 2, 2]);
    return { ...one, fast, slow };
  }

  test("goes to the source that brings it sooner, though a slow one is free before it", async () => {
    const { picker, requester, fast, slow } = await played();
    const ordered = new Set([...(indexes(fast) ?? []), ...(indexes(slow) ?? [])]);
    const urgent = [350, 351, 352].filter((index) => !ordered.has(index));
    picker.setUrgent(urgent);
    for (const _ of [...slow.orders]) deliver(slow);
    requester.fill();
    expect(indexes(slow)?.some((index) => urgent.includes(index))).toBe(false);
    deliver(fast);
    for (const _ of [...fast.orders]) deliver(fast);
    expect(fast.orders.some(({ index }) => urgent.includes(index))).toBe(true);
  });

  test("is taken from a slow source that has it on order, which goes on with other pieces", async () => {
    const { picker, clock, lanes, lost, fast, slow } = await played();
    const jumped = slow.orders[0]?.index as number;
    picker.setUrgent([jumped]);
    for (let tenths = 0; tenths < 15; tenths++) {
      await clock.advance(100);
      deliver(fast);
    }
    expect([slow.closed, lost]).toEqual([true, []]);
    const again = lanes.at(-1) as FakeLane;
    expect([again.source.port, again.orders.some(({ index }) => index === jumped)]).toEqual([2, false]);
    over(slow);
    deliver(fast);
    expect(fast.orders.some(({ index }) => index === jumped)).toBe(true);
  });
});
