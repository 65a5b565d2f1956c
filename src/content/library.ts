// What this peer shares now: its folder's files, and the root of each as soon as it is known.
// Invariant: a share's root belongs to the file as it was listed; a file that changed is out until it is put in again.
// Never: makes JOIN or a download wait for hashing, or takes a file out because it could not be read just now.

import { type Fault, isFault } from "../protocol/fault.ts";
import type { Root, Share } from "../protocol/messages.ts";
import type { Clock } from "../shared/clock.ts";
import type { Listing, LocalShare } from "./folder.ts";
import type { HashCache } from "./hashing/hash-cache.ts";
import type { Hasher } from "./hashing/hasher.ts";
import { type Hashed, pieceBytesFor } from "./hashing/merkle.ts";
import { finalPath, isPassing, isUntouched, sameStamp, stampFile as stampHere } from "./safe-files.ts";

/** A file of the folder and what is known of its content. The layer is in memory only once it is needed. */
export type LibraryFile = {
  readonly local: LocalShare;
  readonly pieceBytes: number;
  readonly root: Root | undefined;
  readonly layer: Uint8Array | undefined;
};

/** How far the hashing of what the cache did not know is: files and bytes of those that there are in all. */
export type Hashing = {
  readonly files: number;
  readonly filesTotal: number;
  readonly bytes: number;
  readonly bytesTotal: number;
};

export type Library = {
  readonly folder: string;
  names(): readonly string[];
  get(name: string): LibraryFile | undefined;
  all(): IterableIterator<LibraryFile>;
  /** As the server is told. */
  shares(): IterableIterator<Share>;
  /** A download has put `name` there: from now on it is shared, its content known. Undefined when it is gone already. */
  add(name: string, hashed: Hashed): Promise<LibraryFile | undefined>;
  /** Takes over what another library of the same folder holds and this one does not, `but` those. */
  adopt(other: Library, but: ReadonlySet<string>): readonly LibraryFile[];
  /** What is shared under this name, or was set aside. */
  local(name: string): LocalShare | undefined;
  /** A file as it stands in the folder now is shared, in the place of what had its name. */
  put(local: LocalShare): LibraryFile;
  /** These are no longer what was shared: they are out (onLost). Names that are not there do not count. */
  lose(names: readonly string[]): void;
  /** These files stay out as long as they are as they are. False when none of them was shared. */
  setAside(files: readonly LocalShare[]): boolean;
  /** It may have changed: it is looked at, and taken out if it has (onLost). */
  doubt(name: string): Promise<void>;
  /** Hashes what the cache does not know. */
  hashAll(): Promise<void>;
  /** It is being downloaded: its root and layer are wanted before those of the others. They come through onShared. */
  want(name: string): void;
  /** Stops the hashing. */
  close(): void;
};

export type LibraryOptions = {
  readonly listing: Listing;
  readonly cache: HashCache;
  readonly hasher: Hasher;
  readonly clock: Clock;
  /** The disk, where it is another than this machine's. */
  readonly stampFile?: typeof stampHere;
  /** More is known of a file: its root and its layer. */
  readonly onShared: (file: LibraryFile) => void;
  /** Files are no longer what was listed, and are out. */
  readonly onLost: (names: readonly string[]) => void;
  /** Told once in HASHING_TOLD_MS, and when all is done. */
  readonly onHashing?: (hashing: Hashing) => void;
};

/** A file that could not be read is tried again after the first of these, then after twice as long, up to the other. */
export const AGAIN_SECONDS_MIN = 1;
export const AGAIN_SECONDS_MAX = 300;

/** How often what is due is done, and how much of it at once. */
const SWEEP_MS = 1000;
const SWEEP_FILES_MAX = 256;

export const HASHING_TOLD_MS = 1000;

/** Faults of the hashing itself, which say nothing about the file. */
const OUR_END: ReadonlySet<string> = new Set(["CANCELLED", "SHUTTING_DOWN"]);

