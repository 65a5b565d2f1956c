// What a person is told when nothing moves.
// Invariant: every wait has a reason, and it is the right one.
// Never: fetches anything; how it stands is what the test says.

import { describe, expect, test } from "bun:test";
import type { Verifier } from "../../src/download/pieces/verifier.ts";
import { type Progress, reportProgress } from "../../src/download/progress.ts";
import type { Requester } from "../../src/download/requests/requester.ts";
import { fault } from "../../src/protocol/fault.ts";
import { createVirtualClock } from "../support/clock.ts";

const FROM = { ip: "127.0.0.1", port: 1 };
const OTHER = { ip: "127.0.0.1", port: 2 };

type Scene = {
  kept?: number;
  /** Bytes that are here, kept or not. */
  here?: number;
  paused?: boolean;
  checking?: boolean;
  quietMs?: number;
  busyMs?: number;
  position?: number;
  sources?: (typeof FROM)[];
};

function waiting({
  kept = 5,
  here = kept,
  paused = false,
  checking = false,
  quietMs = 9000,
  busyMs = 0,
  position,
  sources = [OTHER],
}: Scene) {
  const told: Progress[] = [];
  const reports = reportProgress(
    {
      from: FROM,
      size: 10,
      requester: {
        keptBytes: kept,
        sources: sources.map((address) => ({ address })),
      } as unknown as Requester,
      verifier: { checking, allHere: here === 10 } as Verifier,
      meter: { add() {}, total: 0, rate: () => 0, quietMs: () => quietMs },
      partFile: { busyMs: () => busyMs },
      position: () => position,
      progress: { paused: paused ? fault("DISK_FULL", "disk") : undefined },
    },
    createVirtualClock(),
    (progress) => void told.push(progress),
  );
  reports.begin();
  reports.stop();
  return told[0]?.waiting;
}

describe("what is waited for", () => {
  test("what is waited for is nothing while bytes come, even where the disk takes its time", () => {
    expect(waiting({ quietMs: 100, busyMs: 9000 })).toBeUndefined();
  });

  test("what is waited for is the disk that refuses, and the disk that does not come back", () => {
    expect(waiting({ paused: true })).toEqual({ for: "disk", full: true });
    expect(waiting({ busyMs: 9000 })).toEqual({ for: "disk", full: false, slow: true });
  });

  test("what is waited for is our own reading of what was left, or the source's of its file, when every byte is here", () => {
    expect(waiting({ kept: 10, checking: true })).toEqual({ for: "check" });
    expect(waiting({ kept: 10 })).toEqual({ for: "root", from: FROM });
  });

  test("what is waited for is our own reading, or the disk, with every byte here and not all kept: no source is to send any", () => {
    expect(waiting({ here: 10, checking: true })).toEqual({ for: "check" });
    expect(waiting({ here: 10, busyMs: 500 })).toEqual({ for: "disk", full: false, slow: true });
    expect(waiting({ here: 10, quietMs: 100 })).toBeUndefined();
  });

  test("what is waited for is a slot where the chosen peer has put us into its queue again, and no other source sends", () => {
    expect(waiting({ position: 3, sources: [] })).toEqual({ for: "slot", from: FROM, position: 3 });
    expect(waiting({ position: 3 })).toEqual({ for: "data", from: OTHER });
  });

  test("what is waited for is data otherwise", () => {
    expect(waiting({ sources: [] })).toEqual({ for: "data", from: FROM });
  });
});
