// What the journal says of pieces that are not kept: written, begun, or taken back.
// Invariant: what a failed sync left in doubt is taken back before a new record is written.
// Never: syncs the .part, or says that a piece is kept; part-file.ts does.

import type { Fault } from "../../protocol/fault.ts";
import type { Clock } from "../../shared/clock.ts";
import { encodeBegun, encodeLoss, encodeWritten, type JournalContent, type JournalPiece } from "./journal.ts";
import type { JournalFile } from "./journal-file.ts";

/** A piece that is not whole, and how much of it is there, from its beginning on. */
type Beginning = readonly [index: number, bytes: number];

export type JournalClaims = {
  /** The journal says what an earlier run left; nothing when undefined. */
  reset(found?: JournalContent): void;
  /** The bytes of a piece were written. Best effort: a failed append is ignored. */
  written(piece: JournalPiece, bytes: number): void;
  /** The first `bytes` of a piece were written. */
  begun(index: number, bytes: number): void;
  /** What was begun of a piece is worth nothing. */
  forgetBegun(index: number): void;
  /** What was begun and no sync that has started covers. */
  readonly beginnings: number;
  takeBeginnings(): readonly Beginning[];
  /** The .part was synced: what is begun, as records. Of what is written, only `waiting` is still to be noted. */
  synced(beginnings: readonly Beginning[], waiting: readonly JournalPiece[], waitingBytes: number): Uint8Array[];
  /** The journal says of these that they are kept. */
  kept(pieces: readonly JournalPiece[]): void;
  /** A sync failed: takes back these, and all that it says of others that are not kept. */
  lost(pieces: readonly JournalPiece[]): void;
  /** Takes back what it says of these; resolves once that is written. */
  takeBack(indexes: readonly number[]): Promise<void>;
  /** Writes what is to be taken back. */
  writeLosses(): Promise<Fault | undefined>;
  close(): void;
};

// With so much not noted, or after so long, it is noted as written: the program's sudden end costs no more of it, however
// far the disk is behind.
const NOTE_BYTES = 4 * 1024 * 1024;
const NOTE_MS = 500;

export function createJournalClaims(journal: JournalFile, clock: Clock): JournalClaims {
  let unnoted: JournalPiece[] = []; // the last that were written
  let unnotedBytes = 0;
  let noted = new Set<number>(); // by an earlier run, as written
  let begun = new Set<number>(); // the journal says that something of these is there
  const begunNow = new Map<number, number>(); // of the next sync
  const losses: { readonly records: Uint8Array[]; readonly written: () => void }[] = [];
  let closed = false; // a closed file's number may be another's
  let cancelNote: (() => void) | undefined;

  /** Says what is written while the disk is still at what came before. */
  function note(): void {
    if (!closed && unnoted.length > 0) void journal.append(unnoted.map(encodeWritten));
    cancelNote?.();
    cancelNote = undefined;
    unnoted = [];
    unnotedBytes = 0;
  }

  function noteOnly(pieces: readonly JournalPiece[], bytes: number): void {
    const left = new Set(pieces);
    unnoted = unnoted.filter((piece) => left.has(piece));
    unnotedBytes = Math.min(unnotedBytes, bytes);
  }

  return {
    reset(found) {
      noted = new Set(found?.written.keys());
      begun = new Set(found?.begun.keys());
    },
    written(piece, bytes) {
      begunNow.delete(piece.index);
      unnoted.push(piece);
      unnotedBytes += bytes;
      if (unnotedBytes >= NOTE_BYTES) note();
      else cancelNote ??= clock.after(NOTE_MS, note);
    },
    begun: (index, bytes) => void begunNow.set(index, bytes),
    forgetBegun(index) {
      begunNow.delete(index);
      if (!closed && begun.delete(index)) void journal.append([encodeBegun(index, 0)]);
    },
    get beginnings() {
      return begunNow.size;
    },
    takeBeginnings() {
      const taken = [...begunNow];
      begunNow.clear();
      return taken;
    },
    synced(beginnings, waiting, waitingBytes) {
      noteOnly(waiting, waitingBytes); // no note may come after the record that says more
      for (const [index] of beginnings) begun.add(index);
      return beginnings.map(([index, bytes]) => encodeBegun(index, bytes));
    },
    kept(pieces) {
      for (const { index } of pieces) {
        noted.delete(index);
        begun.delete(index);
      }
    },
    lost(pieces) {
      noteOnly([], 0);
      const indexes = new Set([...noted, ...pieces.map(({ index }) => index)]);
      // What is there of those that were begun may have been written anew since.
      const records = [...[...indexes].map(encodeLoss), ...[...begun].map((index) => encodeBegun(index, 0))];
      losses.push({ records, written() {} });
      noted.clear();
      begun.clear();
      begunNow.clear();
    },
    takeBack(indexes) {
      const { promise, resolve } = Promise.withResolvers<void>();
      losses.push({ records: indexes.map(encodeLoss), written: resolve });
      return promise;
    },
    async writeLosses() {
      for (let first = losses[0]; first !== undefined; first = losses[0]) {
        const failed = await journal.append(first.records);
        if (failed !== undefined) return failed;
        losses.shift();
        first.written();
      }
      return undefined;
    },
    close() {
      closed = true;
      cancelNote?.();
    },
  };
}
