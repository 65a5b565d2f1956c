// How fast bytes move: the rate over the last seconds, and how long the rest will take at it.
// Invariant: what is shown was measured; with no bytes in the window the rate is 0 and there is no estimate.
// Never: smooths a stall away.

import type { Clock } from "../shared/clock.ts";

const WINDOW_MS = 5000;
/** What comes within so long is one sample. */
const SAMPLE_MS = 50;

export type RateMeter = {
  /** Bytes that have just moved. */
  add(bytes: number): void;
  /** Bytes per second over the last WINDOW_MS (less at the beginning). */
  rate(): number;
  /** Bytes that have moved since the beginning. */
  readonly total: number;
  /** Milliseconds since bytes last moved. */
  quietMs(): number;
};

export function createRateMeter(clock: Clock): RateMeter {
  const startedAt = clock.now();
  let samples: { at: number; bytes: number }[] = [];
  let movedAt = startedAt;
  let total = 0;
  return {
    add(bytes) {
      movedAt = clock.now();
      total += bytes;
      const last = samples.at(-1);
      if (last !== undefined && movedAt - last.at < SAMPLE_MS) last.bytes += bytes;
      else samples.push({ at: movedAt, bytes });
      if (samples.length > 256) samples = samples.filter(({ at }) => at > movedAt - WINDOW_MS);
    },
    rate() {
      const now = clock.now();
      samples = samples.filter(({ at }) => at > now - WINDOW_MS);
      const bytes = samples.reduce((sum, sample) => sum + sample.bytes, 0);
      const seconds = Math.max(0.25, Math.min(WINDOW_MS, now - startedAt) / 1000);
      return bytes / seconds;
    },
    get total() {
      return total;
    },
    quietMs: () => clock.now() - movedAt,
  };
}
