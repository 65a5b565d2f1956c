// Which request is allowed when.
// Invariant: every verb of the grammar has its place in the table, and none is allowed twice over.
// Never: looks at what a request carries.

import { describe, expect, test } from "bun:test";
import { nextPeerState, nextServerState, PEER_TABLE, SERVER_TABLE } from "../../src/protocol/conversation.ts";
import { codeOf } from "../support/good.ts";

const SERVER_VERBS = [
  "HELLO",
  "JOIN",
  "SEARCH",
  "UPDATE",
  "OFFER",
  "WITHDRAW",
  "SOURCES",
  "FIND",
  "WISH",
  "UNWISH",
  "LEAVE",
  "PING",
] as const;
const PEER_VERBS = [
  "HELLO",
  "DOWNLOAD",
  "FETCH",
  "LANE",
  "LAYER",
  "DAMAGED",
  "PIECES",
  "GET",
  "PING",
  "PROBE",
] as const;

describe("with the server", () => {
  test("before JOIN only HELLO, PING, JOIN and LEAVE are allowed; the others are NOT_JOINED", () => {
    for (const verb of SERVER_VERBS) {
      const early = ["HELLO", "PING", "JOIN", "LEAVE"].includes(verb);
      expect(codeOf(nextServerState("new", verb))).toBe(early ? "no fault" : "NOT_JOINED");
    }
  });

  test("once in, everything is allowed, JOIN again too", () => {
    for (const verb of SERVER_VERBS) expect(nextServerState("joined", verb)).toBe(verb === "LEAVE" ? "left" : "joined");
  });

  test("after LEAVE nothing is", () => {
    for (const verb of SERVER_VERBS) expect(codeOf(nextServerState("left", verb))).toBe("BAD_STATE");
  });

  test("every verb is in the table", () => {
    expect(Object.keys(SERVER_TABLE.joined).sort()).toEqual([...SERVER_VERBS].sort());
  });
});

describe("between peers", () => {
  test("GET, LAYER and PIECES need a grant; a lane carries GET only", () => {
    for (const verb of ["GET", "LAYER", "PIECES"] as const)
      expect(codeOf(nextPeerState("new", verb))).toBe("BAD_STATE");
    expect(nextPeerState("new", "DOWNLOAD")).toBe("granted");
    expect(nextPeerState("granted", "GET")).toBe("granted");
    expect(nextPeerState("new", "LANE")).toBe("lane");
    expect(nextPeerState("lane", "GET")).toBe("lane");
    for (const verb of ["LAYER", "PIECES", "DOWNLOAD", "FETCH", "LANE"] as const)
      expect(codeOf(nextPeerState("lane", verb))).toBe("BAD_STATE");
  });

  test("one conversation is about one download", () => {
    for (const verb of ["DOWNLOAD", "FETCH", "LANE"] as const)
      expect(codeOf(nextPeerState("granted", verb))).toBe("BAD_STATE");
  });

  test("every verb is in the table", () => {
    const verbs = new Set(Object.values(PEER_TABLE).flatMap((row) => Object.keys(row)));
    expect([...verbs].sort()).toEqual([...PEER_VERBS].sort());
  });
});
