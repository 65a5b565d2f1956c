// What an earlier run left without a journal, while it is read again and the disk fails.
// Invariant: bytes that no sync vouches for are never told as sound after a sync has failed.
// Never: reads a file; what is damaged is what the test says.

import { expect, test } from "bun:test";
import { createPiecePicker } from "../../src/download/pieces/piece-picker.ts";
import { createVerifier } from "../../src/download/pieces/verifier.ts";

const PIECE = 2 ** 18;
const LAYER = new Uint8Array(96).fill(1);
const hash = LAYER.slice(0, 32);

const PIECES = new Map([
  [0, hash],
  [1, hash],
]);
const NONE = new Map<number, Uint8Array>();

/** Pieces 0 and 1 of three were left, of which 1 is damaged. */
async function resumed(as: "kept" | "written", fails: boolean) {
  const picker = createPiecePicker(3 * PIECE, PIECE, () => 0);
  const sound: number[] = [];
  const verifier = createVerifier({
    picker,
    partFile: { written: ({ index }) => void sound.push(index) },
    onVerified() {},
    onRead() {},
    lookAgain: async () => [],
    onChecked() {},
  });
  verifier.setLayer(LAYER);
  const read = Promise.withResolvers<void>();
  const left = { kept: NONE, written: NONE, begun: new Map(), root: undefined, [as]: PIECES };
  const resuming = verifier.resume(left, async (pieces) => {
    await read.promise;
    return pieces.has(1) ? [1] : [];
  });
  if (fails) verifier.lost([]);
  read.resolve();
  await resuming;
  const missing: number[] = [];
  for (let order = picker.next(1, "all"); order !== undefined; order = picker.next(1, "all")) missing.push(order.index);
  return { sound, missing: missing.sort() };
}

test("what was read again and found right is sound, and synced next", async () => {
  expect(await resumed("written", false)).toEqual({ sound: [0], missing: [1, 2] });
});

test("what was read again is fetched again when a sync failed meanwhile: the system may have forgotten what it showed", async () => {
  expect(await resumed("written", true)).toEqual({ sound: [], missing: [0, 1, 2] });
});

test("what a journal vouches for was synced once, and is kept whatever a later sync says", async () => {
  expect((await resumed("kept", true)).missing).toEqual([1, 2]);
});

test("what was only written is read again first: it is what is synced next, and is not to wait for all the rest", async () => {
  const asked: number[][] = [];
  const told: string[] = [];
  const verifier = createVerifier({
    picker: createPiecePicker(3 * PIECE, PIECE, () => 0),
    partFile: { written: ({ index }) => void told.push(`sound ${index}`) },
    onVerified: (indexes) => told.push(`verified ${indexes}`),
    onRead: (indexes) => told.push(`read ${indexes}`),
    lookAgain: async () => [],
    onChecked: () => told.push("not whole"),
  });
  verifier.setLayer(LAYER);
  told.length = 0;
  const left = { kept: new Map([[0, hash]]), written: new Map([[1, hash]]), begun: new Map(), root: undefined };
  await verifier.resume(left, async (pieces) => {
    asked.push([...pieces.keys()]);
    return [];
  });
  expect(asked).toEqual([[1], [0]]);
  expect(told).toEqual(["sound 1", "read 1", "not whole", "verified 0", "not whole", "not whole"]);
});

test("what was found right is told run by run, and what players wait for is read first", async () => {
  const pieces = 100;
  const told: number[] = [];
  const asked: number[][] = [];
  const picker = createPiecePicker(pieces * PIECE, PIECE, () => 0);
  const verifier = createVerifier({
    picker,
    partFile: { written() {} },
    onVerified: (indexes) => void told.push(...indexes),
    onRead() {},
    lookAgain: async () => [],
    onChecked() {},
  });
  verifier.setLayer(new Uint8Array(pieces * 32).fill(1));
  const kept = new Map(Array.from({ length: pieces }, (_, index) => [index, hash] as const));
  await verifier.resume({ kept, written: NONE, begun: new Map(), root: undefined }, async (run) => {
    asked.push([...run.keys()]);
    if (asked.length === 1) picker.setUrgent([90, 91, 92]); // a player comes
    if (asked.length === 2) expect(told).toEqual(asked[0] as number[]);
    return run.has(92) ? [92] : [];
  });
  expect(asked.slice(1, 4)).toEqual([[90, 91], [92], asked[3] as number[]]);
  expect(asked[0]?.length).toBeLessThan(pieces / 4);
  expect(asked.flat().sort((a, b) => a - b)).toEqual([...kept.keys()]);
  expect(told.length).toBe(pieces - 1);
  expect(picker.next(1, "all")?.index).toBe(92);
});
