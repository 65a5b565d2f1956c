// How much one lane may have on order: enough to keep its link full, little enough that a slow one hoards nothing.
// Invariant: never below what keeps the source busy while one piece is judged, never above ORDERED_BYTES_MAX.
// Never: decides which piece; that is the scheduler's.

import type { Clock } from "../transport/clock.ts";
import { createMeter } from "./meter.ts";

export type Window = {
  /** Bytes on order, and how long they will take at the lane's rate; Infinity when nothing has come yet. */
  readonly ordered: number;
  secondsLeft(): number;
  /** Whether anything has come at all. */
  readonly tested: boolean;
  /** Since something came, or was ordered of one that had nothing to do; 0 with nothing on order. */
  waitedSeconds(): number;
  /** Bytes per second when something last came. */
  rate(): number;
  /** Whether `bytes` more may be ordered now. */
  hasRoom(bytes: number): boolean;
  order(bytes: number): void;
  arrived(bytes: number): void;
};

const ORDERED_BYTES_MAX = 16 * 1024 * 1024;
/** A large piece alone keeps a source busy; of small ones it takes two. */
const LARGE_PIECE_BYTES = 4 * 1024 * 1024;
/** What is on order should last this long, or this many round trips where that is longer. */
const AHEAD_SECONDS = 0.25;
const AHEAD_ROUND_TRIPS = 4;

/** Beyond this distance one connection cannot fill the link (DESIGN, measured facts). */
export const FAR_MS = 10;

/** Connections to one source: two keep two threads busy when it is the only one, and a far one needs more to be filled. */
export function lanesWanted(roundTripMs: number, alone: boolean): number {
  return (roundTripMs > FAR_MS ? 2 : 1) * (alone ? 2 : 1);
}

export function createWindow(pieceBytes: number, roundTripMs: number, clock: Clock): Window {
  const aheadSeconds = Math.max(AHEAD_SECONDS, (AHEAD_ROUND_TRIPS * roundTripMs) / 1000);
  const meter = createMeter(clock);
  const least = pieceBytes >= LARGE_PIECE_BYTES ? pieceBytes : 2 * pieceBytes;
  let limit = least;
  let ordered = 0;
  let any = false;
  let since = 0;
  let lastRate = 0;
  return {
    get ordered() {
      return ordered;
    },
    get tested() {
      return any;
    },
    waitedSeconds: () => (ordered === 0 ? 0 : (clock.now() - since) / 1000),
    secondsLeft: () => (any ? ordered / Math.max(1, meter.rate()) : Number.POSITIVE_INFINITY),
    rate: () => lastRate,
    hasRoom: (bytes) => ordered === 0 || ordered + bytes <= limit,
    order(bytes) {
      if (ordered === 0) since = clock.now();
      ordered += bytes;
    },
    arrived(bytes) {
      any = true;
      since = clock.now();
      lastRate = meter.rate();
      ordered -= bytes;
      meter.add(bytes);
      // As TCP opens its window: as much again as came, up to what the rate is good for.
      const worth = Math.max(least, meter.rate() * aheadSeconds);
      limit = Math.min(limit + bytes, worth, Math.max(least, ORDERED_BYTES_MAX));
    },
  };
}
