// Waiting for a condition, never for a time: every wait has a deadline and says what it waited for.

const POLL_MILLISECONDS = 15;
export const DEADLINE_SECONDS = 50;

/** Polls `check` until it gives a value; `what` and `seen` are for the person who reads the failure. */
export async function until<T>(
  what: string,
  check: () => T | undefined | false | Promise<T | undefined | false>,
  seconds = DEADLINE_SECONDS,
  seen: () => string = () => "",
): Promise<T> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value as T;
    if (performance.now() > end) throw new Error(`waited ${seconds} s for ${what}\n${seen()}`);
    await Bun.sleep(POLL_MILLISECONDS);
  }
}
