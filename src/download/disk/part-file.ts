// A download's two files: the .part that lanes write, and the journal of what is safely in it.
// Invariant: sync, THEN journal, THEN "kept": the journal is never ahead of the disk (DESIGN 6), whatever a sync says later.
// Never: judges a hash, blocks the thread while the disk works, or touches a file once it is closed.

import type { WorkFile } from "../../content/part-workspace.ts";
import { type Fault, isFault } from "../../protocol/fault.ts";
import type { Root } from "../../protocol/messages.ts";
import type { Clock } from "../../shared/clock.ts";
import { createDirtyLimit } from "./dirty-limit.ts";
import {
  encodeBegun,
  encodeLoss,
  encodePiece,
  encodeWritten,
  type JournalContent,
  type JournalHead,
  type JournalPiece,
} from "./journal.ts";
import { createJournalFile } from "./journal-file.ts";

export type PartFileOptions = {
  readonly part: WorkFile;
  readonly journal: WorkFile;
  readonly clock: Clock;
  /** These pieces are synced and journaled. */
  readonly onKept: (pieces: readonly JournalPiece[]) => void;
  /** A sync of the .part failed: these were written and may not be there; nobody but their source has them for certain. */
  readonly onLost: (pieces: readonly JournalPiece[]) => void;
  /** The disk refuses; `flush` tries again. */
  readonly onFault: (why: Fault) => void;
};

export type PartFile = {
  /** What an earlier run left; undefined when there is nothing that can be used. */
  recover(): Promise<JournalContent | undefined | Fault>;
  /** Begins a journal with this head, forgetting an earlier one, and its bytes too unless `keepPart`. */
  begin(head: JournalHead, keepPart: boolean): Promise<Fault | undefined>;
  /** From now on the journal is of this content, where it was of none in particular. */
  identify(root: Root): Promise<void>;
  /** The records of an earlier run stand, and are of this content; the .part is trimmed to it. */
  retitle(head: JournalHead): Promise<Fault | undefined>;
  /** What the .part holds beyond the content's end goes. */
  trim(size: number): Promise<Fault | undefined>;
  /**
   * These were journaled and are damaged: bytes that take their place are as new, and are synced before they count.
   * Resolves when the journal says so, however often the disk refuses first.
   */
  disown(indexes: readonly number[]): Promise<void>;
  /** The bytes of a piece have been written to the .part; they will be kept soon. */
  written(piece: JournalPiece, bytes: number): void;
  /** The first `bytes` of a piece that is not whole have been written; the journal says so once they are synced. */
  begun(index: number, bytes: number): void;
  /** What was begun of a piece is worth nothing. */
  forgetBegun(index: number): void;
  /** How many more bytes may be written before some of those that are there are kept. */
  roomBytes(): number;
  /** Keeps everything written so far now. */
  flush(): Promise<void>;
  /** How long the disk has been at what it was asked last, in milliseconds; 0 when it has nothing to do. */
  busyMs(): number;
  /** Closes both files, once nothing is under way with them. */
  close(): Promise<void>;
};

const MIB = 1024 * 1024;
const SYNC_BYTES = 32 * MIB;
const SYNC_MS = 250;
// With so much not noted, or after so long, it is noted as written: the program's sudden end costs no more of it, however
// far the disk is behind.
const NOTE_BYTES = 4 * MIB;
const NOTE_MS = 500;

