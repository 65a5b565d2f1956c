// When the next bytes may be read from the disk, at so many bytes per second.
// Invariant: bytes are earned before they are read; a slow disk saves up SAVED_MS_MAX of the rate at most.
// Never: waits; the caller does.

import type { Clock } from "../../shared/clock.ts";

/** A disk that could not keep up with the rate may go faster than it for so long. */
const SAVED_MS_MAX = 1000;

/** `rate` in bytes per second; undefined: no limit. */
export function createReadRate(rate: number | undefined, clock: Clock) {
  let paidUntil: number | undefined;
  return {
    /** Milliseconds to wait before a task of `bytes` begins; 0 or less: at once. */
    waitMs(bytes: number): number {
      if (rate === undefined) return 0;
      paidUntil ??= clock.now();
      return paidUntil + (bytes / rate) * 1000 - clock.now();
    },
    spend(bytes: number): void {
      if (rate !== undefined && paidUntil !== undefined)
        paidUntil = Math.max(paidUntil + (bytes / rate) * 1000, clock.now() - SAVED_MS_MAX);
    },
    /** There is nothing to read: time passes that earns nothing. */
    rest(): void {
      paidUntil = undefined;
    },
  };
}
