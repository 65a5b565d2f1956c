// Where one download works: its .part and its journal, open, and the way to the final name.
// Invariant: one download of a name at a time; what is closed here stays on the disk for the next run.
// Never: writes outside the two files, or leaves a final name behind that was not published.

import * as fs from "node:fs";
import { promisify } from "node:util";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { allocatedBytes, hasHole, isLocal } from "./file-system.ts";
import { type Lock, takeLock } from "./lock.ts";
import { createWatch, forget, isTouched, type Watch, watchedAsync } from "./overwrite-watch.ts";
import { readAt } from "./positioned-io.ts";
import { publish } from "./publish.ts";
import {
  discard,
  diskFault,
  finalPath,
  hasFile,
  type Identity,
  isSame,
  nameWithRoot,
  type OpenFile,
  openWorkFile,
  workPath,
} from "./safe-files.ts";

const fdatasync = promisify(fs.fdatasync);
const ftruncate = promisify(fs.ftruncate);
const writeFd = promisify(fs.write) as (
  fd: number,
  bytes: Uint8Array,
  from: number,
  length: number,
  at: number,
) => Promise<number | { bytesWritten: number }>;

/** More than the journal of any file is long: a larger one, which is not ours, is not read into memory. */
const READ_BYTES_MAX = 96 * 1024 * 1024;

/** A download under way: the name that it is opened by, and which file it is. */
export type PartOf = { readonly folder: string; readonly part: string; readonly identity: Identity };

/** What others are told of a download under way. */
export type PartialOffer = { have(indexes: readonly number[]): void; end(): void };

/** A download of which others are told nothing. */
export const NO_OFFER: PartialOffer = { have() {}, end() {} };

/** What players are told of a download under way. */
export type PlayFeed = {
  /** These pieces are verified, and in the .part. */
  have(indexes: readonly number[]): void;
  /** The disk may have lost these. */
  lost(indexes: readonly number[]): void;
};

/** Where players read, in bytes, one position a stream; none when nothing is played. */
export type OnPositions = (positions: readonly number[]) => void;

/** One of the two files, as the part file needs it. */
export type WorkFile = {
  readonly size: number;
  /** What it holds, the first READ_BYTES_MAX of it. */
  readAll(): Promise<Uint8Array | Fault>;
  writeAt(bytes: Uint8Array, offset: number): Promise<Fault | undefined>;
  truncate(size: number): Promise<Fault | undefined>;
  /** Everything written before the call is on the disk once it returns. */
  sync(): Promise<Fault | undefined>;
  close(): Promise<void>;
};

export type PartWorkspace = {
  readonly part: WorkFile & {
    readonly fd: number;
    readonly identity: Identity;
    /** To be told of every write to `fd`; undefined where the system says too late when a file was changed. */
    readonly watch: Watch | undefined;
    /** What it takes on the disk now, holes not counted. */
    readonly allocatedBytes: number;
  };
  readonly journal: WorkFile;
  /** The name that its .part goes by: the file's own, or nameWithRoot. */
  readonly work: string;
  /** Bytes that the folder's disk has left for us; DISK_ERROR where it does not say. */
  freeBytes(): Promise<number | Fault>;
  /**
   * Whether the .part, which was written and synced and is cut to its `size` bytes, may hold other bytes than were
   * written: another program has changed it, or our lock was another's for a while. IN_USE when it is another's now.
   */
  doubt(size: number): Promise<boolean | Fault>;
  /** All of it is read from here on: what was seen before is no doubt any more. */
  trust(): void;
  /** Resolves with IN_USE when another took the files from us, believing us dead: nothing may be written any more. */
  readonly lost: Promise<Fault>;
  /**
   * Closes the files and gives the .part, `size` bytes long, its final name. FILE_EXISTS when the name was taken
   * meanwhile, PART_LOST when something else is in the .part's place, PART_CHANGED when it was changed since doubt() or
   * trust(), IN_USE when the lock is another's.
   */
  publish(size: number): Promise<Fault | undefined>;
  /** Closes the files and leaves them for another run; removes them when `worthless`. */
  leave(worthless: boolean): Promise<void>;
};

/**
 * Opens or makes the two files; with `root`, those of that content beside another's of the same name. IN_USE, FILE_EXISTS,
 * DISK_FULL, DISK_ERROR, FOLDER_MISSING.
 */
export async function openPartWorkspace(folder: string, name: string, root?: string): Promise<PartWorkspace | Fault> {
  const work = root === undefined ? name : nameWithRoot(name, root);
  const final = finalPath(folder, name);
  if (isFault(final)) return final;
  if (await hasFile(folder, name)) return fault("FILE_EXISTS", "ours", "the final name is taken");
  // The lock is of the .part: another file may have the name that our work files go by.
  const lock = await takeLock(folder, work);
  if (isFault(lock)) return lock.fault === "FILE_MISSING" ? fault("FOLDER_MISSING", "disk", lock.detail) : lock;
  const part = await openWorkFile(folder, work, "part");
  const journal = isFault(part) ? part : await openWorkFile(folder, work, "journal");
  if (isFault(journal)) {
    if (!isFault(part)) await part.close();
    await lock.release();
    return journal;
  }
  return createWorkspace({ folder, name, work, part: part as Opened["part"], journal, lock });
}

