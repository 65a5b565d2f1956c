// A file's bytes into a socket inside the kernel (Linux's sendfile): they are copied once less than by read and write.
// Invariant: where the system has no such call, or it fails, the answer is 0 and the caller sends the bytes itself.
// Never: waits; a socket that takes no more now takes 0.

import { dlopen, FFIType, ptr } from "bun:ffi";

/** Moves up to `length` bytes from `offset` of the file open as `fd` into the socket: how many, 0 for none now. */
export type SendFile = (socketFd: number, fd: number, offset: number, length: number) => number;

const LIBC = "libc.so.6";
const { i32, i64, u64, ptr: pointer } = FFIType;

function open(): SendFile | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    // off_t is 64 bits wide on every machine that Bun runs on; with musl there is no such file, and no short cut.
    const { sendfile } = dlopen(LIBC, { sendfile: { args: [i32, i32, pointer, u64], returns: i64 } }).symbols;
    const at = new BigInt64Array(1);
    const where = ptr(at);
    return (socketFd, fd, offset, length) => {
      at[0] = BigInt(offset);
      return Math.max(0, Number(sendfile(socketFd, fd, where, length)));
    };
  } catch {
    return undefined;
  }
}

/** Undefined where this system has no such call. */
export const sendFile: SendFile | undefined = open();
