// A token bucket: bytes per second that may pass, with a short burst.
// Invariant: over any time t, at most rate × t plus one burst passes.
// Never: holds bytes; whoever wants to send asks first.

import type { Clock } from "./clock.ts";

export type TokenBucket = {
  /** Bytes per second; Infinity where everything passes. */
  readonly rate: number;
  /** How many of `wanted` bytes may pass now; 0 means ask again after `waitMs`. They count as passed. */
  take(wanted: number): number;
  /** Milliseconds until a worthwhile amount may pass. */
  waitMs(): number;
  /** Counts bytes whether they may pass or not; how long to wait, in milliseconds, until all that was counted may have. */
  spend(bytes: number): number;
};

/** What may pass at once after a pause, in seconds of the rate. */
const BURST_SECONDS = 0.1;
/** Smaller amounts than this, in seconds of the rate, are not worth waking up for. */
const GRAIN_SECONDS = 0.01;

/** `bytesPerSecond` undefined: everything passes. */
export function createTokenBucket(bytesPerSecond: number | undefined, clock: Clock): TokenBucket {
  if (bytesPerSecond === undefined) {
    return { rate: Number.POSITIVE_INFINITY, take: (wanted) => wanted, waitMs: () => 0, spend: () => 0 };
  }
  const rate = bytesPerSecond;
  const burst = Math.max(1, rate * BURST_SECONDS);
  const grain = Math.max(1, rate * GRAIN_SECONDS);
  let tokens = burst;
  let filledAt = clock.now();

  function fill(): void {
    const now = clock.now();
    tokens = Math.min(burst, tokens + ((now - filledAt) / 1000) * rate);
    filledAt = now;
  }

  return {
    rate,
    take(wanted) {
      fill();
      if (tokens < Math.min(grain, wanted)) return 0;
      const taken = Math.min(wanted, Math.floor(tokens));
      tokens -= taken;
      return taken;
    },
    waitMs() {
      fill();
      return Math.max(1, ((grain - tokens) / rate) * 1000);
    },
    spend(bytes) {
      fill();
      tokens -= bytes;
      return tokens >= 0 ? 0 : (-tokens / rate) * 1000;
    },
  };
}
