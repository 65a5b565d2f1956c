// What a peer shares of its folder, while files change, vanish, come back and cannot be read for a while.
// Invariant: a scripted hasher and a virtual clock; only the folder is real.
// Never: waits for time to pass.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Listing, type LocalShare, listFolder } from "../../src/content/folder.ts";
import { createHashCache, type HashCache } from "../../src/content/hashing/hash-cache.ts";
import type { Hasher, HashOptions } from "../../src/content/hashing/hasher.ts";
import { EMPTY_ROOT, type Hashed, pieceBytesFor } from "../../src/content/hashing/merkle.ts";
import { AGAIN_SECONDS_MAX, createLibrary, type Hashing, type Library } from "../../src/content/library.ts";
import { type Fault, fault } from "../../src/protocol/fault.ts";
import { createVirtualClock, turn, type VirtualClock } from "../support/clock.ts";
import { closeAfterTest } from "../support/closing.ts";
import { good } from "../support/good.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const root = fs.mkdtempSync(join(tmpdir(), "napster-library-"));
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

type Asked = { readonly name: string; readonly options: HashOptions };
type Shop = {
  readonly library: Library;
  readonly clock: VirtualClock;
  readonly cache: HashCache;
  readonly folder: string;
  readonly asked: Asked[];
  readonly told: string[];
  readonly hashings: Hashing[];
  /** What hashing gives from now on. */
  answer: (name: string) => Hashed | Fault;
  /** Time passes, and what it brings is done. */
  pass(seconds: number): Promise<void>;
};

const hashedAs = (size: number): Hashed => ({
  root: "ab".repeat(32),
  size,
  pieceBytes: pieceBytesFor(size),
  layer: new Uint8Array(size > 0 ? 32 : 0),
});

async function open(files: Record<string, string>): Promise<Shop> {
  const folder = fs.mkdtempSync(join(root, "pasta-"));
  for (const [name, text] of Object.entries(files)) {
    fs.writeFileSync(join(folder, name), text);
    fs.utimesSync(join(folder, name), 1, 1);
  }
  const listing: Listing = good(await listFolder(folder));
  const clock = createVirtualClock();
  const asked: Asked[] = [];
  const told: string[] = [];
  const hashings: Hashing[] = [];
  const cache = createHashCache({ path: ":memory:" });
  const hasher: Hasher = {
    async hash(path, options = {}) {
      const name = path.slice(folder.length + 1);
      asked.push({ name, options });
      return shop.answer(name);
    },
    close() {},
  };
  const library = createLibrary({
    listing,
    cache,
    hasher,
    clock,
    onShared: ({ local, root }) => told.push(`${root === undefined ? "shared" : "hashed"} ${local.name}`),
    onLost: (names) => told.push(`lost ${names}`),
    onHashing: (hashing) => hashings.push(hashing),
  });
  const shop: Shop = {
    library,
    clock,
    cache,
    folder,
    asked,
    told,
    hashings,
    answer: (name) => hashedAs(fs.statSync(join(folder, name)).size),
    async pass(seconds) {
      for (let second = 0; second < seconds; second++) {
        await clock.advance(1000);
        // A look at the disk is real: its answer has come when those of later looks have.
        for (let i = 0; i < 4; i++) await fs.promises.lstat(folder).then(turn);
      }
    },
  };
  closeAfterTest(() => {
    library.close();
    cache.close();
  });
  return shop;
}

const PASSING = ["EMFILE", "EBUSY", "EACCES", "EPERM", "EIO"].map((code) =>
  fault("DISK_ERROR", "disk", `open: ${code}`, code !== "EIO"),
);

