// Hashing what the system has in memory without a copy: the same roots, and nobody who writes is harmed or held up.
// Invariant: every case has a folder of its own; the programs it starts are ended by it.
// Never: judges by the clock.

import { afterAll, afterEach, beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHasher, type Hasher } from "../../src/content/hasher.ts";
import { createMapping, type Mapping } from "../../src/content/mapping.ts";
import { createPieceHasher, encodeRoot, pieceBytesFor, pieceCount, rootOfLayer } from "../../src/content/merkle.ts";
import { type Fault, isFault } from "../../src/protocol/fault.ts";
import { describeWith } from "../support/tools.ts";

const MIB = 1024 * 1024;
const ROUNDS = 60;

const root = fs.mkdtempSync(join(tmpdir(), "napster-mapping-"));
let turn = 0;
let path = "";
const closing: (() => void)[] = [];

beforeEach(() => {
  path = join(root, `${turn++}.mp4`);
});
afterEach(() => {
  for (const close of closing.splice(0).reverse()) close();
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

/** Not on every Linux: a container's own file system is stacked, and its files are read. */
const mapsHere = (): boolean => {
  const mapping = createMapping();
  const probe = join(root, "probe");
  fs.writeFileSync(probe, new Uint8Array(MIB));
  const fd = fs.openSync(probe, "r");
  mapping?.begin(fd, MIB);
  const found = mapping?.find(0);
  mapping?.close();
  fs.closeSync(fd);
  return found === 0;
};
const testMapping = mapsHere() ? test : test.skip;

const bytesOf = (size: number): Uint8Array => {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
};
const newHasher = (): Hasher => {
  const hasher = createHasher({ workers: 2 });
  closing.push(() => hasher.close());
  return hasher;
};
function newMapping(): Mapping {
  const mapping = createMapping();
  if (mapping === undefined) throw new Error("this machine maps nothing");
  closing.push(() => mapping.close());
  return mapping;
}
function opened(flags: string | number): number {
  const fd = fs.openSync(path, flags);
  closing.push(() => fs.closeSync(fd));
  return fd;
}
/** The root of bytes that were never in a file. */
function rootOf(bytes: Uint8Array): string {
  const pieceBytes = pieceBytesFor(bytes.length);
  const hasher = createPieceHasher(bytes.length, pieceBytes);
  const layer = new Uint8Array(pieceCount(bytes.length, pieceBytes) * 32);
  for (let at = 0, i = 0; at < bytes.length; at += pieceBytes, i += 1) {
    hasher.update(bytes.subarray(at, at + pieceBytes));
    hasher.finish(layer.subarray(i * 32, (i + 1) * 32));
  }
  return encodeRoot(Uint8Array.fromHex(rootOfLayer(layer, pieceBytes)));
}
/** Whether a program could write to the file now, without waiting for anybody. */
function isFree(): boolean {
  try {
    fs.closeSync(fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}
/** Another program that runs `script` (Bun's), with the file's path as its argument. */
const other = (script: string) =>
  Bun.spawn(
    [process.execPath, "-e", `const fs = require("node:fs"); const path = ${JSON.stringify(path)}; ${script}`],
    {
      stdout: "pipe",
      stderr: "inherit",
    },
  );
const codeOf = (value: { root: string } | Fault): string => (isFault(value) ? value.fault : "root");

describeWith(["linux"], "a mapped file", () => {
  for (const size of [
    1,
    16_383,
    16_384,
    16_385,
    262_143,
    262_145,
    MIB - 1,
    MIB,
    MIB + 1,
    4 * MIB,
    4 * MIB + 1,
    16 * MIB + 16_385,
    37 * MIB + 5,
  ]) {
    test(`of ${size} bytes has the root of its bytes, with and without somebody who may write to it`, async () => {
      const bytes = bytesOf(size);
      fs.writeFileSync(path, bytes);
      const expected = rootOf(bytes);
      expect(await newHasher().hash(path)).toMatchObject({ root: expected, size });
      opened("r+");
      expect(await newHasher().hash(path)).toMatchObject({ root: expected, size });
    });
  }

  testMapping("shows the file's bytes window by window, up to its end", () => {
    const bytes = bytesOf(9 * MIB + 7);
    fs.writeFileSync(path, bytes);
    const mapping = newMapping();
    mapping.begin(opened("r"), bytes.length);
    for (const at of [0, MIB, 4 * MIB, 8 * MIB, 9 * MIB]) {
      const found = mapping.find(at);
      expect(found).toBe(at % (4 * MIB));
      const shown = mapping.bytes.subarray(found, (found ?? 0) + Math.min(MIB, bytes.length - at));
      expect(Buffer.compare(shown, bytes.subarray(at, at + shown.length))).toBe(0);
    }
  });

  testMapping("cannot be written to while it is shown, and can at once afterwards", () => {
    fs.writeFileSync(path, bytesOf(2 * MIB));
    const mapping = newMapping();
    mapping.begin(opened("r"), 2 * MIB);
    expect(isFree()).toBe(true);
    expect(mapping.find(0)).toBe(0);
    expect(isFree()).toBe(false);
    mapping.end();
    expect(isFree()).toBe(true);
    expect(mapping.find(0)).toBeUndefined();
  });

  testMapping("is read where it is open for writing, has another size than was said, or is no file of a disk", () => {
    fs.writeFileSync(path, bytesOf(2 * MIB));
    const mapping = newMapping();
    const fd = opened("r");
    mapping.begin(fd, 2 * MIB + 1);
    expect(mapping.find(0)).toBeUndefined();
    const writing = fs.openSync(path, "r+");
    mapping.begin(fd, 2 * MIB);
    expect(mapping.find(0)).toBeUndefined();
    fs.closeSync(writing);
    mapping.begin(fd, 2 * MIB);
    expect(mapping.find(0)).toBe(0);
    mapping.end();
    path = "/proc/self/maps";
    mapping.begin(opened("r"), 2 * MIB);
    expect(mapping.find(0)).toBeUndefined();
  });

  testMapping("that is not in memory is read", () => {
    fs.writeFileSync(path, "");
    fs.truncateSync(path, 2 * MIB);
    const mapping = newMapping();
    mapping.begin(opened("r"), 2 * MIB);
    expect(mapping.find(0)).toBeUndefined();
    expect(isFree()).toBe(true);
  });

  testMapping("has room for who waits to write: the next window is not shown", async () => {
    fs.writeFileSync(path, bytesOf(8 * MIB));
    const mapping = newMapping();
    mapping.begin(opened("r"), 8 * MIB);
    expect(mapping.find(0)).toBe(0);
    expect(isFree()).toBe(false); // asked without waiting, which breaks the lease all the same
    expect(mapping.find(MIB)).toBe(MIB);
    expect(mapping.find(4 * MIB)).toBeUndefined();
    expect(isFree()).toBe(true);
  });

  test("that another program shortens, lengthens and rewrites all the time ends nobody", async () => {
    fs.writeFileSync(path, bytesOf(24 * MIB));
    const busy = other(`
      const full = fs.readFileSync(path);
      process.stdout.write("ready\\n");
      for (let i = 0; i < 400; i += 1) {
        fs.truncateSync(path, (i * 7919 * 4096) % full.length);
        if (i % 5 === 0) fs.writeFileSync(path, full);
        else fs.truncateSync(path, full.length);
        Bun.sleepSync(i % 3);
      }
      fs.writeFileSync(path, full);`);
    const reader = busy.stdout.getReader();
    await reader.read();
    const hasher = newHasher();
    const seen = new Set<string>();
    for (let i = 0; i < ROUNDS; i += 1) seen.add(codeOf(await hasher.hash(path, { fresh: true })));
    expect([...seen].filter((code) => code !== "root" && code !== "CHANGED")).toEqual([]);
    expect(await busy.exited).toBe(0);
    expect(await hasher.hash(path)).toMatchObject({ root: rootOf(fs.readFileSync(path)) });
  }, 60_000);

  test("is opened for writing again and again while it is hashed", async () => {
    fs.writeFileSync(path, bytesOf(48 * MIB));
    const hasher = newHasher();
    let over = false;
    const hashing = (async () => {
      while (!over) expect(codeOf(await hasher.hash(path, { fresh: true }))).toBe("root");
    })();
    const opening = other(
      `for (let i = 0; i < ${ROUNDS}; i += 1) { fs.closeSync(fs.openSync(path, "r+")); Bun.sleepSync(2); }`,
    );
    expect(await opening.exited).toBe(0);
    // This very program, too: no thread waits for the main one in the middle of a task.
    for (let i = 0; i < ROUNDS; i += 1) fs.closeSync(fs.openSync(path, "r+"));
    over = true;
    await hashing;
  }, 60_000);

  test("is free soon after the hasher was closed in the middle of it", async () => {
    fs.writeFileSync(path, bytesOf(64 * MIB));
    for (let i = 0; i < 5; i += 1) {
      const hasher = createHasher({ workers: 2 });
      const hashing = hasher.hash(path, { onProgress: () => hasher.close() });
      expect(codeOf(await hashing)).toBe("SHUTTING_DOWN");
      // Each waits for the tasks at work; for a lease that was left behind, the first would for most of a minute.
      for (let again = 0; again < 10; again += 1) fs.closeSync(fs.openSync(path, "r+"));
    }
  });
});
