// Bytes of an open file at an offset, without a path: what uploads read and lanes write.
// Invariant: a write puts all of its bytes or says why it could not.
// Never: opens anything; safe-files.ts does.

import * as fs from "node:fs";
import { type Fault, fault } from "../protocol/fault.ts";
import { followResident, type Resident } from "./page-cache.ts";
import { diskFault, type OpenFile, sameStamp, stampOf, statFd } from "./safe-files.ts";

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

const pread = (fd: number, into: Uint8Array, offset: number): Promise<number> =>
  new Promise((resolve, reject) =>
    fs.read(fd, into, 0, into.length, offset, (error, count) => (error ? reject(error) : resolve(count))),
  );

// The threads that wait for disks are few: of each file one read at a time waits there, so that a slow one leaves room.
const reading = new Map<bigint, Promise<unknown>>();

/** Runs `work` when what was asked of the file `ino` before is done. */
async function inTurn<T>(ino: bigint, work: () => Promise<T>): Promise<T> {
  const before = reading.get(ino);
  const mine = before === undefined ? work() : before.then(work, work);
  reading.set(ino, mine);
  try {
    return await mine;
  } finally {
    if (reading.get(ino) === mine) reading.delete(ino);
  }
}

/** An opened share as uploads see it. Nothing of it waits for the disk on this thread. */
export function readable(file: OpenFile) {
  const { fd, ino } = file;
  let resident: Resident | undefined;
  let busy = 0;
  let isClosed = false;
  let hasLooked = false;

  const release = () => {
    resident?.close();
    void file.close();
  };

  /** A descriptor that is given back while the disk is asked may be another file's when it answers. */
  async function using<T>(doing: string, work: () => Promise<T>): Promise<T | Fault> {
    if (isClosed) return fault("DISK_ERROR", "disk", `${doing}: closed`, true);
    busy++;
    try {
      return await work();
    } catch (error) {
      return diskFault(error, doing);
    } finally {
      busy--;
      if (isClosed && busy === 0) release();
    }
  }

  async function fill(into: Uint8Array, offset: number): Promise<number> {
    let at = 0;
    while (at < into.length) {
      const count = await pread(fd, into.subarray(at), offset + at);
      if (count === 0) break;
      at += count;
    }
    return at;
  }

  return {
    fd,
    inMemory: (offset: number, length: number) => resident?.has(offset, length) ?? false,
    read: (into: Uint8Array, offset: number) => using("read", () => inTurn(ino, () => fill(into, offset))),
    look: () =>
      using("stat", async () => {
        const stat = await statFd(fd);
        if (!hasLooked && !isClosed) resident = followResident(fd, file.size, Number(stat.uid));
        hasLooked = true;
        return { unchanged: sameStamp(stampOf(stat), file), named: stat.nlink > 0n };
      }),
    close() {
      if (isClosed) return;
      isClosed = true;
      if (busy === 0) release();
    },
  };
}
