// The pieces that a lane has on order, written to the .part file as they come and hashed on the way.
// Invariant: a piece is given out once, after all its bytes were written, with the hash of all that the disk was given of it.
// Never: asks for bytes, or decides whether a hash is right.

import { HASH_BYTES, type PieceHasher } from "../../content/hashing/merkle.ts";
import { type Fault, fault, isFault } from "../../protocol/fault.ts";

/** A piece: `length` bytes from `offset`. The first `have` of them are in the .part already, and are read from there. */
export type Order = {
  readonly index: number;
  readonly offset: number;
  readonly length: number;
  readonly have?: number;
};

export type PieceWriterOptions = {
  readonly hasher: PieceHasher;
  /** Writes all of `chunk` at `offset` of the .part file. */
  readonly write: (chunk: Uint8Array, offset: number) => Fault | undefined;
  /** Fills `into` from `offset` of the .part file; how many bytes there were. */
  readonly read: (into: Uint8Array, offset: number) => number | Fault;
};

export type PieceWriter = {
  add(order: Order): void;
  /** Writes the next bytes of the first piece, and of no other: the piece when they were its last, or the disk's fault. */
  write(chunk: Uint8Array): { readonly index: number; readonly hash: Uint8Array } | undefined | Fault;
  /** How much of the first piece is written; undefined before its first byte has come. */
  progress(): { readonly index: number; readonly have: number } | undefined;
  readonly idle: boolean;
};

const READ_BACK_BYTES = 512 * 1024;

export function createPieceWriter({ hasher, write, read }: PieceWriterOptions): PieceWriter {
  const orders: Order[] = [];
  let filled = 0; // bytes of orders[0] that are on the disk

  /** A piece that goes on where it broke off: its hash begins with what the disk holds of it. */
  function readBack({ offset, have = 0 }: Order): Fault | undefined {
    const buffer = new Uint8Array(Math.min(have, READ_BACK_BYTES));
    while (filled < have) {
      const into = buffer.subarray(0, have - filled);
      const bytes = read(into, offset + filled);
      if (isFault(bytes)) return bytes;
      if (bytes < into.length) return fault("DISK_ERROR", "disk", "the .part holds less than was written", true);
      hasher.update(into);
      filled += into.length;
    }
    return undefined;
  }

  return {
    add: (order) => void orders.push(order),
    write(chunk) {
      const order = orders[0] as Order;
      const failed = (filled === 0 ? readBack(order) : undefined) ?? write(chunk, order.offset + filled);
      if (failed !== undefined) return failed;
      hasher.update(chunk);
      filled += chunk.length;
      if (filled < order.length) return undefined;
      orders.shift();
      filled = 0;
      return { index: order.index, hash: hasher.finish(new Uint8Array(HASH_BYTES)) };
    },
    progress: () => (orders[0] !== undefined && filled > 0 ? { index: orders[0].index, have: filled } : undefined),
    get idle() {
      return orders.length === 0;
    },
  };
}
