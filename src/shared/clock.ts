// Time as an argument, so that deadlines can be tested without waiting for them.
// Invariant: whoever waits in this program waits on a Clock that was handed to it.
// Never: used to measure what a person sees as a date.

export type Clock = {
  /** Milliseconds, monotonic. */
  now(): number;
  /** Runs `then` once after `ms` milliseconds; the returned function cancels it. */
  after(ms: number, then: () => void): () => void;
};

export const systemClock: Clock = {
  now: () => performance.now(),
  after: (ms, then) => {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
};

/** Runs `action` every `ms` milliseconds until the returned function is called. */
export function every(clock: Clock, ms: number, action: () => void): () => void {
  let cancel = clock.after(ms, function again() {
    cancel = clock.after(ms, again);
    action();
  });
  return () => cancel();
}
