// A download's two files: the .part that lanes write, and the journal of what is safely in it.
// Invariant: sync, THEN journal, THEN "kept": the journal is never ahead of the disk (DESIGN 6).
// Never: judges a hash; never blocks the thread while the disk works.

import type { WorkFile } from "../content/workplace.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import type { Clock } from "../transport/clock.ts";
import {
  decodeJournal,
  encodeHead,
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
  /** The disk refuses; nothing is lost, `flush` tries again. */
  readonly onFault: (why: Fault) => void;
};

export type Storage = {
  /** What an earlier run left; undefined when there is nothing that can be used. */
  recover(): Promise<JournalContent | undefined | Fault>;
  /** Begins a journal with this head, forgetting an earlier one, and its bytes too unless `keepPart`. */
  begin(head: JournalHead, keepPart: boolean): Promise<Fault | undefined>;
  /** The bytes of a piece have been written to the .part; they will be kept soon. */
  written(piece: JournalPiece, bytes: number): void;
  /** Keeps everything written so far now. */
  flush(): Promise<void>;
  close(): Promise<void>;
};

const SYNC_BYTES = 32 * 1024 * 1024;
const SYNC_MS = 250;

export function createStorage(options: StorageOptions): Storage {
  const { part, journal, clock } = options;
  let waiting: JournalPiece[] = [];
  let waitingBytes = 0;
  let tail = 0; // where the next record goes
  let syncing: Promise<void> | undefined;
  let cancelTimer: (() => void) | undefined;

  async function recover(): Promise<JournalContent | undefined | Fault> {
    const bytes = await journal.readAll();
    if (isFault(bytes)) return bytes;
    tail = journalLength(bytes.length);
    return decodeJournal(bytes);
  }

  async function begin(head: JournalHead, keepPart: boolean): Promise<Fault | undefined> {
    const encoded = encodeHead(head);
    // The journal goes first: bytes that it does not vouch for harm nobody.
    const failed =
      (await journal.truncate(0)) ??
      (await journal.writeAt(encoded, 0)) ??
      (await journal.sync()) ??
      (keepPart ? undefined : await part.truncate(0));
    tail = encoded.length;
    return failed;
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
    const pieces = waiting;
    waiting = [];
    waitingBytes = 0;
    if (pieces.length === 0) return;
    const records = Buffer.concat(pieces.map(encodePiece));
    const failed = (await part.sync()) ?? (await journal.writeAt(records, tail)) ?? (await journal.sync());
    if (failed !== undefined) {
      waiting = pieces.concat(waiting);
      options.onFault(failed);
      return;
    }
    tail += records.length;
    options.onKept(pieces);
  }

  /** One sync at a time; what comes meanwhile goes with the next. */
  async function flush(): Promise<void> {
    if (syncing !== undefined) {
      await syncing;
      if (syncing !== undefined) return syncing;
    }
    syncing = keep();
    await syncing;
    syncing = undefined;
    if (waitingBytes >= SYNC_BYTES) void flush();
    else if (waiting.length > 0) cancelTimer ??= clock.after(SYNC_MS, () => void flush());
  }

  return {
    recover,
    begin,
    written,
    flush,
    async close() {
      cancelTimer?.();
      cancelTimer = undefined;
      await syncing;
      await part.close();
      await journal.close();
    },
  };
}
