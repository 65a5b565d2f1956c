// The power goes at every step of a download's bookkeeping: what is found afterwards is true, and no more than true.
// Invariant: a record that is found stands for bytes that are on the disk; a piece told as kept is found again.
// Never: a real disk; what a cache would lose is lost by choice, sector by sector.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { decodeJournal } from "../../src/download/disk/journal.ts";
import { createPartFile } from "../../src/download/disk/part-file.ts";
import { isFault } from "../../src/protocol/fault.ts";
import { contentOf, PIECE, same } from "../simulation/contents.ts";
import { createDisk, type SimDisk } from "../simulation/disk.ts";
import { hashRange } from "../simulation/peer.ts";
import { createRandom } from "../simulation/random.ts";
import { createProcess, createTime, type Time } from "../simulation/time.ts";

setDefaultTimeout(60_000);

const CONTENT = contentOf(7); // five pieces and a bit
const { hashed, bytes } = CONTENT;
const PIECES = hashed.layer.length / 32;
const HEAD = { size: hashed.size, pieceBytes: hashed.pieceBytes, root: hashed.root };
const hashAt = (index: number) => hashed.layer.slice(index * 32, (index + 1) * 32);
const bytesAt = (index: number) => bytes.subarray(index * PIECE, Math.min((index + 1) * PIECE, bytes.length));

type Act = "write" | "half" | "flush" | "wait" | "fails" | "forgets" | "works" | "full" | "room";
type DownloadSession = { readonly disk: SimDisk; readonly kept: ReadonlySet<number>; readonly steps: number };

/** Does the acts, and cuts the power after so many steps of the disk; Infinity cuts it at the end. */
function run(seed: number, acts: readonly Act[], cutAt: number, disk?: SimDisk, time = createTime()): DownloadSession {
  const made = disk ?? createDisk(time, createRandom(seed));
  const process = createProcess(time);
  const open = (name: string) => made.file(name) ?? made.create(name);
  const part = open("part");
  const journal = open("journal");
  const kept = new Set<number>();
  const partFile = createPartFile({
    part: made.work(part, process),
    journal: made.work(journal, process),
    clock: process.clock,
    onKept: (pieces) => {
      for (const { index } of pieces) kept.add(index);
    },
    onLost: (pieces) => {
      for (const { index } of pieces) missing.add(index);
    },
    onFault() {},
  });
  const missing = new Set(Array.from({ length: PIECES }, (_, index) => index));
  let next: "half" | undefined;

  const play = async (): Promise<void> => {
    const found = await partFile.resume();
    if (isFault(found) || found === undefined) await partFile.begin(HEAD, false);
    else for (const index of found.pieces.keys()) missing.delete(index);
    for (const act of acts) {
      if (act === "flush") await partFile.flush();
      else if (act === "wait") await new Promise<void>((resolve) => process.clock.after(300, resolve));
      else if (act === "fails" || act === "forgets" || act === "works") made.health.sync = act;
      else if (act === "full" || act === "room") made.health.full = act === "full";
      else write(act);
    }
  };
  // As a lane does: the bytes first, all of them, and only then a word to partFile.
  const write = (act: "write" | "half"): void => {
    const index = missing.values().next().value;
    if (index === undefined) return;
    const all = bytesAt(index);
    const half = all.length >> 1;
    if (act === "half" && next === undefined) {
      if (made.write(part, all.subarray(0, half), index * PIECE) === undefined) next = "half";
      return;
    }
    next = undefined;
    missing.delete(index);
    // Written again from its beginning, as a piece is that was begun by a lane that ended.
    if (made.write(part, all, index * PIECE) === undefined)
      partFile.written({ index, hash: hashAt(index) }, all.length);
    else missing.add(index);
  };
  let over = false;
  void play().then(() => {
    over = true;
  });
  let steps = 0;
  time.run(60_000, () => steps++ >= cutAt || over);
  process.kill();
  made.cutPower();
  return { disk: made, kept, steps };
}

function journaled(disk: SimDisk): ReadonlyMap<number, Uint8Array> {
  const file = disk.file("journal");
  return (file && decodeJournal(file.bytes.subarray(0, file.size))?.pieces) ?? new Map();
}

/** What is wrong with what the disk holds after the cut; empty is right. */
function flaws({ disk, kept }: DownloadSession): string[] {
  const part = disk.file("part");
  const found = journaled(disk);
  const wrong = [...found].filter(([index, hash]) => {
    if (part === undefined || !same(hash, hashAt(index))) return true;
    const layer = hashRange(disk, part, HEAD, index, 1);
    return isFault(layer) || !same(layer, hash);
  });
  return [
    ...wrong.map(([index]) => `piece ${index} is journaled and not on the disk`),
    ...[...kept].filter((index) => !found.has(index)).map((index) => `piece ${index} was kept and is lost`),
  ];
}

const CALM: readonly Act[] = ["write", "write", "flush", "write", "wait", "write", "write", "flush", "write", "flush"];

describe("a power cut", () => {
  test("a power cut at every single step of a download leaves no record without its bytes, and loses nothing that was kept", () => {
    const steps = run(1, CALM, Number.POSITIVE_INFINITY).steps;
    expect(steps).toBeGreaterThan(20);
    let cuts = 0;
    for (let cutAt = 0; cutAt <= steps; cutAt++) {
      for (let seed = 1; seed <= 25; seed++) {
        cuts++;
        expect(flaws(run(seed, CALM, cutAt)), `cut at ${cutAt}, seed ${seed}`).toEqual([]);
      }
    }
    expect(cuts).toBeGreaterThan(500);
  });

  test("a power cut at any step, whatever the disk refused before, leaves no record without its bytes", () => {
    const act = fc.constantFrom<Act>(
      "write",
      "write",
      "write",
      "half",
      "flush",
      "wait",
      "fails",
      "works",
      "full",
      "room",
    );
    fc.assert(
      fc.property(fc.integer(), fc.array(act, { maxLength: 20 }), fc.nat(60), (seed, acts, cutAt) => {
        expect(flaws(run(seed, acts, cutAt))).toEqual([]);
      }),
      { numRuns: 1200 },
    );
  });

  test("a power cut after a sync that failed and was forgotten by the system leaves no record without its bytes", () => {
    const act = fc.constantFrom<Act>("write", "write", "flush", "wait", "forgets", "works");
    fc.assert(
      fc.property(fc.integer(), fc.array(act, { maxLength: 20 }), fc.nat(60), (seed, acts, cutAt) => {
        expect(flaws(run(seed, acts, cutAt))).toEqual([]);
      }),
      { numRuns: 800 },
    );
  });

  test("a power cut again and again while the download goes on never takes a kept piece back, and it is whole in the end", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const time: Time = createTime();
      const disk = createDisk(time, createRandom(seed));
      const random = createRandom(seed * 7919);
      const kept = new Set<number>();
      for (let round = 0; round < 12 && journaled(disk).size < PIECES; round++) {
        const cutAt = round < 8 ? random.int(5, 30) : Number.POSITIVE_INFINITY;
        const after = run(seed, CALM, cutAt, disk, time);
        for (const index of after.kept) kept.add(index);
        expect(flaws({ ...after, kept }), `seed ${seed}, round ${round}`).toEqual([]);
      }
      expect(journaled(disk).size).toBe(PIECES);
    }
  });
});
