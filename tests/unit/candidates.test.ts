// Which peer a download asks next, and how long it waits where others are left.
// Invariant: no peer is left where there is no other; one that keeps us waiting comes again a few times only.
// Never: asks a peer.

import { expect, test } from "bun:test";
import { type Candidates, createCandidates, LEFT } from "../../src/download/candidates.ts";
import { OTHER_CONTENT, OTHER_SIZE } from "../../src/download/pieces/resume.ts";
import { fault } from "../../src/protocol/fault.ts";

const at = (port: number) => ({ ip: "127.0.0.1", port });
const GONE = fault("PEER_UNREACHABLE", "network");

/** The ports asked, in order, where each fails as `why` says until none is left. */
function asked(candidates: Candidates, why: (port: number, apart: boolean) => typeof GONE): string[] {
  const order: string[] = [];
  for (let one = candidates.next(); one !== undefined; one = candidates.next()) {
    order.push(`${one.address.port}${one.apart ? " apart" : ""}`);
    candidates.failed(one, why(one.address.port, one.apart));
    if (order.length > 20) break;
  }
  return order;
}

test("the chosen peer comes first, then each of the others once, also one that is named twice", () => {
  expect(asked(createCandidates(at(2), [at(1), at(2), at(3), at(1)]), () => GONE)).toEqual(["2", "1", "3"]);
});

test("one that sends nothing comes again after the others, three times in all", () => {
  const candidates = createCandidates(at(1), [at(2)]);
  expect(asked(candidates, (port) => (port === 1 ? LEFT.byte : GONE))).toEqual(["1", "2", "1", "1"]);
});

test("a queue is taken up again as often as there are others", () => {
  const order = asked(createCandidates(at(1), [at(2)]), () => LEFT.slot);
  expect(order.slice(0, 6)).toEqual(["1", "2", "1", "2", "1", "2"]);
});

test("a content that lies here already goes before one that would have to lie beside it", () => {
  for (const other of [OTHER_CONTENT, OTHER_SIZE])
    expect(asked(createCandidates(at(1), [at(2)]), (port) => (port === 1 ? other : GONE))).toEqual([
      "1",
      "2",
      "1 apart",
    ]);
});

test("patience with a peer doubles each time, and has no end when no other is left", () => {
  const candidates = createCandidates(at(1), [at(2)]);
  const first = candidates.next();
  if (first === undefined) throw new Error("no candidate");
  const again = { ...first, round: 2 };
  expect([candidates.patienceMs(first, "byte"), candidates.patienceMs(again, "byte")]).toEqual([15_000, 60_000]);
  candidates.next();
  expect(candidates.patienceMs(first, "byte")).toBe(Number.POSITIVE_INFINITY);
});
