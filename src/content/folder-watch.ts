// A folder while it is shared: which files have appeared, changed or gone since it was listed.
// Invariant: a file is reported when two looks STILL_SECONDS apart saw the same and it can be read; a listing decides,
// and what the system tells of the folder only brings the next one forward.
// Never: reads a file's bytes, or spends more than one part in REST_FACTOR of the time on listings.

import * as fs from "node:fs";
import { type Fault, isFault } from "../protocol/fault.ts";
import { type Clock, createTimer } from "../shared/clock.ts";
import type { Listing, LocalShare, Skipped } from "./folder.ts";
import { isPassing, openFile, type Stamp, sameStamp } from "./safe-files.ts";
import { isBeingWritten } from "./system-lock.ts";

/** The folder is listed so long after the last hint of the system, or after the first one while they go on. */
export const HINT_SECONDS = 1;
export const HINT_SECONDS_MAX = 10;
/** And at least so often: network drives give no hints, and others may be lost. A folder that is gone, soon at first. */
export const LIST_SECONDS = 60;

/** Two looks at a file that are to agree. What cannot be read is tried after twice as long, up to LIST_SECONDS. */
export const STILL_SECONDS = 2;

/** After a listing the next one waits this many times as long as it took. */
const REST_FACTOR = 20;

/** How many files are looked at before the event loop has a turn, and how many are open at once. */
const BATCH_FILES = 64;

export type FolderChange = {
  /** New files, and files that changed, which stand still now. */
  readonly settled: readonly LocalShare[];
  /** Names of files that are not what was shared, or are gone. */
  readonly lost: readonly string[];
  /** Files that cannot be shared and were not there before. */
  readonly skipped: readonly Skipped[];
};

/** The folder on the disk. */
export type WatchedFolder = {
  list(): Promise<Listing | Fault>;
  stamp(file: LocalShare): Promise<Stamp | Fault>;
  /** Whether it can be read, and no program writes to it as far as the system tells. */
  isReady(file: LocalShare): Promise<boolean>;
  /** Calls `onHint` when something may have changed, until the returned function is called. */
  listen(onHint: () => void): () => void;
};

/** What is shared of it. */
export type SharedFiles = {
  /** Names that are shared. */
  names(): readonly string[];
  /** The file that is shared under this name, or was set aside; undefined for one that is new. */
  local(name: string): LocalShare | undefined;
};

export type FolderWatchOptions = {
  readonly clock: Clock;
  readonly folder: WatchedFolder;
  readonly shared: SharedFiles;
  /** What was skipped when it was listed first. */
  readonly skipped: readonly Skipped[];
  readonly onChange: (change: FolderChange) => void | Promise<void>;
};

export type FolderWatch = {
  /** Something may have changed: the folder is listed soon. */
  hint(): void;
  close(): void;
};

/** A file that is not shared as it is now: when it was seen so first, and when it is looked at again. */
type Candidate = {
  readonly file: LocalShare;
  readonly seenAt: number;
  readonly seconds: number;
  readonly dueAt: number;
};

/** Our own work files are no news; a link may become a file. */
const newsOf = ({ name, reason }: Skipped): string | undefined => (reason === "ours" ? undefined : `${reason} ${name}`);

/** A file that is not shared as it is now. */
type Candidates = {
  /** It was listed so. */
  see(file: LocalShare): void;
  /** Those that are due and stand still; they are candidates no more. */
  settle(): Promise<LocalShare[]>;
  /** When the next one is due, in the clock's milliseconds. */
  nextAt(): number | undefined;
};

function createCandidates(clock: Clock, folder: WatchedFolder): Candidates {
  const all = new Map<string, Candidate>();

  function see(file: LocalShare): void {
    const before = all.get(file.name);
    const seenAt = before !== undefined && sameStamp(before.file, file) ? before.seenAt : clock.now();
    // One that could not be read is tried again at once: something has happened.
    all.set(file.name, { file, seenAt, seconds: STILL_SECONDS, dueAt: seenAt + STILL_SECONDS * 1000 });
  }

  async function look({ file, seenAt, seconds }: Candidate): Promise<LocalShare | undefined> {
    const stamp = await folder.stamp(file);
    if (isFault(stamp) && !isPassing(stamp)) return void all.delete(file.name);
    if (!isFault(stamp) && !sameStamp(stamp, file)) return void see({ ...file, ...stamp });
    if (isFault(stamp) || !(await folder.isReady(file))) {
      const next = Math.min(seconds * 2, LIST_SECONDS);
      return void all.set(file.name, { file, seenAt, seconds: next, dueAt: clock.now() + next * 1000 });
    }
    all.delete(file.name);
    return { ...file, ...stamp };
  }

  return {
    see,
    async settle() {
      const due = [...all.values()].filter(({ dueAt }) => dueAt <= clock.now());
      const looked = await inBatches(due, look);
      return looked.filter((file) => file !== undefined);
    },
    nextAt() {
      let next: number | undefined;
      for (const { dueAt } of all.values()) next = Math.min(next ?? dueAt, dueAt);
      return next;
    },
  };
}

async function inBatches<T, R>(all: readonly T[], act: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < all.length; at += BATCH_FILES)
    for (const result of await Promise.all(all.slice(at, at + BATCH_FILES).map(act))) results.push(result);
  return results;
}

