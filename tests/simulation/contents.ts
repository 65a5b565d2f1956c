// The files that are moved about: made and hashed once for all seeds, told apart at a glance.

import {
  createPieceHasher,
  HASH_BYTES,
  type Hashed,
  pieceBytesFor,
  rootOfLayer,
} from "../../src/content/hashing/merkle.ts";

export type Content = { readonly name: string; readonly bytes: Uint8Array; readonly hashed: Hashed };

export const PIECE = 256 * 1024;
const LARGEST = 20 * PIECE;

/** Bytes that never repeat within a piece's distance, so that a piece in the wrong place is a wrong piece. */
function noise(length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = state ^ (state >>> 15);
  }
  return new Uint8Array(words.buffer, 0, length);
}

const pool = noise(LARGEST + 64 * 1024);

export function hash(bytes: Uint8Array): Hashed {
  const size = bytes.length;
  const pieceBytes = pieceBytesFor(size);
  const count = Math.ceil(size / pieceBytes);
  const layer = new Uint8Array(count * HASH_BYTES);
  for (let i = 0; i < count; i++) {
    const hasher = createPieceHasher(size, pieceBytes);
    hasher.update(bytes.subarray(i * pieceBytes, (i + 1) * pieceBytes));
    hasher.finish(layer.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
  }
  return { size, pieceBytes, layer, root: rootOfLayer(layer, pieceBytes) };
}

const SIZES = [0, 1, 5000, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + 77, 8 * PIECE, 12 * PIECE - 1, LARGEST];
const made = new Map<number, Content>();

/** One of the files: each its own size and its own bytes. */
export function contentOf(which: number): Content {
  const index = which % SIZES.length;
  let content = made.get(index);
  if (content === undefined) {
    const size = SIZES[index] as number;
    const bytes = pool.subarray(index * 4096, index * 4096 + size);
    content = { name: `aula ${index}.mp4`, bytes, hashed: hash(bytes) };
    made.set(index, content);
  }
  return content;
}

/** A file of any size, for a story of its own. */
export function contentOfBytes(size: number): Content {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 1024) bytes[at] = 1 + (at / 1024) * 7;
  return { name: "longa.mp4", bytes, hashed: hash(bytes) };
}

export const CONTENTS = SIZES.length;
/** Those that take a while to move: most seeds are about them. */
export const LONG = [6, 7, 8, 9, 10] as const;

export const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