/** Faults that say nothing of the file: it is tried again. */
const saysNothing = (why: Fault): boolean => isPassing(why) || why.fault === "INTERNAL";

const shareOf = ({ local: { name, size }, root }: LibraryFile): Share => ({ name, size, root });

/** A file to be hashed again, after a pause of so many seconds. */
type Due = { readonly at: number; readonly seconds: number };

/** What is to be done later, never more than SWEEP_FILES_MAX at a time; `act` is handed the pause after this one. */
function createAgenda(clock: Clock, signal: AbortSignal, act: (name: string, seconds: number) => void) {
  const all = new Map<string, Due>();
  let cancel: (() => void) | undefined;
  signal.addEventListener("abort", () => cancel?.());

  function sweep(): void {
    const ready = all.entries().filter(([, { at }]) => at <= clock.now());
    for (const [name, due] of [...ready.take(SWEEP_FILES_MAX)]) {
      all.delete(name);
      act(name, Math.min(due.seconds * 2, AGAIN_SECONDS_MAX));
    }
    cancel = all.size > 0 && !signal.aborted ? clock.after(SWEEP_MS, sweep) : undefined;
  }
  return {
    /** `due.seconds` from now. */
    add(name: string, due: Omit<Due, "at">): void {
      if (signal.aborted) return;
      all.set(name, { ...due, at: clock.now() + due.seconds * 1000 });
      cancel ??= clock.after(SWEEP_MS, sweep);
    },
    remove: (name: string) => void all.delete(name),
  };
}

/** Counts what is hashed; `tell` hears of it now and then. */
function createCount(clock: Clock, tell: (hashing: Hashing) => void) {
  const open = new Map<string, { readonly size: number; bytes: number }>();
  const done = { files: 0, bytes: 0 };
  let toldAt = Number.NEGATIVE_INFINITY;

  function told(): void {
    if (open.size > 0 && clock.now() - toldAt < HASHING_TOLD_MS) return;
    toldAt = clock.now();
    let { bytes } = done;
    let bytesTotal = done.bytes;
    for (const file of open.values()) {
      bytes += file.bytes;
      bytesTotal += file.size;
    }
    tell({ files: done.files, filesTotal: done.files + open.size, bytes, bytesTotal });
  }
  return {
    add: (name: string, size: number) => void open.set(name, { size, bytes: 0 }),
    progress(name: string, bytes: number): void {
      const file = open.get(name);
      if (file === undefined) return;
      file.bytes = bytes;
      told();
    },
    /** It is hashed, or no longer there to be hashed. */
    end(name: string, isHashed: boolean): void {
      const file = open.get(name);
      if (!open.delete(name) || file === undefined) return;
      if (isHashed) {
        done.files += 1;
        done.bytes += file.size;
      }
      told();
    },
  };
}

/** One file after another, so that a folder of 100,000 does not become 100,000 jobs at once. */
function createHashRound(
  files: ReadonlyMap<string, LibraryFile>,
  signal: AbortSignal,
  hash: (name: string) => Promise<void>,
): () => Promise<void> {
  let isHashing = false;
  return async () => {
    if (isHashing) return;
    isHashing = true;
    // What is put in meanwhile has its turn at the end.
    for (const [name, { root }] of files) {
      if (signal.aborted) break;
      if (root === undefined) await hash(name);
    }
    isHashing = false;
  };
}

