// One limit of bytes per second that several threads keep together: a token bucket in memory that they share.
// Invariant: over any time t, all threads together pass at most rate × t plus one burst; each waits for its own bytes only.
// Never: holds bytes.

import type { Clock } from "./clock.ts";

/** Plain data, which crosses thread borders: the rate, and when all that was counted may have passed. */
export type SharedRate = BigInt64Array<SharedArrayBuffer>;

/** What a reader of bytes asks of it. */
export type SharedBucket = {
  /** Bytes per second; Infinity where everything passes. */
  readonly rate: number;
  /** Counts bytes whether they may pass or not; how long to wait, in milliseconds, until all that was counted may have. */
  spend(bytes: number): number;
};

/** Bytes per second, 0 for no limit. */
const RATE = 0;
/** In nanoseconds of the clock that all threads agree on. */
const DUE = 1;

const NS_PER_MS = 1e6;
const NS_PER_SECOND = 1e9;
/** What may pass at once after a rest, as time at the rate. */
const BURST_NS = 100n * BigInt(NS_PER_MS);

/** `bytesPerSecond` undefined: everything passes. */
export function createSharedRate(bytesPerSecond: number | undefined): SharedRate {
  const shared = new BigInt64Array(new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT));
  setSharedRate(shared, bytesPerSecond);
  return shared;
}

/** Another rate from now on; what was counted before is forgotten. */
export function setSharedRate(shared: SharedRate, bytesPerSecond: number | undefined): void {
  Atomics.store(shared, DUE, 0n);
  Atomics.store(shared, RATE, BigInt(bytesPerSecond === undefined ? 0 : Math.max(1, Math.round(bytesPerSecond))));
}

/** Bytes per second; undefined where everything passes. */
export function sharedRateOf(shared: SharedRate): number | undefined {
  return Number(Atomics.load(shared, RATE)) || undefined;
}

/**
 * The rate as one thread spends it. `clock` shows what those of the other threads show: a thread whose clock is behind
 * waits longer by as much, and takes nothing from the others.
 */
export function sharedBucketOf(shared: SharedRate, clock: Pick<Clock, "now">): SharedBucket {
  return {
    get rate() {
      return sharedRateOf(shared) ?? Number.POSITIVE_INFINITY;
    },
    spend(bytes) {
      const rate = sharedRateOf(shared);
      if (rate === undefined) return 0;
      const now = BigInt(Math.round(clock.now() * NS_PER_MS));
      const cost = BigInt(Math.ceil((bytes / rate) * NS_PER_SECOND));
      for (;;) {
        const due = Atomics.load(shared, DUE);
        const next = (due > now - BURST_NS ? due : now - BURST_NS) + cost;
        if (Atomics.compareExchange(shared, DUE, due, next) === due) return Math.max(0, Number(next - now) / NS_PER_MS);
      }
    },
  };
}
