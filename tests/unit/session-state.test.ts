// The table of a download's session: every state and every event, and what follows the table.
// Invariant: what is not in the table is refused, and an end is final.
// Never: downloads anything.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  createSessionProgress,
  SESSION_TABLE,
  type SessionEvent,
  type SessionState,
} from "../../src/download/session-state.ts";
import { fault } from "../../src/protocol/fault.ts";

const STATES = Object.keys(SESSION_TABLE) as SessionState[];
const FINAL: readonly SessionState[] = ["done", "failed"];
const EVENTS = [...new Set(STATES.flatMap((state) => Object.keys(SESSION_TABLE[state])))] as SessionEvent[];
const FULL = fault("DISK_FULL", "disk");

/** The shortest way from the beginning to each state that can be reached. */
function ways(): Map<SessionState, readonly SessionEvent[]> {
  const found = new Map<SessionState, readonly SessionEvent[]>([["learning", []]]);
  for (const [state, way] of found)
    for (const [event, next] of Object.entries(SESSION_TABLE[state]))
      if (!found.has(next)) found.set(next, [...way, event as SessionEvent]);
  return found;
}

function at(state: SessionState) {
  const progress = createSessionProgress();
  for (const event of ways().get(state) ?? []) progress.go(event, FULL);
  return progress;
}

describe("the table of a download's session", () => {
  test("reaches every state from the first one, and a download may fail in each that is not the end", () => {
    expect([...ways().keys()].sort()).toEqual([...STATES].sort());
    for (const state of STATES) expect(SESSION_TABLE[state].fail).toBe(FINAL.includes(state) ? undefined : "failed");
    for (const state of FINAL) expect(SESSION_TABLE[state]).toEqual({});
  });

  for (const state of STATES)
    for (const event of EVENTS) {
      const next = SESSION_TABLE[state][event];
      const outcome = FINAL.includes(state) ? "ignored" : next === undefined ? "refused" : `followed to ${next}`;
      test(`${event} while ${state} is ${outcome}`, () => {
        const progress = at(state);
        const go = () => progress.go(event, FULL);
        if (outcome === "refused") return expect(go).toThrow(`${event} while ${state}`);
        go();
        expect(progress.state).toBe(FINAL.includes(state) ? state : (next as SessionState));
        expect(progress.isOver).toBe(FINAL.includes(progress.state));
        expect(progress.paused).toBe(progress.state === "paused" ? FULL : undefined);
      });
    }

  test("is drawn in docs/ARCHITECTURE.md with each of its states and events", () => {
    const [, section = ""] = readFileSync(join(import.meta.dir, "../../docs/ARCHITECTURE.md"), "utf8").split(
      "## The states of a download",
    );
    const drawn = new Set(section.split("```")[1]?.match(/\w+/g));
    expect([...STATES, ...EVENTS].filter((word) => !drawn.has(word))).toEqual([]);
  });

  test("gives the fault that ended it, or none when it is done", async () => {
    expect(await at("failed").over).toBe(FULL);
    const done = createSessionProgress();
    for (const event of ["asked", "resumed", "kept", "whole", "fail"] as const)
      done.go(event, event === "fail" ? FULL : undefined);
    expect(await done.over).toBeUndefined();
  });
});
