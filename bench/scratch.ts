// The bench's own folders: one in memory, one on a disk, with the files that are moved.
// Invariant: everything lies under two folders of a fresh name, and remove() takes both away.
// Never: makes a file that does not fit (the caller asks freeBytes first).

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MIB } from "./stats.ts";

export type Place = "memory" | "disk";

export type Scratch = {
  /** A fresh empty folder there. */
  folder(place: Place, label: string): string;
  freeBytes(place: Place): number;
  remove(): void;
};

const MEMORY = "/dev/shm";

/** `disk`: any folder of a real disk. */
export function createScratch(disk = fs.existsSync("/var/tmp") ? "/var/tmp" : tmpdir()): Scratch {
  const memory = fs.existsSync(MEMORY) ? MEMORY : tmpdir();
  const roots = {
    memory: fs.mkdtempSync(join(memory, "napster-bench-")),
    disk: fs.mkdtempSync(join(disk, "napster-bench-")),
  };
  let count = 0;
  return {
    folder(place, label) {
      const path = join(roots[place], `${label}-${count++}`);
      fs.mkdirSync(path);
      return path;
    },
    freeBytes(place) {
      const { bavail, bsize } = fs.statfsSync(roots[place]);
      return bavail * bsize;
    },
    remove() {
      for (const root of Object.values(roots)) fs.rmSync(root, { recursive: true, force: true });
    },
  };
}

/** Random bytes, and therefore in the page cache. */
export function writeRandom(path: string, bytes: number): void {
  const chunk = new Uint8Array(8 * MIB);
  const fd = fs.openSync(path, "w");
  for (let at = 0; at < bytes; at += chunk.length) {
    for (let part = 0; part < chunk.length; part += 65_536) crypto.getRandomValues(chunk.subarray(part, part + 65_536));
    fs.writeSync(fd, chunk, 0, Math.min(chunk.length, bytes - at));
  }
  fs.closeSync(fd);
}

/** `bytes` zeros that take no room. */
export function writeSparse(path: string, bytes: number): void {
  fs.closeSync(fs.openSync(path, "w"));
  fs.truncateSync(path, bytes);
}

/** Bytes that the .part files of a folder take on the disk now. */
export function partBytes(folder: string): number {
  let bytes = 0;
  for (const name of fs.readdirSync(folder)) {
    if (!name.endsWith(".part")) continue;
    try {
      bytes += fs.statSync(join(folder, name)).blocks * 512;
    } catch {} // renamed meanwhile
  }
  return bytes;
}

/** Empties a folder, so that the next round begins like the first; what the disk still owes is written first. */
export function emptyFolder(folder: string): void {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder);
}