/** Watches until it is closed. The first listing comes soon: files may have changed since the caller listed them. */
export function createFolderWatch({ clock, folder, shared, skipped, onChange }: FolderWatchOptions): FolderWatch {
  const candidates = createCandidates(clock, folder);
  const [soon, later, again] = [createTimer(clock), createTimer(clock), createTimer(clock)];
  let told = new Set(skipped.map(newsOf));
  let hintedAt: number | undefined; // the first hint since the last listing
  let isDue = false; // a listing is
  let isBusy = false;
  let isClosed = false;
  let restUntil = 0;
  let missingSeconds = 0; // the pause before the next listing of a folder that is gone
  let unlisten = (): void => {};

  function hint(): void {
    if (isClosed) return;
    hintedAt ??= clock.now();
    const at = Math.min(clock.now() + HINT_SECONDS * 1000, hintedAt + HINT_SECONDS_MAX * 1000);
    soon.set(Math.max(at, restUntil) - clock.now(), due);
  }

  function due(): void {
    isDue = true;
    void work();
  }

  /** One look after the other, until nothing is due. */
  async function work(): Promise<void> {
    if (isBusy) return;
    isBusy = true;
    do {
      if (isDue) await listAll();
      const settled = (await candidates.settle()).filter((file) => !isShared(file)); // a download may have put it there
      await tell({ settled, lost: [], skipped: [] });
    } while (isDue && !isClosed);
    isBusy = false;
    const next = candidates.nextAt();
    if (next !== undefined && !isClosed) again.set(Math.max(0, next - clock.now()), () => void work());
  }

  const isShared = (file: LocalShare): boolean => {
    const known = shared.local(file.name);
    return known !== undefined && sameStamp(known, file);
  };

  async function listAll(): Promise<void> {
    isDue = false;
    hintedAt = undefined;
    later.cancel();
    // The folder may be another one under the same name by now.
    unlisten();
    unlisten = folder.listen(hint);
    const began = clock.now();
    const listing = await folder.list();
    const isMissing = isFault(listing) && listing.fault === "FOLDER_MISSING";
    missingSeconds = isMissing ? Math.min(Math.max(missingSeconds * 2, STILL_SECONDS), LIST_SECONDS) : 0;
    // What cannot be listed just now says nothing of its files; a folder that is gone has none.
    if (!isFault(listing)) await compare(listing);
    else if (isMissing) await compare({ folder: "", shares: [], skipped: [] });
    const restMs = (clock.now() - began) * REST_FACTOR;
    restUntil = clock.now() + restMs;
    if (!isClosed) later.set(Math.max((missingSeconds || LIST_SECONDS) * 1000, restMs), due);
  }

  async function compare(listing: Listing): Promise<void> {
    const there = new Set(listing.shares.map(({ name }) => name));
    const others = listing.shares.filter((file) => !isShared(file));
    const changed = others.filter(({ name }) => shared.local(name) !== undefined).map(({ name }) => name);
    const absent = shared.names().flatMap((name) => (there.has(name) ? [] : (shared.local(name) ?? [])));
    for (const file of others) candidates.see(file);
    // A listing leaves out what it could not look at: only a file that is not there is gone.
    const looked = await inBatches(absent, async (file) => ({ file, stamp: await folder.stamp(file) }));
    const gone = looked.filter(({ stamp }) => isFault(stamp) && !isPassing(stamp)).map(({ file }) => file.name);
    const news = listing.skipped.filter((one) => newsOf(one) !== undefined && !told.has(newsOf(one)));
    told = new Set(listing.skipped.map(newsOf));
    await tell({ settled: [], lost: [...changed, ...gone], skipped: news });
  }

  async function tell(change: FolderChange): Promise<void> {
    const { settled, lost, skipped: news } = change;
    if (!isClosed && settled.length + lost.length + news.length > 0) await onChange(change);
  }

  unlisten = folder.listen(hint);
  hint();
  return {
    hint,
    close() {
      isClosed = true;
      for (const timer of [soon, later, again]) timer.cancel();
      unlisten();
    },
  };
}

/** What our own downloads write all the time, and their end is told of under the final name. */
const WORK_FILE = /\.part(?:\.journal|\.lock)?$/;

/**
 * Calls `onHint` for what the system tells of files directly in `folder`, until the returned function is called. Where it
 * tells nothing (no such folder, too many watches, a network drive) `onHint` is not called.
 */
export function listenToFolder(folder: string, onHint: () => void): () => void {
  try {
    const watcher = fs.watch(folder, { persistent: false }, (_, file) => {
      if (file === null || !WORK_FILE.test(file)) onHint();
    });
    watcher.on("error", () => watcher.close());
    return () => watcher.close();
  } catch {
    return () => {};
  }
}

/**
 * Whether the file at `path` is the one that was listed, can be read, and is open for writing in no program; the last
 * only where the system tells (Linux, Windows).
 */
export async function isFileReady(path: string, listed: Stamp): Promise<boolean> {
  const file = await openFile(path, listed);
  if (isFault(file)) return false;
  const isReady = !isBeingWritten(path, file.fd);
  await file.close();
  return isReady;
}
