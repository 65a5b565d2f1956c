// Which piece comes next.
// Invariant: after any history a piece is missing, ordered once, arrived or kept, and the sums agree.
// Never: needs a socket, a clock or a file.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createPiecePicker } from "../../src/download/pieces/piece-picker.ts";
import { urgentPieces } from "../../src/download/pieces/urgent-pieces.ts";
import { PIECE_BYTES_MIN } from "../../src/protocol/limits.ts";
import { createBitfield, setBit } from "../../src/shared/bitfield.ts";

const half = () => 0.5;
const bits = (...indexes: number[]): Uint8Array => {
  const set = new Uint8Array(2);
  for (const index of indexes) set[index >> 3] = (set[index >> 3] as number) | (0x80 >> (index & 7));
  return set;
};

describe("a piece picker", () => {
  test("a piece picker gives every piece once, in order, the last one short", () => {
    const picker = createPiecePicker(25, 10, half);
    expect([picker.next(1, "all"), picker.next(2, "all"), picker.next(1, "all")]).toEqual([
      { index: 0, offset: 0, length: 10 },
      { index: 1, offset: 10, length: 10 },
      { index: 2, offset: 20, length: 5 },
    ]);
    expect(picker.next(1, "all")).toBeUndefined();
    expect(picker.orderedBytes).toBe(25);
  });

  test("a piece picker of an empty file is done at once", () => {
    const picker = createPiecePicker(0, 10, half);
    expect([picker.done, picker.allArrived, picker.next(1, "all")]).toEqual([true, true, undefined]);
  });

  test("a piece picker gives what a lane left, and what failed, to the next that asks", () => {
    const picker = createPiecePicker(40, 10, half);
    for (const _ of [0, 1, 2]) picker.next(1, "all");
    picker.arrived(1);
    expect(picker.abandon(1)).toBe(2);
    picker.failed(1);
    expect([0, 1, 2, 3].map(() => picker.next(2, "all")?.index)).toEqual([0, 1, 2, 3]);
    expect(picker.abandon(1)).toBe(0);
  });

  test("a piece picker never orders from a source what it does not have", () => {
    const picker = createPiecePicker(160, 10, half);
    expect(picker.next(1, bits(3, 9))?.index).toBe(3);
    expect(picker.next(1, bits(3, 9))?.index).toBe(9);
    expect(picker.next(1, bits(3, 9))).toBeUndefined();
    expect(picker.next(1, new Uint8Array(0))).toBeUndefined();
  });

  test("a piece picker begins with the rarest where partial holders are among the sources", () => {
    const picker = createPiecePicker(40, 10, half);
    for (const [i, pieces] of [bits(0, 1, 3), bits(0, 1), bits(0)].entries()) picker.setPartial(`${i}`, pieces);
    const all = new Uint8Array([0b11110000]); // of a partial holder that happens to have everything
    expect([0, 1, 2, 3].map(() => picker.next(1, all)?.index)).toEqual([2, 3, 1, 0]);
  });

  test("a piece picker asks a source of all for what is ours to fetch, then for what others have, then for what is theirs to fetch", () => {
    const picker = createPiecePicker(60, 10, half);
    picker.setPartial("a", bits(0, 3));
    picker.setPartial("c", bits(3));
    // Of three slots ours has 2 and 3; one other downloader has 0, two have 3; none has 1, 2, 4 and 5.
    const ours = { slot: 1, slots: 3 };
    expect([0, 1, 2, 3, 4, 5].map(() => picker.next(1, "all", "", { part: ours })?.index)).toEqual([2, 0, 3, 1, 4, 5]);
  });

  test("a piece picker counts a partial holder by what it has last, and no more once it is none", () => {
    const picker = createPiecePicker(40, 10, half);
    const all = new Uint8Array([0b11110000]);
    picker.setPartial("a", bits(0, 1, 2));
    picker.setPartial("b", bits(0));
    picker.setPartial("a", bits(1, 2, 3));
    picker.setPartial("b", undefined);
    expect(picker.next(1, all)?.index).toBe(0);
  });

  test("a piece picker lets those who have the slots of a source fetch each piece of it once", () => {
    const fetched = [0, 1, 2].map((slot) => {
      const picker = createPiecePicker(90, 10, half);
      return [0, 1, 2].map(() => picker.next(1, "all", "", { part: { slot, slots: 3 } })?.index);
    });
    expect(fetched.flat().sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("a piece picker of a small file begins by lot, of a large one at the beginning", () => {
    const last = () => 0; // the last of all ties
    expect(createPiecePicker(1000 * 10, 10, last).next(1, "all")?.index).toBe(999);
    expect(createPiecePicker(1001 * 10, 10, last).next(1, "all")?.index).toBe(0);
    const second = createPiecePicker(1001 * 10, 10, last); // in order from its part on
    expect([0, 1].map(() => second.next(1, "all", "", { part: { slot: 1, slots: 2 } })?.index)).toEqual([501, 502]);
  });

  test("a piece picker is done only when every piece is kept", () => {
    const picker = createPiecePicker(20, 10, half);
    picker.next(1, "all");
    picker.next(1, "all");
    picker.arrived(0);
    picker.arrived(1);
    expect([picker.allArrived, picker.done]).toEqual([true, false]);
    picker.kept(0);
    picker.kept(1);
    expect([picker.done, picker.keptBytes, picker.orderedBytes]).toEqual([true, 20, 0]);
    picker.failed(0);
    expect([picker.done, picker.keptBytes]).toEqual([false, 10]);
  });

  test("a piece picker agrees with a plain model after any history", () => {
    const step = fc.record({
      what: fc.constantFrom("next", "arrived", "failed", "kept", "abandon", "urgent"),
      lane: fc.nat(2),
      index: fc.nat(5),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.array(step, { maxLength: 80 }), (size, steps) => {
        const picker = createPiecePicker(size, 10, half);
        const count = Math.ceil(size / 10);
        const model = Array.from({ length: count }, () => ({ state: "missing", lane: -1 }));
        let urgent: number[] = [];
        for (const { what, lane, index } of steps) {
          const piece = model[index % count] as (typeof model)[number];
          if (what === "next") {
            const order = picker.next(lane, "all");
            const isMissing = (at: number) => model[at]?.state === "missing";
            const wanted = [...urgent, ...model.keys()].find(isMissing) ?? -1;
            expect(order?.index ?? -1).toBe(wanted);
            if (wanted >= 0) model[wanted] = { state: "ordered", lane };
          } else if (what === "urgent") {
            urgent = [index, lane];
            picker.setUrgent(urgent);
          } else if (what === "abandon") {
            const mine = model.filter((one) => one.state === "ordered" && one.lane === lane);
            expect(picker.abandon(lane)).toBe(mine.length);
            for (const one of mine) one.state = "missing";
          } else {
            picker[what as "arrived" | "failed" | "kept"](index % count);
            piece.state = what === "failed" ? "missing" : what;
          }
        }
        const sum = (...states: string[]) =>
          model.reduce((bytes, { state }, i) => bytes + (states.includes(state) ? picker.lengthOf(i) : 0), 0);
        expect(picker.keptBytes).toBe(sum("kept"));
        expect(picker.orderedBytes).toBe(sum("ordered"));
        expect(picker.done).toBe(model.every(({ state }) => state === "kept"));
        expect(picker.allArrived).toBe(model.every(({ state }) => state === "kept" || state === "arrived"));
      }),
      { numRuns: 500 },
    );
  });
});

describe("urgent pieces", () => {
  const BYTES = PIECE_BYTES_MIN;
  const picker = (pieces = 20) => createPiecePicker(pieces * BYTES, BYTES, () => 0);

  test("come before all others, in their order, each once, and only from a source that has them", () => {
    const some = picker();
    some.setUrgent([7, 3, 8]);
    const bits = createBitfield(20);
    setBit(bits, 8);
    expect(some.next(1, bits)?.index).toBe(8);
    expect([some.next(2, "all"), some.next(2, "all")].map((order) => order?.index)).toEqual([7, 3]);
    expect([3, 7, 8]).not.toContain(some.next(2, "all")?.index as number);
    some.failed(3);
    expect(some.next(1, "all")?.index).toBe(3);
  });

  test("never keep a lane from what else is missing", () => {
    const some = picker(3);
    some.setUrgent([1]);
    const orders = [1, 2, 3].map((lane) => some.next(lane, "all")?.index);
    expect(orders[0]).toBe(1);
    expect(new Set(orders)).toEqual(new Set([0, 1, 2]));
    expect(some.isPlayed()).toBe(true);
    some.setUrgent([]);
    expect(some.isPlayed()).toBe(false);
  });

  test("are those from each stream on, by turns, 8 MiB or 10 s of them, whichever is less, and two at least", () => {
    const file = { size: 100 * BYTES, pieceBytes: BYTES };
    expect(urgentPieces([], file, 1e9)).toEqual([]);
    expect(urgentPieces([0, 50 * BYTES + 1], file, 0)).toEqual([0, 50, 1, 51]);
    expect(urgentPieces([0], file, 1e9)).toHaveLength(32);
    expect(urgentPieces([0], file, (4 * BYTES) / 10)).toHaveLength(4);
    expect(urgentPieces([5, 5, 6 * BYTES], file, 0)).toEqual([0, 6, 1, 7]);
    expect(urgentPieces([100 * BYTES - 1, 100 * BYTES], file, 1e9)).toEqual([99]);
  });
});
