// A worker thread that hashes ranges of pieces of a file that the main thread opened.
// Invariant: memory is one read buffer and a few hashes, whatever the file; every task gets exactly one answer.
// Never: opens or closes a file, or decides what comes next (hasher.ts does).

import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { BLOCK_BYTES, PIECE_BYTES_MIN } from "../protocol/limits.ts";
import { createMapping } from "./mapping.ts";
import { createPieceHasher, HASH_BYTES, type PieceHasher } from "./merkle.ts";
import { readAt } from "./slices.ts";

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

// Opening again and a lease cost more than the copy of a small file, and a folder of them is many.
const MAPPED_BYTES_LEAST = 1024 * 1024;

type Window = { readonly bytes: Uint8Array; readonly blocks: readonly Uint8Array[] };

const bytes = new Uint8Array(READ_BYTES);
const buffer: Window = {
  bytes,
  blocks: Array.from({ length: READ_BYTES / BLOCK_BYTES }, (_, i) =>
    bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES),
  ),
};
const mapping = createMapping();

function add(hasher: PieceHasher, window: Window, at: number, length: number): void {
  const first = at / BLOCK_BYTES;
  const whole = Math.floor(length / BLOCK_BYTES);
  for (let i = first; i < first + whole; i += 1) hasher.block(window.blocks[i] as Uint8Array);
  if (whole * BLOCK_BYTES < length) hasher.update(window.bytes.subarray(at + whole * BLOCK_BYTES, at + length));
}

function hashPiece(hasher: PieceHasher, fd: number, from: number, to: number): Fault | undefined {
  for (let at = from; at < to; at += READ_BYTES) {
    const length = Math.min(READ_BYTES, to - at);
    const found = mapping?.find(at);
    if (mapping !== undefined && found !== undefined) {
      add(hasher, mapping, found, length);
      continue;
    }
    const got = readAt(fd, length === READ_BYTES ? bytes : bytes.subarray(0, length), at);
    if (isFault(got)) return got;
    if (got < length) return fault("CHANGED", "ours", `ends at ${at + got}`, true);
    add(hasher, buffer, 0, length);
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

function run(task: HashTask): Uint8Array | Fault {
  if (task.size >= MAPPED_BYTES_LEAST) mapping?.begin(task.fd, task.size);
  try {
    return hashPieces(task);
  } finally {
    mapping?.end();
  }
}

declare const self: Worker;
self.onmessage = (event: MessageEvent<HashTask | "leave">) => {
  if (event.data === "leave") {
    mapping?.close();
    process.exit(); // ends this thread only
  }
  const answer: HashAnswer = { id: event.data.id, layer: run(event.data) };
  self.postMessage(answer);
};
