// What can be believed of the file system that an open file lies on.
// Invariant: what is not known to keep a promise is taken not to.
// Never: asks a path, which may lead elsewhere by now.

import * as fs from "node:fs";

// statfs types of Linux (linux/magic.h, and the modules' own).
const BTRFS = 0x9123683e;
const ZFS = 0x2fc12fc1;
const BCACHEFS = 0xca451a4e;
const EXT = 0xef53;
const XFS = 0x58465342;
const F2FS = 0xf2f52010;
const TMPFS = 0x01021994;
const OVERLAY = 0x794c7630;
const VFAT = 0x4d44;
const EXFAT = 0x2011bab0;
const NTFS3 = 0x7366746e;

const LOCAL = new Set([BTRFS, ZFS, BCACHEFS, EXT, XFS, F2FS, TMPFS, OVERLAY, VFAT, EXFAT, NTFS3]);
/** They compress, or count later. */
const COUNTS_OTHERWISE = new Set([BTRFS, ZFS, BCACHEFS]);

function typeOf(fd: number): number | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return fs.statfsSync(`/proc/self/fd/${fd}`).type >>> 0;
  } catch {
    return undefined;
  }
}

/**
 * Whether locks and times are of the very file, by whatever name it was opened, and told at once. A FUSE may have two
 * files in memory for one on its disk, and a network drive hears of other machines late.
 */
export function isLocal(fd: number): boolean {
  const type = typeOf(fd);
  return type !== undefined && LOCAL.has(type);
}

/** Bytes that what is open as `fd` takes on the disk, holes not counted; undefined where the system does not tell (Windows). */
export function allocatedBytes(fd: number): number | undefined {
  const { blocks } = fs.fstatSync(fd);
  return blocks === undefined ? undefined : blocks * 512;
}

/** Whether a synced file of `size` bytes has a hole: it was cut, and written on. False where the system does not tell. */
export function hasHole(fd: number, size: number): boolean {
  const allocated = allocatedBytes(fd) ?? 0;
  return allocated > 0 && allocated < size && !COUNTS_OTHERWISE.has(typeOf(fd) ?? 0);
}
