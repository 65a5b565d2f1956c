// The BEP 52 hash tree: from a file's bytes to its pieces, its piece layer and its root.
// Invariant: the root depends on the bytes alone, never on how they were sliced or on the piece length.
// Never: reads a file, keeps a chunk that it was handed, or makes a hash buffer per block.

import { BLOCK_BYTES, PIECE_BYTES_MAX, PIECE_BYTES_MIN, PIECES_AIM } from "../protocol/limits.ts";
import type { Root } from "../protocol/messages.ts";

/** SHA-256, the only hash of BEP 52. */
export const HASH_BYTES = 32;

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

// A tree grown from the left in one slot of two hashes per level, like the carries of a binary counter:
// ten levels hold the largest piece, so that a lane's hasher costs 17 KiB whatever the piece.
type Tree = {
  /** Where the next node of the lowest level must be written before `grow`. */
  next(): Uint8Array;
  grow(): void;
  /** The root of `nodes` (a power of two) lowest nodes, the missing ones being subtrees of zero blocks. Empties the tree. */
  close(nodes: number, out: Uint8Array): void;
  readonly count: () => number;
  clear(): void;
};

/** zeroNodes[n] is the root of 2^n zero hashes (BEP 52: "the remaining leaf hashes are set to zero"). */
const zeroNodes: Uint8Array[] = [new Uint8Array(HASH_BYTES)];

function zeroNode(level: number): Uint8Array {
  while (zeroNodes.length <= level) {
    const below = zeroNodes[zeroNodes.length - 1] as Uint8Array;
    const pair = new Uint8Array(2 * HASH_BYTES);
    pair.set(below, 0);
    pair.set(below, HASH_BYTES);
    zeroNodes.push(Bun.SHA256.hash(pair, new Uint8Array(HASH_BYTES)) as Uint8Array);
  }
  return zeroNodes[level] as Uint8Array;
}

/** `ground` is the level of the lowest nodes above the blocks: 0 for a piece's tree, the piece's own for a layer's. */
function createTree(ground: number): Tree {
  const pairs: Uint8Array[] = [];
  const lefts: Uint8Array[] = [];
  const rights: Uint8Array[] = [];
  let count = 0;

  // Node `index` of a level: even ones stand left in their pair.
  const place = (level: number, index: number): Uint8Array => {
    while (pairs.length <= level) {
      const pair = new Uint8Array(2 * HASH_BYTES);
      pairs.push(pair);
      lefts.push(pair.subarray(0, HASH_BYTES));
      rights.push(pair.subarray(HASH_BYTES));
    }
    return (index % 2 === 0 ? lefts[level] : rights[level]) as Uint8Array;
  };
  const join = (level: number, index: number): void => {
    const above = place(level + 1, index);
    Bun.SHA256.hash(pairs[level] as Uint8Array, above);
  };

  return {
    next: () => place(0, count),
    grow() {
      count += 1;
      let nodes = count;
      for (let level = 0; nodes % 2 === 0; level += 1) {
        nodes /= 2;
        join(level, nodes - 1);
      }
    },
    close(nodes, out) {
      let have = count;
      let level = 0;
      // Once a pair was completed with padding, every pair above it is still to be joined.
      let padded = false;
      for (let width = nodes; width > 1; width /= 2) {
        if (have % 2 === 1) {
          place(level, have).set(zeroNode(ground + level));
          padded = true;
        }
        have = Math.ceil(have / 2);
        if (padded) join(level, have - 1);
        level += 1;
      }
      out.set(place(level, 0));
      count = 0;
    },
    count: () => count,
    clear() {
      count = 0;
    },
  };
}

const powerOfTwoFrom = (least: number): number => {
  let power = 1;
  while (power < least) power *= 2;
  return power;
};

/**
 * Hashes the pieces of a file of `size` bytes cut into `pieceBytes`.
 * BEP 52: a leaf is the SHA-256 of a block of 16 KiB (the file's last may be short); missing leaves are zero hashes,
 * up to a whole piece where the file has several, up to the next power of two where it has one.
 */
export function createPieceHasher(size: number, pieceBytes: number): PieceHasher {
  const alone = size <= pieceBytes;
  const blocksMax = pieceBytes / BLOCK_BYTES;
  const tree = createTree(0);
  let carry: Uint8Array | undefined;
  let carried = 0;

  const block = (bytes: Uint8Array): void => {
    Bun.SHA256.hash(bytes, tree.next());
    tree.grow();
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
      const blocks = tree.count();
      if (blocks === 0 || blocks > blocksMax) throw new Error(`a piece of ${blocks} blocks, at most ${blocksMax}`);
      tree.close(alone ? powerOfTwoFrom(blocks) : blocksMax, out);
      return out;
    },
    reset() {
      carried = 0;
      tree.clear();
    },
  };
}

/** The root above a piece layer. One piece is the root itself; no piece is EMPTY_ROOT. */
export function rootOfLayer(layer: Uint8Array, pieceBytes: number): Root {
  const pieces = layer.length / HASH_BYTES;
  if (pieces === 0) return EMPTY_ROOT;
  const tree = createTree(Math.log2(pieceBytes / BLOCK_BYTES));
  for (let at = 0; at < layer.length; at += HASH_BYTES) {
    tree.next().set(layer.subarray(at, at + HASH_BYTES));
    tree.grow();
  }
  const out = new Uint8Array(HASH_BYTES);
  tree.close(powerOfTwoFrom(pieces), out);
  return encodeRoot(out);
}

/** Whether `layer`, from an untrusted source, is the layer of the file of `size` bytes that `root` identifies. */
export function checkLayer(layer: Uint8Array, size: number, pieceBytes: number, root: Root): boolean {
  if (pieceBytes < PIECE_BYTES_MIN || pieceBytes > PIECE_BYTES_MAX || !Number.isInteger(Math.log2(pieceBytes)))
    return false;
  if (layer.length !== pieceCount(size, pieceBytes) * HASH_BYTES) return false;
  return rootOfLayer(layer, pieceBytes) === root;
}
