// How much one lane may have on order: enough to keep its link full, and no pieces that other lanes would bring sooner.
// Invariant: never below one piece; never above WINDOW_BYTES_MAX and the piece that follows what is nearly here.
// Never: decides which piece; the piece picker does.

import { UPLOAD_BYTES_PER_SECOND_MIN } from "../../protocol/limits.ts";
import type { Clock } from "../../shared/clock.ts";
import { createRateMeter } from "../rate-meter.ts";

export type RequestWindow = {
  /** Bytes on order. */
  readonly ordered: number;
  /** How long what is still to come of them takes at the lane's rate; Infinity when nothing has come yet. */
  secondsLeft(): number;
  /** How long a piece of so many bytes takes that is ordered now; Infinity until a piece has come. */
  secondsFor(bytes: number): number;
  /** The same as secondsLeft, from what has come of the first piece while that is all that there is to go by. */
  secondsExpected(): number;
  /** Whether anything has come at all. */
  readonly tested: boolean;
  /** Since a piece came, or was ordered from an idle lane; 0 with nothing on order. */
  waitedSeconds(): number;
  /** Bytes per second when something last came. */
  rate(): number;
  /** Whether `bytes` more may be ordered now; while something is played, behind one piece or PLAYED_SECONDS of them. */
  hasRoom(bytes: number, isPlayed?: boolean): boolean;
  order(bytes: number): void;
  /** Bytes of what is on order have come. */
  moved(bytes: number): void;
  /** A piece is whole. */
  arrived(bytes: number): void;
};

const WINDOW_BYTES_MAX = 16 * 1024 * 1024;
/** What is on order should last this long, or this many round trips where that is longer. */
const WINDOW_SECONDS = 0.25;
const WINDOW_ROUND_TRIPS = 4;
/** A lane reports what has come up to so much later. */
const REPORT_SECONDS = 0.25;
/** What a player jumps to waits so long for what is on order before it, or for the piece under way. */
const PLAYED_SECONDS = 0.1;
/** The first window of a far lane: its link takes so much in before the first piece is whole. */
const FAR_LEAST_BYTES = 512 * 1024;

/** With a longer round trip one connection cannot fill the link. */
export const FAR_MS = 20;

/** From this rate on (bytes per second) two threads fetch faster than one. */
const FAST_RATE = 32 * 1024 * 1024;

/** A far lane that brings so much (bytes per second) may be held up by its distance. */
const FAR_RATE = 1024 * 1024;

/**
 * Lanes to one source whose best lane has this `rate`: a fast source keeps two threads busy when it is the only one, and
 * a far link takes several connections to be filled. A slow source among others has one lane, so that less is on order
 * there, which others would bring sooner.
 */
export function lanesWanted(roundTripMs: number, alone: boolean, rate: number): number {
  const isFar = roundTripMs > FAR_MS;
  if (alone) return isFar ? 4 : rate >= FAST_RATE ? 2 : 1;
  return isFar && rate >= FAR_RATE ? 2 : 1;
}

/** Below this limit of our own (bytes per second) a second lane to a source would be idle. */
const FEW_LANES_RATE = 1024 * 1024;

/** How many lanes to a source of those `wanted` our own limit (bytes per second) leaves. */
export function lanesWithin(limit: number | undefined, wanted: number): number {
  return limit !== undefined && limit < FEW_LANES_RATE ? 1 : wanted;
}

/** How many sources, up to `most`, our own limit (bytes per second) lets us take from fast enough for each to keep us. */
export function sourcesWithin(limit: number | undefined, most: number): number {
  return limit === undefined
    ? most
    : Math.max(1, Math.min(most, Math.floor(limit / (2 * UPLOAD_BYTES_PER_SECOND_MIN))));
}

export function createRequestWindow(pieceBytes: number, roundTripMs: number, clock: Clock): RequestWindow {
  const windowSeconds = Math.max(WINDOW_SECONDS, (WINDOW_ROUND_TRIPS * roundTripMs) / 1000);
  const meter = createRateMeter(clock);
  const least = roundTripMs > FAR_MS ? Math.max(FAR_LEAST_BYTES, pieceBytes) : pieceBytes;
  let limit = least;
  let ordered = 0;
  let came = 0; // of what is on order
  let any = false;
  let since = 0;
  let lastRate = 0;

  /** A piece is told at once, and what has come up to REPORT_SECONDS later. */
  const toCome = (): number => ordered - Math.max(0, came);

  return {
    get ordered() {
      return ordered;
    },
    get tested() {
      return any;
    },
    waitedSeconds: () => (ordered === 0 ? 0 : (clock.now() - since) / 1000),
    secondsLeft: () => (any ? (ordered - came) / Math.max(1, meter.rate()) : Number.POSITIVE_INFINITY),
    secondsFor: (bytes) => (any ? (toCome() + bytes) / Math.max(1, lastRate) : Number.POSITIVE_INFINITY),
    secondsExpected() {
      const rate = any ? meter.rate() : came / Math.max(0.001, (clock.now() - since) / 1000);
      return toCome() / Math.max(1, rate);
    },
    rate: () => lastRate,
    // The next is ordered before the only one is whole: what is left of it lasts until the order is there.
    hasRoom: (bytes, isPlayed = false) =>
      ordered === 0 ||
      (ordered + bytes <= limit &&
        (!isPlayed || ordered <= pieceBytes || ordered + bytes <= lastRate * PLAYED_SECONDS)) ||
      (ordered <= pieceBytes && ordered - came <= lastRate * (windowSeconds + REPORT_SECONDS)),
    order(bytes) {
      if (ordered === 0) since = clock.now();
      ordered += bytes;
    },
    moved(bytes) {
      came += bytes;
    },
    arrived(bytes) {
      any = true;
      since = clock.now();
      ordered -= bytes;
      came = ordered === 0 ? 0 : came - bytes;
      meter.add(bytes);
      lastRate = meter.rate();
      // As TCP opens its window: as much again as came, up to what the rate is good for.
      const worth = Math.max(pieceBytes, lastRate * windowSeconds);
      limit = Math.min(limit + bytes, worth, Math.max(least, WINDOW_BYTES_MAX));
    },
  };
}
