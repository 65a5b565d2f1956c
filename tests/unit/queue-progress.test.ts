// Whether a queue's places mean that we get on.
// Invariant: no sequence of places, however long, renews patience more often than a queue has places.
// Never: waits.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { createQueueProgress } from "../../src/download/peers/queue-progress.ts";
import { QUEUE_MAX } from "../../src/protocol/limits.ts";

test("the first position in a queue counts, and each that is better than ever", () => {
  const isBetter = createQueueProgress();
  expect([5, 5, 4, 6, 4, 3, 1, 1].map(isBetter)).toEqual([true, false, true, false, false, true, true, false]);
});

test("a position that falls slowly from 2^53 renews nothing", () => {
  const isBetter = createQueueProgress();
  expect(isBetter(Number.MAX_SAFE_INTEGER)).toBe(true);
  for (let i = 1; i < 1000; i++) expect(isBetter(Number.MAX_SAFE_INTEGER - i)).toBe(false);
  expect(isBetter(QUEUE_MAX)).toBe(true);
});

test("no queue renews it more often than it has places", () => {
  fc.assert(
    fc.property(fc.array(fc.maxSafeNat(), { maxLength: 500 }), (places) => {
      const isBetter = createQueueProgress();
      expect(places.filter(isBetter).length).toBeLessThanOrEqual(QUEUE_MAX + 1);
    }),
  );
});
