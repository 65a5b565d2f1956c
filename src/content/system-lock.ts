// The system's own lock on an open file: flock, and on Windows a handle that lets no second one be made; and who writes.
// Invariant: what is held here is given back by the system when the process ends, however it ends.
// Never: waits, or says "held" where the system has no such lock.

import { dlopen, FFIType, ptr, read } from "bun:ffi";
import * as fs from "node:fs";
import { toNamespacedPath } from "node:path";
import { errorCode } from "./safe-files.ts";

/** "none": the system cannot say, as on network drives without locks. */
export type SystemLock = "held" | "taken" | "none";

const LOCK_EX = 2;
const LOCK_NB = 4;
// Linux and macOS have different numbers for "would block"; neither is another error of flock.
const WOULD_BLOCK = new Set([11, 35]);

type Flock = (fd: number) => SystemLock;

function openFlock(): Flock | undefined {
  const mac = process.platform === "darwin";
  const errno = mac ? "__error" : "__errno_location";
  try {
    const { symbols } = dlopen(mac ? "libSystem.B.dylib" : "libc.so.6", {
      flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
      [errno]: { args: [], returns: FFIType.ptr },
    });
    const { flock } = symbols as unknown as { flock: (fd: number, operation: number) => number };
    const whereErrno = symbols[errno] as unknown as () => number;
    return (fd) => {
      if (flock(fd, LOCK_EX | LOCK_NB) === 0) return "held";
      return WOULD_BLOCK.has(read.i32(whereErrno() as Parameters<typeof read.i32>[0], 0)) ? "taken" : "none";
    };
  } catch {
    return undefined;
  }
}

const flock = process.platform === "win32" ? undefined : openFlock();

/** Locks what is open as `fd`, until it is closed. One lock for each open, also within a process. */
export function lockOpenFile(fd: number): SystemLock {
  return flock?.(fd) ?? "none";
}

// Numbers of Linux: fcntl.h, signal.h.
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_RDLCK = 0;
const F_UNLCK = 2;
const SIGURG = 23;
const EAGAIN = 11;

type Fcntl = (fd: number, command: number, value: number) => number;

function openLeases(): ((fd: number) => boolean) | undefined {
  try {
    const { symbols } = dlopen("libc.so.6", {
      fcntl: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
      __errno_location: { args: [], returns: FFIType.ptr },
    });
    const fcntl: Fcntl = symbols.fcntl;
    return (fd) => {
      // A program that opens the file for writing in this moment makes the system signal us: one that is ignored.
      if (fcntl(fd, F_SETSIG, SIGURG) !== 0) return false;
      if (fcntl(fd, F_SETLEASE, F_RDLCK) !== 0) return read.i32(symbols.__errno_location() as never, 0) === EAGAIN;
      fcntl(fd, F_SETLEASE, F_UNLCK);
      return false;
    };
  } catch {
    return undefined;
  }
}

const leases = process.platform === "linux" ? openLeases() : undefined;

// Numbers of Windows: winnt.h, winbase.h, winerror.h.
const GENERIC_READ = 0x80000000;
const GENERIC_READ_WRITE_DELETE = 0xc0010000;
const SHARE_READ_DELETE = 1 | 4;
const OPEN_EXISTING = 3;
const OPEN_ALWAYS = 4;
const DELETE_ON_CLOSE_NOT_THROUGH_LINKS = 0x04000000 | 0x00200000;
const INVALID_HANDLE = 0xffff_ffff_ffff_ffffn;
const SHARING_VIOLATION = 32;
const LOCK_VIOLATION = 33;

export type HandleLock = { release(): void };
/** The handle, "taken" where another has it, "refused" where the file cannot be opened at all. */
export type OpenAlone = (path: string) => HandleLock | "taken" | "refused";

type Kernel32 = {
  readonly openAlone: OpenAlone;
  /** Opens `path` for reading, so that no other handle may write; false when it cannot be opened so. */
  readonly canReadAlone: (path: string) => boolean;
};

function openKernel32(): Kernel32 | undefined {
  const { i32, u32, u64, ptr: pointer } = FFIType;
  try {
    const { CreateFileW, CloseHandle, GetLastError } = dlopen("kernel32.dll", {
      CreateFileW: { args: [pointer, u32, u32, pointer, u32, u32, pointer], returns: u64 },
      CloseHandle: { args: [u64], returns: i32 },
      GetLastError: { args: [], returns: u32 },
    }).symbols;
    const wideOf = (path: string): Buffer => Buffer.from(`${toNamespacedPath(path)}\0`, "utf16le");
    const openAlone: OpenAlone = (path) => {
      const flags = DELETE_ON_CLOSE_NOT_THROUGH_LINKS;
      const handle = CreateFileW(ptr(wideOf(path)), GENERIC_READ_WRITE_DELETE, 0, null, OPEN_ALWAYS, flags, null);
      if (handle !== INVALID_HANDLE) return { release: () => void CloseHandle(handle) };
      const why = GetLastError();
      return why === SHARING_VIOLATION || why === LOCK_VIOLATION || isBusy(path) ? "taken" : "refused";
    };
    function canReadAlone(path: string): boolean {
      const handle = CreateFileW(ptr(wideOf(path)), GENERIC_READ, SHARE_READ_DELETE, null, OPEN_EXISTING, 0, null);
      return handle !== INVALID_HANDLE && CloseHandle(handle) !== 0;
    }
    return { openAlone, canReadAlone };
  } catch {
    return undefined;
  }
}

/** The runtime may have asked the system something between our call and its error. */
function isBusy(path: string): boolean {
  try {
    fs.closeSync(fs.openSync(path, fs.constants.O_RDONLY));
    return false;
  } catch (error) {
    return errorCode(error) === "EBUSY";
  }
}

const kernel32 = process.platform === "win32" ? openKernel32() : undefined;

/**
 * Windows only, undefined elsewhere: opens `path`, made where it is missing, for this process alone. The system removes
 * it with the handle, after kill -9 too, and a network drive's server holds to it for all its clients.
 */
export const openAlone: OpenAlone | undefined = kernel32?.openAlone;

/**
 * Whether a program has the file at `path` open for writing, which is open here as `fd`, for reading only. False where the
 * system does not tell: it tells on Windows, and on Linux of a local file of the same person.
 */
export function isBeingWritten(path: string, fd: number): boolean {
  if (kernel32 !== undefined) return !kernel32.canReadAlone(path);
  return leases?.(fd) ?? false;
}
