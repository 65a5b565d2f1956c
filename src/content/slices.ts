// Bytes of an open file at an offset, without a path: what uploads read and lanes write.
// Invariant: a write puts all of its bytes or says why it could not.
// Never: opens anything; inside.ts is the door.

import * as fs from "node:fs";
import type { Fault } from "../protocol/fault.ts";
import { diskFault, type OpenFile, sameStamp, stampOf } from "./inside.ts";

/** Writes all of `chunk` at `offset` of `fd`: DISK_FULL or DISK_ERROR where the disk refuses. */
export function writeAt(fd: number, chunk: Uint8Array, offset: number): Fault | undefined {
  try {
    for (let at = 0; at < chunk.length; ) at += fs.writeSync(fd, chunk, at, chunk.length - at, offset + at);
    return undefined;
  } catch (error) {
    return diskFault(error, "write");
  }
}

/** Fills `into` from `offset` of `fd`; fewer bytes at the file's end only. */
export function readAt(fd: number, into: Uint8Array, offset: number): number | Fault {
  try {
    let at = 0;
    while (at < into.length) {
      const read = fs.readSync(fd, into, at, into.length - at, offset + at);
      if (read === 0) break;
      at += read;
    }
    return at;
  } catch (error) {
    return diskFault(error, "read");
  }
}

/** An opened share as uploads see it. */
export function readable(file: OpenFile) {
  const look = () => fs.fstatSync(file.fd, { bigint: true });
  return {
    fd: file.fd,
    read: (into: Uint8Array, offset: number) => readAt(file.fd, into, offset),
    unchanged() {
      try {
        return sameStamp(stampOf(look()), file);
      } catch {
        return false;
      }
    },
    named() {
      try {
        return look().nlink > 0n;
      } catch {
        return false;
      }
    },
    close: () => void file.close(),
  };
}
