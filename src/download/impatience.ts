// When sources that give nothing, or next to nothing, are left for others that have a file of the same name.
// Invariant: never without others, never for what our own disk or our own limit holds up.
// Never: ends anything; it says whether to.

import type { Fault } from "../protocol/fault.ts";
import { UPLOAD_BYTES_PER_SECOND_MIN } from "../protocol/limits.ts";
import type { Clock } from "../shared/clock.ts";
import { type Awaited, LEFT } from "./candidates.ts";
import type { RateMeter } from "./rate-meter.ts";

export type ImpatienceOptions = {
  readonly clock: Clock;
  readonly meter: RateMeter;
  /** Our own limit, in bytes per second. */
  readonly maxDownloadRate: number | undefined;
  /** Infinity when there are no others. */
  readonly patienceMs: (awaited: Awaited) => number;
  /** Every byte is here, or our own disk keeps us. */
  readonly waitsForNone: () => boolean;
};

/** A source that is slower than this for this long, all sources together, may be meant to keep us. */
const SLOW_BYTES_PER_SECOND = UPLOAD_BYTES_PER_SECOND_MIN / 2;
const SLOW_FACTOR = 4; // times the patience for a first byte

/** To be asked a few times a second: why to turn to others, or undefined. */
export function createImpatience(options: ImpatienceOptions): () => Fault | undefined {
  const { clock, meter, maxDownloadRate = Number.POSITIVE_INFINITY, patienceMs, waitsForNone } = options;
  const least = Math.min(SLOW_BYTES_PER_SECOND, maxDownloadRate / 4);
  let since = clock.now();
  let before = meter.total;
  return () => {
    if (waitsForNone()) {
      since = clock.now();
      before = meter.total;
      return undefined;
    }
    const ms = patienceMs("byte");
    const waited = clock.now() - since;
    if (meter.total === 0) return waited > ms ? LEFT.byte : undefined;
    if (waited <= SLOW_FACTOR * ms) return undefined;
    const rate = (meter.total - before) / (waited / 1000);
    since = clock.now();
    before = meter.total;
    return rate < least ? LEFT.byte : undefined;
  };
}
