// Which piece comes next.
// Invariant: after any history a piece is missing, ordered once, arrived or kept, and the sums agree.
// Never: needs a socket, a clock or a file.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createPiecePicker } from "../../src/download/pieces/piece-picker.ts";

const half = () => 0.5;
const bits = (...indexes: number[]): Uint8Array => {
  const set = new Uint8Array(2);
  for (const index of indexes) set[index >> 3] = (set[index >> 3] as number) | (0x80 >> (index & 7));
  return set;
};

describe("a scheduler", () => {
  test("gives every piece once, in order, the last one short", () => {
    const scheduler = createPiecePicker(25, 10, half);
    expect([scheduler.next(1, "all"), scheduler.next(2, "all"), scheduler.next(1, "all")]).toEqual([
      { index: 0, offset: 0, length: 10 },
      { index: 1, offset: 10, length: 10 },
      { index: 2, offset: 20, length: 5 },
    ]);
    expect(scheduler.next(1, "all")).toBeUndefined();
    expect(scheduler.orderedBytes).toBe(25);
  });

  test("of an empty file is done at once", () => {
    const scheduler = createPiecePicker(0, 10, half);
    expect([scheduler.done, scheduler.allArrived, scheduler.next(1, "all")]).toEqual([true, true, undefined]);
  });

  test("gives what a lane left, and what failed, to the next that asks", () => {
    const scheduler = createPiecePicker(40, 10, half);
    for (const _ of [0, 1, 2]) scheduler.next(1, "all");
    scheduler.arrived(1);
    expect(scheduler.abandon(1)).toBe(2);
    scheduler.failed(1);
    expect([0, 1, 2, 3].map(() => scheduler.next(2, "all")?.index)).toEqual([0, 1, 2, 3]);
    expect(scheduler.abandon(1)).toBe(0);
  });

  test("never orders from a source what it does not have", () => {
    const scheduler = createPiecePicker(160, 10, half);
    expect(scheduler.next(1, bits(3, 9))?.index).toBe(3);
    expect(scheduler.next(1, bits(3, 9))?.index).toBe(9);
    expect(scheduler.next(1, bits(3, 9))).toBeUndefined();
    expect(scheduler.next(1, new Uint8Array(0))).toBeUndefined();
  });

  test("begins with the rarest where partial holders are among the sources", () => {
    const scheduler = createPiecePicker(40, 10, half);
    scheduler.setPartials([bits(0, 1, 3), bits(0, 1), bits(0)].map((pieces, i) => ({ name: `${i}`, pieces })));
    const all = new Uint8Array([0b11110000]); // of a partial holder that happens to have everything
    expect([0, 1, 2, 3].map(() => scheduler.next(1, all)?.index)).toEqual([2, 3, 1, 0]);
  });

  test("asks a source of all for what is ours to fetch, then for what others have, then for what is theirs to fetch", () => {
    const scheduler = createPiecePicker(60, 10, half, "b");
    scheduler.setPartials([
      { name: "a", pieces: bits(0, 4) },
      { name: "c", pieces: bits(4) },
    ]);
    // Dealt to a, b and c in turn: 1 and 4 are ours; a has 0, two have 4; 2, 3 and 5 nobody has.
    expect([0, 1, 2, 3, 4, 5].map(() => scheduler.next(1, "all")?.index)).toEqual([1, 0, 4, 2, 3, 5]);
  });

  test("lets those who know each other fetch each piece of a source once", () => {
    const names = ["a", "b", "c"];
    const fetched = names.map((name) => {
      const scheduler = createPiecePicker(90, 10, half, name);
      scheduler.setPartials(names.filter((other) => other !== name).map((other) => ({ name: other, pieces: bits() })));
      return [0, 1, 2].map(() => scheduler.next(1, "all")?.index);
    });
    expect(fetched.flat().sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("of a small file begins by lot, of a large one at the beginning", () => {
    const last = () => 0; // the last of all ties
    expect(createPiecePicker(1000 * 10, 10, last).next(1, "all")?.index).toBe(999);
    expect(createPiecePicker(1001 * 10, 10, last).next(1, "all")?.index).toBe(0);
  });

  test("is done only when every piece is kept", () => {
    const scheduler = createPiecePicker(20, 10, half);
    scheduler.next(1, "all");
    scheduler.next(1, "all");
    scheduler.arrived(0);
    scheduler.arrived(1);
    expect([scheduler.allArrived, scheduler.done]).toEqual([true, false]);
    scheduler.kept(0);
    scheduler.kept(1);
    expect([scheduler.done, scheduler.keptBytes, scheduler.orderedBytes]).toEqual([true, 20, 0]);
    scheduler.failed(0);
    expect([scheduler.done, scheduler.keptBytes]).toEqual([false, 10]);
  });

  test("agrees with a plain model after any history", () => {
    const step = fc.record({
      what: fc.constantFrom("next", "arrived", "failed", "kept", "abandon"),
      lane: fc.nat(2),
      index: fc.nat(5),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.array(step, { maxLength: 80 }), (size, steps) => {
        const scheduler = createPiecePicker(size, 10, half);
        const count = Math.ceil(size / 10);
        const model = Array.from({ length: count }, () => ({ state: "missing", lane: -1 }));
        for (const { what, lane, index } of steps) {
          const piece = model[index % count] as (typeof model)[number];
          if (what === "next") {
            const order = scheduler.next(lane, "all");
            const wanted = model.findIndex(({ state }) => state === "missing");
            expect(order?.index ?? -1).toBe(wanted);
            if (wanted >= 0) model[wanted] = { state: "ordered", lane };
          } else if (what === "abandon") {
            const mine = model.filter((one) => one.state === "ordered" && one.lane === lane);
            expect(scheduler.abandon(lane)).toBe(mine.length);
            for (const one of mine) one.state = "missing";
          } else {
            scheduler[what as "arrived" | "failed" | "kept"](index % count);
            piece.state = what === "failed" ? "missing" : what;
          }
        }
        const sum = (...states: string[]) =>
          model.reduce((bytes, { state }, i) => bytes + (states.includes(state) ? scheduler.lengthOf(i) : 0), 0);
        expect(scheduler.keptBytes).toBe(sum("kept"));
        expect(scheduler.orderedBytes).toBe(sum("ordered"));
        expect(scheduler.done).toBe(model.every(({ state }) => state === "kept"));
        expect(scheduler.allArrived).toBe(model.every(({ state }) => state === "kept" || state === "arrived"));
      }),
      { numRuns: 500 },
    );
  });
});
