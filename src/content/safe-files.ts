// Files inside a person's folder: each path into it is made here, and its files are opened here; lock.ts opens the locks.
// Invariant: what is opened is a regular file directly in the folder; what is made has a name that was free.
// Never: follows a symlink, trusts a check made before the open, or opens a name that protocol/names refuses.

import * as fs from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { NAME_BYTES_MAX } from "../protocol/limits.ts";
import { nameFlaw } from "../protocol/names.ts";

/**
 * What tells a file from another, or from itself after a change. Exact: a double would round an NTFS file id.
 * `ctimeNs`: its last change of whatever kind, which no program can set back; its mtime where the system has no such time.
 */
export type Stamp = { readonly size: number; readonly mtimeNs: bigint; readonly ctimeNs: bigint; readonly ino: bigint };

/** Which file it is, whatever its name and content. */
export type Identity = { readonly dev: bigint; readonly ino: bigint };

/** A file opened by this module. `close` may be called once; `fd` is this process's, so its worker threads may use it. */
export type OpenFile = Stamp & Identity & { readonly fd: number; close(): Promise<void> };

const closeFd = promisify(fs.close);
/** What is open as `fd` is like now. */
export const statFd = (fd: number): Promise<fs.BigIntStats> =>
  new Promise((resolve, reject) =>
    fs.fstat(fd, { bigint: true }, (error, stat) => (error ? reject(error) : resolve(stat))),
  );
const openFd = promisify(fs.open) as (path: string, flags: number, mode?: number) => Promise<number>;
const { lstat } = fs.promises;

// O_NOFOLLOW refuses a symlink that was swapped in, O_NONBLOCK keeps a FIFO from holding the open. Windows has neither;
// there the file's id, compared after the open, tells.
export const CAREFULLY = (fs.constants.O_NOFOLLOW ?? 0) | (fs.constants.O_NONBLOCK ?? 0);

// What the system answers where nothing may be made.
export const FORBIDDEN = new Set(["EACCES", "EPERM", "EROFS"]);

const PART = ".part";
const JOURNAL = ".journal";
const LOCK = ".lock";
const STEM_BYTES_MAX = NAME_BYTES_MAX - PART.length - JOURNAL.length;
const STEM_HASH_DIGITS = 16;

/** The system's code (ENOENT…) of something caught, "" when it has none. */
export function errorCode(error: unknown): string {
  return typeof error === "object" && error !== null && "code" in error ? String(error.code) : "";
}

// Others hold the file for a moment (an antivirus, an indexer), or the process holds too many: later it may work.
const PASSING = new Set([
  "EBUSY",
  "EPERM",
  "EACCES",
  "EAGAIN",
  "EMFILE",
  "ENFILE",
  "EINTR",
  "ETIMEDOUT",
  "ENOSPC",
  "EDQUOT",
]);

/** What a failed file operation means: DISK_FULL, FILE_MISSING, FILE_EXISTS, CHANGED (a symlink) or DISK_ERROR. */
export function diskFault(error: unknown, doing: string): Fault {
  const code = errorCode(error);
  const detail = `${doing}: ${code || String(error)}`;
  const retry = PASSING.has(code);
  if (code === "ENOSPC" || code === "EDQUOT") return fault("DISK_FULL", "disk", detail, retry);
  if (code === "ENOENT" || code === "ENOTDIR") return fault("FILE_MISSING", "disk", detail);
  if (code === "EEXIST") return fault("FILE_EXISTS", "ours", detail);
  if (code === "ELOOP") return fault("CHANGED", "ours", detail);
  return fault("DISK_ERROR", "disk", detail, retry);
}

/**
 * Whether `why` says nothing of the file itself: it is held by another program, descriptors are out, a drive does not
 * answer. What is not passing is that it is gone, is another, or is no regular file.
 */
export function isPassing(why: Fault): boolean {
  return why.whose === "disk" && why.fault !== "FILE_MISSING";
}

export function stampOf(stat: fs.BigIntStats): Stamp {
  return { size: Number(stat.size), mtimeNs: stat.mtimeNs, ctimeNs: stat.ctimeNs, ino: stat.ino };
}

/** Whether two looks saw the same file with the same size and time: enough to go on sending what is being sent. */
export function sameStamp(a: Stamp, b: Stamp): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ino === b.ino;
}

/**
 * Whether nothing at all has happened to it in between. A new name, or other rights, change a file's ctime as well, so
 * false only says that the content must be read to know.
 */
export function isUntouched(a: Stamp, b: Stamp): boolean {
  return sameStamp(a, b) && a.ctimeNs === b.ctimeNs;
}

