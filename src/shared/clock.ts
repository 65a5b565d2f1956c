// Time as an argument, so that deadlines can be tested without waiting for them.
// Invariant: all code that waits does so on a Clock that was handed to it.
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

/** Runs `action` every `ms` milliseconds while `isOn`, from each `wake` on: what has nothing to do wakes no thread. */
export function whileOn(clock: Clock, ms: number, isOn: () => boolean, action: () => void) {
  let cancel: (() => void) | undefined;
  function again(): void {
    action();
    cancel = isOn() ? clock.after(ms, again) : undefined;
  }
  return {
    wake(): void {
      cancel ??= clock.after(ms, again);
    },
    stop(): void {
      cancel?.();
      cancel = undefined;
    },
  };
}

/** One timer of which only the last setting counts. */
export function createTimer(clock: Clock): { set(ms: number, then: () => void): void; cancel(): void } {
  let cancel = (): void => {};
  return {
    set(ms, then) {
      cancel();
      cancel = clock.after(ms, then);
    },
    cancel: () => cancel(),
  };
}
