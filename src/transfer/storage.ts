// A download's two files: the .part that lanes write, and the journal of what is safely in it.
// Invariant: sync, THEN journal, THEN "kept": the journal is never ahead of the disk (DESIGN 6), whatever a sync says later.
// Never: judges a hash, blocks the thread while the disk works, or touches a file once it is closed.

import type { WorkFile } from "../content/workplace.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import type { Root } from "../protocol/messages.ts";
import type { Clock } from "../transport/clock.ts";
import {
  decodeJournal,
  encodeHead,
  encodeLoss,
  encodePiece,
  type JournalContent,
  type JournalHead,
  type JournalPiece,
  journalLength,
} from "./journal.ts";

export type StorageOptions = {
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

export type Storage = {
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
  /** Keeps everything written so far now. */
  flush(): Promise<void>;
  /** How long the disk has been at what it was asked last, in milliseconds; 0 when it has nothing to do. */
  busyMs(): number;
  /** Closes both files, once nothing is under way with them. */
  close(): Promise<void>;
};

const SYNC_BYTES = 32 * 1024 * 1024;
const SYNC_MS = 250;

export function createStorage(options: StorageOptions): Storage {
  const { part, journal, clock } = options;
  let head: JournalHead | undefined;
  let waiting: JournalPiece[] = [];
  let waitingBytes = 0;
  const losses: { records: Uint8Array; written: () => void }[] = []; // not in the journal yet
  let doubted = false; // the last sync of the .part failed: the next flush asks the disk, whatever there is to keep
  let tail = 0; // where the next record goes
  let syncing: Promise<void> | undefined;
  let busySince: number | undefined;
  let naming: Promise<void> = Promise.resolve();
  let closed = false; // whoever is late says it to nobody: a closed file's number may be another's
  let cancelTimer: (() => void) | undefined;

  async function recover(): Promise<JournalContent | undefined | Fault> {
    const bytes = await journal.readAll();
    if (isFault(bytes)) return bytes;
    tail = journalLength(bytes.length);
    const found = decodeJournal(bytes);
    head = found?.head;
    return found;
  }

  async function begin(wanted: JournalHead, keepPart: boolean): Promise<Fault | undefined> {
    head = wanted;
    busySince = clock.now();
    const encoded = encodeHead(wanted);
    // The journal goes first: bytes that it does not vouch for harm nobody.
    const failed =
      (await journal.truncate(0)) ??
      (await journal.writeAt(encoded, 0)) ??
      (await journal.sync()) ??
      // What an earlier content had beyond this one's end would end up in the file.
      (keepPart ? await trim(wanted.size) : await part.truncate(0)) ??
      // Of a file of no bytes no piece is ever synced, and what was cut off must be gone before it has its name.
      (wanted.size === 0 ? await part.sync() : undefined);
    tail = encoded.length;
    busySince = undefined;
    return failed;
  }

  async function retitle(wanted: JournalHead): Promise<Fault | undefined> {
    head = wanted;
    const failed = (await journal.writeAt(encodeHead(wanted), 0)) ?? (await journal.sync());
    return failed ?? (await trim(wanted.size));
  }

  async function trim(size: number): Promise<Fault | undefined> {
    // Safe at once: with every piece journaled, no other sync would come before the file has its name.
    return part.size > size ? ((await part.truncate(size)) ?? (await part.sync())) : undefined;
  }

  async function disown(indexes: readonly number[]): Promise<void> {
    if (indexes.length === 0 || closed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    losses.push({ records: Buffer.concat(indexes.map(encodeLoss)), written: resolve });
    void flush();
    return promise;
  }

  /** First of all: bytes in the place of lost ones that are not synced yet must not pass for those of the old record. */
  async function writeLosses(): Promise<Fault | undefined> {
    for (let first = losses[0]; first !== undefined; first = losses[0]) {
      const failed = await journal.writeAt(first.records, tail);
      if (failed !== undefined) return failed;
      tail += first.records.length;
      losses.shift();
      first.written();
    }
    return undefined;
  }

  function identify(root: Root): Promise<void> {
    naming = naming.then(async () => {
      if (closed || head === undefined || head.root !== undefined) return;
      const named = { ...head, root };
      // Where it fails, the journal goes on being of no content in particular, and the next run judges every piece.
      if ((await journal.writeAt(encodeHead(named), 0)) === undefined) head = named;
    });
    return naming;
  }

  function written(piece: JournalPiece, bytes: number): void {
    waiting.push(piece);
    waitingBytes += bytes;
    if (waitingBytes >= SYNC_BYTES) void flush();
    else cancelTimer ??= clock.after(SYNC_MS, () => void flush());
  }

  async function keep(): Promise<void> {
    cancelTimer?.();
    cancelTimer = undefined;
    waitingBytes = 0;
    const unwritten = await writeLosses();
    if (unwritten !== undefined) return options.onFault(unwritten);
    const batch = waiting;
    waiting = [];
    waitingBytes = 0;
    if (batch.length === 0 && !doubted) return;
    const unsynced = await part.sync();
    doubted = unsynced !== undefined;
    if (unsynced !== undefined) {
      // The system says so once and may then call those bytes clean (Linux does): a later sync would prove nothing.
      options.onLost(batch.concat(waiting));
      waiting = [];
      waitingBytes = 0;
      return options.onFault(unsynced);
    }
    if (batch.length === 0) return;
    const records = Buffer.concat(batch.map(encodePiece));
    const unjournaled = (await journal.writeAt(records, tail)) ?? (await journal.sync());
    if (unjournaled !== undefined) {
      waiting = batch.concat(waiting);
      return options.onFault(unjournaled);
    }
    tail += records.length;
    options.onKept(batch);
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
    else if (waiting.length > 0) cancelTimer ??= clock.after(SYNC_MS, () => void flush());
  }

  return {
    recover,
    begin,
    retitle,
    trim,
    disown,
    identify,
    written,
    flush,
    busyMs: () => (busySince === undefined ? 0 : clock.now() - busySince),
    async close() {
      cancelTimer?.();
      cancelTimer = undefined;
      closed = true;
      await syncing;
      await naming;
      await part.close();
      await journal.close();
    },
  };
}
