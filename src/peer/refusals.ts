// Files of which the server did not take the UPDATE, and when each is told again.
// Invariant: a file is news once, until the server has taken it or it is no longer shared.
// Never: sends anything; it calls what it was handed.

import type { Clock } from "../shared/clock.ts";

/** The first pause before a file is told again, doubled up to the longest. */
export const REFUSED_SECONDS_MIN = 5;
export const REFUSED_SECONDS_MAX = 300;

type Refused = { seconds: number; cancel: () => void; readonly again: () => void };

export type Refusals = {
  /** `name` was refused; `again` is called later when `retry`, else when nudged. True when it was not known to be refused. */
  add(name: string, retry: boolean, again: () => void): boolean;
  /** The server has taken it, or it is shared no more. */
  forget(name: string): void;
  /** Something has changed: one that waits to be nudged is told again. */
  nudge(): void;
  /** Files that are refused now. */
  readonly count: number;
  close(): void;
};

export function createRefusals(clock: Clock): Refusals {
  const refused = new Map<string, Refused>();
  const forget = (name: string): void => {
    refused.get(name)?.cancel();
    refused.delete(name);
  };
  return {
    add(name, retry, again) {
      const before = refused.get(name);
      forget(name);
      const seconds = Math.min((before?.seconds ?? REFUSED_SECONDS_MIN / 2) * 2, REFUSED_SECONDS_MAX);
      refused.set(name, { seconds, cancel: retry ? clock.after(seconds * 1000, again) : () => {}, again });
      return before === undefined;
    },
    forget,
    nudge() {
      const [first] = refused.values();
      first?.again();
    },
    get count() {
      return refused.size;
    },
    close() {
      for (const name of [...refused.keys()]) forget(name);
    },
  };
}
