// A clock that stands still until a test moves it: deadlines are reached without being waited for.

import type { Clock } from "../../src/shared/clock.ts";

export type VirtualClock = Clock & {
  /** Runs every timer that falls due in the next `ms`, in order, each at its own time. */
  advance(ms: number): Promise<void>;
  /** Timers that are set. */
  readonly pending: number;
};

/** A turn of the event loop: replies are written in it, promises kept. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export function createVirtualClock(): VirtualClock {
  const timers = new Map<number, { at: number; then: () => void }>();
  let now = 0;
  let made = 0;
  return {
    now: () => now,
    after(ms, then) {
      const id = made++;
      timers.set(id, { at: now + Math.max(0, ms), then });
      return () => void timers.delete(id);
    },
    async advance(ms) {
      await turn();
      const end = now + ms;
      for (;;) {
        const due = [...timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
        if (due === undefined) break;
        const [id, { at, then }] = due;
        timers.delete(id);
        now = Math.max(now, at);
        then();
        await turn();
      }
      now = end;
      await turn();
    },
    get pending() {
      return timers.size;
    },
  };
}
