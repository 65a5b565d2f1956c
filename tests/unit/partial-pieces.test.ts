// Pieces that broke off: who may go on with them, and who is to blame when one turns out wrong.
// Invariant: nobody is blamed for bytes that somebody else may have sent, and nobody spoils pieces for others for long.
// Never: a disk or a network; bytes are numbers here.

import { expect, test } from "bun:test";
import { createPartialPieces, EARLIER_RUN } from "../../src/download/pieces/partial-pieces.ts";

const BLOCK = 16 * 1024;

test("whole blocks count, and another source may go on behind them", () => {
  const begun = createPartialPieces();
  begun.came(7, 3 * BLOCK + 5, "a", 0);
  expect([begun.have(7, "a"), begun.have(7, "b"), begun.bytes]).toEqual([3 * BLOCK, 3 * BLOCK, 3 * BLOCK]);
  begun.came(7, 5 * BLOCK, "b", 3 * BLOCK);
  expect([begun.have(7, "c"), begun.bytes, [...begun.all()]]).toEqual([5 * BLOCK, 5 * BLOCK, [[7, 5 * BLOCK]]]);
  begun.forget(7);
  expect([begun.have(7, "a"), begun.bytes, [...begun.usableBy("a")]]).toEqual([0, 0, []]);
});

test("less than a block is nothing", () => {
  const begun = createPartialPieces();
  begun.came(7, BLOCK - 1, "a", 0);
  expect([...begun.all()]).toEqual([]);
});

test("a piece that one source sent all of, over several connections, has one culprit", () => {
  const begun = createPartialPieces();
  begun.came(7, 3 * BLOCK, "a", 0);
  begun.came(7, 9 * BLOCK, "a", 3 * BLOCK);
  expect(begun.wrong(7, "a", 9 * BLOCK)).toBe(true);
});

test("a piece that was fetched from its beginning again has one culprit, whichever source had begun it", () => {
  const begun = createPartialPieces();
  begun.came(7, 3 * BLOCK, "a", 0);
  expect(begun.wrong(7, "b", 0)).toBe(true);
});

test("of two sources' bytes neither is blamed; then the piece comes whole from one, and that one is", () => {
  const begun = createPartialPieces();
  begun.came(7, 3 * BLOCK, "a", 0);
  expect(begun.wrong(7, "b", 3 * BLOCK)).toBe(false);
  expect(begun.have(7, "c")).toBe(0);
  begun.came(7, 2 * BLOCK, "c", 0);
  expect([begun.have(7, "a"), begun.have(7, "c")]).toEqual([0, 2 * BLOCK]); // it may go on with its own
  begun.came(7, 4 * BLOCK, "c", 2 * BLOCK);
  expect(begun.wrong(7, "c", 4 * BLOCK)).toBe(true);
});

test("a source that may have spoiled one piece spoils no other", () => {
  const begun = createPartialPieces();
  begun.came(7, 3 * BLOCK, "liar", 0);
  begun.came(8, 3 * BLOCK, "liar", 0);
  begun.came(9, 3 * BLOCK, "honest", 0);
  expect(begun.wrong(7, "victim", 3 * BLOCK)).toBe(false);
  expect(["honest", "victim", "liar"].map((source) => begun.have(8, source))).toEqual([0, 0, 3 * BLOCK]);
  expect(["honest", "other", "liar", "victim"].map((source) => begun.have(9, source))).toEqual([
    3 * BLOCK,
    3 * BLOCK,
    0,
    0,
  ]);
  expect([...begun.usableBy("honest")]).toEqual([9]);
});

test("what an earlier run left has no known source: the one that goes on with it is not blamed", () => {
  const begun = createPartialPieces();
  begun.came(7, 3 * BLOCK, EARLIER_RUN, 0);
  expect(begun.wrong(7, "a", 3 * BLOCK)).toBe(false);
});
