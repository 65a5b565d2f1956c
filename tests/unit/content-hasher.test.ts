// Hashing in the background, what it remembers, and finding damage.
// Invariant: every case has its own folder and its own cache; all of it is removed at the end.
// Never: touches the person's own cache, or waits for time to pass.

import { Database } from "bun:sqlite";
import { afterAll, afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cachePath, createHashCache, type HashCache } from "../../src/content/hashing/hash-cache.ts";
import { createHasher, type Hasher, type HashOptions } from "../../src/content/hashing/hasher.ts";
import { checkLayer, EMPTY_ROOT, type Hashed } from "../../src/content/hashing/merkle.ts";
import { hashFiles, type Verdict, verifyFolder } from "../../src/content/hashing/verify.ts";
import { type Stamp, stampFile } from "../../src/content/safe-files.ts";
import { type Fault, isFault } from "../../src/protocol/fault.ts";
import { createVirtualClock } from "../support/clock.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const windows = process.platform === "win32";
const MIB = 1024 * 1024;
const root = fs.mkdtempSync(join(tmpdir(), "napster-hasher-"));
let turn = 0;
let folder = root;
let database = "";
const open: { close(): void }[] = [];
const faults: Fault[] = [];

const kept = <T extends { close(): void }>(thing: T): T => {
  open.push(thing);
  return thing;
};
const newCache = (): HashCache => kept(createHashCache({ path: database, onFault: (fault) => faults.push(fault) }));
const newHasher = (cache?: HashCache, workers = 2): Hasher => kept(createHasher({ cache, workers }));

