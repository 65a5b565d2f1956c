// What comes of the pieces on order: blocks are noted, whole pieces verified and handed to the part file.
// Invariant: a piece counts only when its hash equals the layer's; a wrong one is missing again.
// Never: knows which lane or source it comes from.

import { BLOCK_BYTES } from "../../protocol/limits.ts";
import type { Clock } from "../../shared/clock.ts";
import type { PartFile } from "../disk/part-file.ts";
import type { Order } from "../lanes/piece-writer.ts";
import type { PiecePicker } from "../pieces/piece-picker.ts";
import type { Verifier } from "../pieces/verifier.ts";

export type IncomingPieces = {
  ordered(order: Order): void;
  /** The first `bytes` of a piece are written: should it break off, it goes on from there. */
  blocks(index: number, bytes: number): void;
  /** A piece is whole. "mixed" is wrong too, with bytes of several sources: any of them may be the culprit. */
  piece(index: number, hash: Uint8Array): "right" | "wrong" | "mixed";
  /** A piece is whole, and the disk may have lost what was written of it. */
  discard(index: number): void;
  /** Notes all that came of pieces that are not whole. */
  noteBegun(): void;
  readonly wrongPieces: number;
};

/** What came of a piece is noted after so long, and so much: a few times for each piece of a slow download, never of a fast one. */
const BEGUN_NOTE_MS = 5000;
const BEGUN_NOTE_BYTES = 4 * BLOCK_BYTES;

export function createIncomingPieces(
  picker: PiecePicker,
  verifier: Verifier,
  partFile: PartFile,
  clock: Clock,
): IncomingPieces {
  const noted = new Map<number, { readonly at: number; readonly bytes: number }>(); // of pieces on order
  let wrongPieces = 0;

  function note(index: number, bytes: number): void {
    noted.set(index, { at: clock.now(), bytes });
    partFile.begun(index, bytes);
  }

  return {
    ordered: ({ index, have = 0 }) => void noted.set(index, { at: clock.now(), bytes: have }),
    blocks(index, bytes) {
      picker.came(index, bytes);
      const before = noted.get(index);
      if (before === undefined || clock.now() - before.at < BEGUN_NOTE_MS || bytes - before.bytes < BEGUN_NOTE_BYTES)
        return;
      note(index, bytes - (bytes % BLOCK_BYTES));
    },
    piece(index, hash) {
      noted.delete(index);
      if (verifier.isRight(index, hash)) {
        picker.arrived(index);
        partFile.written({ index, hash }, picker.lengthOf(index));
        return "right";
      }
      wrongPieces++;
      partFile.forgetBegun(index);
      return picker.wrong(index) ? "wrong" : "mixed";
    },
    discard(index) {
      noted.delete(index);
      picker.failed(index);
    },
    noteBegun() {
      for (const [index, bytes] of picker.beginnings()) note(index, bytes);
    },
    get wrongPieces() {
      return wrongPieces;
    },
  };
}
