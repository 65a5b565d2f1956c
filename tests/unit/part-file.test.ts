// A download's two files: in which order they are written, and what a disk that refuses does to them.
// Invariant: a piece is told as kept only after the .part was synced, and then the journal.
// Never: touches a disk; both files are in memory and note what was done to them.

import { beforeEach, describe, expect, test } from "bun:test";
import type { WorkFile } from "../../src/content/part-workspace.ts";
import { decodeJournal, type JournalHead } from "../../src/download/disk/journal.ts";
import { createPartFile, type PartFile } from "../../src/download/disk/part-file.ts";
import { type Fault, fault } from "../../src/protocol/fault.ts";
import { createVirtualClock, type VirtualClock } from "../support/clock.ts";
import { good } from "../support/good.ts";

const HEAD: JournalHead = { size: 100 * 2 ** 18, pieceBytes: 2 ** 18, root: undefined };
const FULL = fault("DISK_FULL", "disk", "write", true);
let log: string[];
let refuse: string | undefined;
let slow: Promise<void> | undefined; // every sync of the .part waits for it
let slowJournal: Promise<void> | undefined; // every sync of the journal waits for it
let bytes: Buffer;
let clock: VirtualClock;
let partFile: PartFile;
let kept: number[];
let roomAtKept: number;
let lost: number[];
let faults: Fault[];

function file(name: string): WorkFile {
  const act = (what: string): Fault | undefined => {
    log.push(`${what} ${name}`);
    return refuse === `${what} ${name}` ? FULL : undefined;
  };
  return {
    size: 0,
    readAll: async () => new Uint8Array(bytes),
    async writeAt(chunk, offset) {
      const failed = act("write");
      if (failed === undefined && name === "journal") {
        const grown = Buffer.alloc(Math.max(bytes.length, offset + chunk.length));
        bytes.copy(grown);
        grown.set(chunk, offset);
        bytes = grown;
      }
      return failed;
    },
    async truncate(size) {
      if (name === "journal") bytes = bytes.subarray(0, size);
      return act("truncate");
    },
    async sync() {
      const failed = act("sync");
      await (name === "part" ? slow : slowJournal);
      return failed;
    },
    close: async () => void act("close"),
  };
}

beforeEach(() => {
  log = [];
  refuse = undefined;
  slow = undefined;
  slowJournal = undefined;
  bytes = Buffer.alloc(0);
  clock = createVirtualClock();
  kept = [];
  lost = [];
  faults = [];
  partFile = createPartFile({
    part: file("part"),
    journal: file("journal"),
    clock,
    onKept: (pieces) => {
      log.push("kept");
      roomAtKept = partFile.roomBytes();
      kept.push(...pieces.map(({ index }) => index));
    },
    onLost: (pieces) => lost.push(...pieces.map(({ index }) => index)),
    onFault: (why) => faults.push(why),
  });
});

/** The partFile of another run of the program, over what this one left. */
const nextRun = (part = file("part")): PartFile =>
  createPartFile({ part, journal: file("journal"), clock, onKept() {}, onLost() {}, onFault() {} });
const piece = (index: number) => ({ index, hash: new Uint8Array(32).fill(index) });
const journaled = () => [...(decodeJournal(bytes)?.pieces.keys() ?? [])];
const noted = () => [...(decodeJournal(bytes)?.written.keys() ?? [])];

describe("a piece", () => {
  test("a piece is synced, then journaled, then told as kept", async () => {
    expect(await partFile.begin(HEAD, false)).toBeUndefined();
    log = [];
    partFile.written(piece(3), 10);
    await partFile.flush();
    expect(log).toEqual(["sync part", "write journal", "sync journal", "kept"]);
    expect(journaled()).toEqual([3]);
  });

  test("a piece is kept by itself after a while, together with those that came meanwhile", async () => {
    await partFile.begin(HEAD, false);
    log = [];
    for (const index of [1, 2, 5]) partFile.written(piece(index), 10);
    expect(kept).toEqual([]);
    await clock.advance(1000);
    expect(kept).toEqual([1, 2, 5]);
    expect(log.filter((what) => what === "sync part").length).toBe(1);
  });

  test("a piece is kept at once when much has been written", async () => {
    await partFile.begin(HEAD, false);
    partFile.written(piece(1), 64 * 1024 * 1024);
    await clock.advance(0);
    expect(kept).toEqual([1]);
  });
});