beforeEach(() => {
  folder = join(root, String(turn), "pasta");
  database = join(root, String(turn++), "cache", "hashes.sqlite");
  fs.mkdirSync(folder, { recursive: true });
  faults.length = 0;
});
afterEach(() => {
  for (const thing of open.splice(0).reverse()) thing.close();
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

const settled = new Date(Date.now() - 3_600_000);

/** A file that was last written an hour ago. */
function put(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  fs.writeFileSync(path, bytes);
  fs.utimesSync(path, settled, settled);
  return path;
}
/** A file of `size` that takes no room. */
function sparse(name: string, size: number): string {
  const path = put(name, "");
  fs.truncateSync(path, size);
  fs.utimesSync(path, settled, settled);
  return path;
}
function good<T>(value: T | Fault): T {
  if (isFault(value)) throw new Error(`${value.fault}: ${value.detail}`);
  return value;
}
const codeOf = (value: unknown): string => (isFault(value) ? value.fault : "no fault");
const stampOf = async (path: string): Promise<Stamp> => good(await stampFile(path));
const sha = (text: string): string => createHash("sha256").update(text).digest("hex");

describe("hashing", () => {
  test("a file of one block has the SHA-256 of its bytes as root", async () => {
    const path = put("a.mp4", "abc");
    expect(good(await newHasher().hash(path)).root).toBe(sha("abc"));
  });

  test("a file without bytes has the root of zeros", async () => {
    const hashed = good(await newHasher().hash(put("empty.mp4", "")));
    expect(hashed).toMatchObject({ root: EMPTY_ROOT, size: 0 });
    expect(hashed.layer.length).toBe(0);
  });

  test("the number of threads and what else is at work do not change a root", async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(65_536));
    const big = put("big.mp4", Buffer.concat(Array.from({ length: 700 }, (_, i) => bytes.subarray(i % 7))));
    const small = Array.from({ length: 60 }, (_, i) => put(`${i}.mp4`, `small ${i}`));
    const alone = good(await newHasher(undefined, 1).hash(big));
    const many = newHasher(undefined, 4);
    const [hashed, ...others] = await Promise.all([many.hash(big), ...small.map((path) => many.hash(path))]);
    expect(good(hashed as Hashed | Fault)).toEqual(alone);
    expect(checkLayer(alone.layer, alone.size, alone.pieceBytes, alone.root)).toBe(true);
    expect(others.map((o) => good(o).root)).toEqual(small.map((_, i) => sha(`small ${i}`)));
  });

  test("progress grows to the file's size", async () => {
    const path = sparse("v.mp4", 100 * MIB + 1);
    const seen: number[] = [];
    const onProgress = (bytes: number, size: number) => void (size === 100 * MIB + 1 && seen.push(bytes));
    good(await newHasher().hash(path, { onProgress }));
    expect(seen.length).toBeGreaterThan(5);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(100 * MIB + 1);
  });

  test("two callers that ask for one file at once share the work", async () => {
    const path = sparse("v.mp4", 64 * MIB);
    const hasher = newHasher();
    const [first, second] = await Promise.all([hasher.hash(path), hasher.hash(path)]);
    expect(first).toBe(second as Hashed);
  });

  test("a missing file, a folder and a symlink are faults", async () => {
    fs.symlinkSync(put("real.mp4", "x"), join(folder, "link.mp4"));
    const hasher = newHasher();
    expect(codeOf(await hasher.hash(join(folder, "none.mp4")))).toBe("FILE_MISSING");
    expect(codeOf(await hasher.hash(folder))).toBe("DISK_ERROR");
    expect(codeOf(await hasher.hash(join(folder, "link.mp4")))).toBe("DISK_ERROR");
  });

  for (const [how, change] of [
    ["edited", (path: string) => fs.appendFileSync(path, "x")],
    ["cut short", (path: string) => fs.truncateSync(path, 5)],
    ["touched", (path: string) => fs.utimesSync(path, 1, 1)],
    ["replaced", (path: string) => fs.renameSync(sparse("other", 200 * MIB), path)],
  ] as const) {
    test(`a file that is ${how} meanwhile is CHANGED`, async () => {
      const path = sparse("v.mp4", 200 * MIB);
      let done = false;
      const onProgress = () => {
        if (!done) change(path);
        done = true;
      };
      const cache = newCache();
      expect(codeOf(await newHasher(cache).hash(path, { onProgress }))).toBe("CHANGED");
      expect(cache.recorded(path)).toBeUndefined();
    });
  }

  test("a file that is removed meanwhile is FILE_MISSING", async () => {
    const path = sparse("v.mp4", 200 * MIB);
    const onProgress = () => fs.rmSync(path, { force: true });
    expect(codeOf(await newHasher().hash(path, { onProgress }))).toBe("FILE_MISSING");
  });

  test("an urgent file is hashed next, whatever is under way or was asked for before", async () => {
    const hasher = newHasher(undefined, 1);
    const order: string[] = [];
    const follow = async (name: string, bytes: number, options: HashOptions = {}) => {
      good(await hasher.hash(sparse(name, bytes), options));
      order.push(name);
    };
    let wanted: Promise<void> | undefined;
    let early: Promise<void>[] = [];
    let bytesOfFirst = 0;
    const onProgress = (bytes: number) => {
      bytesOfFirst = bytes;
      if (wanted !== undefined) return;
      early = Array.from({ length: 8 }, (_, i) => follow(`early ${i}`, 12 * MIB));
      wanted = follow("wanted", 8 * MIB, { urgent: true }).then(() => expect(bytesOfFirst).toBeLessThan(100 * MIB));
    };
    await follow("first", 160 * MIB, { onProgress });
    await Promise.all([...early, wanted]);
    expect(order[0]).toBe("wanted");
  });

  test("of two urgent files the one that is done sooner goes first", async () => {
    const hasher = newHasher(undefined, 1);
    const order: string[] = [];
    const follow = async (name: string, bytes: number, onProgress?: () => void) => {
      good(await hasher.hash(sparse(name, bytes), { urgent: true, onProgress }));
      order.push(name);
    };
    let small: Promise<void> | undefined;
    await follow("giant", 256 * MIB, () => {
      small ??= follow("small", 8 * MIB);
    });
    await small;
    expect(order).toEqual(["small", "giant"]);
  });

  test("a file that is asked for again goes on where it was left, if it is still the same", async () => {
    for (const change of [false, true]) {
      const path = sparse(`v ${change}.mp4`, 80 * MIB);
      const hasher = newHasher(undefined, 2);
      const controller = new AbortController();
      let left = 0;
      const onProgress = (bytes: number) => {
        left = bytes;
        if (bytes > 32 * MIB) controller.abort();
      };
      expect(codeOf(await hasher.hash(path, { signal: controller.signal, onProgress }))).toBe("CANCELLED");
      // What is at the threads is read to its end; another file behind it sees that end.
      good(await hasher.hash(sparse("behind.mp4", 24 * MIB)));
      if (change) fs.utimesSync(path, 1, 1);
      const seen: number[] = [];
      const hashed = good(await hasher.hash(path, { onProgress: (bytes) => void seen.push(bytes) }));
      if (change) expect(seen[0]).toBeLessThan(16 * MIB);
      else expect(seen[0]).toBeGreaterThan(left);
      expect(seen.at(-1)).toBe(80 * MIB);
      expect(checkLayer(hashed.layer, hashed.size, hashed.pieceBytes, hashed.root)).toBe(true);
      expect(hashed.root).toBe(good(await newHasher().hash(sparse("same.mp4", 80 * MIB))).root);
    }
  });

  test("with a rate it reads no faster, but an urgent file at full speed", async () => {
    const clock = createVirtualClock();
    const hasher = kept(createHasher({ workers: 2, rate: 10 * MIB, clock }));
    let read = 0;
    const slow = hasher.hash(sparse("slow.mp4", 50 * MIB), {
      onProgress: (bytes) => {
        read = bytes;
      },
    });
    good(await hasher.hash(sparse("wanted.mp4", 64 * MIB), { urgent: true }));
    expect(read).toBe(0);
    for (let tenths = 1; tenths <= 50; tenths++) {
      await clock.advance(100);
      const earned = tenths * MIB;
      // What has been paid for, in tasks of up to 4 MiB, is read; never more.
      await until("it", () => read > earned - 4 * MIB);
      expect(read).toBeLessThanOrEqual(earned);
    }
    expect(good(await slow).size).toBe(50 * MIB);
  });

  test("a cancelled file answers at once and the others go on", async () => {
    const hasher = newHasher();
    const controller = new AbortController();
    const gone = hasher.hash(sparse("gone.mp4", 4096 * MIB), {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    const stays = hasher.hash(put("stays.mp4", "abc"));
    expect(codeOf(await gone)).toBe("CANCELLED");
    expect(good(await stays).root).toBe(sha("abc"));
    expect(codeOf(await hasher.hash(put("late.mp4", "x"), { signal: controller.signal }))).toBe("CANCELLED");
    expect(good(await hasher.hash(put("again.mp4", "again"))).root).toBe(sha("again"));
  });

  test("one of two callers that cancels leaves the other its root", async () => {
    const hasher = newHasher();
    const path = sparse("v.mp4", 128 * MIB);
    const controller = new AbortController();
    const one = hasher.hash(path, { signal: controller.signal, onProgress: () => controller.abort() });
    const other = hasher.hash(path);
    expect(codeOf(await one)).toBe("CANCELLED");
    expect(good(await other).size).toBe(128 * MIB);
  });

  test("closing the hasher answers every caller that waits", async () => {
    const hasher = newHasher();
    const waiting = [1, 2, 3].map((i) =>
      hasher.hash(sparse(`${i}.mp4`, 2048 * MIB), { onProgress: () => hasher.close() }),
    );
    expect((await Promise.all(waiting)).map(codeOf)).toEqual(Array(3).fill("SHUTTING_DOWN"));
    expect(codeOf(await hasher.hash(put("x.mp4", "x")))).toBe("SHUTTING_DOWN");
  });

  test.skipIf(process.platform !== "linux")("no hashed file stays open, whatever became of it", async () => {
    const hasher = newHasher();
    const controller = new AbortController();
    await Promise.all([
      hasher.hash(sparse("a.mp4", 100 * MIB)),
      hasher.hash(sparse("b.mp4", 900 * MIB), { signal: controller.signal, onProgress: () => controller.abort() }),
      hasher.hash(join(folder, "none.mp4")),
      ...Array.from({ length: 30 }, (_, i) => hasher.hash(put(`${i}.mp4`, "x"))),
    ]);
    // One more round through the queue: what was at a thread when it was cancelled has ended too.
    await hasher.hash(sparse("c.mp4", 200 * MIB));
    const links = fs.readdirSync("/proc/self/fd").map((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return "";
      }
    });
    expect(links.filter((link) => link.startsWith(folder))).toEqual([]);
  });
});

describe("the cache", () => {
  test.skipIf(windows)("the cache is for its person alone, also where an earlier one was not", () => {
    const mode = (path: string) => (fs.statSync(path).mode & 0o777).toString(8);
    const before = process.umask(0o022);
    const folder = join(root, `private ${Math.random()}`, "napster");
    const path = join(folder, "hashes.sqlite");
    const modes = () => {
      const cache = createHashCache({ path });
      cache.recorded("x");
      const found = [folder, path, `${path}-wal`, `${path}-shm`].map(mode);
      cache.close();
      return found;
    };
    expect(modes()).toEqual(["700", "600", "600", "600"]);
    fs.chmodSync(path, 0o644);
    expect(modes().slice(1)).toEqual(["600", "600", "600"]);
    process.umask(before);
  });

  test("the cache stands where the platform keeps caches, and NAPSTER_CACHE overrides", () => {
    expect(cachePath({}, "linux", "/home/ana")).toBe("/home/ana/.cache/napster/hashes.sqlite");
    expect(cachePath({ XDG_CACHE_HOME: "/x" }, "linux", "/home/ana")).toBe("/x/napster/hashes.sqlite");
    expect(cachePath({ XDG_CACHE_HOME: "x" }, "linux", "/home/ana")).toBe("/home/ana/.cache/napster/hashes.sqlite");
    expect(cachePath({}, "darwin", "/Users/ana")).toBe("/Users/ana/Library/Caches/napster/hashes.sqlite");
    expect(cachePath({ LOCALAPPDATA: "/L" }, "win32", "/u")).toBe("/L/napster/hashes.sqlite");
    expect(cachePath({ NAPSTER_CACHE: "/n", XDG_CACHE_HOME: "/x" }, "linux", "/h")).toBe("/n/hashes.sqlite");
  });

  test("the cache makes nothing on the disk until it is used", () => {
    newCache();
    expect(fs.existsSync(database)).toBe(false);
  });

  test("what one process hashed another finds, and it is found without reading the file", async () => {
    const path = sparse("v.mp4", 50 * MIB);
    const first = newCache();
    const hashed = good(await newHasher(first).hash(path));
    first.close();
    const second = newCache();
    const stamp = await stampOf(path);
    expect(second.findRoot(path, stamp)).toBe(hashed.root);
    expect(second.find(path, stamp)).toEqual(hashed);
    let read = false;
    const onProgress = () => {
      read = true;
    };
    expect(good(await newHasher(second).hash(path, { onProgress })).root).toBe(hashed.root);
    expect(read).toBe(false);
  });

  test("the cache answers only for the same size, time and identity", async () => {
    const path = put("v.mp4", "abc");
    const cache = newCache();
    good(await newHasher(cache).hash(path));
    const stamp = await stampOf(path);
    expect(cache.findRoot(path, stamp)).toBe(sha("abc"));
    for (const other of [
      { ...stamp, size: 4 },
      { ...stamp, mtimeNs: stamp.mtimeNs + 1n },
      { ...stamp, ino: stamp.ino + 1n },
    ]) {
      expect(cache.findRoot(path, other)).toBeUndefined();
      expect(cache.find(path, other)).toBeUndefined();
    }
    expect(cache.findRoot(`${path}x`, stamp)).toBeUndefined();
  });

  test("an identity of 64 bits is kept exactly", () => {
    const cache = newCache();
    const hashed = { root: EMPTY_ROOT, size: 0, pieceBytes: 262_144, layer: new Uint8Array(0) };
    const stamp = { size: 0, mtimeNs: 2n ** 63n - 1n, ctimeNs: 1n, ino: 2n ** 64n - 1n };
    cache.store("/v", stamp, hashed);
    expect(cache.findRoot("/v", stamp)).toBe(EMPTY_ROOT);
    expect(cache.findRoot("/v", { ...stamp, ino: stamp.ino - 1n })).toBeUndefined();
  });

  test("a file written a moment ago is hashed but not remembered", async () => {
    const path = join(folder, "v.mp4");
    fs.writeFileSync(path, "abc");
    const cache = newCache();
    expect(good(await newHasher(cache).hash(path)).root).toBe(sha("abc"));
    expect(cache.recorded(path)).toBeUndefined();
  });

  test("a database that is garbage is begun again, and nothing is said of it", async () => {
    fs.mkdirSync(join(database, ".."), { recursive: true });
    fs.writeFileSync(database, "this is not a database ".repeat(1000));
    const path = put("v.mp4", "abc");
    const cache = newCache();
    good(await newHasher(cache).hash(path));
    expect(cache.findRoot(path, await stampOf(path))).toBe(sha("abc"));
    expect(faults).toEqual([]);
    cache.close();
    expect(newCache().findRoot(path, await stampOf(path))).toBe(sha("abc"));
  });

  test("a database of another version is begun again", async () => {
    fs.mkdirSync(join(database, ".."), { recursive: true });
    const other = new Database(database);
    other.run("CREATE TABLE files (something TEXT)");
    other.run("PRAGMA user_version = 99");
    other.close();
    const path = put("v.mp4", "abc");
    const cache = newCache();
    good(await newHasher(cache).hash(path));
    expect(cache.findRoot(path, await stampOf(path))).toBe(sha("abc"));
    expect(faults).toEqual([]);
  });

  test("the cache works in memory where it cannot be written, and says so once", async () => {
    fs.writeFileSync(join(database, "..", "..", "cache"), "a file where the folder should be");
    const path = put("v.mp4", "abc");
    const cache = newCache();
    good(await newHasher(cache).hash(path));
    expect(cache.findRoot(path, await stampOf(path))).toBe(sha("abc"));
    expect(faults.map(codeOf)).toEqual(["DISK_ERROR"]);
  });

  test("a layer that rotted in the database is not believed", async () => {
    const path = sparse("v.mp4", MIB);
    const cache = newCache();
    good(await newHasher(cache).hash(path));
    cache.close();
    const raw = new Database(database);
    raw.run("UPDATE files SET layer = zeroblob(length(layer))");
    raw.close();
    expect(newCache().find(path, await stampOf(path))).toBeUndefined();
  });

  test("the least recently used roots go when there are too many, and the unused after half a year", () => {
    let now = Date.now();
    const limited = (): HashCache => kept(createHashCache({ path: database, entriesMax: 3, now: () => now }));
    const hashed = { root: EMPTY_ROOT, size: 0, pieceBytes: 262_144, layer: new Uint8Array(0) };
    const stamp = { size: 0, mtimeNs: 1n, ctimeNs: 1n, ino: 1n };
    const first = limited();
    for (let i = 0; i < 5; i += 1) {
      now += 1000;
      first.store(`/${i}`, stamp, hashed);
    }
    first.close();
    now += 100 * 86_400_000;
    const second = limited();
    expect([0, 1, 2, 3, 4].map((i) => second.findRoot(`/${i}`, stamp) !== undefined)).toEqual([
      false,
      false,
      true,
      true,
      true,
    ]);
    second.close();
    now += 100 * 86_400_000;
    const third = limited();
    expect(third.findRoot("/4", stamp)).toBe(EMPTY_ROOT);
    third.close();
    now += 200 * 86_400_000;
    expect(limited().findRoot("/4", stamp)).toBeUndefined();
  });

  test("several processes fill a new one at once and lose nothing", async () => {
    const script = join(root, "fill.ts");
    const source = join(import.meta.dir, "../../src/content/hashing/hash-cache.ts");
    fs.writeFileSync(
      script,
      `import { createHashCache } from ${JSON.stringify(source)};
       const cache = createHashCache({ path: process.argv[2], onFault: (f) => console.log(f.detail) });
       const hashed = { root: "${EMPTY_ROOT}", size: 0, pieceBytes: 262144, layer: new Uint8Array(0) };
       for (let i = 0; i < 50; i += 1) cache.store(process.argv[3] + i, { size: 0, mtimeNs: 1n, ctimeNs: 1n, ino: 1n }, hashed);
       cache.close();`,
    );
    const fill = (who: string) => Bun.spawn([process.execPath, script, database, who], { stdout: "pipe" });
    const processes = ["a", "b", "c"].map(fill);
    const said = await Promise.all(processes.map((process) => new Response(process.stdout).text()));
    expect(said).toEqual(["", "", ""]);
    const cache = newCache();
    for (const who of ["a", "b", "c"]) {
      for (let i = 0; i < 50; i += 1) expect(cache.recorded(who + i)).toBeDefined();
    }
  });
});

describe("a person who asks", () => {
  test("files are hashed in the order given, through symlinks, and one that fails stops none", async () => {
    const a = put("a.mp4", "a");
    fs.symlinkSync(a, join(folder, "link.mp4"));
    const paths = [join(folder, "link.mp4"), join(folder, "none.mp4"), put("b.mp4", "b")];
    const found = await Array.fromAsync(hashFiles(paths, newHasher()));
    expect(found[0]).toMatchObject({ name: "link.mp4", size: 1, root: sha("a"), pieceBytes: 262_144 });
    expect(found[1]).toMatchObject({ name: "none.mp4", fault: { fault: "FILE_MISSING" } });
    expect(found[2]).toMatchObject({ name: "b.mp4", root: sha("b") });
  });

  const verify = async (cache: HashCache): Promise<Verdict[]> =>
    Array.fromAsync(good(await verifyFolder(folder, newHasher(cache), cache)).verdicts);
  const texts = (verdicts: Verdict[]): string[] => verdicts.map((v) => `${v.name} ${v.verdict}`);

  test("a folder is verified against what was recorded, and damage is found again and again", async () => {
    const bytes = new Uint8Array(MIB).fill(7);
    for (const name of ["ok.mp4", "edited.mp4", "rotten.mp4"]) put(name, bytes);
    const cache = newCache();
    expect(texts(await verify(cache))).toEqual(["edited.mp4 new", "ok.mp4 new", "rotten.mp4 new"]);
    expect(texts(await verify(cache))).toEqual(["edited.mp4 ok", "ok.mp4 ok", "rotten.mp4 ok"]);

    put("new.mp4", "x");
    fs.appendFileSync(join(folder, "edited.mp4"), "x");
    const fd = fs.openSync(join(folder, "rotten.mp4"), "r+");
    fs.writeSync(fd, new Uint8Array([8]), 0, 1, 600_000);
    fs.closeSync(fd);
    fs.utimesSync(join(folder, "rotten.mp4"), settled, settled);
    const now = ["edited.mp4 changed", "new.mp4 new", "ok.mp4 ok", "rotten.mp4 damaged"];
    const verdicts = await verify(cache);
    expect(texts(verdicts)).toEqual(now);
    expect(verdicts[3]).toMatchObject({ pieces: [2] });
    expect(texts(await verify(cache))[3]).toBe("rotten.mp4 damaged");
  });

  test("a folder that is missing is a fault", async () => {
    const cache = newCache();
    expect(codeOf(await verifyFolder(join(folder, "none"), newHasher(cache), cache))).toBe("FOLDER_MISSING");
  });
});
