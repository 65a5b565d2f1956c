// How many searches a connection may have answered now: a token bucket, counted in whole requests.
// Invariant: over any time t, at most rate × t plus one second's worth pass.
// Never: reads a clock; whoever asks has looked already.

export type Allowance = {
  /** How many of `wanted` requests may be answered at `now` milliseconds. */
  may(wanted: number, now: number): number;
  /** So many were. */
  spend(count: number): void;
  /** Milliseconds from `now` until one more may be: 0, or enough for a handful to be answered together. */
  waitMs(now: number): number;
};

/** Whoever has to wait waits for at least so many milliseconds' worth. */
const GRAIN_MS = 10;

export function createAllowance(perSecond: number, now: number): Allowance {
  let left = perSecond;
  let at = now;
  const refill = (time: number): void => {
    left = Math.min(perSecond, left + ((time - at) * perSecond) / 1000);
    at = time;
  };
  return {
    may(wanted, time) {
      if (left < wanted) refill(time);
      return Math.min(wanted, Math.floor(left));
    },
    spend(count) {
      left -= count;
    },
    waitMs(time) {
      if (left >= 1) return 0;
      refill(time);
      return left >= 1 ? 0 : Math.max(GRAIN_MS, Math.ceil(((1 - left) / perSecond) * 1000));
    },
  };
}