describe("a disk that is behind", () => {
  const MIB = 2 ** 20;
  let arrive: () => void;

  beforeEach(async () => {
    await partFile.begin(HEAD, false);
    ({ promise: slow, resolve: arrive } = Promise.withResolvers<void>());
    partFile.written(piece(1), 32 * MIB); // its sync does not end
    await clock.advance(0);
  });

  test("a disk that is behind has what is written meanwhile noted, much at once and little soon, for a sudden end of the program", async () => {
    partFile.written(piece(2), 3 * MIB);
    await clock.advance(0);
    expect([journaled(), noted()]).toEqual([[], [1]]);
    partFile.written(piece(3), MIB);
    await clock.advance(0);
    expect(noted()).toEqual([1, 2, 3]);
    partFile.written(piece(4), 10);
    await clock.advance(1000);
    expect([journaled(), noted(), kept]).toEqual([[], [1, 2, 3, 4], []]);
  });

  test("a disk that is behind and then syncs: what was noted is kept, and no note takes that back", async () => {
    partFile.written(piece(2), 10);
    arrive();
    await clock.advance(2000);
    partFile.written(piece(3), 4 * MIB);
    await clock.advance(2000);
    expect([journaled(), noted(), kept]).toEqual([[1, 2, 3], [], [1, 2, 3]]);
  });

  test("a disk that is behind and then fails: no note of what it may not hold stays", async () => {
    partFile.written(piece(2), 4 * MIB);
    await clock.advance(0);
    expect(noted()).toEqual([1, 2]);
    refuse = "sync part";
    arrive();
    await clock.advance(0); // the first sync had begun well; the next one fails
    await partFile.flush();
    expect([journaled(), noted(), lost, kept]).toEqual([[1], [], [2], [1]]);
  });

  test("a disk that is behind has room for 48 MiB at first, and then for what it syncs in about a second, 512 MiB at most", async () => {
    expect(partFile.roomBytes()).toBe(16 * MIB);
    await clock.advance(320); // 100 MiB/s
    arrive();
    await clock.advance(0);
    expect(partFile.roomBytes()).toBe(100 * MIB);
    slow = undefined;
    partFile.written(piece(2), 40 * MIB); // at once
    await clock.advance(0);
    expect(partFile.roomBytes()).toBe(512 * MIB);
    ({ promise: slow, resolve: arrive } = Promise.withResolvers<void>());
    partFile.written(piece(3), 40 * MIB);
    partFile.written(piece(4), 24 * MIB);
    expect(partFile.roomBytes()).toBe(448 * MIB);
    await clock.advance(60_000); // a minute
    arrive();
    slow = undefined;
    await clock.advance(0);
    expect(partFile.roomBytes()).toBe(48 * MIB);
  });

  test("a disk that is behind has room again when it tells what is kept: that is when the next pieces are ordered", async () => {
    await clock.advance(60_000); // a minute
    expect(partFile.roomBytes()).toBe(16 * MIB);
    arrive();
    await clock.advance(0);
    expect([kept, roomAtKept]).toEqual([[1], 48 * MIB]);
  });

  test("a disk that is behind at its journal has more noted all the same", async () => {
    const { promise, resolve: arriveJournal } = Promise.withResolvers<void>();
    slowJournal = promise;
    arrive();
    await clock.advance(0);
    expect(log.at(-1)).toBe("sync journal");
    partFile.written(piece(2), 4 * MIB);
    await clock.advance(0);
    expect([noted(), kept]).toEqual([[2], []]);
    arriveJournal();
    await clock.advance(2000);
    expect([journaled(), noted(), kept]).toEqual([[1, 2], [], [1, 2]]);
  });
});

