// Which bytes of an open file the system has in memory, so that sending them waits for no disk (Linux: mincore).
// Invariant: the file is mapped without the right to read it, so that no access of ours can ever fail in it.
// Never: answers yes where the system would not say: of another person's file mincore claims that all is in memory.

import { dlopen, FFIType, type Pointer, ptr } from "bun:ffi";

export type Resident = {
  /** Whether all of these bytes are in memory now. */
  has(offset: number, length: number): boolean;
  close(): void;
};

const { i32, i64, u64, ptr: pointer } = FFIType;
const PROT_NONE = 0;
const MAP_SHARED = 1;
const MAP_FAILED = -1;
/** The largest range that is asked for at once, in pages. */
const PAGES_MAX = 4096;

function open() {
  if (process.platform !== "linux") return undefined;
  try {
    const { mmap, mincore, munmap, getpagesize } = dlopen("libc.so.6", {
      mmap: { args: [pointer, u64, i32, i32, i32, i64], returns: i64 },
      mincore: { args: [u64, u64, pointer], returns: i32 },
      munmap: { args: [u64, u64], returns: i32 },
      getpagesize: { args: [], returns: i32 },
    }).symbols;
    const pages = new Uint8Array(PAGES_MAX);
    return { mmap, mincore, munmap, pageBytes: getpagesize(), pages, pagesAt: ptr(pages) as Pointer };
  } catch {
    return undefined;
  }
}

const system = open();

/** Follows the first `size` bytes of the file open as `fd`, which `uid` owns; undefined where the system does not tell. */
export function followResident(fd: number, size: number, uid: number): Resident | undefined {
  const user = process.geteuid?.();
  if (system === undefined || size === 0 || (user !== 0 && user !== uid)) return undefined;
  const { mmap, mincore, munmap, pageBytes, pages, pagesAt } = system;
  const start = Number(mmap(null, size, PROT_NONE, MAP_SHARED, fd, 0));
  if (start === MAP_FAILED) return undefined;
  return {
    has(offset, length) {
      const first = offset - (offset % pageBytes);
      const count = Math.ceil((offset + length - first) / pageBytes);
      if (count > PAGES_MAX || offset + length > size) return false;
      if (mincore(start + first, offset + length - first, pagesAt) !== 0) return false;
      for (let page = 0; page < count; page++) if (((pages[page] as number) & 1) === 0) return false;
      return true;
    },
    close: () => void munmap(start, size),
  };
}
