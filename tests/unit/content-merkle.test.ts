// The hash tree against a naive BEP 52 that builds every leaf and recurses.
// Invariant: the naive tree shares no line with src/content/hashing/merkle.ts.
// Never: hashes more than a few MiB per case.

import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import fc from "fast-check";
import {
  checkLayer,
  createPieceHasher,
  decodeRoot,
  EMPTY_ROOT,
  encodeRoot,
  HASH_BYTES,
  pieceBytesFor,
  pieceCount,
  rootOfLayer,
} from "../../src/content/hashing/merkle.ts";
import { BLOCK_BYTES, PIECE_BYTES_MAX, PIECE_BYTES_MIN, PIECES_AIM } from "../../src/protocol/limits.ts";

const PIECE = PIECE_BYTES_MIN;
const sha = (...parts: Uint8Array[]) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

/** BEP 52 as its text says it: every leaf, zero hashes up to `leaves`, then halves. */
function naive(bytes: Uint8Array, leaves: number): Uint8Array {
  const hashes: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) hashes.push(sha(bytes.subarray(at, at + BLOCK_BYTES)));
  while (hashes.length < leaves) hashes.push(new Uint8Array(HASH_BYTES));
  const root = (from: number, to: number): Uint8Array =>
    to - from === 1 ? (hashes[from] as Uint8Array) : sha(root(from, (from + to) / 2), root((from + to) / 2, to));
  return root(0, leaves);
}

function naiveRoot(bytes: Uint8Array): string {
  let leaves = 1;
  while (leaves * BLOCK_BYTES < bytes.length) leaves *= 2;
  return encodeRoot(naive(bytes, leaves));
}

function randomBytes(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = seed | 1;
  for (let i = 0; i < size; i += 1) {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

/** The layer by the code under test, each piece fed in slices whose lengths come from `cuts`, round and round. */
function layerOf(bytes: Uint8Array, pieceBytes: number, cuts: readonly number[] = [bytes.length || 1]): Uint8Array {
  const hasher = createPieceHasher(bytes.length, pieceBytes);
  const layer = new Uint8Array(pieceCount(bytes.length, pieceBytes) * HASH_BYTES);
  let turn = 0;
  for (let piece = 0; piece * pieceBytes < bytes.length; piece += 1) {
    const end = Math.min((piece + 1) * pieceBytes, bytes.length);
    for (let at = piece * pieceBytes; at < end; ) {
      const step = Math.min(cuts[turn++ % cuts.length] as number, end - at);
      hasher.update(bytes.subarray(at, at + step));
      at += step;
    }
    hasher.finish(layer.subarray(piece * HASH_BYTES, (piece + 1) * HASH_BYTES));
  }
  return layer;
}

describe("piece length", () => {
  test("it is a power of two in its bounds, and the least that keeps to the aim", () => {
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (size) => {
        const piece = pieceBytesFor(size);
        expect(Number.isInteger(Math.log2(piece))).toBe(true);
        expect(piece).toBeGreaterThanOrEqual(PIECE_BYTES_MIN);
        expect(piece).toBeLessThanOrEqual(PIECE_BYTES_MAX);
        if (piece < PIECE_BYTES_MAX) expect(pieceCount(size, piece)).toBeLessThanOrEqual(PIECES_AIM);
        if (piece > PIECE_BYTES_MIN) expect(pieceCount(size, piece / 2)).toBeGreaterThan(PIECES_AIM);
      }),
    );
  });

  test("an empty file has no piece, and one byte more than a piece has two", () => {
    expect(pieceCount(0, PIECE)).toBe(0);
    expect(pieceCount(PIECE, PIECE)).toBe(1);
    expect(pieceCount(PIECE + 1, PIECE)).toBe(2);
  });
});

