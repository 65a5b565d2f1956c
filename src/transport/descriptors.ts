// The descriptors that the system grants this process (RLIMIT_NOFILE), and how they are shared out.
// Invariant: accepted connections never take the last ones, which are left for files, dials and answers.
// Never: opens anything that it does not close at once, or raises a limit.

import { dlopen, FFIType, ptr } from "bun:ffi";

/** Windows has no such limit; more sockets than this exhaust its memory. */
const WINDOWS_MAX = 65_536;
/** What is assumed where the system does not tell: what most give at least. */
const UNKNOWN_MAX = 1024;
/** With fewer neither program works: a peer that shares and downloads has about 24 open. */
export const DESCRIPTORS_MIN = 32;

const { i32, ptr: pointer } = FFIType;
const AF_UNIX = 1;
const SOCK_DGRAM = 2;

type System = { readonly limit: number; readonly next: () => number | undefined };

function ask(): System {
  if (process.platform === "win32") return { limit: WINDOWS_MAX, next: () => 0 };
  const isMac = process.platform === "darwin";
  try {
    const { getrlimit, socket, close } = dlopen(isMac ? "libSystem.B.dylib" : "libc.so.6", {
      getrlimit: { args: [i32, pointer], returns: i32 },
      socket: { args: [i32, i32, i32], returns: i32 },
      close: { args: [i32], returns: i32 },
    }).symbols;
    const limits = new BigUint64Array(2); // soft, hard
    const failed = getrlimit(isMac ? 8 : 7, ptr(limits)) !== 0;
    const soft = Number(limits[0]);
    const next = (): number | undefined => {
      const fd = socket(AF_UNIX, SOCK_DGRAM, 0);
      if (fd < 0) return undefined;
      close(fd);
      return fd;
    };
    return { limit: failed ? UNKNOWN_MAX : Math.min(soft, 2 ** 31), next };
  } catch {
    return { limit: UNKNOWN_MAX, next: () => 0 };
  }
}

const system = ask();

/**
 * How many descriptors this process may have at once, connections, files and dials together. A program that may have
 * fewer than DESCRIPTORS_MIN does not start.
 */
export const DESCRIPTORS_MAX: number = system.limit;

/** The last descriptors, which connections from outside never take: an eighth of all, within bounds. */
const KEPT = Math.min(2048, Math.max(8, Math.floor(DESCRIPTORS_MAX / 8)));

/**
 * A connection that was accepted as a descriptor of this number or above is one too many: the system gives out the
 * lowest free number, so that all below are in use.
 */
export const SCARCE_FROM: number = DESCRIPTORS_MAX - KEPT;

/** How many connections from outside may hold for long; as many more as are kept are for those that are turned away. */
export const DESCRIPTORS_FOR_CONNECTIONS: number = Math.max(1, SCARCE_FROM - KEPT);

/** How many dials of ours may hold at once. */
export const DESCRIPTORS_FOR_DIALS: number = Math.floor(KEPT / 2);

/** The number that the next descriptor will have; undefined when there is none left, in this process or on the machine. */
export const nextDescriptor: () => number | undefined = system.next;
