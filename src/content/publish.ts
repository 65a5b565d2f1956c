// The last step of a download: `NAME.part` becomes `NAME`.
// Invariant: a file that has the final name already is never replaced, not even by a race where the system can tell.
// Never: called before the bytes are whole, verified and synced; that is the caller's promise.

import * as fs from "node:fs";
import { dirname } from "node:path";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { diskFault, errorCode, finalPath, type Identity, isSame, workPath } from "./safe-files.ts";

/** Waits between tries while something else (an antivirus, an indexer) holds the file. */
export const PUBLISH_WAITS_MS: readonly number[] = [50, 100, 200, 400, 800];

/** The operations that a publish needs of a disk: an argument, so that a test can be a disk that refuses. */
export type Disk = {
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  lstat(path: string): Promise<Pick<fs.BigIntStats, "dev" | "ino" | "size" | "ctimeNs">>;
  wait(ms: number): Promise<void>;
};

/** The file that was written and verified: what the .part's name must still lead to. */
export type Written = Identity & {
  readonly size: number;
  /** When it was changed last, where the system tells so at once: a change since then was none of ours. */
  readonly ctimeNs: bigint | undefined;
  /** The name that its .part goes by, where it is not the final one (nameWithRoot). */
  readonly work?: string | undefined;
};

const { link, rename, unlink } = fs.promises;
const lstat: Disk["lstat"] = (path) => fs.promises.lstat(path, { bigint: true });
const DISK: Disk = { link, rename, unlink, lstat, wait: (ms) => Bun.sleep(ms) };

// What link answers when the trouble is not that the system has no links (exFAT, Wine, some network folders).
const NOT_ABOUT_LINKS = new Set(["ENOENT", "ENOSPC", "EDQUOT", "EROFS", "EIO", "EBUSY", "EINTR"]);

const exists = (): Fault => fault("FILE_EXISTS", "ours", "the final name is taken");

const lost = (detail: string): Fault => fault("PART_LOST", "disk", detail);

const touched = (): Fault => fault("PART_CHANGED", "disk", "the .part was changed after it had been verified");

/** Why `path` is not the file that was written: a link or another file is in its place, or it was cut. */
async function swapped(disk: Disk, path: string, written: Written | undefined): Promise<Fault | undefined> {
  if (written === undefined) return undefined;
  try {
    const found = await disk.lstat(path);
    const same = isSame(found, written) && Number(found.size) === written.size;
    return same ? undefined : lost("another file is in the .part's place");
  } catch (error) {
    const failed = diskFault(error, "publish");
    return failed.fault === "FILE_MISSING" ? lost("the .part is gone") : failed;
  }
}

async function changed(disk: Disk, part: string, written: Written | undefined): Promise<Fault | undefined> {
  if (written?.ctimeNs === undefined) return undefined;
  const found = await disk.lstat(part).catch(() => undefined);
  return found === undefined || found.ctimeNs === written.ctimeNs ? undefined : touched();
}

/** The name goes to the file that was written, or to none: a file swapped in between look and link gives it back. */
async function placeWritten(
  disk: Disk,
  part: string,
  final: string,
  written: Written | undefined,
): Promise<Fault | undefined> {
  const wrong = await swapped(disk, part, written);
  // Two programs that know nothing of each other may have had one .part, and one of them was first.
  if (wrong?.fault === "PART_LOST" && (await disk.lstat(final).catch(() => undefined)) !== undefined) return exists();
  const unplaced = wrong ?? (await changed(disk, part, written)) ?? (await place(disk, part, final));
  if (unplaced !== undefined) return unplaced;
  const late = await swapped(disk, final, written);
  if (late?.fault === "PART_LOST") await giveBack(disk, part, final).catch(() => {});
  return late;
}

/** A link is one name more of the same file, a renamed one has no other. */
async function giveBack(disk: Disk, part: string, final: string): Promise<void> {
  const other = await disk.lstat(part).catch(() => undefined);
  const linked = other?.ino === (await disk.lstat(final)).ino;
  if (linked) await disk.unlink(final);
  else if (other === undefined) await disk.rename(final, part);
}

async function place(disk: Disk, part: string, final: string): Promise<Fault | undefined> {
  try {
    // link refuses a name that exists in one step; rename would replace it.
    await disk.link(part, final);
    return undefined;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return exists();
    if (NOT_ABOUT_LINKS.has(errorCode(error))) return diskFault(error, "publish");
  }
  try {
    await disk.lstat(final);
    return exists();
  } catch (error) {
    if (errorCode(error) !== "ENOENT") return diskFault(error, "publish");
  }
  try {
    await disk.rename(part, final);
    return undefined;
  } catch (error) {
    return diskFault(error, "publish");
  }
}

async function patiently(disk: Disk, action: () => Promise<Fault | undefined>): Promise<Fault | undefined> {
  for (const wait of PUBLISH_WAITS_MS) {
    const failed = await action();
    if (failed === undefined || !failed.retry) return failed;
    await disk.wait(wait);
  }
  return action();
}

async function remove(disk: Disk, path: string): Promise<Fault | undefined> {
  try {
    await disk.unlink(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") return diskFault(error, "remove");
  }
  return undefined;
}

// A rename is on the disk only when its folder is. Windows has no such call and needs none.
function syncFolder(folder: string): void {
  try {
    const fd = fs.openSync(folder, fs.constants.O_RDONLY);
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    // The file has its name; only a power cut in the next seconds could undo it, and then the .part is there again.
  }
}

/**
 * SPEC 5.h: gives a whole, verified, synced download its final name, and removes its journal. FILE_EXISTS when the
 * name is taken (the .part stays), PART_LOST when the .part is no longer what was `written`, PART_CHANGED when it was
 * changed since, DISK_FULL or DISK_ERROR with `retry` when the disk refused for about 1.5 seconds.
 */
export async function publish(
  folder: string,
  name: string,
  disk: Disk = DISK,
  written?: Written,
): Promise<Fault | undefined> {
  const final = finalPath(folder, name);
  const { work = name } = written ?? {};
  const part = workPath(folder, work, "part");
  const journal = workPath(folder, work, "journal");
  if (isFault(final)) return final;
  if (isFault(part)) return part;
  if (isFault(journal)) return journal;

  const failed = await patiently(disk, () => placeWritten(disk, part, final, written));
  if (failed !== undefined) return failed;
  // A second name that cannot be removed is untidy, no failure: openWorkFile never writes through it.
  await patiently(disk, () => remove(disk, part));
  await patiently(disk, () => remove(disk, journal));
  syncFolder(dirname(final));
  return undefined;
}