// A character is never cut in half, and a stem that was cut ends in a hash of the whole name, so that two long
// names that begin alike differ.
function stemOf(name: string, bytesMax = STEM_BYTES_MAX): string {
  if (Buffer.byteLength(name) <= bytesMax) return name;
  const hash = new Bun.CryptoHasher("sha256").update(name).digest("hex").slice(0, STEM_HASH_DIGITS);
  let stem = "";
  let bytes = STEM_HASH_DIGITS + 1;
  for (const character of name) {
    bytes += Buffer.byteLength(character);
    if (bytes > bytesMax) break;
    stem += character;
  }
  return `${stem}~${hash}`;
}

/** The name under which a download grows, at most 255 bytes. */
export function partName(name: string): string {
  return stemOf(name) + PART;
}

const ROOT_DIGITS = 16;

/**
 * The name that stands for `name` where a download of another content has the files of `name` itself: its .part and
 * journal are found under it.
 */
export function nameWithRoot(name: string, root: string): string {
  return `${stemOf(name, STEM_BYTES_MAX - ROOT_DIGITS - 1)}.${root.slice(0, ROOT_DIGITS)}`;
}

const CUT = new RegExp(`~[0-9a-f]{${STEM_HASH_DIGITS}}$`);
const ROOTED = new RegExp(`^(.+)\\.[0-9a-f]{${ROOT_DIGITS}}$`);

/** Which download the file of this name is the .part of, whichever content it has; undefined where it is none. `isCut`: not its whole name. */
export function partStem(file: string): { readonly name: string; readonly isCut: boolean } | undefined {
  if (!file.endsWith(PART) || file === PART) return undefined;
  const stem = file.slice(0, -PART.length);
  const name = ROOTED.exec(stem)?.[1] ?? stem;
  return { name, isCut: CUT.test(name) };
}

/** The name of that download's journal, at most 255 bytes. */
export function journalName(name: string): string {
  return stemOf(name) + PART + JOURNAL;
}

/** The name of that download's lock, at most 255 bytes. */
export function lockName(name: string): string {
  return stemOf(name) + PART + LOCK;
}

/** Where `name` is, or will be, in `folder`. BAD_NAME for a name that protocol/names refuses: the last of the checks. */
export function finalPath(folder: string, name: string): string | Fault {
  const flaw = nameFlaw(name.normalize("NFC"));
  return flaw === undefined ? join(resolve(folder), name) : fault("BAD_NAME", "theirs", flaw);
}

export type Work = "part" | "journal" | "lock";

/** Where the .part of `name` is, its journal, or its lock. */
export function workPath(folder: string, name: string, work: Work): string | Fault {
  const final = finalPath(folder, name);
  if (isFault(final)) return final;
  const file = { part: partName, journal: journalName, lock: lockName }[work](name);
  return join(resolve(folder), file);
}

async function opened(fd: number, wanted: Stamp | undefined): Promise<OpenFile | Fault> {
  const stat = await statFd(fd).catch(async (error: unknown) => {
    await closeFd(fd);
    throw error;
  });
  const stamp = stampOf(stat);
  if (stat.isFile() && (wanted === undefined || sameStamp(stamp, wanted))) {
    return { ...stamp, dev: stat.dev, fd, close: () => closeFd(fd) };
  }
  await closeFd(fd);
  if (stat.isFile()) return fault("CHANGED", "ours", "size, time or identity is not what was listed");
  return fault(wanted === undefined ? "DISK_ERROR" : "CHANGED", "ours", "not a regular file");
}

/** What the regular file at `path` is right now, without opening it. */
export async function stampFile(path: string): Promise<Stamp | Fault> {
  try {
    const stat = await lstat(path, { bigint: true });
    return stat.isFile() ? stampOf(stat) : fault("DISK_ERROR", "ours", "not a regular file");
  } catch (error) {
    return diskFault(error, "stat");
  }
}

/** Opens `path` for reading. With `wanted`, CHANGED unless it is that very file. */
export async function openFile(path: string, wanted?: Stamp): Promise<OpenFile | Fault> {
  try {
    return await opened(await openFd(path, fs.constants.O_RDONLY | CAREFULLY), wanted);
  } catch (error) {
    return diskFault(error, "open");
  }
}

/** Opens what listFolder listed. CHANGED when it is no longer that file or no longer as it was, FILE_MISSING when gone. */
export async function openShare(folder: string, share: Stamp & { readonly file: string }): Promise<OpenFile | Fault> {
  const path = finalPath(folder, share.file);
  return isFault(path) ? path : openFile(path, share);
}

