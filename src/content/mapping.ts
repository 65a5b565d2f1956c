// Parts of a file as memory, without a copy: the system's own pages, seen through one window (Linux).
// Invariant: who looks into the window never meets a page that is gone, as nobody can shorten the file meanwhile.
// Never: shows what is not in memory, a file of somebody else's, or one that a program has open for writing.

import { dlopen, FFIType, ptr, toArrayBuffer } from "bun:ffi";
import * as fs from "node:fs";
import { BLOCK_BYTES } from "../protocol/limits.ts";
import { openAgain } from "./inside.ts";

export type Mapping = {
  /** The window, and its blocks one by one (views that are made once). To be read only after find(), up to end(). */
  readonly bytes: Uint8Array;
  readonly blocks: readonly Uint8Array[];
  /** From here on, up to end(), it is about the file of `size` bytes that is open as `fd`. */
  begin(fd: number, size: number): void;
  /** Where in the window the file's byte `at` is, and with it all up to the window's or the file's end; or read it. */
  find(at: number): number | undefined;
  /** Lets go of the file: who waits to write to it goes on. */
  end(): void;
  /** Gives the window back. Nothing of this may be used afterwards. */
  close(): void;
};

/**
 * A power of two, as pieces are. It counts as this process's memory while it shows something. Windows of 1 MiB were
 * 6 % slower, of 8 and 16 MiB at most 1 % faster.
 */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** One page in so many is asked for: to ask for each costs a third of what is gained. */
const SAMPLE_BYTES = 256 * 1024;

// Numbers of the kernel, the same on x86-64 and arm64.
const PROT_READ = 1;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MADV_POPULATE_READ = 22;
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_GETLEASE = 1025;
const F_RDLCK = 0;
const F_UNLCK = 2;
const SIGURG = 23;

// Where every writer passes through this kernel, and so through the lease: ext4, xfs, btrfs, f2fs, tmpfs. Network and
// stacked file systems may grant a lease and change the file all the same.
const LOCAL = new Set([0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x01021994]);

// The kernel's own NFS server, where it runs, may shorten a file for a client of NFSv3 without asking for leases.
const NFS_SERVER = "/proc/fs/nfsd/threads";

// A lease is broken by force after this long (45 s unless somebody changed it; 0 is never): many times what we need.
const LEASE_SECONDS = "/proc/sys/fs/lease-break-time";
const LEASE_SECONDS_LEAST = 10;

function openLibrary() {
  const { i32, i64, u64, ptr: pointer } = FFIType;
  return dlopen("libc.so.6", {
    mmap: { args: [u64, u64, i32, i32, i32, i64], returns: i64 },
    munmap: { args: [u64, u64], returns: i32 },
    madvise: { args: [u64, u64, i32], returns: i32 },
    mincore: { args: [u64, u64, pointer], returns: i32 },
    // Variadic in C; on both machines a third int goes the same way.
    fcntl: { args: [i32, i32, i32], returns: i32 },
  }).symbols;
}

function isSafeHere(): boolean {
  if (process.platform !== "linux" || fs.existsSync(NFS_SERVER)) return false;
  return Number(fs.readFileSync(LEASE_SECONDS, "latin1")) >= LEASE_SECONDS_LEAST;
}

function isLocal(fd: number): boolean {
  return LOCAL.has(fs.statfsSync(`/proc/self/fd/${fd}`).type >>> 0);
}

function create(): Mapping {
  const libc = openLibrary();
  const base = Number(libc.mmap(0, WINDOW_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (base <= 0) throw new Error("no room for a window");
  const bytes = new Uint8Array(toArrayBuffer(base as never, 0, WINDOW_BYTES));
  const blocks = Array.from({ length: WINDOW_BYTES / BLOCK_BYTES }, (_, i) =>
    bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES),
  );
  const answer = new Uint8Array(1);
  const resident = ptr(answer);
  // The descriptor is of a description of its own, as two threads may be at one file, and a lease is a description's.
  let own: number | undefined;
  let size = 0;
  let leased = false;
  let from = 0;
  let to = 0;
  // A mapping over the window that failed may have left a hole, which somebody else's memory fills: never again then.
  let broken = false;

  const map = (flags: number, fd: number, at: number): boolean => {
    broken ||= Number(libc.mmap(base, WINDOW_BYTES, PROT_READ, flags | MAP_FIXED, fd, at)) !== base;
    return !broken;
  };
  const end = (): void => {
    if (to > 0 && !broken) map(MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    to = 0;
    if (own === undefined) return;
    if (leased) libc.fcntl(own, F_SETLEASE, F_UNLCK);
    leased = false;
    fs.closeSync(own);
    own = undefined;
  };
  /** Whether nobody can write to the file now, nor waits to. The size is looked at again: it may have shrunk before. */
  const lease = (fd: number): boolean => {
    // When somebody wants to write, the holder is told by a signal. SIGIO would end the process; SIGURG does nothing.
    leased ||= libc.fcntl(fd, F_SETSIG, SIGURG) === 0 && libc.fcntl(fd, F_SETLEASE, F_RDLCK) === 0;
    return leased && libc.fcntl(fd, F_GETLEASE, 0) === F_RDLCK && fs.fstatSync(fd).size === size;
  };
  const show = (fd: number, at: number): boolean => {
    const length = Math.min(WINDOW_BYTES, size - at);
    if (!map(MAP_SHARED, fd, at)) return false;
    from = at;
    to = at + length;
    // What is not in memory is better read: the system reads ahead, and nobody waits for us while a disk is slow.
    for (let page = base; page < base + length; page += SAMPLE_BYTES) {
      if (libc.mincore(page, 1, resident) !== 0 || answer[0] !== 1) return false;
    }
    // Mapped now, all at once, and the few that the samples missed are fetched. What is amiss is an answer, no signal.
    return lease(fd) && libc.madvise(base, length, MADV_POPULATE_READ) === 0;
  };

  return {
    bytes,
    blocks,
    begin(fd, bytesInAll) {
      if (broken) return;
      try {
        size = bytesInAll;
        own = openAgain(fd);
        if (!isLocal(own)) end();
      } catch {
        end();
      }
    },
    find(at) {
      if (own === undefined) return undefined;
      try {
        if ((at >= from && at < to) || show(own, at)) return at - from;
      } catch {}
      end();
      return undefined;
    },
    end,
    close() {
      end();
      if (!broken) libc.munmap(base, WINDOW_BYTES);
      broken = true;
    },
  };
}

/** Undefined where the system cannot keep the promise: then files are read. */
export function createMapping(): Mapping | undefined {
  try {
    return isSafeHere() ? create() : undefined;
  } catch {
    return undefined;
  }
}
