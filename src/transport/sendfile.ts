// A file's bytes into a socket inside the kernel (Linux's sendfile): they are copied once less than by read and write.
// Invariant: a socket that takes no more now takes 0; where the call fails, the caller sends the bytes itself.
// Never: called for bytes that are not in memory: it would wait for the disk (content/resident.ts tells).

import { dlopen, FFIType, type Pointer, ptr, read } from "bun:ffi";
import { CANNOT_SEND } from "./connection.ts";

/**
 * Moves up to `length` bytes from `offset` of the file open as `fd` into the socket: how many, 0 for none now,
 * CANNOT_SEND where that file or that socket does not do it.
 */
export type SendFile = (socketFd: number, fd: number, offset: number, length: number) => number;

const LIBC = "libc.so.6";
const EAGAIN = 11;
const { i32, i64, u64, ptr: pointer } = FFIType;

function open(): SendFile | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    // off_t is 64 bits wide on every machine that Bun runs on; with musl there is no such file, and no short cut.
    const { sendfile, __errno_location: errnoAt } = dlopen(LIBC, {
      sendfile: { args: [i32, i32, pointer, u64], returns: i64 },
      __errno_location: { args: [], returns: pointer },
    }).symbols;
    const at = new BigInt64Array(1);
    const where = ptr(at);
    return (socketFd, fd, offset, length) => {
      at[0] = BigInt(offset);
      const sent = Number(sendfile(socketFd, fd, where, length));
      if (sent >= 0) return sent;
      return read.i32(errnoAt() as Pointer) === EAGAIN ? 0 : CANNOT_SEND;
    };
  } catch {
    return undefined;
  }
}

/** Undefined where this system has no such call. */
export const sendFile: SendFile | undefined = open();
