// Every frame that passes this network namespace, into a file; run inside the switch's namespace of lan.ts.
// It prints "ready" when it hears, and runs until it is killed. Linux, as root.

import { dlopen, FFIType, ptr } from "bun:ffi";
import { openSync, writeSync } from "node:fs";

const AF_PACKET = 17;
const SOCK_RAW = 3;
/** ETH_P_ALL in network order. */
const EVERY_PROTOCOL = 0x0300;
const FRAME_BYTES_MAX = 128 * 1024;

const { i32, u64, ptr: pointer } = FFIType;
const { socket, recv } = dlopen("libc.so.6", {
  socket: { args: [i32, i32, i32], returns: i32 },
  recv: { args: [i32, pointer, u64, i32], returns: FFIType.i64 },
}).symbols;

const [, , path = ""] = process.argv;
const fd = socket(AF_PACKET, SOCK_RAW, EVERY_PROTOCOL);
const file = openSync(path, "w");
const frame = new Uint8Array(FRAME_BYTES_MAX);
const at = ptr(frame);
writeSync(1, fd < 0 ? "no socket\n" : "ready\n");
while (fd >= 0) {
  const bytes = Number(recv(fd, at, FRAME_BYTES_MAX, 0));
  if (bytes > 0) writeSync(file, frame, 0, bytes);
}
