// Which pieces are right: each hash held against the layer, or kept until there is a layer to hold it against.
// Invariant: a piece is verified once, after it was kept AND found right; a wrong one is missing again.
// Never: knows where a piece came from.

import { HASH_BYTES } from "../../protocol/limits.ts";
import type { JournalPiece } from "../disk/journal.ts";
import type { PiecePicker } from "./piece-picker.ts";
import type { Left } from "./resume.ts";

export type Verifier = {
  /**
   * What an earlier run left. What it had kept counts at once, what it had only written once it is kept anew; the file
   * is not whole before `readAgain` has named, of either, the pieces that the disk does not hold.
   */
  resume(left: Left, readAgain: (pieces: Left["kept"]) => Promise<readonly number[]>): Promise<void>;
  /** What every piece's hash must be. Those that came before it are judged now. */
  setLayer(layer: Uint8Array): void;
  /** What an earlier run left, or the whole file, is still being read again. */
  readonly checking: boolean;
  /** Every byte is here, read again and kept or not: nobody needs to send any, unless some turn out to be wrong. */
  readonly allHere: boolean;
  /** False for wrong bytes. True also while there is no layer. */
  isRight(index: number, hash: Uint8Array): boolean;
  /** These are synced and journaled. */
  kept(pieces: readonly JournalPiece[]): void;
  /** A sync failed. The disk may not hold these, nor what an earlier run left unsynced: they are missing again. */
  lost(pieces: readonly JournalPiece[]): void;
};

export type VerifierOptions = {
  readonly scheduler: PiecePicker;
  /** These were read and found right, but nothing says that they were ever synced. */
  readonly onSound: (pieces: readonly JournalPiece[]) => void;
  readonly onVerified: (indexes: readonly number[]) => void;
  /** Every piece is kept and right: names those that the disk does not hold all the same. */
  readonly lookAgain: () => Promise<readonly number[]>;
  /** Something was judged: pieces may be missing again, or the file may be whole. */
  readonly onJudged: (whole: boolean) => void;
};

export function createVerifier({ scheduler, onSound, onVerified, lookAgain, onJudged }: VerifierOptions): Verifier {
  const early = new Map<number, Uint8Array>(); // kept before there was a layer
  let layer: Uint8Array | undefined;
  let unread = true; // what an earlier run left is still to be read again
  let looking = false; // all of it is looked at once more
  let forgotten = false; // a sync failed meanwhile

  const isRight = (index: number, hash: Uint8Array): boolean =>
    layer === undefined || Buffer.compare(hash, layer.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)) === 0;

  function verified(indexes: readonly number[]): void {
    if (layer !== undefined && indexes.length > 0) onVerified(indexes);
    const whole = layer !== undefined && scheduler.done && !unread && !looking;
    if (whole) void lookOnceMore();
    else onJudged(false);
  }

  async function lookOnceMore(): Promise<void> {
    looking = true;
    const bad = await lookAgain();
    looking = false;
    for (const index of bad) scheduler.failed(index);
    onJudged(bad.length === 0);
  }

  function kept(pieces: Iterable<JournalPiece>): void {
    const right: number[] = [];
    for (const { index, hash } of pieces) {
      if (!isRight(index, hash)) {
        scheduler.failed(index);
        continue;
      }
      scheduler.kept(index);
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
    for (const [index] of before) scheduler.kept(index);
    for (const [index] of others) scheduler.arrived(index);
    for (const [index, bytes] of left.begun) scheduler.begun(index, bytes);
    unread = before.length + others.length > 0;
    // First what nobody can have yet: it is little, or all there is.
    const unwritten = await readAgain(new Map(others));
    // What was read may have been in the system's memory alone, and a failed sync made that forget it (storage.ts).
    onSound(soundOf(others, forgotten ? others.map(([index]) => index) : unwritten));
    verified([]);
    const damaged = await readAgain(new Map(before));
    unread = false;
    // Only now: a layer that came meanwhile has not judged them, and nobody was offered them.
    kept(soundOf(before, damaged));
  }

  /** The pieces without the bad ones, which are missing again. */
  function soundOf(pieces: readonly (readonly [number, Uint8Array])[], bad: readonly number[]): JournalPiece[] {
    const without = new Set(bad);
    for (const index of bad) scheduler.failed(index);
    return pieces.filter(([index]) => !without.has(index)).map(([index, hash]) => ({ index, hash }));
  }

  function lost(pieces: readonly JournalPiece[]): void {
    forgotten = true;
    scheduler.forgetBegun();
    for (const { index } of pieces) scheduler.failed(index);
  }

  return {
    resume,
    setLayer,
    isRight,
    kept,
    lost,
    get checking() {
      return unread || looking;
    },
    get allHere() {
      return scheduler.allArrived;
    },
  };
}
