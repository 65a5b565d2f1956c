// What this peer has to give: each share with what serving it needs, found by name or by content.
// Invariant: byName and byRoot agree; nothing is found that was not put here by this peer's own listing.
// Never: reads a file; opening goes through the door that it was handed.

import type { Fault } from "../protocol/fault.ts";
import type { Root, Share } from "../protocol/messages.ts";

/** A file open for serving. */
export type ReadableFile = {
  /** Fills `into` from `offset`; fewer bytes at the file's end. */
  read(into: Uint8Array, offset: number): number | Fault;
  /** Whether size and time are still those of the listing. */
  unchanged(): boolean;
  close(): void;
};

/** A share, how it is cut, and its piece layer once it is hashed. `listed` is what the door needs to open it. */
export type Stocked<Listed = unknown> = {
  readonly share: Share;
  readonly pieceBytes: number;
  readonly layer: Uint8Array | undefined;
  readonly listed: Listed;
};

export type Shelf<Listed = unknown> = {
  put(stocked: Stocked<Listed>): void;
  remove(name: string): void;
  clear(): void;
  byName(name: string): Stocked<Listed> | undefined;
  byRoot(root: Root): Stocked<Listed> | undefined;
  open(stocked: Stocked<Listed>): Promise<ReadableFile | Fault>;
};

/** An empty shelf whose files are opened by `open`. */
export function createShelf<Listed>(open: (listed: Listed) => Promise<ReadableFile | Fault>): Shelf<Listed> {
  const names = new Map<string, Stocked<Listed>>();
  const roots = new Map<Root, Stocked<Listed>>();

  function remove(name: string): void {
    const stocked = names.get(name);
    names.delete(name);
    const root = stocked?.share.root;
    if (root !== undefined && roots.get(root) === stocked) roots.delete(root);
  }

  return {
    put(stocked) {
      remove(stocked.share.name);
      names.set(stocked.share.name, stocked);
      if (stocked.share.root !== undefined) roots.set(stocked.share.root, stocked);
    },
    remove,
    clear() {
      names.clear();
      roots.clear();
    },
    byName: (name) => names.get(name),
    byRoot: (root) => roots.get(root),
    open: (stocked) => open(stocked.listed),
  };
}
