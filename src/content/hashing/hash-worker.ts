// A worker thread that hashes ranges of pieces of a file that the main thread opened.
// Invariant: memory is one read buffer and a few hashes, whatever the file; every task gets exactly one answer.
// Never: opens or closes a file, or decides what comes next (hasher.ts does).

import { type Fault, fault, isFault } from "../../protocol/fault.ts";
import { BLOCK_BYTES, PIECE_BYTES_MIN } from "../../protocol/limits.ts";
import { readAt } from "../positioned-io.ts";
import { giveWay } from "./low-priority.ts";
import { createPieceHasher, HASH_BYTES, type PieceHasher } from "./merkle.ts";

/** `pieces` pieces from number `first` of the file open as `fd`. */
export type HashTask = {
  readonly id: number;
  readonly fd: number;
  readonly size: number;
  readonly pieceBytes: number;
  readonly first: number;
  readonly pieces: number;
};

/** `layer` holds the hashes of the task's pieces, in order. */
export type HashAnswer = { readonly id: number; readonly layer: Uint8Array | Fault };

// The smallest piece, so that a read never spans two; it stays in the second-level cache, where the hash finds it.
// Reads of 64 KiB were 2 % slower, of 1 MiB 1 %.
const READ_BYTES = PIECE_BYTES_MIN;

const bytes = new Uint8Array(READ_BYTES);
const blocks = Array.from({ length: READ_BYTES / BLOCK_BYTES }, (_, i) =>
  bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES),
);

function add(hasher: PieceHasher, length: number): void {
  const whole = Math.floor(length / BLOCK_BYTES);
  for (let i = 0; i < whole; i += 1) hasher.block(blocks[i] as Uint8Array);
  if (whole * BLOCK_BYTES < length) hasher.update(bytes.subarray(whole * BLOCK_BYTES, length));
}

function hashPiece(hasher: PieceHasher, fd: number, from: number, to: number): Fault | undefined {
  for (let at = from; at < to; at += READ_BYTES) {
    const length = Math.min(READ_BYTES, to - at);
    const got = readAt(fd, length === READ_BYTES ? bytes : bytes.subarray(0, length), at);
    if (isFault(got)) return got;
    if (got < length) return fault("CHANGED", "ours", `ends at ${at + got}`, true);
    add(hasher, length);
  }
  return undefined;
}

// Made again only when the file is another: its views are many.
let last: { size: number; pieceBytes: number; hasher: PieceHasher } | undefined;
function hasherFor(size: number, pieceBytes: number): PieceHasher {
  if (last?.size !== size || last.pieceBytes !== pieceBytes) {
    last = { size, pieceBytes, hasher: createPieceHasher(size, pieceBytes) };
  }
  last.hasher.reset();
  return last.hasher;
}

function hashPieces(task: HashTask): Uint8Array | Fault {
  const { fd, size, pieceBytes, first, pieces } = task;
  const hasher = hasherFor(size, pieceBytes);
  const layer = new Uint8Array(pieces * HASH_BYTES);
  for (let i = 0; i < pieces; i += 1) {
    const from = (first + i) * pieceBytes;
    const failed = hashPiece(hasher, fd, from, Math.min(from + pieceBytes, size));
    if (failed !== undefined) return failed;
    hasher.finish(layer.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
  }
  return layer;
}

declare const self: Worker;
self.onmessage = ({ data: order }: MessageEvent<HashTask | "background" | "leave">) => {
  if (order === "leave") process.exit(); // ends this thread only
  if (order === "background") return giveWay();
  const answer: HashAnswer = { id: order.id, layer: hashPieces(order) };
  self.postMessage(answer);
};
