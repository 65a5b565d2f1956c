// One connection that fetches pieces from one source: bytes in, written at their offset and hashed on the way.
// Invariant: a piece is reported once, after all its bytes were written; its hash is of all that the disk was given of it.
// Never: decides which piece comes next or whether a hash is right; never knows it runs on a thread of its own.

import { HASH_BYTES, type PieceHasher } from "../../content/hashing/merkle.ts";
import type { Address } from "../../protocol/address.ts";
import { type Fault, fault, isFault } from "../../protocol/fault.ts";
import { BLOCK_BYTES, STALL_SECONDS_MAX } from "../../protocol/limits.ts";
import { VERSION } from "../../protocol/messages.ts";
import { createReader } from "../../protocol/reader.ts";
import { decodeReply } from "../../protocol/replies.ts";
import { encodeRequest } from "../../protocol/requests.ts";
import type { Clock } from "../../shared/clock.ts";
import type { TokenBucket } from "../../shared/token-bucket.ts";
import type { Connect, Connection } from "../../transport/connection.ts";
import { createRateMeter } from "../rate-meter.ts";

/** A piece: `length` bytes from `offset`. The first `have` of them are in the .part already, and are read from there. */
export type Order = {
  readonly index: number;
  readonly offset: number;
  readonly length: number;
  readonly have?: number;
};

/** Bytes arrived since the last such event. Of piece `index`, which is under way, the first `have` bytes are written. */
export type Moved = { readonly type: "moved"; readonly bytes: number; readonly index?: number; readonly have?: number };

export type LaneEvent =
  | { readonly type: "open" }
  | Moved
  | { readonly type: "piece"; readonly index: number; readonly hash: Uint8Array }
  /** The lane is over. Orders without a "piece" are unfinished. */
  | { readonly type: "over"; readonly fault: Fault };

export type LaneOptions = {
  readonly source: Address;
  readonly ticket: string;
  readonly connect: Connect;
  readonly clock: Clock;
  readonly hasher: PieceHasher;
  /** What may arrive per second, shared by the lanes of a thread. */
  readonly bucket: TokenBucket;
  /** Without a byte for so long, the lane is over; STALL_SECONDS_MAX when not given. */
  readonly stallSeconds?: number | undefined;
  /** Writes all of `chunk` at `offset` of the .part file. */
  readonly write: (chunk: Uint8Array, offset: number) => Fault | undefined;
  /** Fills `into` from `offset` of the .part file; how many bytes there were. */
  readonly read: (into: Uint8Array, offset: number) => number | Fault;
  readonly onEvent: (event: LaneEvent) => void;
};

export type Lane = {
  /** Asks for one more piece; they are fetched in the order of asking. */
  fetch(order: Order): void;
  close(): void;
};

const REPORT_MS = 250;
const READ_ON_BYTES = 512 * 1024;
const READ_ON_TURNS = 16;
/**
 * The next GET is sent when less than so many seconds' worth is on its way, and is no longer than that. What a slow lane
 * has asked for comes before its source takes it for idle, whatever the systems on both sides hold; a fast one asks for
 * whole pieces.
 */
const AHEAD_SECONDS = 8;
const AHEAD_BYTES_MIN = 64 * 1024;
/** The same before anything has come. */
const AHEAD_BYTES_FIRST = 256 * 1024;
/** The same, in seconds of our own limit. */
const AHEAD_LIMIT_SECONDS = 4;
/** What our limit lets pass at a time, in seconds of it: often enough to look steady. */
const SLICE_SECONDS = 0.25;

/** Bytes from `offset` on; both change as they are asked for, or come. */
type Range = { offset: number; length: number };