describe("a file that cannot be read", () => {
  for (const why of PASSING)
    test(`a file that cannot be read just now (${why.detail}) stays shared, and is tried again after growing pauses until it can`, async () => {
      const shop = await open({ "a.mp4": "aaa", "b.mp4": "b" });
      shop.answer = (name) => (name === "a.mp4" ? why : hashedAs(1));
      await shop.library.hashAll();
      expect(shop.told).toEqual(["hashed b.mp4"]);
      expect(shop.library.names()).toEqual(["a.mp4", "b.mp4"]);
      await shop.pass(600);
      const tries = shop.asked.filter(({ name }) => name === "a.mp4").length;
      expect(tries).toBeGreaterThan(5);
      expect(tries).toBeLessThan(14);
      shop.answer = () => hashedAs(3);
      await shop.pass(AGAIN_SECONDS_MAX + 1);
      expect(shop.told).toEqual(["hashed b.mp4", "hashed a.mp4"]);
      const all = shop.asked.length;
      await shop.pass(600);
      expect(shop.asked.length).toBe(all);
    });

  test("a file that cannot be read is tried at once when it is wanted", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    shop.answer = () => PASSING[0] as Fault;
    await shop.library.hashAll();
    await shop.pass(300);
    shop.answer = () => hashedAs(3);
    shop.library.want("a.mp4");
    await turn();
    expect(shop.asked.at(-1)?.options.urgent).toBe(true);
    expect(shop.told).toEqual(["hashed a.mp4"]);
  });

  test("a file that cannot be read because a thread died is tried again too", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    shop.answer = () => fault("INTERNAL", "ours", "hash thread", true);
    await shop.library.hashAll();
    shop.answer = () => hashedAs(3);
    await shop.pass(3);
    expect(shop.told).toEqual(["hashed a.mp4"]);
  });
});

describe("a file that is gone, or another", () => {
  test("a file that is gone is lost at a doubt, costs nothing while it is away, and is shared with its root once it is put in again", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    const [local] = good(await listFolder(shop.folder)).shares;
    await shop.library.hashAll();
    const path = join(shop.folder, "a.mp4");
    fs.rmSync(path);
    await shop.library.doubt("a.mp4");
    expect(shop.told).toEqual(["hashed a.mp4", "lost a.mp4"]);
    expect(shop.library.names()).toEqual([]);
    expect(shop.clock.pending).toBe(0);
    shop.cache.store(path, local as LocalShare, hashedAs(3));
    expect(shop.library.put(local as LocalShare).root).toBe("ab".repeat(32));
    expect([...shop.library.shares()]).toEqual([{ name: "a.mp4", size: 3, root: "ab".repeat(32) }]);
  });

  test("a file that only looks unchanged, its time set back, is read again, and stays shared meanwhile", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    const path = join(shop.folder, "a.mp4");
    await shop.library.hashAll();
    fs.writeFileSync(path, "bbb");
    fs.utimesSync(path, 1, 1);
    shop.answer = () => ({ ...hashedAs(3), root: "cd".repeat(32) });
    const doubting = shop.library.doubt("a.mp4");
    expect(shop.library.names()).toEqual(["a.mp4"]);
    await doubting;
    await shop.pass(0);
    await turn();
    expect(shop.told).toEqual(["hashed a.mp4", "hashed a.mp4"]);
    expect([...shop.library.shares()]).toEqual([{ name: "a.mp4", size: 3, root: "cd".repeat(32) }]);
  });

  test("a file with another content that is put in is shared without a root until it is hashed anew", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    await shop.library.hashAll();
    fs.appendFileSync(join(shop.folder, "a.mp4"), "more");
    const [local] = good(await listFolder(shop.folder)).shares;
    shop.library.lose(["a.mp4", "none.mp4"]);
    shop.library.lose(["a.mp4"]);
    expect(shop.told).toEqual(["hashed a.mp4", "lost a.mp4"]);
    shop.library.put(local as LocalShare);
    expect([...shop.library.shares()]).toEqual([{ name: "a.mp4", size: 7, root: undefined }]);
    await shop.library.hashAll();
    expect(shop.told).toEqual(["hashed a.mp4", "lost a.mp4", "hashed a.mp4"]);
  });

  test("files that are put in while the others are hashed are hashed in their turn, each once", async () => {
    const shop = await open({ "a.mp4": "a", "b.mp4": "b" });
    const hashing = shop.library.hashAll();
    fs.writeFileSync(join(shop.folder, "c.mp4"), "c");
    for (const local of good(await listFolder(shop.folder)).shares) if (local.name === "c.mp4") shop.library.put(local);
    await Promise.all([hashing, shop.library.hashAll()]);
    expect(shop.told).toEqual(["hashed a.mp4", "hashed b.mp4", "hashed c.mp4"]);
    expect(shop.asked.map(({ name }) => name)).toEqual(["a.mp4", "b.mp4", "c.mp4"]);
  });

  test("a file that is set aside is not shared, and is known as it is; another in its place may be put in", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    const [local] = good(await listFolder(shop.folder)).shares as [LocalShare];
    expect(shop.library.setAside([local])).toBe(true);
    expect(shop.library.setAside([local])).toBe(false);
    expect([shop.library.names(), shop.library.local("a.mp4")]).toEqual([[], local]);
    expect(shop.told).toEqual([]);
    shop.library.put({ ...local, size: 4 });
    expect(shop.library.names()).toEqual(["a.mp4"]);
    expect(shop.library.local("a.mp4")?.size).toBe(4);
  });

  test("a file that is as it was outlives a mistaken doubt", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    await shop.library.doubt("a.mp4");
    await shop.library.doubt("none.mp4");
    expect(shop.told).toEqual([]);
    expect(shop.library.names()).toEqual(["a.mp4"]);
  });

  test("a file found gone by hashing is lost too", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    shop.answer = () => fault("CHANGED", "ours", "changed while it was hashed", true);
    fs.rmSync(join(shop.folder, "a.mp4"));
    await shop.library.hashAll();
    await until("the loss", () => shop.told.length > 0);
    expect(shop.told).toEqual(["lost a.mp4"]);
    expect(shop.clock.pending).toBe(0);
  });

  test("a file that a download put there again is shared at once", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    fs.rmSync(join(shop.folder, "a.mp4"));
    await shop.library.doubt("a.mp4");
    fs.writeFileSync(join(shop.folder, "a.mp4"), "");
    await shop.library.add("a.mp4", { ...hashedAs(0), root: EMPTY_ROOT });
    expect(shop.told).toEqual(["lost a.mp4"]);
    expect([...shop.library.shares()]).toEqual([{ name: "a.mp4", size: 0, root: EMPTY_ROOT }]);
  });
});

