// Whether a downloader takes what it asked for fast enough to keep its slot.
// Invariant: judged over whole spans of PACE_SECONDS in which it had a GET open all along; our own rate limit excuses it.
// Never: punishes one that asked for nothing; the idle deadline is for that.

import { PACE_BYTES_PER_SECOND_MIN, PACE_SECONDS } from "../protocol/limits.ts";

export type Pace = {
  /** To be called every second or so: true when it has been too slow for a whole span. */
  tooSlow(now: number, sent: number, sending: boolean): boolean;
};

/** `fairShare` is what our own limit leaves to each upload, in bytes per second; Infinity without a limit; `leastRate` is the slowest that may be. */
export function createPace(startedAt: number, fairShare: () => number, leastRate = PACE_BYTES_PER_SECOND_MIN): Pace {
  let spanAt = startedAt;
  let spanSent = 0;
  return {
    tooSlow(now, sent, sending) {
      if (!sending) {
        spanAt = now;
        spanSent = sent;
        return false;
      }
      const seconds = (now - spanAt) / 1000;
      if (seconds < PACE_SECONDS) return false;
      const rate = (sent - spanSent) / seconds;
      spanAt = now;
      spanSent = sent;
      // Half of a fair share: turns are never quite even.
      return rate < Math.min(leastRate, fairShare() / 2);
    },
  };
}