/** A library of what was listed. */
export function createLibrary(options: LibraryOptions): Library {
  const { listing, cache, hasher, clock, stampFile = stampHere, onShared, onLost } = options;
  const { folder, shares } = listing;
  const files = new Map<string, LibraryFile>();
  const count = createCount(clock, (hashing) => options.onHashing?.(hashing));
  const stop = new AbortController();
  const aside = new Map<string, LocalShare>();
  const hashAll = createHashRound(files, stop.signal, (name) => hash(name));
  const agenda = createAgenda(clock, stop.signal, (name, seconds) => void hash(name, { seconds }));
  const pathOf = ({ file }: { readonly file: string }): string => String(finalPath(folder, file));

  /** The file as it was listed, with its root where it is known. */
  function list(local: LocalShare): LibraryFile {
    const root = cache.findRoot(pathOf(local), local);
    const one = { local, pieceBytes: pieceBytesFor(local.size), root, layer: undefined };
    files.set(local.name, one);
    if (root === undefined) count.add(local.name, local.size);
    return one;
  }
  for (const local of shares) list(local);

  /** Hashes it, now or later. Whatever can pass is tried again, after `seconds` the next time. */
  async function hash(name: string, { urgent = false, seconds = AGAIN_SECONDS_MIN } = {}): Promise<void> {
    const before = files.get(name);
    if (before === undefined || before.layer !== undefined || stop.signal.aborted) return;
    const { signal } = stop;
    const onProgress = (bytes: number): void => count.progress(name, bytes);
    const hashed = await hasher.hash(pathOf(before.local), { signal, urgent, onProgress });
    const now = files.get(name);
    if (signal.aborted || now?.local !== before.local || now.layer !== undefined) return;
    if (isFault(hashed) && OUR_END.has(hashed.fault)) return;
    if (isFault(hashed) || hashed.size !== before.local.size) {
      if (!isFault(hashed) || !saysNothing(hashed)) await doubt(name);
      if (files.get(name)?.local === before.local) agenda.add(name, { seconds });
      return;
    }
    const after = { ...before, root: hashed.root, layer: hashed.layer };
    files.set(name, after);
    agenda.remove(name);
    count.end(name, true);
    onShared(after);
  }

  async function doubt(name: string): Promise<void> {
    const before = files.get(name);
    if (before === undefined) return;
    const stamp = await stampFile(pathOf(before.local));
    const now = files.get(name);
    if (stop.signal.aborted || now?.local !== before.local) return;
    if (isFault(stamp) ? !isPassing(stamp) : !sameStamp(stamp, now.local)) return lose([name]);
    if (isFault(stamp) || isUntouched(stamp, now.local)) return;
    // Touched, or another content with the time set back: what is known of it stands until it is read.
    files.set(name, { ...now, local: { ...now.local, ...stamp }, layer: undefined });
    void hash(name);
  }

  /** Out of what is shared; those that were there. */
  function take(names: readonly string[]): string[] {
    return names.filter((name) => {
      agenda.remove(name);
      count.end(name, false);
      return files.delete(name);
    });
  }

  function lose(names: readonly string[]): void {
    const lost = take(names);
    if (lost.length > 0) onLost(lost);
  }

  return {
    folder,
    names: () => [...files.keys()],
    get: (name) => files.get(name),
    all: () => files.values(),
    shares: () => files.values().map(shareOf),
    async add(name, hashed) {
      const path = pathOf({ file: name });
      const stamp = await stampFile(path);
      if (isFault(stamp) || stamp.size !== hashed.size) return undefined;
      cache.store(path, stamp, hashed);
      const { pieceBytes, root, layer } = hashed;
      const added = { local: { name, file: name, ...stamp }, pieceBytes, root, layer };
      files.set(name, added);
      agenda.remove(name);
      count.end(name, false);
      return added;
    },
    adopt(other, but) {
      const news = [...other.all()].filter(({ local }) => !files.has(local.name) && !but.has(local.name));
      for (const one of news) files.set(one.local.name, one);
      return news;
    },
    local: (name) => files.get(name)?.local ?? aside.get(name),
    put(local) {
      take([local.name]);
      aside.delete(local.name);
      return list(local);
    },
    lose,
    setAside(others) {
      for (const local of others) aside.set(local.name, local);
      return take(others.map(({ name }) => name)).length > 0;
    },
    doubt,
    hashAll,
    want(name) {
      const wanted = files.get(name);
      if (wanted?.layer !== undefined) onShared(wanted);
      else void hash(name, { urgent: true });
    },
    close: () => stop.abort(),
  };
}
