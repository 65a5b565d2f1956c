// Where a peer stands with the server, as a table, and the requests that wait until it is in.
// Invariant: the state changes by LINK_TABLE alone; an event that the table lacks is a bug and throws.
// Never: dials, sends or keeps a timer running after `back` has resolved.

import type { Clock } from "../shared/clock.ts";

/**
 * out: not in, and nothing is under way. entering: the first JOIN is. in: joined. moving: joined, and another JOIN is
 * under way. waiting: the connection is lost, and a timer runs. returning: a JOIN of its own, or of the person's, is
 * under way on the way back.
 */
export type LinkState = "out" | "entering" | "in" | "moving" | "waiting" | "returning";
/** join: one begins, the person's or our own. due: the timer is. refused: the JOIN failed, for whatever reason. */
export type LinkEvent = "join" | "due" | "entered" | "refused" | "lost" | "leave";

/** state -> event -> state. What is missing cannot happen there: JOINs wait for each other. */
export const LINK_TABLE: Record<LinkState, Partial<Record<LinkEvent, LinkState>>> = {
  out: { join: "entering", leave: "out" },
  entering: { entered: "in", refused: "out", leave: "out" },
  in: { join: "moving", lost: "waiting", leave: "out" },
  moving: { entered: "in", refused: "in", lost: "waiting", leave: "out" },
  waiting: { join: "returning", due: "returning", leave: "out" },
  returning: { entered: "in", refused: "waiting", leave: "out" },
};

export type Standing = {
  readonly state: LinkState;
  /** The server has us, also while another JOIN is under way. */
  isIn(): boolean;
  go(event: LinkEvent): void;
  /** True when we are in again before `until`, in the clock's milliseconds. */
  back(until: number): Promise<boolean>;
};

export function createStanding(clock: Clock): Standing {
  let state: LinkState = "out";
  const waiters = new Set<(isIn: boolean) => void>();
  return {
    get state() {
      return state;
    },
    isIn: () => state === "in" || state === "moving",
    go(event) {
      const next = LINK_TABLE[state][event];
      if (next === undefined) throw new Error(`${event} while ${state}`);
      state = next;
      if (state !== "in" && state !== "out") return;
      for (const resolve of waiters) resolve(state === "in");
      waiters.clear();
    },
    back(until) {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const cancel = clock.after(until - clock.now(), () => settle(false));
      const settle = (isIn: boolean): void => {
        cancel();
        waiters.delete(settle);
        resolve(isIn);
      };
      waiters.add(settle);
      return promise;
    },
  };
}
