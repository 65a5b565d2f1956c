// What the server is told of our files between two JOINs, name by name.
// Invariant: at most UNANSWERED_MAX names are told and not answered; ANNOUNCED_PER_SECOND_MAX names a second are told, after
// a burst of as many.
// Never: tells a name twice that has changed twice while it waited; what is so when its turn comes is told.

import { type Clock, createTimer } from "../shared/clock.ts";
import { createTokenBucket, REQUESTS } from "../shared/token-bucket.ts";

/** 100,000 files that appear at once are told in 100 s, and cost the server less than a JOIN of them. */
export const ANNOUNCED_PER_SECOND_MAX = 1000;
export const UNANSWERED_MAX = 32;

export type Announcements = {
  /** Something is new about the file of this name. */
  add(name: string): void;
  close(): void;
};

/** `tell` sends what is so of a name, and resolves with the server's answer. */
export function createAnnouncements(clock: Clock, tell: (name: string) => Promise<void>): Announcements {
  const waiting = new Set<string>();
  const bucket = createTokenBucket(ANNOUNCED_PER_SECOND_MAX, clock, REQUESTS);
  const timer = createTimer(clock);
  let unanswered = 0;

  function next(): void {
    for (const name of waiting) {
      if (unanswered >= UNANSWERED_MAX) return;
      if (bucket.take(1) === 0) return timer.set(bucket.waitMs(), next);
      waiting.delete(name);
      unanswered += 1;
      void tell(name).finally(() => {
        unanswered -= 1;
        next();
      });
    }
  }
  return {
    add(name) {
      waiting.add(name);
      next();
    },
    close() {
      waiting.clear();
      timer.cancel();
    },
  };
}
