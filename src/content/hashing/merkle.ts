// The BEP 52 hash tree: from a file's bytes to its pieces, its piece layer and its root.
// Invariant: the root depends on the bytes alone, never on how they were sliced or on the piece length.
// Never: reads a file, keeps a chunk that it was handed, or makes a hash buffer per block.

import { BLOCK_BYTES, HASH_BYTES, PIECE_BYTES_MAX, PIECE_BYTES_MIN, PIECES_AIM } from "../../protocol/limits.ts";
import type { Root } from "../../protocol/messages.ts";

export { HASH_BYTES } from "../../protocol/limits.ts";

/** BEP 52 gives an empty file no root at all. Here it has this one, so that "hashed" and "not hashed yet" differ. */
export const EMPTY_ROOT: Root = "0".repeat(2 * HASH_BYTES);

/** A content's identity with everything that is needed to check it piece by piece. */
export type Hashed = {
  readonly root: Root;
  readonly size: number;
  readonly pieceBytes: number;
  /** The piece layer: HASH_BYTES for each piece, in order. Empty for an empty file; the root itself for one piece. */
  readonly layer: Uint8Array;
};

/** Hashes one piece after another, each given in chunks of any length. */
export type PieceHasher = {
  /** Adds the piece's next bytes. They are not kept: the caller may reuse the chunk at once. */
  update(chunk: Uint8Array): void;
  /** Adds one whole block; only between whole blocks. For a reader that keeps views of its own buffer (no garbage at all). */
  block(bytes: Uint8Array): void;
  /** Ends the piece, writes its 32-byte hash to `out` (made if not given), and is ready for another piece. */
  finish(out?: Uint8Array): Uint8Array;
  /** Forgets the piece begun. */
  reset(): void;
};

/** 32 bytes as a root. */
export function encodeRoot(bytes: Uint8Array): Root {
  return bytes.subarray(0, HASH_BYTES).toHex();
}

/** The inverse of encodeRoot. */
export function decodeRoot(root: Root): Uint8Array {
  return Uint8Array.fromHex(root);
}

/** The least power of two, PIECE_BYTES_MIN–PIECE_BYTES_MAX, that cuts `size` bytes into at most PIECES_AIM pieces. */
export function pieceBytesFor(size: number): number {
  let pieceBytes = PIECE_BYTES_MIN;
  while (pieceBytes < PIECE_BYTES_MAX && size > pieceBytes * PIECES_AIM) pieceBytes *= 2;
  return pieceBytes;
}

/** How many pieces a file has; the last may be short. No piece for an empty file. */
export function pieceCount(size: number, pieceBytes: number): number {
  return Math.ceil(size / pieceBytes);
}

const powerOfTwoFrom = (least: number): number => {
  let power = 1;
  while (power < least) power *= 2;
  return power;
};

/**
 * Hashes the pieces of a file of `size` bytes (not 0) cut into `pieceBytes`. Costs at most 200 KB, once.
 * BEP 52: a leaf is the SHA-256 of a block of 16 KiB (the file's last may be short); missing leaves are zero hashes,
 * up to a whole piece where the file has several, up to the next power of two where it has one.
 */
export function createPieceHasher(size: number, pieceBytes: number): PieceHasher {
  const leaves = powerOfTwoFrom(Math.ceil(Math.min(size, pieceBytes) / BLOCK_BYTES));
  // One level of the tree at a time, in place. The views are made once: a new one per block would be garbage, and
  // loops as plain as these are compiled soonest (a cleverer tree made the first GiB 4 % slower).
  const nodes = new Uint8Array(leaves * HASH_BYTES);
  const node = Array.from({ length: leaves }, (_, i) => nodes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
  const pair = Array.from({ length: leaves / 2 }, (_, i) =>
    nodes.subarray(2 * i * HASH_BYTES, 2 * (i + 1) * HASH_BYTES),
  );
  let blocks = 0;
  let carry: Uint8Array | undefined;
  let carried = 0;

  const block = (bytes: Uint8Array): void => {
    Bun.SHA256.hash(bytes, node[blocks]);
    blocks += 1;
  };

  return {
    block,
    update(chunk) {
      let at = 0;
      if (carried > 0) {
        carry ??= new Uint8Array(BLOCK_BYTES);
        at = Math.min(BLOCK_BYTES - carried, chunk.length);
        carry.set(at === chunk.length ? chunk : chunk.subarray(0, at), carried);
        carried += at;
        if (carried < BLOCK_BYTES) return;
        block(carry);
        carried = 0;
      }
      const whole = chunk.length - ((chunk.length - at) % BLOCK_BYTES);
      for (; at < whole; at += BLOCK_BYTES) block(chunk.subarray(at, at + BLOCK_BYTES));
      if (at === chunk.length) return;
      carry ??= new Uint8Array(BLOCK_BYTES);
      carry.set(chunk.subarray(at), 0);
      carried = chunk.length - at;
    },
    finish(out = new Uint8Array(HASH_BYTES)) {
      if (carried > 0) block((carry as Uint8Array).subarray(0, carried));
      carried = 0;
      if (blocks === 0 || blocks > leaves) throw new Error(`a piece of ${blocks} blocks, at most ${leaves}`);
      nodes.fill(0, blocks * HASH_BYTES);
      for (let width = leaves / 2; width >= 1; width /= 2) {
        for (let i = 0; i < width; i += 1) Bun.SHA256.hash(pair[i] as Uint8Array, node[i]);
      }
      out.set(node[0] as Uint8Array);
      blocks = 0;
      return out;
    },
    reset() {
      carried = 0;
      blocks = 0;
    },
  };
}

/** The hash of a whole piece of nothing but zero leaves, which stands for each missing piece. */
function missingPiece(pieceBytes: number): Uint8Array {
  const two = new Uint8Array(2 * HASH_BYTES);
  const left = two.subarray(0, HASH_BYTES);
  for (let bytes = BLOCK_BYTES; bytes < pieceBytes; bytes *= 2) {
    Bun.SHA256.hash(two, left);
    two.copyWithin(HASH_BYTES, 0);
  }
  return left;
}

/** The root above a piece layer. One piece is the root itself; no piece is EMPTY_ROOT. */
export function rootOfLayer(layer: Uint8Array, pieceBytes: number): Root {
  const pieces = layer.length / HASH_BYTES;
  if (pieces === 0) return EMPTY_ROOT;
  let width = powerOfTwoFrom(pieces);
  const nodes = new Uint8Array(width * HASH_BYTES);
  nodes.set(layer);
  const missing = missingPiece(pieceBytes);
  for (let piece = pieces; piece < width; piece += 1) nodes.set(missing, piece * HASH_BYTES);
  for (width /= 2; width >= 1; width /= 2) {
    for (let at = 0; at < width * HASH_BYTES; at += HASH_BYTES) {
      Bun.SHA256.hash(nodes.subarray(2 * at, 2 * at + 2 * HASH_BYTES), nodes.subarray(at, at + HASH_BYTES));
    }
  }
  return encodeRoot(nodes);
}

/** Whether `layer`, from an untrusted source, is the layer of the file of `size` bytes that `root` identifies. */
export function checkLayer(layer: Uint8Array, size: number, pieceBytes: number, root: Root): boolean {
  if (pieceBytes < PIECE_BYTES_MIN || pieceBytes > PIECE_BYTES_MAX || !Number.isInteger(Math.log2(pieceBytes)))
    return false;
  if (layer.length !== pieceCount(size, pieceBytes) * HASH_BYTES) return false;
  return rootOfLayer(layer, pieceBytes) === root;
}
