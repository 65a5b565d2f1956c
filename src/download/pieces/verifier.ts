// Which pieces are right: each hash is compared with the layer, or remembered until there is one.
// Invariant: a piece is verified once, after it was kept AND found right; a wrong one is missing again.
// Never: knows where a piece came from.

import { HASH_BYTES } from "../../protocol/limits.ts";
import type { Root } from "../../protocol/messages.ts";
import type { JournalPiece } from "../disk/journal.ts";
import type { PartFile } from "../disk/part-file.ts";
import type { PiecePicker } from "./piece-picker.ts";
import { readingOrder } from "./reading-order.ts";

/** What an earlier run left, and may be on the disk: piece -> hash. */
export type Left = {
  /** These were synced once. */
  readonly kept: ReadonlyMap<number, Uint8Array>;
  /** These must be synced yet, like new bytes. */
  readonly written: ReadonlyMap<number, Uint8Array>;
  /** Of these pieces so many bytes, from their beginning on. Whether they are right is seen when the piece is whole. */
  readonly begun: ReadonlyMap<number, number>;
  /** The content that the journal names, where it names one. */
  readonly root: Root | undefined;
};

/** The hash that a layer has for a piece. */
export const hashAt = (layer: Uint8Array, index: number): Uint8Array =>
  layer.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);

/** Whether a piece's hash is the layer's; true of every hash while there is no layer. */
export const agrees = (layer: Uint8Array | undefined, index: number, hash: Uint8Array): boolean =>
  layer === undefined || Buffer.compare(hash, hashAt(layer, index)) === 0;

export type Verifier = {
  /**
   * What an earlier run left. What it had kept counts at once, what it had only written once it is kept anew; the file
   * is not whole before `readAgain` has named, of either, the pieces that the disk does not hold. Run after run is read,
   * and what was found right is told at once.
   */
  resume(left: Left, readAgain: (pieces: Left["kept"]) => Promise<readonly number[]>): Promise<void>;
  /** What every piece's hash must be. Those that came before it are compared now. */
  setLayer(layer: Uint8Array): void;
  /** What an earlier run left, or the whole file, is still being read again. */
  readonly checking: boolean;
  /** Every byte is here, read again and kept or not: no source needs to send any, unless some turn out to be wrong. */
  readonly allHere: boolean;
  /** Every piece is kept and right, and `lookAgain` has named none. */
  readonly whole: Promise<void>;
  /** False for wrong bytes. True also while there is no layer. */
  isRight(index: number, hash: Uint8Array): boolean;
  /** These are synced and journaled. */
  kept(pieces: readonly JournalPiece[]): void;
  /** A sync failed. The disk may not hold these, nor what an earlier run left unsynced: they are missing again. */
  lost(pieces: readonly JournalPiece[]): void;
};

export type VerifierOptions = {
  readonly picker: PiecePicker;
  /** Told of pieces that were read again and found right, and that nothing says were ever synced. */
  readonly partFile: Pick<PartFile, "written">;
  readonly onVerified: (indexes: readonly number[]) => void;
  /** These were read again and found right, and are not synced anew yet. */
  readonly onRead: (indexes: readonly number[]) => void;
  /** Every piece is kept and right: names those that the disk does not hold all the same. */
  readonly lookAgain: () => Promise<readonly number[]>;
  /** Something was compared, and the file is not whole: pieces may be missing again. */
  readonly onChecked: () => void;
};

export function createVerifier(options: VerifierOptions): Verifier {
  const { picker, partFile, onVerified, onRead, lookAgain, onChecked } = options;
  const { promise: whole, resolve: becomeWhole } = Promise.withResolvers<void>();
  const early = new Map<number, Uint8Array>(); // kept before there was a layer
  let layer: Uint8Array | undefined;
  let unread = true; // what an earlier run left is still to be read again
  let looking = false; // all of it is looked at once more
  let forgotten = false; // a sync failed meanwhile

  const isRight = (index: number, hash: Uint8Array): boolean => agrees(layer, index, hash);

  function verified(indexes: readonly number[]): void {
    if (layer !== undefined && indexes.length > 0) onVerified(indexes);
    if (layer !== undefined && picker.done && !unread && !looking) void lookOnceMore();
    else onChecked();
  }

  async function lookOnceMore(): Promise<void> {
    looking = true;
    const bad = await lookAgain();
    if (bad.length === 0) return becomeWhole();
    looking = false;
    for (const index of bad) picker.failed(index);
    onChecked();
  }

  function kept(pieces: Iterable<JournalPiece>): void {
    const right: number[] = [];
    for (const { index, hash } of pieces) {
      if (!isRight(index, hash)) {
        picker.failed(index);
        continue;
      }
      picker.kept(index);
      right.push(index);
      if (layer === undefined) early.set(index, hash);
    }
    verified(right);
  }

  function setLayer(known: Uint8Array): void {
    layer = known;
    const pieces = [...early].map(([index, hash]) => ({ index, hash }));
    early.clear();
    kept(pieces);
  }

  async function resume(left: Left, readAgain: (pieces: Left["kept"]) => Promise<readonly number[]>): Promise<void> {
    const rightOf = (pieces: Left["kept"]) => [...pieces].filter(([index, hash]) => isRight(index, hash));
    const [before, others] = [rightOf(left.kept), rightOf(left.written)];
    for (const [index] of before) picker.kept(index);
    for (const [index] of others) picker.arrived(index);
    for (const [index, bytes] of left.begun) picker.begun(index, bytes);
    // What a journal says was synced is read again all the same: another program may have written to the .part since.
    for (const { pieces, isSynced } of readingOrder(new Map(others), new Map(before), picker.urgentPieces)) {
      const damaged = await readAgain(pieces);
      // A layer that came meanwhile was not compared with them: kept() does.
      if (isSynced) kept(soundOf([...pieces], damaged));
      // What was read may have been in the system's memory alone, and a failed sync made that forget it (part-file.ts).
      else writeAnew(soundOf([...pieces], forgotten ? [...pieces.keys()] : damaged));
    }
    unread = false;
    verified([]);
  }

  function writeAnew(pieces: readonly JournalPiece[]): void {
    for (const piece of pieces) partFile.written(piece, picker.lengthOf(piece.index));
    onRead(pieces.map(({ index }) => index));
    verified([]);
  }

  /** The pieces without the bad ones, which are missing again. */
  function soundOf(pieces: readonly (readonly [number, Uint8Array])[], bad: readonly number[]): JournalPiece[] {
    const without = new Set(bad);
    for (const index of bad) picker.failed(index);
    return pieces.filter(([index]) => !without.has(index)).map(([index, hash]) => ({ index, hash }));
  }

  function lost(pieces: readonly JournalPiece[]): void {
    forgotten = true;
    picker.forgetBegun();
    for (const { index } of pieces) picker.failed(index);
  }

  return {
    resume,
    setLayer,
    isRight,
    kept,
    lost,
    whole,
    get checking() {
      return unread || looking;
    },
    get allHere() {
      return picker.allArrived;
    },
  };
}
