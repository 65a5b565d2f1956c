// The machine that the numbers are of: cores, model, kernel, memory, and what its disk writes per second.
// Invariant: only what was read or measured in this run.
// Never: guesses; what cannot be read is left out.

import * as fs from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { GIB, MIB } from "./stats.ts";

const PROBE_BYTES = GIB;

export function describeMachine(diskFolder: string): string[] {
  const rate = syncedWriteRate(diskFolder);
  return [
    `${navigator.hardwareConcurrency} cores, ${cpus()[0]?.model ?? "unknown CPU"}, ${(totalmem() / GIB).toFixed(0)} GiB of memory`,
    `${process.platform} ${release()}, TCP congestion control ${read("/proc/sys/net/ipv4/tcp_congestion_control")}`,
    `disk: ${(rate / 1e6).toFixed(0)} MB/s written in sequence and synced (1 GiB of zeros)`,
  ];
}

/** Bytes per second of writing one file and fdatasync. */
export function syncedWriteRate(folder: string): number {
  const path = join(folder, "probe");
  const chunk = new Uint8Array(4 * MIB);
  const fd = fs.openSync(path, "w");
  const start = performance.now();
  for (let at = 0; at < PROBE_BYTES; at += chunk.length) fs.writeSync(fd, chunk);
  fs.fdatasyncSync(fd);
  const seconds = (performance.now() - start) / 1000;
  fs.closeSync(fd);
  fs.rmSync(path);
  return PROBE_BYTES / seconds;
}

function read(path: string): string {
  try {
    return fs.readFileSync(path, "utf8").trim();
  } catch {
    return "unknown";
  }
}