export function createPartFile(options: PartFileOptions): PartFile {
  const { part, clock } = options;
  const journal = createJournalFile(options.journal);
  let waiting: JournalPiece[] = [];
  let waitingBytes = 0;
  let unnoted: JournalPiece[] = []; // the last that were written
  let unnotedBytes = 0;
  const begunNow = new Map<number, number>(); // pieces begun, and how much of each; of the next sync
  let begunThere = new Set<number>(); // the journal says that something of these is there
  let claimed = new Set<number>(); // an earlier run noted these as written, and they are not kept yet
  let syncingBytes = 0;
  const ahead = createDirtyLimit();
  const losses: { records: Uint8Array[]; written: () => void }[] = []; // not in the journal yet
  let doubted = false; // the last sync of the .part failed: the next flush asks the disk, whatever there is to keep
  let syncing: Promise<void> | undefined;
  let busySince: number | undefined;
  let closed = false; // whoever is late says it to nobody: a closed file's number may be another's
  let cancelTimer: (() => void) | undefined;
  let cancelNote: (() => void) | undefined;

  async function recover(): Promise<JournalContent | undefined | Fault> {
    const found = await journal.recover();
    if (isFault(found)) return found;
    claimed = new Set(found?.written.keys());
    begunThere = new Set(found?.begun.keys());
    return found;
  }

  async function begin(wanted: JournalHead, keepPart: boolean): Promise<Fault | undefined> {
    busySince = clock.now();
    claimed.clear();
    begunThere.clear();
    // The journal goes first: bytes that it does not vouch for harm nobody.
    const failed =
      (await journal.begin(wanted)) ??
      // What an earlier content had beyond this one's end would end up in the file.
      (keepPart ? await trim(wanted.size) : await part.truncate(0)) ??
      // Of a file of no bytes no piece is ever synced, and what was cut off must be gone before it has its name.
      (wanted.size === 0 ? await part.sync() : undefined);
    busySince = undefined;
    return failed;
  }

  async function trim(size: number): Promise<Fault | undefined> {
    if (part.size <= size) return undefined;
    // Safe at once: with every piece journaled, no other sync would come before the file has its name.
    const failed = (await part.truncate(size)) ?? (await part.sync());
    // Where it was not, the next run is to see that there is something to cut.
    if (failed !== undefined) await part.truncate(part.size);
    return failed;
  }

  async function disown(indexes: readonly number[]): Promise<void> {
    if (indexes.length === 0 || closed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    losses.push({ records: indexes.map(encodeLoss), written: resolve });
    void flush();
    return promise;
  }

  /** First of all: bytes in the place of lost ones that are not synced yet must not pass for those of the old record. */
  async function writeLosses(): Promise<Fault | undefined> {
    for (let first = losses[0]; first !== undefined; first = losses[0]) {
      const failed = await journal.append(first.records);
      if (failed !== undefined) return failed;
      losses.shift();
      first.written();
    }
    return undefined;
  }

  function begun(index: number, bytes: number): void {
    if (closed) return;
    begunNow.set(index, bytes);
    cancelTimer ??= clock.after(SYNC_MS, () => void flush());
  }

  function forgetBegun(index: number): void {
    begunNow.delete(index);
    if (!closed && begunThere.delete(index)) void journal.append([encodeBegun(index, 0)]);
  }

  function written(piece: JournalPiece, bytes: number): void {
    begunNow.delete(piece.index);
    waiting.push(piece);
    waitingBytes += bytes;
    unnoted.push(piece);
    unnotedBytes += bytes;
    if (waitingBytes >= SYNC_BYTES) void flush();
    else cancelTimer ??= clock.after(SYNC_MS, () => void flush());
    if (unnotedBytes >= NOTE_BYTES) note();
    else cancelNote ??= clock.after(NOTE_MS, note);
  }

  /** Says what is written while the disk is still at what came before. A help, no promise: what it refuses is not said. */
  function note(): void {
    if (!closed && unnoted.length > 0) void journal.append(unnoted.map(encodeWritten));
    cancelNote?.();
    cancelNote = undefined;
    unnoted = [];
    unnotedBytes = 0;
  }

  /** Of what is not noted, only what still waits for a sync to begin is left. */
  function leaveUnnoted(): void {
    const left = new Set(waiting);
    unnoted = unnoted.filter((piece) => left.has(piece));
    unnotedBytes = Math.min(unnotedBytes, waitingBytes);
  }

  async function keep(): Promise<void> {
    cancelTimer?.();
    cancelTimer = undefined;
    syncingBytes = waitingBytes;
    waitingBytes = 0;
    const fault = (await writeLosses()) ?? (await keepWaiting());
    syncingBytes = 0;
    if (fault !== undefined) options.onFault(fault);
  }

  async function keepWaiting(): Promise<Fault | undefined> {
    const batch = waiting;
    const begunThen = [...begunNow];
    begunNow.clear();
    if (batch.length + begunThen.length === 0 && !doubted) return undefined;
    syncingBytes += waitingBytes;
    waiting = [];
    waitingBytes = 0;
    const since = clock.now();
    const unsynced = await part.sync();
    doubted = unsynced !== undefined;
    if (unsynced !== undefined) {
      // The system says so once and may then call those bytes clean (Linux does): a later sync would prove nothing.
      const pieces = batch.concat(waiting);
      waiting = [];
      waitingBytes = 0;
      leaveUnnoted();
      const indexes = new Set([...claimed, ...pieces.map(({ index }) => index)]);
      claimed.clear();
      losses.push({ records: [...indexes].map(encodeLoss), written() {} });
      // What is there of these may have been written anew since.
      if (begunThere.size > 0)
        losses.push({ records: [...begunThere].map((index) => encodeBegun(index, 0)), written() {} });
      begunThere.clear();
      begunNow.clear();
      options.onLost(pieces);
      options.onFault(unsynced); // at once: what ends meanwhile was begun before
      await writeLosses();
      return undefined;
    }
    ahead.measure(syncingBytes, clock.now() - since);
    if (batch.length + begunThen.length === 0) return undefined;
    leaveUnnoted(); // no note may come after the record that says more
    const beginnings = begunThen.map(([index, bytes]) => encodeBegun(index, bytes));
    for (const [index] of begunThen) begunThere.add(index);
    const unjournaled = await journal.appendSynced([...beginnings, ...batch.map(encodePiece)]);
    syncingBytes = 0; // whoever hears of it may have been waiting for this room
    if (unjournaled !== undefined) {
      waiting = batch.concat(waiting);
      return unjournaled;
    }
    for (const { index } of batch) {
      claimed.delete(index);
      begunThere.delete(index);
    }
    if (batch.length > 0) options.onKept(batch);
    return undefined;
  }

  /** One sync at a time; what comes meanwhile goes with the next. */
  async function flush(): Promise<void> {
    if (syncing !== undefined) {
      await syncing;
      if (syncing !== undefined) return syncing;
    }
    if (closed) return;
    syncing = keep();
    busySince = clock.now();
    await syncing;
    syncing = undefined;
    busySince = undefined;
    if (closed) return;
    if (waitingBytes >= SYNC_BYTES) void flush();
    else if (waiting.length + begunNow.size > 0) cancelTimer ??= clock.after(SYNC_MS, () => void flush());
  }

  return {
    recover,
    begin,
    retitle: async (wanted) => (await journal.retitle(wanted)) ?? (await trim(wanted.size)),
    trim,
    disown,
    identify: async (root) => (closed ? undefined : journal.identify(root)),
    written,
    begun,
    forgetBegun,
    roomBytes: () => ahead.bytesMost - waitingBytes - syncingBytes,
    flush,
    busyMs: () => (busySince === undefined ? 0 : clock.now() - busySince),
    async close() {
      cancelTimer?.();
      cancelTimer = undefined;
      cancelNote?.();
      closed = true;
      await syncing;
      await part.close();
      await journal.close();
    },
  };
}
