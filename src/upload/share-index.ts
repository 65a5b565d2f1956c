// What this peer has to give: each share with what responder it needs, found by name or by content.
// Invariant: nothing is found that this peer did not list itself or verify piece by piece; a partial one has no name.
// Never: reads a file; the caller's `open` does.

import { type Fault, fault } from "../protocol/fault.ts";
import type { Root, Share } from "../protocol/messages.ts";
import { hasBit, setBit } from "../shared/bitfield.ts";

/** A file open for responder. */
export type ReadableFile = {
  /** Its descriptor, where it is a file of the system's. */
  readonly fd?: number;
  /** Whether these bytes can be sent from the descriptor without waiting for the disk. */
  inMemory?(offset: number, length: number): boolean;
  /** Fills `into` from `offset`; fewer bytes at the file's end. */
  read(into: Uint8Array, offset: number): MaybeLater<number | Fault>;
  /** What it is like now. */
  look(): MaybeLater<Look | Fault>;
  close(): void;
};

export type Look = {
  /** Whether size and time are still those of the listing. */
  readonly unchanged: boolean;
  /** Whether it still has a name: one that was deleted or replaced can be read to its end, but is shared no more. */
  readonly named: boolean;
};

/** At once, or when the disk has answered. */
export type MaybeLater<T> = T | Promise<T>;

/** A share, how it is cut, and its piece layer once it is needed. `listed` is what opens it again. */
export type ShareEntry<Listed = unknown> = {
  readonly share: Share;
  readonly pieceBytes: number;
  readonly layer: Uint8Array | undefined;
  readonly listed: Listed;
  /** Of a download under way: its verified pieces, as a bit each (BEP 3 order). Undefined for a whole file. */
  readonly pieces?: Uint8Array;
};

export type ShareIndex<Listed = unknown> = {
  put(entry: ShareEntry<Listed>): void;
  remove(name: string): void;
  /** A download under way of this root has verified these pieces. */
  have(root: Root, indexes: readonly number[]): void;
  /** A download under way is over, one way or the other. */
  removePartial(root: Root): void;
  /** Forgets every whole file. */
  clear(): void;
  /** Every whole file. */
  all(): IterableIterator<ShareEntry<Listed>>;
  byName(name: string): ShareEntry<Listed> | undefined;
  /** The whole file where there is one, else the download under way. */
  byRoot(root: Root): ShareEntry<Listed> | undefined;
  open(entry: ShareEntry<Listed>): Promise<ReadableFile | Fault>;
};

/** An empty index whose files are opened by `open`. */
export function createShareIndex<Listed>(open: (listed: Listed) => Promise<ReadableFile | Fault>): ShareIndex<Listed> {
  const names = new Map<string, ShareEntry<Listed>>();
  const roots = new Map<Root, ShareEntry<Listed>>();
  const partials = new Map<Root, ShareEntry<Listed>>();

  function remove(name: string): void {
    const entry = names.get(name);
    names.delete(name);
    const root = entry?.share.root;
    if (root !== undefined && roots.get(root) === entry) roots.delete(root);
  }

  function put(entry: ShareEntry<Listed>): void {
    const { name, root } = entry.share;
    if (entry.pieces !== undefined) {
      if (root !== undefined) partials.set(root, entry);
      return;
    }
    remove(name);
    names.set(name, entry);
    if (root !== undefined) roots.set(root, entry);
  }

  return {
    put,
    remove,
    have(root, indexes) {
      const bits = partials.get(root)?.pieces;
      if (bits === undefined) return;
      for (const index of indexes) setBit(bits, index);
    },
    removePartial: (root) => void partials.delete(root),
    clear() {
      names.clear();
      roots.clear();
    },
    all: () => names.values(),
    byName: (name) => names.get(name),
    byRoot: (root) => roots.get(root) ?? partials.get(root),
    open: (entry) => open(entry.listed),
  };
}

/** BAD_RANGE when the bytes are not all in the file; NOT_READY when they are not all in verified pieces. */
export function rangeFault(
  { share, pieceBytes, pieces }: ShareEntry,
  offset: number,
  length: number,
): Fault | undefined {
  if (offset + length > share.size) return fault("BAD_RANGE", "theirs", "past the end of the file");
  if (pieces === undefined) return undefined;
  const last = Math.floor((offset + length - 1) / pieceBytes);
  for (let index = Math.floor(offset / pieceBytes); index <= last; index++) {
    if (!hasBit(pieces, index)) return fault("NOT_READY", "ours", `piece ${index} is not here yet`, true);
  }
  return undefined;
}
