// One connection that fetches pieces from one source: bytes in, written at their offset and hashed on the way.
// Invariant: a piece is reported once, after all its bytes were written; its hash is of the bytes that arrived.
// Never: decides which piece comes next or whether a hash is right; never knows it runs on a thread of its own.

import { HASH_BYTES, type PieceHasher } from "../content/merkle.ts";
import type { Address } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { STALL_SECONDS_MAX } from "../protocol/limits.ts";
import { VERSION } from "../protocol/messages.ts";
import { createReader } from "../protocol/reader.ts";
import { decodeReply } from "../protocol/replies.ts";
import { encodeRequest } from "../protocol/requests.ts";
import type { Clock } from "../transport/clock.ts";
import type { Connect, Connection } from "../transport/connection.ts";
import type { Bucket } from "./bucket.ts";

/** A piece to fetch: `length` bytes from `offset`. */
export type Order = { readonly index: number; readonly offset: number; readonly length: number };

export type LaneEvent =
  | { readonly type: "open" }
  /** Bytes arrived since the last such event. */
  | { readonly type: "moved"; readonly bytes: number }
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
  readonly bucket: Bucket;
  /** Without a byte for so long, the lane is over; STALL_SECONDS_MAX when not given. */
  readonly stallSeconds?: number | undefined;
  /** Writes all of `chunk` at `offset` of the .part file. */
  readonly write: (chunk: Uint8Array, offset: number) => Fault | undefined;
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

export function createLane(options: LaneOptions): Lane {
  const { clock, hasher, onEvent, stallSeconds = STALL_SECONDS_MAX } = options;
  const reader = createReader();
  const orders: Order[] = [];
  let connection: Connection | undefined;
  let opened = false;
  let over = false;
  let filled = 0; // bytes of orders[0] that are on the disk
  let inPayload = false;
  let direct = new Uint8Array(READ_ON_BYTES);
  let moved = 0;
  let movedAt = clock.now();
  let stopTick = () => {};

  function stop(why: Fault): void {
    if (over) return;
    over = true;
    stopTick();
    report();
    connection?.destroy();
    onEvent({ type: "over", fault: why });
  }

  function report(): void {
    if (moved === 0) return;
    onEvent({ type: "moved", bytes: moved });
    moved = 0;
  }

  /** Reports what moved, and ends a lane whose source has gone quiet. */
  function tick(): void {
    stopTick = clock.after(REPORT_MS, () => {
      report();
      if (orders.length > 0 && clock.now() - movedAt > stallSeconds * 1000) {
        return stop(fault("STALLED", "network", `no data for ${stallSeconds} s`, true));
      }
      tick();
    });
  }

  /**
   * What Bun hands over is a copy in memory of its own each time. While a piece streams in, what has come since is read
   * into one buffer instead, for a few turns, so that the thread's other lanes get theirs.
   */
  function data(chunk: Uint8Array): void {
    let waitMs = receive(chunk);
    for (let turn = 0; turn < READ_ON_TURNS && waitMs === 0 && inPayload && !over; turn++) {
      const got = connection?.readNow?.(direct) ?? 0;
      if (got === 0) return;
      waitMs = receive(direct.subarray(0, got));
      if (reader.size > 0) direct = new Uint8Array(READ_ON_BYTES); // the reader keeps its tail
    }
  }

  /** Takes in what has come; how long to wait for more where the rate is limited, in milliseconds. */
  function receive(chunk: Uint8Array): number {
    movedAt = clock.now();
    const waitMs = options.bucket.spend(chunk.length);
    if (waitMs > 0) {
      connection?.pause();
      clock.after(waitMs, () => !over && connection?.resume());
    }
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
    return waitMs;
  }

  function takeLine(line: string): Fault | undefined {
    const reply = decodeReply(line);
    if (isFault(reply)) return reply;
    const order = orders[0];
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
        if (!opened || order === undefined || reply.offset !== order.offset || reply.payloadBytes !== order.length) {
          return fault("BAD_REPLY", "theirs", "data that nobody asked for");
        }
        inPayload = true;
        return undefined;
      default:
        return fault("BAD_REPLY", "theirs", `${reply.verb} in a lane`);
    }
  }

  /** Takes what has arrived of the first order; false when more must arrive. */
  function takePayload(): boolean {
    const order = orders[0] as Order;
    const chunk = reader.some(order.length - filled);
    if (chunk === undefined) return false;
    const failed = options.write(chunk, order.offset + filled);
    if (failed !== undefined) {
      stop(failed);
      return false;
    }
    hasher.update(chunk);
    filled += chunk.length;
    moved += chunk.length;
    if (filled < order.length) return true;
    orders.shift();
    filled = 0;
    inPayload = false;
    onEvent({ type: "piece", index: order.index, hash: hasher.finish(new Uint8Array(HASH_BYTES)) });
    return true;
  }

  const gone = () => stop(fault("PEER_GONE", "network", "the connection ended", true));

  void options
    .connect(options.source, (made) => {
      connection = made;
      made.send(encodeRequest({ verb: "HELLO", version: VERSION }));
      made.send(encodeRequest({ verb: "LANE", ticket: options.ticket }));
      for (const { offset, length } of orders) made.send(encodeRequest({ verb: "GET", offset, length }));
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
      if (orders.length === 0) movedAt = clock.now();
      orders.push(order);
      connection?.send(encodeRequest({ verb: "GET", offset: order.offset, length: order.length }));
    },
    close: () => stop(fault("CANCELLED", "ours", "closed")),
  };
}