describe("a disk that refuses", () => {
  for (const what of ["write journal", "sync journal"]) {
    test(`a disk that refuses to ${what} loses nothing: the pieces are kept once it agrees again, each once`, async () => {
      await partFile.begin(HEAD, false);
      refuse = what;
      partFile.written(piece(1), 10);
      await partFile.flush();
      expect([kept, faults]).toEqual([[], [FULL]]);
      partFile.written(piece(2), 10);
      await partFile.flush();
      expect(kept).toEqual([]);
      refuse = undefined;
      await partFile.flush();
      expect(kept).toEqual([1, 2]);
      expect(journaled()).toEqual([1, 2]);
      expect(bytes.length).toBe(128 + 2 * 40);
    });
  }

  test("a disk that refuses to sync the .part takes the pieces back: the system may have forgotten them, whatever the next sync says", async () => {
    await partFile.begin(HEAD, false);
    refuse = "sync part";
    partFile.written(piece(1), 10);
    await partFile.flush();
    expect([kept, lost, faults]).toEqual([[], [1], [FULL]]);
    refuse = undefined;
    partFile.written(piece(2), 10);
    await partFile.flush();
    expect([kept, lost]).toEqual([[2], [1]]);
    expect(journaled()).toEqual([2]);
  });

  test("a disk that refuses to sync the .part is asked again, whatever there is to keep, before it is believed to work", async () => {
    await partFile.begin(HEAD, false);
    refuse = "sync part";
    partFile.written(piece(2), 10);
    await partFile.flush();
    await partFile.flush();
    expect([lost, faults]).toEqual([[2], [FULL, FULL]]);
    refuse = undefined;
    await partFile.flush();
    expect([kept, faults.length]).toEqual([[], 2]);
  });

  test("a sync of the .part never lets the journal say more than the disk", async () => {
    await partFile.begin(HEAD, false);
    refuse = "sync part";
    partFile.written(piece(1), 10);
    await partFile.flush();
    expect(journaled()).toEqual([]);
  });

  test("a disk that refuses to take a record back keeps its caller waiting, and goes before all that is kept next", async () => {
    await partFile.begin(HEAD, false);
    partFile.written(piece(1), 10);
    await partFile.flush();
    refuse = "write journal";
    let told = false;
    void partFile.disown([1]).then(() => {
      told = true;
    });
    await clock.advance(0);
    partFile.written(piece(2), 10);
    await partFile.flush();
    expect([told, kept, faults.length > 0]).toEqual([false, [1], true]);
    refuse = undefined;
    log = [];
    await partFile.flush();
    expect([told, kept, journaled()]).toEqual([true, [1, 2], [2]]);
    expect(log[0]).toBe("write journal");
  });

  test("a disk that refuses to begin is a fault", async () => {
    refuse = "write journal";
    expect(await partFile.begin(HEAD, false)).toEqual(FULL);
  });
});

test("closed files are left alone: what is under way is waited for, and what comes later is ignored", async () => {
  await partFile.begin({ ...HEAD, root: undefined }, false);
  log = [];
  partFile.written(piece(1), 10);
  void partFile.flush();
  void partFile.flush();
  void partFile.identify("a".repeat(64));
  partFile.written(piece(2), 10);
  await partFile.close();
  expect(log.slice(-2)).toEqual(["close part", "close journal"]);
  expect(log).toContain("sync journal");
  log = [];
  await partFile.identify("b".repeat(64));
  await partFile.disown([1]);
  partFile.written(piece(3), 64 * 1024 * 1024);
  await partFile.flush();
  await clock.advance(1000);
  expect(log).toEqual([]);
});

test("a .part that is too long is cut and synced, and where that fails it is as long as before: the next run cuts it", async () => {
  const cuts: number[] = [];
  const truncate = async (size: number) => void cuts.push(size);
  const long = nextRun({ ...file("part"), size: 120, truncate });
  expect([await long.trim(100), cuts]).toEqual([undefined, [100]]);
  refuse = "sync part";
  expect([await long.trim(100), cuts]).toEqual([FULL, [100, 100, 120]]);
});