type Opened = {
  readonly folder: string;
  readonly name: string;
  readonly work: string;
  readonly part: OpenFile & { readonly fresh: boolean };
  readonly journal: OpenFile;
  readonly lock: Lock;
};

function createWorkspace({ folder, name, work, part, journal, lock }: Opened): PartWorkspace {
  const { fd, dev, ino } = part;
  const watch = isLocal(fd) ? createWatch(fd) : undefined;
  const files = [workFile(part, watch), workFile(journal)] as const;
  // Where neither a lock nor a time can be relied on, another may have gone on writing into a .part that was there.
  const unsure = watch === undefined && !lock.exact && !part.fresh;
  let trusted = false;
  let ctimeNs: bigint | undefined; // when the .part was last known to be right
  const close = () => Promise.all(files.map((file) => file.close()));
  const know = () => {
    if (watch !== undefined) ctimeNs = fs.fstatSync(fd, { bigint: true }).ctimeNs;
  };

  return {
    part: {
      ...files[0],
      fd,
      identity: { dev, ino },
      watch,
      // Where it is not told, a disk that fills up later pauses the download.
      allocatedBytes: Math.min(part.size, allocatedBytes(fd) ?? part.size),
    },
    journal: files[1],
    work,
    async freeBytes() {
      try {
        const disk = await fs.promises.statfs(folder);
        return disk.bavail * disk.bsize;
      } catch (error) {
        return diskFault(error, "statfs");
      }
    },
    async doubt(size) {
      const standing = await lock.check();
      if (isFault(standing)) return standing;
      try {
        if (fs.fstatSync(fd).size > size) {
          const failed = (await files[0].truncate(size)) ?? (await files[0].sync());
          if (failed !== undefined) return failed;
        }
        know(); // before it is checked: what comes after is found when the name is given
        if (watch !== undefined && isTouched(watch, fd)) return true;
        if (trusted) return false;
        return standing === "gone" || unsure || lock.doubtful || fs.fstatSync(fd).size !== size || hasHole(fd, size);
      } catch (error) {
        return diskFault(error, "look"); // closed meanwhile
      }
    },
    trust() {
      trusted = true;
      if (watch !== undefined) forget(watch, fd);
    },
    lost: lock.lost,
    async publish(size) {
      await close();
      const standing = await lock.check();
      const failed = isFault(standing)
        ? standing
        : (await hasFile(folder, name))
          ? fault("FILE_EXISTS", "ours", "the final name is taken")
          : await publish(folder, name, undefined, { dev, ino, size, ctimeNs, work });
      await lock.release();
      return failed;
    },
    async leave(worthless) {
      await close();
      // Once the lock is another's, so are the files.
      if (worthless && !isFault(await lock.check())) await discard(folder, work);
      await lock.release();
    },
  };
}

function workFile(file: OpenFile, watch?: Watch): WorkFile {
  const { fd } = file;
  const attempt = async (doing: string, action: () => Promise<unknown>): Promise<Fault | undefined> => {
    try {
      await action();
      return undefined;
    } catch (error) {
      return diskFault(error, doing);
    }
  };
  let open = true;
  return {
    size: file.size,
    async readAll() {
      const bytes = new Uint8Array(Math.min(file.size, READ_BYTES_MAX));
      const read = readAt(fd, bytes, 0);
      return isFault(read) ? read : bytes;
    },
    writeAt: (bytes, offset) =>
      attempt("write", () =>
        watchedAsync(watch, fd, async () => {
          for (let at = 0; at < bytes.length; ) {
            const written = await writeFd(fd, bytes, at, bytes.length - at, offset + at);
            at += typeof written === "number" ? written : written.bytesWritten;
          }
        }),
      ),
    truncate: (size) => attempt("truncate", () => watchedAsync(watch, fd, () => ftruncate(fd, size))),
    sync: () => attempt("sync", () => fdatasync(fd)),
    async close() {
      if (open) await file.close();
      open = false;
    },
  };
}

/**
 * A run that was killed while it gave a file its name leaves the .part as a second name of the whole file, the journal of a
 * .part that is gone, or a lock: they go, unless another program is at work there.
 */
export async function removeLeftovers(folder: string, name: string): Promise<void> {
  const final = finalPath(folder, name);
  const part = workPath(folder, name, "part");
  const others = (["journal", "lock"] as const).map((work) => workPath(folder, name, work));
  if (isFault(final) || isFault(part)) return;
  if (![part, ...others].some((path) => !isFault(path) && fs.existsSync(path))) return;
  const lock = await takeLock(folder, name);
  if (isFault(lock)) return;
  const look = (path: string) => fs.promises.lstat(path, { bigint: true }).catch(() => undefined);
  const [whole, second] = [await look(final), await look(part)];
  if (whole !== undefined && (second === undefined || isSame(whole, second))) await discard(folder, name);
  await lock.release();
}