export function createLane(options: LaneOptions): Lane {
  const { clock, hasher, bucket, onEvent, stallSeconds = STALL_SECONDS_MAX } = options;
  const reader = createReader();
  const orders: Order[] = [];
  const ranges: Range[] = []; // of the orders, what no GET was sent for yet
  const gets: Range[] = []; // sent, and what is still to come of each
  const sliceBytes = Math.max(1, Math.floor(bucket.rate * SLICE_SECONDS));
  let coming = 0; // bytes of `gets`
  let meter = createRateMeter(clock);
  let tested = false; // something has come since there was nothing on order
  let connection: Connection | undefined;
  let opened = false;
  let over = false;
  let filled = 0; // bytes of orders[0] that are on the disk
  let inPayload = false;
  let direct = new Uint8Array(READ_ON_BYTES);
  let held: Uint8Array | undefined; // has come, and waits for our own limit
  let ended = false; // the source says no more than what is held
  let moved = 0;
  let movedAt = clock.now();
  let stopTick = () => {};
  let stopHolding = () => {};

  function stop(why: Fault): void {
    if (over) return;
    over = true;
    stopTick();
    stopHolding();
    report();
    connection?.destroy();
    onEvent({ type: "over", fault: why });
  }

  function report(): void {
    if (moved === 0) return;
    const first = orders[0];
    onEvent({ type: "moved", bytes: moved, ...(first && filled > 0 && { index: first.index, have: filled }) });
    moved = 0;
  }

  /** Reports what moved, and ends a lane whose source has gone quiet. */
  function tick(): void {
    stopTick = clock.after(REPORT_MS, () => {
      report();
      if (held !== undefined) movedAt = clock.now(); // it is we who wait
      if (orders.length > 0 && clock.now() - movedAt > stallSeconds * 1000) {
        return stop(fault("STALLED", "network", `no data for ${stallSeconds} s`, true));
      }
      tick();
    });
  }

  /** Sends GETs for what is on order, as far ahead as what comes is worth. */
  function ask(): void {
    if (connection === undefined) return;
    const worth = tested ? Math.max(AHEAD_BYTES_MIN, meter.rate() * AHEAD_SECONDS) : AHEAD_BYTES_FIRST;
    const most = blocksOf(Math.min(worth, bucket.rate * AHEAD_LIMIT_SECONDS));
    for (let range = ranges[0]; range !== undefined && coming < most; range = ranges[0]) {
      const get = { offset: range.offset, length: Math.min(range.length, most) };
      range.offset += get.length;
      range.length -= get.length;
      if (range.length === 0) ranges.shift();
      coming += get.length;
      connection.send(encodeRequest({ verb: "GET", ...get }));
      gets.push(get);
    }
  }

  /**
   * What Bun hands over is a copy in memory of its own each time. While a piece streams in, what has come since is read
   * into one buffer instead, for a few turns, so that the thread's other lanes get theirs.
   */
  function data(chunk: Uint8Array): void {
    if (held !== undefined) {
      held = Buffer.concat([held, chunk]); // it was on its way when we paused
      return;
    }
    let all = admit(chunk);
    for (let turn = 0; turn < READ_ON_TURNS && all && inPayload && !over; turn++) {
      const got = connection?.readNow?.(direct) ?? 0;
      if (got === 0) return;
      all = admit(direct.subarray(0, got));
      if (!all || reader.size > 0) direct = new Uint8Array(READ_ON_BYTES); // its tail is kept
    }
  }

  /** Takes in what our own limit lets pass; false when the rest is held until it does. */
  function admit(chunk: Uint8Array): boolean {
    for (let at = 0; at < chunk.length && !over; at += sliceBytes) {
      const slice = chunk.subarray(at, Math.min(at + sliceBytes, chunk.length));
      const waitMs = bucket.spend(slice.length);
      if (waitMs > 0) {
        hold(chunk.subarray(at), slice.length, waitMs);
        return false;
      }
      receive(slice);
    }
    return true;
  }

  /** The first `spent` bytes are taken in after `waitMs`, the others in their turn; nothing more is read until then. */
  function hold(chunk: Uint8Array, spent: number, waitMs: number): void {
    held = chunk;
    connection?.pause();
    stopHolding = clock.after(waitMs, () => {
      const all = held as Uint8Array;
      held = undefined;
      receive(all.subarray(0, spent));
      if (over || !admit(all.subarray(spent)) || over) return;
      if (ended) return gone();
      connection?.resume();
    });
  }

  function receive(chunk: Uint8Array): void {
    movedAt = clock.now();
    reader.push(chunk);
    while (!over) {
      if (inPayload) {
        if (!takePayload()) break;
        continue;
      }
      const line = reader.line();
      if (line === undefined) break;
      const failed = isFault(line) ? line : takeLine(line);
      if (failed !== undefined) stop(failed);
    }
  }

  function takeLine(line: string): Fault | undefined {
    const reply = decodeReply(line);
    if (isFault(reply)) return reply;
    const get = gets[0];
    switch (reply.verb) {
      case "HELLO":
        return undefined;
      case "LANE_OK":
        opened = true;
        onEvent({ type: "open" });
        return undefined;
      case "ERROR":
      case "REJECT":
        return fault(reply.code, "theirs", reply.text, reply.retry);
      case "DATA":
        if (!opened || get === undefined || reply.offset !== get.offset || reply.payloadBytes !== get.length) {
          return fault("BAD_REPLY", "theirs", "data that nobody asked for");
        }
        inPayload = true;
        return undefined;
      default:
        return fault("BAD_REPLY", "theirs", `${reply.verb} in a lane`);
    }
  }

  /** Takes what has arrived of the first GET; false when more must arrive. */
  function takePayload(): boolean {
    const order = orders[0] as Order;
    const get = gets[0] as Range;
    const chunk = reader.some(get.length);
    if (chunk === undefined) return false;
    const failed = (filled === 0 ? readBack(order) : undefined) ?? options.write(chunk, order.offset + filled);
    if (failed !== undefined) {
      stop(failed);
      return false;
    }
    hasher.update(chunk);
    meter.add(chunk.length);
    filled += chunk.length;
    moved += chunk.length;
    if (!tested) report(); // at once: others may be asked when nothing comes
    tested = true;
    coming -= chunk.length;
    get.length -= chunk.length;
    if (get.length === 0) {
      gets.shift();
      inPayload = false;
    }
    if (ranges.length > 0) ask();
    if (filled < order.length) return true;
    orders.shift();
    filled = 0;
    onEvent({ type: "piece", index: order.index, hash: hasher.finish(new Uint8Array(HASH_BYTES)) });
    return true;
  }

  /** A piece that goes on where it broke off: its hash begins with what the disk holds of it. */
  function readBack({ offset, have = 0 }: Order): Fault | undefined {
    const buffer = new Uint8Array(Math.min(have, READ_ON_BYTES));
    while (filled < have) {
      const into = buffer.subarray(0, have - filled);
      const read = options.read(into, offset + filled);
      if (isFault(read)) return read;
      if (read < into.length) return fault("DISK_ERROR", "disk", "the .part holds less than was written", true);
      hasher.update(into);
      filled += into.length;
    }
    return undefined;
  }

  function gone(): void {
    ended = true;
    if (held === undefined) stop(fault("PEER_GONE", "network", "the connection ended", true));
  }

  void options
    .connect(options.source, (made) => {
      connection = made;
      made.send(encodeRequest({ verb: "HELLO", version: VERSION }));
      made.send(encodeRequest({ verb: "LANE", ticket: options.ticket }));
      ask();
      movedAt = clock.now();
      tick();
      return { data, drain() {}, end: gone, close: gone };
    })
    .then((made) => {
      if (isFault(made)) stop(made);
      else if (over) made.destroy();
    });

  return {
    fetch(order) {
      if (orders.length === 0) {
        movedAt = clock.now();
        meter = createRateMeter(clock); // what came before a break says nothing of now
        tested = false;
      }
      const { have = 0 } = order;
      orders.push(order);
      ranges.push({ offset: order.offset + have, length: order.length - have });
      ask();
    },
    close: () => stop(fault("CANCELLED", "ours", "closed")),
  };
}

/** Whole blocks, one at least. */
const blocksOf = (bytes: number): number => Math.max(BLOCK_BYTES, Math.floor(bytes / BLOCK_BYTES) * BLOCK_BYTES);