describe("how far the hashing is", () => {
  test("the progress of the hashing is told once a second and at its end, in files and bytes; a file that is lost counts no more", async () => {
    const shop = await open({ "a.mp4": "a".repeat(100), "b.mp4": "b".repeat(50), "c.mp4": "c" });
    const inner = shop.answer;
    fs.rmSync(join(shop.folder, "c.mp4"));
    shop.answer = (name) => (name === "c.mp4" ? fault("FILE_MISSING", "disk", "gone") : inner(name));
    const hashing = shop.library.hashAll();
    await hashing;
    await until("the end", () => shop.told.length === 3);
    expect(shop.hashings[0]).toEqual({ files: 1, filesTotal: 3, bytes: 100, bytesTotal: 151 });
    expect(shop.hashings.at(-1)).toEqual({ files: 2, filesTotal: 2, bytes: 150, bytesTotal: 150 });
    expect(shop.hashings.length).toBe(2);
  });

  test("the progress of the hashing grows within a file", async () => {
    const shop = await open({ "a.mp4": "a".repeat(100) });
    const inner = shop.answer;
    shop.answer = (name) => {
      for (const bytes of [10, 20, 30]) shop.asked.at(-1)?.options.onProgress?.(bytes, 100);
      return inner(name);
    };
    await shop.library.hashAll();
    expect(shop.hashings).toEqual([
      { files: 0, filesTotal: 1, bytes: 10, bytesTotal: 100 },
      { files: 1, filesTotal: 1, bytes: 100, bytesTotal: 100 },
    ]);
  });
});
