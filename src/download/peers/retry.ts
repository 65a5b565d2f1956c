// Asking again until the answer will do: soon at first, because it may only have to be read from a cache.
// Invariant: one question at a time, with pauses between them that double up to a bound.
// Never: gives up by itself; `isLast` says when.

import type { Clock } from "../../shared/clock.ts";

const PAUSE_MS_MIN = 20;
const PAUSE_MS_MAX = 500;

export async function askAgain<T>(clock: Clock, ask: () => Promise<T>, isLast: (answer: T) => boolean): Promise<T> {
  for (let ms = PAUSE_MS_MIN; ; ms = Math.min(2 * ms, PAUSE_MS_MAX)) {
    const answer = await ask();
    if (isLast(answer)) return answer;
    await new Promise<void>((resolve) => clock.after(ms, resolve));
  }
}
