// A clock that stands still until a test moves it: deadlines are reached without being waited for.

import type { Clock } from "../../src/transport/clock.ts";

export type VirtualClock = Clock & {
  /** Runs every timer that falls due in the next `ms`, in order, each at its own time. */
  advance(ms: number): Promise<void>;
  /** Timers that are set. */
  readonly pending: number;
};

/** What one step may set off before the next: replies that are written, promises that are kept. */
const settle = () => new Promise<void>((turn) => setImmediate(turn));

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
      await settle();
      const end = now + ms;
      for (;;) {
        const due = [...timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
        if (due === undefined) break;
        const [id, { at, then }] = due;
        timers.delete(id);
        now = Math.max(now, at);
        then();
        await settle();
      }
      now = end;
      await settle();
    },
    get pending() {
      return timers.size;
    },
  };
}
