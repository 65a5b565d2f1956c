// A download's two files: the .part that lanes write, and the journal of what is synced in it.
// Invariant: sync, THEN journal, THEN "kept": the journal is never ahead of the disk, whatever a sync says later.
// Never: compares a hash, blocks the thread while the disk works, or touches a file once it is closed.

import type { WorkFile } from "../../content/part-workspace.ts";
import { type Fault, isFault } from "../../protocol/fault.ts";
import type { Root } from "../../protocol/messages.ts";
import type { Clock } from "../../shared/clock.ts";
import { createDirtyLimit } from "./dirty-limit.ts";
import { encodePiece, type JournalContent, type JournalHead, type JournalPiece } from "./journal.ts";
import { createJournalClaims, type JournalClaims } from "./journal-claims.ts";
import { createJournalFile, type JournalFile } from "./journal-file.ts";

export type PartFileOptions = {
  readonly part: WorkFile;
  readonly journal: WorkFile;
  readonly clock: Clock;
  /** These pieces are synced and journaled. */
  readonly onKept: (pieces: readonly JournalPiece[]) => void;
  /** A sync of the .part failed: these were written and may not be there. */
  readonly onLost: (pieces: readonly JournalPiece[]) => void;
  /** The disk refuses; `flush` tries again. */
  readonly onFault: (why: Fault) => void;
};

export type PartFile = {
  /** What an earlier run left; undefined when there is nothing that can be used. */
  resume(): Promise<JournalContent | undefined | Fault>;
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

const SYNC_BYTES = 32 * 1024 * 1024;
const SYNC_MS = 250;

export function createPartFile(options: PartFileOptions): PartFile {
  const { part, clock } = options;
  const journal = createJournalFile(options.journal);
  const claims = createJournalClaims(journal, clock);
  const dirtyLimit = createDirtyLimit();
  let waiting: JournalPiece[] = []; // written, and no sync has started since
  let waitingBytes = 0;
  let syncingBytes = 0;
  let doubted = false; // the last sync of the .part failed: the next flush asks the disk, whatever there is to keep
  let syncing: Promise<void> | undefined;
  let busySince: number | undefined;
  let closed = false; // what comes late is ignored: a closed file's number may be another's
  let cancelTimer: (() => void) | undefined;

  async function busy<T>(action: Promise<T>): Promise<T> {
    busySince = clock.now();
    const done = await action;
    busySince = undefined;
    return done;
  }

  function flushSoon(): void {
    if (!closed) cancelTimer ??= clock.after(SYNC_MS, () => void flush());
  }

  async function keep(): Promise<void> {
    cancelTimer?.();
    cancelTimer = undefined;
    syncingBytes = waitingBytes;
    waitingBytes = 0;
    // Losses first: bytes in their place that are not synced yet must not pass for those of the old record.
    const failed = (await claims.writeLosses()) ?? (await keepWaiting());
    syncingBytes = 0;
    if (failed !== undefined) options.onFault(failed);
  }

  async function keepWaiting(): Promise<Fault | undefined> {
    const batch = waiting;
    const beginnings = claims.takeBeginnings();
    const isEmpty = batch.length + beginnings.length === 0;
    if (isEmpty && !doubted) return undefined;
    syncingBytes += waitingBytes;
    waiting = [];
    waitingBytes = 0;
    const since = clock.now();
    const unsynced = await part.sync();
    doubted = unsynced !== undefined;
    if (unsynced !== undefined) return lose(batch.concat(waiting), unsynced);
    dirtyLimit.measure(syncingBytes, clock.now() - since);
    if (isEmpty) return undefined;
    const records = claims.synced(beginnings, waiting, waitingBytes);
    const unjournaled = await journal.appendSynced([...records, ...batch.map(encodePiece)]);
    syncingBytes = 0; // before onKept: there is room for more now
    if (unjournaled !== undefined) {
      waiting = batch.concat(waiting);
      return unjournaled;
    }
    claims.kept(batch);
    if (batch.length > 0) options.onKept(batch);
    return undefined;
  }

  /** The system tells of a failed sync once and may then call those bytes clean (Linux does): a later sync proves nothing. */
  async function lose(pieces: readonly JournalPiece[], why: Fault): Promise<undefined> {
    waiting = [];
    waitingBytes = 0;
    claims.lost(pieces);
    options.onLost(pieces);
    options.onFault(why); // at once: what ends meanwhile was begun before
    await claims.writeLosses();
  }

  /** One sync at a time; what comes meanwhile goes with the next. */
  async function flush(): Promise<void> {
    if (syncing !== undefined) {
      await syncing;
      if (syncing !== undefined) return syncing;
    }
    if (closed) return;
    syncing = busy(keep());
    await syncing;
    syncing = undefined;
    if (waitingBytes >= SYNC_BYTES) void flush();
    else if (waiting.length + claims.beginnings > 0) flushSoon();
  }

  return {
    ...createStart(part, journal, claims, busy),
    async disown(indexes) {
      if (indexes.length === 0 || closed) return;
      const written = claims.takeBack(indexes);
      void flush();
      return written;
    },
    identify: async (root) => (closed ? undefined : journal.identify(root)),
    written(piece, bytes) {
      claims.written(piece, bytes);
      waiting.push(piece);
      waitingBytes += bytes;
      if (waitingBytes >= SYNC_BYTES) void flush();
      else flushSoon();
    },
    begun(index, bytes) {
      claims.begun(index, bytes);
      flushSoon();
    },
    forgetBegun: claims.forgetBegun,
    roomBytes: () => dirtyLimit.bytesMost - waitingBytes - syncingBytes,
    flush,
    busyMs: () => (busySince === undefined ? 0 : clock.now() - busySince),
    async close() {
      cancelTimer?.();
      claims.close();
      closed = true;
      await syncing;
      await part.close();
      await journal.close();
    },
  };
}

/** What is done with the two files before the first piece comes. */
function createStart(
  part: WorkFile,
  journal: JournalFile,
  claims: JournalClaims,
  busy: <T>(action: Promise<T>) => Promise<T>,
): Pick<PartFile, "resume" | "begin" | "retitle" | "trim"> {
  async function trim(size: number): Promise<Fault | undefined> {
    if (part.size <= size) return undefined;
    // Synced at once: with every piece journaled, no other sync would come before the file has its name.
    const failed = (await part.truncate(size)) ?? (await part.sync());
    // After a failure the next run is to see that there is something to cut.
    if (failed !== undefined) await part.truncate(part.size);
    return failed;
  }

  async function begin(head: JournalHead, keepPart: boolean): Promise<Fault | undefined> {
    claims.reset();
    return (
      // The journal goes first: bytes that it does not name harm nothing.
      (await journal.begin(head)) ??
      // What an earlier content had beyond this one's end would end up in the file.
      (keepPart ? await trim(head.size) : await part.truncate(0)) ??
      // Of a file of no bytes no piece is ever synced, and what was cut off must be gone before it has its name.
      (head.size === 0 ? await part.sync() : undefined)
    );
  }

  return {
    async resume() {
      const found = await journal.resume();
      if (!isFault(found)) claims.reset(found);
      return found;
    },
    begin: (head, keepPart) => busy(begin(head, keepPart)),
    retitle: async (head) => (await journal.retitle(head)) ?? (await trim(head.size)),
    trim,
  };
}
