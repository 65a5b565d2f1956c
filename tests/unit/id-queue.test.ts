// The queue of names that the index of words has yet to learn.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { createIdQueue } from "../../src/catalog/words/id-queue.ts";

test("numbers leave in the order in which they came first, each once, and may come again afterwards", () => {
  const step = fc.oneof(
    fc.record({ add: fc.integer({ min: 0, max: 40_000 }) }),
    fc.record({ add: fc.integer({ min: 0, max: 5 }) }),
    fc.record({ take: fc.integer({ min: 1, max: 3 }) }),
    fc.constant({ clear: true }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = createIdQueue();
      const model = new Set<number>();
      for (const one of steps) {
        if ("add" in one) {
          queue.add(one.add);
          model.add(one.add);
        } else if ("take" in one) {
          const ids = queue.take(one.take);
          expect(ids).toEqual([...model].slice(0, one.take));
          for (const id of ids) model.delete(id);
        } else {
          queue.clear();
          model.clear();
        }
        expect(queue.size).toBe(model.size);
      }
    }),
  );
});

test("of 300,000 numbers all leave, in order, and no set or map grows with them: growing copies the whole at once", () => {
  const { add } = Set.prototype;
  let largest = 0;
  Set.prototype.add = function (value) {
    largest = Math.max(largest, this.size);
    return add.call(this, value);
  };
  const queue = createIdQueue();
  try {
    for (let id = 0; id < 300_000; id++) queue.add(id);
  } finally {
    Set.prototype.add = add;
  }
  let next = 0;
  while (queue.size > 0) for (const id of queue.take(256)) expect(id === next++).toBeTrue();
  expect(next).toBe(300_000);
  expect(largest).toBe(0);
});
