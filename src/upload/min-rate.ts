// Whether a downloader takes enough to keep its slot.
// Invariant: one that takes the least rate, in steps as the system tells of them, never loses it; one that takes less does.
// Never: counts time in which it was we who had nothing for it.

import { UPLOAD_BYTES_PER_SECOND_MIN, UPLOAD_RATE_SECONDS, UPLOAD_RATE_SLACK_SECONDS } from "../protocol/limits.ts";

/**
 * "theirs": it is for the other side to go on; "ours": it waits for our disk or our limit; "free": nothing is asked of
 * it, and it keeps no one waiting.
 */
export type Due = "theirs" | "ours" | "free";

export type MinRate = {
  /**
   * To be called every second or so: true when it has been too slow for UPLOAD_RATE_SECONDS. `taken`: useful bytes so far;
   * `step`: by how many it may be behind.
   */
  tooSlow(now: number, taken: number, due: Due, step: number): boolean;
};

/** `fairShare` is what our own limit leaves to each upload, in bytes per second; Infinity without a limit; `leastRate` is the slowest that may be. */
export function createMinRate(
  startedAt: number,
  fairShare: () => number,
  leastRate = UPLOAD_BYTES_PER_SECOND_MIN,
): MinRate {
  let lookedAt = startedAt;
  let seen = 0;
  /** Bytes ahead of the least rate, at most what is allowed to be behind; and for how long it has not been so many. */
  let credit: number | undefined;
  let behindMs = 0;
  return {
    tooSlow(now, taken, due, step) {
      const ms = now - lookedAt;
      lookedAt = now;
      const fresh = Math.max(0, taken - seen);
      seen = Math.max(seen, taken);
      // Half of a fair share: turns are never quite even.
      const rate = Math.min(leastRate, fairShare() / 2);
      const most = step + rate * UPLOAD_RATE_SLACK_SECONDS;
      const spent = due === "theirs" ? (rate * ms) / 1000 : 0;
      // What it was allowed to be behind it is still allowed to be when the steps become smaller.
      const before = credit ?? most;
      credit = due === "free" ? most : Math.min(Math.max(most, before), before + fresh - spent);
      if (credit >= most) behindMs = 0;
      else if (due === "theirs") behindMs += ms;
      return credit <= 0 && behindMs >= UPLOAD_RATE_SECONDS * 1000;
    },
  };
}
