// A token bucket: bytes or requests per second that may pass, with a short burst.
// Invariant: over any time t, at most rate × t plus one burst passes.
// Never: holds bytes or requests; the sender asks first.

import type { Clock } from "./clock.ts";

/** The unit is the caller's: bytes or requests. `now` is the clock's time, for a caller that has just read it. */
export type TokenBucket = {
  /** Units per second; Infinity where everything passes. */
  readonly rate: number;
  /** How many of `wanted` may pass now; they do not count until they are spent. */
  available(wanted: number, now?: number): number;
  /** How many of `wanted` may pass now; 0 means ask again after `waitMs`. They count as passed. */
  take(wanted: number, now?: number): number;
  /** Milliseconds until a worthwhile amount may pass. */
  waitMs(now?: number): number;
  /** Counts units whether they may pass or not; how long to wait, in milliseconds, until all that was counted may have. */
  spend(units: number, now?: number): number;
};

/** How a bucket empties and fills: burst and smallest worthwhile amount (at least one unit) in seconds of the rate. */
type Grain = { readonly burstSeconds: number; readonly leastSeconds: number; readonly waitMsMin: number };

const BYTES: Grain = { burstSeconds: 0.1, leastSeconds: 0.01, waitMsMin: 1 };
/** Requests are counted singly; after a wait a handful is answered together. */
export const REQUESTS: Grain = { burstSeconds: 1, leastSeconds: 0, waitMsMin: 10 };

/** `perSecond` undefined: everything passes. */
export function createTokenBucket(
  perSecond: number | undefined,
  clock: Pick<Clock, "now">,
  { burstSeconds, leastSeconds, waitMsMin } = BYTES,
): TokenBucket {
  if (perSecond === undefined) {
    const all = (wanted: number) => wanted;
    return { rate: Number.POSITIVE_INFINITY, available: all, take: all, waitMs: () => 0, spend: () => 0 };
  }
  const rate = perSecond;
  const burst = Math.max(1, rate * burstSeconds);
  const least = Math.max(1, rate * leastSeconds);
  let tokens = burst;
  let filledAt = clock.now();

  function fill(now: number): void {
    tokens = Math.min(burst, tokens + ((now - filledAt) / 1000) * rate);
    filledAt = now;
  }

  function available(wanted: number, now = clock.now()): number {
    fill(now);
    return tokens < Math.min(least, wanted) ? 0 : Math.min(wanted, Math.floor(tokens));
  }

  return {
    rate,
    available,
    take(wanted, now) {
      const taken = available(wanted, now);
      tokens -= taken;
      return taken;
    },
    waitMs(now = clock.now()) {
      fill(now);
      return Math.max(waitMsMin, ((least - tokens) / rate) * 1000);
    },
    spend(units, now = clock.now()) {
      fill(now);
      tokens -= units;
      return tokens >= 0 ? 0 : (-tokens / rate) * 1000;
    },
  };
}
