// Hashing a folder against what the cores can do: cores × `openssl speed -evp sha256 -bytes 16384`.
// Invariant: both are measured in every round, one after the other, on the same machine in the same minute.
// Never: uses the hash cache, or counts the making of the files.
//
//   bun bench/hash.ts [--gib 2] [--files 8] [--rounds 5] [--dir FOLDER]

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { listFolder } from "../src/content/folder.ts";
import { createHasher } from "../src/content/hashing/hasher.ts";
import { isFault } from "../src/protocol/fault.ts";

const GOAL = 0.9;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

const { values } = parseArgs({
  options: {
    gib: { type: "string", default: "2" },
    files: { type: "string", default: "8" },
    rounds: { type: "string", default: "5" },
    dir: { type: "string", default: tmpdir() },
  },
});
const rounds = Number(values.rounds);
const files = Number(values.files);
const fileBytes = Math.floor((Number(values.gib) * GIB) / files);
const cores = navigator.hardwareConcurrency;

const median = (numbers: number[]): number => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

/** Random bytes, warm in the page cache, and on the disk: what is still being written would take its part of the cores. */
function fill(folder: string): void {
  const chunk = new Uint8Array(8 * MIB);
  for (let i = 0; i < files; i += 1) {
    const fd = fs.openSync(join(folder, `aula${i}.mp4`), "w");
    for (let at = 0; at < fileBytes; at += chunk.length) {
      for (let part = 0; part < chunk.length; part += 65_536)
        crypto.getRandomValues(chunk.subarray(part, part + 65_536));
      fs.writeSync(fd, chunk, 0, Math.min(chunk.length, fileBytes - at));
    }
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  }
}

/** Bytes per second of one core, by openssl's own account. */
function openssl(): number {
  const run = Bun.spawnSync(["openssl", "speed", "-mr", "-seconds", "1", "-evp", "sha256", "-bytes", "16384"]);
  const found = /^\+F:\d+:[^:]+:([\d.]+)/m.exec(run.stdout.toString());
  if (found === null) throw new Error("openssl speed gave no number: is openssl installed?");
  return Number(found[1]);
}

/** Bytes per second of one core that reads the files and hashes what it read at once: what copies is no faster. Warms. */
function bound(folder: string): number {
  const buffer = new Uint8Array(256 * 1024);
  const out = new Uint8Array(32);
  const start = performance.now();
  let bytes = 0;
  for (const name of fs.readdirSync(folder)) {
    const fd = fs.openSync(join(folder, name), "r");
    for (let got = -1; got !== 0; bytes += got) {
      got = fs.readSync(fd, buffer);
      Bun.SHA256.hash(buffer, out);
    }
    fs.closeSync(fd);
  }
  return bytes / ((performance.now() - start) / 1000);
}

/** Bytes per second of the whole folder, threads made and ended within, and the CPU seconds of all threads per GiB. */
async function ours(folder: string): Promise<{ rate: number; cpu: number }> {
  const listing = await listFolder(folder);
  if (isFault(listing)) throw new Error(listing.detail);
  const before = process.cpuUsage();
  const start = performance.now();
  const hasher = createHasher();
  const hashed = await Promise.all(listing.shares.map((share) => hasher.hash(join(folder, share.file))));
  const seconds = (performance.now() - start) / 1000;
  const used = process.cpuUsage(before);
  hasher.close();
  for (const result of hashed) if (isFault(result)) throw new Error(result.detail);
  const bytes = files * fileBytes;
  return { rate: bytes / seconds, cpu: ((used.user + used.system) / 1e6) * (GIB / bytes) };
}

const folder = fs.mkdtempSync(join(values.dir, "napster-bench-hash-"));
try {
  fill(folder);
  console.log(`${files} files, ${((files * fileBytes) / GIB).toFixed(2)} GiB, ${cores} cores, in ${folder}`);
  await ours(folder);
  const gbs = (bytes: number): string => (bytes / 1e9).toFixed(3);
  const ratios: number[] = [];
  const bounds: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const speed = cores * openssl();
    const most = cores * bound(folder);
    const { rate, cpu } = await ours(folder);
    ratios.push(rate / speed);
    bounds.push(most / speed);
    const speeds = `ours ${gbs(rate)} GB/s, openssl × ${cores} ${gbs(speed)}, bound ${gbs(most)}`;
    const spent = `CPU ${cpu.toFixed(2)} s/GiB, openssl ${((cores * GIB) / speed).toFixed(2)}`;
    console.log(`round ${round}: ${speeds}, ratio ${(rate / speed).toFixed(3)} (${spent})`);
  }
  const ratio = median(ratios);
  const most = median(bounds).toFixed(3);
  const verdict = ratio >= GOAL ? "reached" : "NOT reached";
  console.log(`median ratio ${ratio.toFixed(3)} (copying and one long hash: ${most}), goal ${GOAL}: ${verdict}`);
} finally {
  fs.rmSync(folder, { recursive: true, force: true });
}
