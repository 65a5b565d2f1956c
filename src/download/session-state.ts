// How a download stands, from its first question to its end: one table, and the state that follows it.
// Invariant: the state changes only along the table, and an end is final.
// Never: does what a state asks for; session.ts does.

import type { Fault } from "../protocol/fault.ts";

/**
 * learning: the source is asked for the piece layer. resuming: what an earlier run left is read. fetching: pieces are
 * fetched, and the layer is asked for again where it is not known yet. paused: the disk refuses. finishing: every piece
 * is kept, and the file is looked at once more. done: it may have its name. failed: a fault ended it, or the person.
 */
export type SessionState = "learning" | "resuming" | "fetching" | "paused" | "finishing" | "done" | "failed";
/** asked: the layer is known, or is not waited for. refused, accepted: by the disk. damaged: pieces are missing again. */
export type SessionEvent = "asked" | "resumed" | "refused" | "accepted" | "kept" | "damaged" | "whole" | "fail";

/** state -> event -> state. What is missing cannot happen there; after an end nothing counts any more. */
export const SESSION_TABLE: Record<SessionState, Partial<Record<SessionEvent, SessionState>>> = {
  learning: { asked: "resuming", fail: "failed" },
  resuming: { resumed: "fetching", fail: "failed" },
  fetching: { refused: "paused", kept: "finishing", fail: "failed" },
  paused: { accepted: "fetching", fail: "failed" },
  finishing: { damaged: "fetching", whole: "done", fail: "failed" },
  done: {},
  failed: {},
};

export type SessionProgress = {
  /** Takes an event, and why it came. Throws on one that cannot happen; ignores all after the end. */
  go(event: SessionEvent, why?: Fault): void;
  readonly state: SessionState;
  readonly isOver: boolean;
  /** Why the disk refuses, while paused. */
  readonly paused: Fault | undefined;
  /** Resolves at the end: undefined when done, else what failed. */
  readonly over: Promise<Fault | undefined>;
};

export function createSessionProgress(): SessionProgress {
  const { promise: over, resolve } = Promise.withResolvers<Fault | undefined>();
  let state: SessionState = "learning";
  let paused: Fault | undefined;
  const isOver = () => state === "done" || state === "failed";
  return {
    go(event, why) {
      if (isOver()) return;
      const next = SESSION_TABLE[state][event];
      if (next === undefined) throw new Error(`${event} while ${state}`);
      state = next;
      paused = state === "paused" ? why : undefined;
      if (isOver()) resolve(why);
    },
    get state() {
      return state;
    },
    get isOver() {
      return isOver();
    },
    get paused() {
      return paused;
    },
    over,
  };
}
