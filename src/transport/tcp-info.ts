// What Linux knows of a TCP connection (TCP_INFO): how much of what was sent the other side's program has read.
// Invariant: the count never falls, and is never ahead of what was acknowledged.
// Never: takes bytes that lie in the other side's full buffer for read: only its window tells.

import { dlopen, FFIType, ptr } from "bun:ffi";
import type { Taken } from "./connection.ts";

type Info = { readonly acknowledged: number; readonly window: number; readonly segmentBytes: number };

const { i32, ptr: pointer } = FFIType;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
// struct tcp_info of linux/tcp.h; tcpi_snd_wnd is its last field, there since Linux 5.4.
const SND_MSS_AT = 16;
const BYTES_ACKED_AT = 120;
const SND_WND_AT = 228;
const INFO_BYTES = 232;

function open(): ((fd: number) => Info | undefined) | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const { getsockopt } = dlopen("libc.so.6", {
      getsockopt: { args: [i32, i32, i32, pointer, pointer], returns: i32 },
    }).symbols;
    const info = new DataView(new ArrayBuffer(INFO_BYTES));
    const length = new Uint32Array(1);
    const [infoAt, lengthAt] = [ptr(info.buffer), ptr(length)];
    return (fd) => {
      length[0] = INFO_BYTES;
      if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, infoAt, lengthAt) !== 0 || length[0] < INFO_BYTES) return undefined;
      return {
        acknowledged: Number(info.getBigUint64(BYTES_ACKED_AT, true)),
        window: info.getUint32(SND_WND_AT, true),
        segmentBytes: info.getUint32(SND_MSS_AT, true),
      };
    };
  } catch {
    return undefined;
  }
}

const tcpInfo = open();

// A full window opens again when a sixteenth of it, or a segment or two, is free (Linux, __tcp_select_window). Seen on
// loopback: two segments of 47 KB at a time, after pauses that vary by a third. Twice that covers it.
const STEP_SEGMENTS = 4;
const STEP_WINDOWS = 1 / 8;

/**
 * Follows what the other side of the connection open as `fd` has read. Undefined where the system does not tell.
 */
export function followTaken(fd: number): (() => Taken | undefined) | undefined {
  if (tcpInfo === undefined) return undefined;
  let largest = 0;
  let bytes = 0;
  return () => {
    const info = tcpInfo(fd);
    if (info === undefined) return undefined;
    const { acknowledged, window, segmentBytes } = info;
    largest = Math.max(largest, window);
    // The window is what is free of the other side's buffer: what is missing from it was acknowledged and not read.
    bytes = Math.max(bytes, Math.min(acknowledged, acknowledged + window - largest));
    return { bytes, acknowledged, step: STEP_SEGMENTS * segmentBytes + STEP_WINDOWS * largest };
  };
}