/** Opens the .part of a download under way, to serve what is verified of it. CHANGED when it is not that very file. */
export async function openPart(folder: string, name: string, wanted: Identity): Promise<OpenFile | Fault> {
  const path = workPath(folder, name, "part");
  const file = isFault(path) ? path : await openFile(path);
  if (isFault(file) || isSame(file, wanted)) return file;
  await file.close();
  return fault("CHANGED", "ours", "another file is in the .part's place");
}

/** openPart, or the same file by the final name `name` once it has that. */
export async function openGrowing(
  folder: string,
  part: string,
  name: string,
  wanted: Identity,
): Promise<OpenFile | Fault> {
  const growing = await openPart(folder, part, wanted);
  if (!isFault(growing)) return growing;
  const path = finalPath(folder, name);
  const file = isFault(path) ? path : await openFile(path);
  if (isFault(file) || isSame(file, wanted)) return file;
  await file.close();
  return fault("CHANGED", "ours", "another file has its name");
}

export function isSame(a: Identity, b: Identity): boolean {
  return a.ino === b.ino && a.dev === b.dev;
}

/** Whether `name` is taken in `folder`, by whatever kind of file; a folder that cannot be read has no such name. */
export async function hasFile(folder: string, name: string): Promise<boolean> {
  return taken(folder, name).catch(() => false);
}

const BEYOND_ASCII = /[^\0-\x7f]/;

/** Throws what the system says. A name that is the same in NFC is the same name, however the disk spells it. */
async function taken(folder: string, name: string): Promise<boolean> {
  const path = finalPath(folder, name);
  if (isFault(path)) return false;
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
  const composed = name.normalize("NFC");
  const others = await fs.promises.readdir(resolve(folder)).catch(() => []); // a folder may let us write and not look
  return others.some((other) => BEYOND_ASCII.test(other) && other.normalize("NFC") === composed);
}

const blocked = (detail: string): Fault => fault("PART_BLOCKED", "disk", detail);

/**
 * Opens `name`'s .part or journal for reading and writing, making it where there is none (`fresh`: nothing in it).
 * FILE_EXISTS when the final name is taken, PART_BLOCKED when a link or a folder is in its place, PART_DENIED when it is
 * another person's, FOLDER_DENIED. A .part that is also another file's name (a publish that was cut short) is given up,
 * never written through.
 */
export async function openWorkFile(
  folder: string,
  name: string,
  work: "part" | "journal" = "part",
): Promise<(OpenFile & { readonly fresh: boolean }) | Fault> {
  const final = finalPath(folder, name);
  const path = workPath(folder, name, work);
  if (isFault(final)) return final;
  if (isFault(path)) return path;
  const make = fs.constants.O_RDWR | CAREFULLY | fs.constants.O_CREAT | fs.constants.O_EXCL;
  let isOld = false;
  try {
    if (work === "part" && (await taken(folder, name))) return fault("FILE_EXISTS", "ours", "the final name is taken");
    const found = await lstat(path, { bigint: true }).catch(() => undefined);
    isOld = found !== undefined;
    if (found?.isFile() === false) return blocked(`the ${work} is no regular file`);
    if (found !== undefined && found.nlink > 1n) await fs.promises.unlink(path);
    else if (found !== undefined) {
      const file = await opened(await openFd(path, fs.constants.O_RDWR | CAREFULLY), undefined);
      if (isFault(file)) return blocked(`the ${work} is no regular file`);
      if (file.ino === found.ino) return { ...file, fresh: false };
      await file.close();
      return blocked(`the ${work} was replaced while it was opened`);
    }
    const file = await opened(await openFd(path, make, 0o666), undefined);
    return isFault(file) ? file : { ...file, fresh: true };
  } catch (error) {
    if (errorCode(error) === "ELOOP") return blocked(`the ${work} became a link`);
    if (FORBIDDEN.has(errorCode(error)))
      return fault(isOld ? "PART_DENIED" : "FOLDER_DENIED", "disk", `create ${work}: ${errorCode(error)}`);
    return diskFault(error, `create ${work}`);
  }
}

/** Removes what a download of `name` left behind; the final file, if any, stays. */
export async function discard(folder: string, name: string): Promise<Fault | undefined> {
  for (const work of ["part", "journal"] as const) {
    const path = workPath(folder, name, work);
    if (isFault(path)) return path;
    try {
      await fs.promises.unlink(path);
    } catch (error) {
      if (errorCode(error) !== "ENOENT") return diskFault(error, "remove");
    }
  }
  return undefined;
}