describe("an earlier journal", () => {
  test("an earlier journal is found, and what is kept next is written behind its last whole record", async () => {
    await partFile.begin(HEAD, false);
    partFile.written(piece(1), 10);
    await partFile.flush();
    bytes = Buffer.concat([bytes, Buffer.from("a torn record")]);
    const again = nextRun();
    expect([...(good(await again.resume())?.pieces.keys() ?? [])]).toEqual([1]);
    again.written(piece(2), 10);
    await again.flush();
    expect(journaled()).toEqual([1, 2]);
  });

  test("an earlier journal has its notes taken back too when a sync fails: the system may go on showing what the disk never got", async () => {
    await partFile.begin(HEAD, false);
    slow = new Promise(() => {}); // the program ends before the disk answers
    for (const index of [1, 2, 3]) partFile.written(piece(index), 4 * 2 ** 20);
    await clock.advance(0);
    expect(noted()).toEqual([1, 2, 3]);
    slow = undefined;
    const again = nextRun();
    await again.resume();
    again.written(piece(2), 10); // read again, and right
    await again.flush();
    refuse = "sync part";
    again.written(piece(7), 10);
    await again.flush();
    expect([journaled(), noted()]).toEqual([[2], []]);
  });

  test("an earlier journal that is none of ours is not used", async () => {
    bytes = Buffer.from("somebody's notes".repeat(20));
    expect(await partFile.resume()).toBeUndefined();
  });

  test("an earlier journal is forgotten before the .part's bytes are, when a new one begins", async () => {
    await partFile.begin(HEAD, false);
    expect(log).toEqual(["truncate journal", "write journal", "sync journal", "truncate part"]);
  });

  test("an earlier journal of a file of no bytes begins with a sync of the .part: no piece would ever bring one", async () => {
    await partFile.begin({ ...HEAD, size: 0 }, false);
    expect(log.slice(-2)).toEqual(["truncate part", "sync part"]);
  });

  test("an earlier journal of no content in particular becomes one of the content that its layer led to, and of no other", async () => {
    await partFile.begin({ ...HEAD, root: undefined }, false);
    partFile.written(piece(1), 10);
    await partFile.flush();
    await partFile.identify("a".repeat(64));
    await partFile.identify("b".repeat(64));
    expect(decodeJournal(bytes)?.head.root).toBe("a".repeat(64));
    expect(journaled()).toEqual([1]);
  });

  test("an earlier journal takes back what was found damaged, until it is kept anew", async () => {
    await partFile.begin(HEAD, false);
    for (const index of [1, 2]) partFile.written(piece(index), 10);
    await partFile.flush();
    await partFile.disown([1]);
    expect(journaled()).toEqual([2]);
    partFile.written(piece(1), 10);
    await partFile.flush();
    expect(journaled().sort()).toEqual([1, 2]);
  });

  test("an earlier journal can be said to be of another size, and keeps its records", async () => {
    await partFile.begin(HEAD, false);
    partFile.written(piece(1), 10);
    await partFile.flush();
    expect(await partFile.retitle({ ...HEAD, size: HEAD.size - 1 })).toBeUndefined();
    expect(decodeJournal(bytes)?.head.size).toBe(HEAD.size - 1);
    expect(journaled()).toEqual([1]);
  });

  test("an earlier journal of an unknown beginning may leave the .part's bytes to be looked at", async () => {
    await partFile.begin(HEAD, true);
    expect(log).not.toContain("truncate part");
  });
});

describe("what came of a piece that is not whole", () => {
  const begun = () => [...(decodeJournal(bytes)?.begun ?? [])];

  test("what came of a piece that is not whole is journaled after a sync, and no longer once the piece is", async () => {
    await partFile.begin(HEAD, false);
    log = [];
    partFile.begun(3, 65_536);
    expect(begun()).toEqual([]);
    await partFile.flush();
    expect([log, begun()]).toEqual([["sync part", "write journal", "sync journal"], [[3, 65_536]]]);
    partFile.begun(3, 131_072);
    partFile.written(piece(3), 10);
    await partFile.flush();
    expect([begun(), journaled()]).toEqual([[], [3]]);
  });

  test("what came of a piece that is not whole is taken back when a later sync fails: it may have been written anew since", async () => {
    await partFile.begin(HEAD, false);
    partFile.begun(3, 65_536);
    await partFile.flush();
    const next = nextRun(); // it knows of it from the journal alone
    await next.resume();
    refuse = "sync part";
    next.begun(4, 65_536);
    await next.flush();
    expect(begun()).toEqual([]);
  });

  test("what came of a piece that is not whole is taken back when the piece was wrong", async () => {
    await partFile.begin(HEAD, false);
    partFile.begun(3, 65_536);
    await partFile.flush();
    partFile.forgetBegun(3);
    partFile.forgetBegun(4); // of which the journal says nothing
    await partFile.close();
    expect([begun(), bytes.length]).toEqual([[], 128 + 2 * 40]);
  });
});