describe("the tree", () => {
  const sizes = [1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES, 5 * BLOCK_BYTES + 7];
  const around = [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 5, 5 * PIECE + BLOCK_BYTES, 9 * PIECE - 1];
  for (const size of [...sizes, ...around]) {
    test(`${size} bytes have the root that the naive tree has`, () => {
      const bytes = randomBytes(size, size);
      expect(rootOfLayer(layerOf(bytes, PIECE), PIECE)).toBe(naiveRoot(bytes));
    });
  }

  test("the root does not depend on the piece length", () => {
    const bytes = randomBytes(7 * PIECE + 99, 3);
    for (let piece = PIECE; piece <= PIECE_BYTES_MAX; piece *= 2) {
      expect(rootOfLayer(layerOf(bytes, piece), piece)).toBe(naiveRoot(bytes));
    }
  });

  test("every piece of the layer is the naive tree of a whole piece, also the short last one", () => {
    const bytes = randomBytes(2 * PIECE + 20_000, 4);
    const layer = layerOf(bytes, PIECE);
    for (let piece = 0; piece < 3; piece += 1) {
      const part = bytes.subarray(piece * PIECE, (piece + 1) * PIECE);
      expect(encodeRoot(layer.subarray(piece * HASH_BYTES))).toBe(encodeRoot(naive(part, PIECE / BLOCK_BYTES)));
    }
  });

  test("slicing does not change a hash", () => {
    const edges = [1, 15, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES];
    const cut = fc.oneof(fc.integer({ min: 500, max: 524_288 }), fc.constantFrom(...edges));
    const size = fc.oneof(fc.integer({ min: 1, max: 3 * PIECE }), fc.constantFrom(PIECE, PIECE + 1, BLOCK_BYTES));
    fc.assert(
      fc.property(size, fc.array(cut, { minLength: 1, maxLength: 8 }), (bytesCount, cuts) => {
        const lengths = cuts.every((c) => c < 100) ? [...cuts, 9_999] : cuts;
        const bytes = randomBytes(bytesCount, bytesCount);
        expect(rootOfLayer(layerOf(bytes, PIECE, lengths), PIECE)).toBe(naiveRoot(bytes));
      }),
      { numRuns: 60 },
    );
  });

  test("a chunk may be overwritten as soon as it was handed over", () => {
    const bytes = randomBytes(BLOCK_BYTES * 2 + 5, 5);
    const hasher = createPieceHasher(bytes.length, PIECE);
    const chunk = new Uint8Array(10_000);
    for (let at = 0; at < bytes.length; at += chunk.length) {
      const part = bytes.subarray(at, at + chunk.length);
      chunk.set(part);
      hasher.update(chunk.subarray(0, part.length));
      chunk.fill(0);
    }
    expect(encodeRoot(hasher.finish())).toBe(naiveRoot(bytes));
  });

  test("an abandoned piece leaves nothing behind", () => {
    const bytes = randomBytes(40_000, 6);
    const hasher = createPieceHasher(bytes.length, PIECE);
    hasher.update(randomBytes(50_001, 7));
    hasher.reset();
    hasher.update(bytes);
    expect(encodeRoot(hasher.finish())).toBe(naiveRoot(bytes));
  });

  test("whole blocks given one by one are the same as chunks", () => {
    const bytes = randomBytes(4 * BLOCK_BYTES, 8);
    const hasher = createPieceHasher(bytes.length, PIECE);
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) hasher.block(bytes.subarray(at, at + BLOCK_BYTES));
    expect(encodeRoot(hasher.finish())).toBe(naiveRoot(bytes));
  });
});

describe("a layer from outside", () => {
  const bytes = randomBytes(3 * PIECE + 5, 9);
  const layer = layerOf(bytes, PIECE);
  const root = naiveRoot(bytes);

  test("the true one is accepted", () => {
    expect(checkLayer(layer, bytes.length, PIECE, root)).toBe(true);
  });

  test("one flipped bit anywhere is refused", () => {
    for (let at = 0; at < layer.length; at += 1) {
      const wrong = layer.slice();
      wrong[at] = (wrong[at] as number) ^ (1 << (at % 8));
      expect(checkLayer(wrong, bytes.length, PIECE, root)).toBe(false);
    }
  });

  test("a layer too short, too long or for another size is refused", () => {
    expect(checkLayer(layer.subarray(1), bytes.length, PIECE, root)).toBe(false);
    expect(checkLayer(layer.subarray(HASH_BYTES), bytes.length, PIECE, root)).toBe(false);
    expect(checkLayer(new Uint8Array([...layer, ...layer]), bytes.length, PIECE, root)).toBe(false);
    expect(checkLayer(layer, bytes.length + PIECE, PIECE, root)).toBe(false);
  });

  test("a piece length that is no power of two, or out of bounds, is refused", () => {
    for (const piece of [0, -1, PIECE + 1, PIECE / 2, PIECE_BYTES_MAX * 2, Number.NaN]) {
      expect(checkLayer(layer, bytes.length, piece, root)).toBe(false);
    }
  });

  test("an empty file has an empty layer and the root of zeros", () => {
    expect(rootOfLayer(new Uint8Array(0), PIECE)).toBe(EMPTY_ROOT);
    expect(checkLayer(new Uint8Array(0), 0, PIECE, EMPTY_ROOT)).toBe(true);
    expect(checkLayer(new Uint8Array(0), 1, PIECE, EMPTY_ROOT)).toBe(false);
    expect(encodeRoot(decodeRoot(EMPTY_ROOT))).toBe(EMPTY_ROOT);
  });
});
