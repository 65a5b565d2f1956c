// What this peer shares now: its folder's files, and the root of each as soon as it is known.
// Invariant: a share's root belongs to the file as it was listed; a file that changed is out until it is listed again.
// Never: makes JOIN or a download wait for hashing (DESIGN 4).

import { isFault } from "../protocol/fault.ts";
import type { Root, Share } from "../protocol/messages.ts";
import type { Listing, LocalShare } from "./folder.ts";
import type { HashCache } from "./hash-cache.ts";
import type { Hasher } from "./hasher.ts";
import { finalPath, stampFile } from "./inside.ts";
import { type Hashed, pieceBytesFor } from "./merkle.ts";

/** A file of the folder and what is known of its content. The layer is in memory only once somebody needed it. */
export type Held = {
  readonly local: LocalShare;
  readonly pieceBytes: number;
  readonly root: Root | undefined;
  readonly layer: Uint8Array | undefined;
};

export type Library = {
  readonly folder: string;
  readonly names: readonly string[];
  has(name: string): boolean;
  all(): IterableIterator<Held>;
  /** As the server is told. */
  shares(): IterableIterator<Share>;
  /** A download has put `name` there: from now on it is shared, its content known. Undefined when it is gone already. */
  add(name: string, hashed: Hashed): Promise<Held | undefined>;
  /** False when it was not there. */
  remove(name: string): boolean;
  /** Begins to hash what the cache does not know. */
  hashAll(): Promise<void>;
  /** Somebody downloads it: its root and layer are wanted before those of the others. They come through onHashed. */
  want(name: string): void;
  /** Stops the hashing. */
  close(): void;
};

export type LibraryOptions = {
  readonly listing: Listing;
  readonly cache: HashCache;
  readonly hasher: Hasher;
  /** The root and the layer of a file are known. */
  readonly onHashed: (held: Held) => void;
  /** A file cannot be read as it was listed: it is to be removed. */
  readonly onLost: (name: string) => void;
};

/** Faults of the hashing itself, which say nothing about the file. */
const OUR_END: ReadonlySet<string> = new Set(["CANCELLED", "SHUTTING_DOWN", "INTERNAL"]);

/** A library of what was listed. */
export function createLibrary({ listing, cache, hasher, onHashed, onLost }: LibraryOptions): Library {
  const { folder } = listing;
  const held = new Map<string, Held>();
  const stop = new AbortController();
  const pathOf = (local: LocalShare): string => String(finalPath(folder, local.file));

  for (const local of listing.shares) {
    const root = cache.findRoot(pathOf(local), local);
    held.set(local.name, { local, pieceBytes: pieceBytesFor(local.size), root, layer: undefined });
  }

  async function hash(name: string): Promise<void> {
    const before = held.get(name);
    if (before === undefined || before.layer !== undefined || stop.signal.aborted) return;
    const hashed = await hasher.hash(pathOf(before.local), { signal: stop.signal });
    if (stop.signal.aborted || held.get(name) !== before) return;
    if (isFault(hashed) && OUR_END.has(hashed.fault)) return;
    if (isFault(hashed) || hashed.size !== before.local.size) return onLost(name);
    const after = { ...before, root: hashed.root, layer: hashed.layer };
    held.set(name, after);
    onHashed(after);
  }

  /** One file after another, so that a folder of 100,000 does not become 100,000 jobs at once. */
  async function hashAll(): Promise<void> {
    for (const [name, { root }] of [...held]) {
      if (stop.signal.aborted) return;
      if (root === undefined) await hash(name);
    }
  }
  return {
    folder,
    get names() {
      return [...held.keys()];
    },
    has: (name) => held.has(name),
    all: () => held.values(),
    *shares() {
      for (const { local, root } of held.values()) yield { name: local.name, size: local.size, root };
    },
    async add(name, hashed) {
      const path = finalPath(folder, name);
      const stamp = isFault(path) ? path : await stampFile(path);
      if (isFault(path) || isFault(stamp) || stamp.size !== hashed.size) return undefined;
      cache.store(path, stamp, hashed);
      const { pieceBytes, root, layer } = hashed;
      const added = { local: { name, file: name, ...stamp }, pieceBytes, root, layer };
      held.set(name, added);
      return added;
    },
    remove: (name) => held.delete(name),
    hashAll,
    want(name) {
      const wanted = held.get(name);
      if (wanted === undefined) return;
      if (wanted.layer !== undefined) return onHashed(wanted);
      void hash(name);
      hasher.prioritise(pathOf(wanted.local));
    },
    close: () => stop.abort(),
  };
}
