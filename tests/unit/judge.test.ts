// What an earlier run left without a journal, while it is read again and the disk fails.
// Invariant: bytes that no sync vouches for are never told as sound after a sync has failed.
// Never: reads a file; what is damaged is what the test says.

import { expect, test } from "bun:test";
import { createJudge } from "../../src/transfer/judge.ts";
import { createScheduler } from "../../src/transfer/scheduler.ts";

const PIECE = 2 ** 18;
const LAYER = new Uint8Array(96).fill(1);
const hash = LAYER.slice(0, 32);

async function resumed(journaled: boolean, fails: boolean) {
  const scheduler = createScheduler(3 * PIECE, PIECE, () => 0);
  const sound: number[] = [];
  const judge = createJudge({
    scheduler,
    onSound: (pieces) => sound.push(...pieces.map(({ index }) => index)),
    onVerified() {},
    onJudged() {},
  });
  judge.setLayer(LAYER);
  const read = Promise.withResolvers<readonly number[]>();
  const pieces = new Map([
    [0, hash],
    [1, hash],
  ]);
  judge.resume({ pieces, journaled, root: undefined }, read.promise);
  if (fails) judge.lost([]);
  read.resolve([1]);
  await read.promise;
  await Promise.resolve();
  const missing: number[] = [];
  for (let order = scheduler.next(1, "all"); order !== undefined; order = scheduler.next(1, "all"))
    missing.push(order.index);
  return { sound, missing: missing.sort() };
}

test("what was read again and found right is sound, and synced next", async () => {
  expect(await resumed(false, false)).toEqual({ sound: [0], missing: [1, 2] });
});

test("…unless a sync failed meanwhile: the system may have forgotten what it showed, so all of it is fetched again", async () => {
  expect(await resumed(false, true)).toEqual({ sound: [], missing: [0, 1, 2] });
});

test("what a journal vouches for was synced once, and is kept whatever a later sync says", async () => {
  expect((await resumed(true, true)).missing).toEqual([1, 2]);
});
