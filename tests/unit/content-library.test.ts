// What a peer shares of its folder, while files change, vanish, come back and cannot be read for a while.
// Invariant: a scripted hasher and a virtual clock; only the folder is real.
// Never: waits for time to pass.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Listing, listFolder } from "../../src/content/folder.ts";
import { createHashCache } from "../../src/content/hashing/hash-cache.ts";
import type { Hasher, HashOptions } from "../../src/content/hashing/hasher.ts";
import { EMPTY_ROOT, type Hashed, pieceBytesFor } from "../../src/content/hashing/merkle.ts";
import {
  AGAIN_SECONDS_MAX,
  createLibrary,
  type Hashing,
  type Library,
  LOOK_SECONDS_MAX,
  LOOK_SECONDS_MIN,
} from "../../src/content/library.ts";
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
    onLost: (name) => told.push(`lost ${name}`),
    onHashing: (hashing) => hashings.push(hashing),
  });
  const shop: Shop = {
    library,
    clock,
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
  test("a file that is gone is lost, and comes back with its root as soon as it is there unchanged, as on a drive that came back", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    await shop.library.hashAll();
    const [path, away] = [join(shop.folder, "a.mp4"), join(root, "away.mp4")];
    fs.renameSync(path, away);
    await shop.library.doubt("a.mp4");
    expect(shop.told).toEqual(["hashed a.mp4", "lost a.mp4"]);
    expect(shop.library.names()).toEqual([]);
    await shop.pass(600);
    expect(shop.library.names()).toEqual([]);
    fs.renameSync(away, path);
    await shop.pass(LOOK_SECONDS_MAX + 2);
    // With its root at once; and read again, as a rename leaves a trace that a change with its time set back leaves too.
    expect(shop.told).toEqual(["hashed a.mp4", "lost a.mp4", "hashed a.mp4", "hashed a.mp4"]);
    expect([...shop.library.shares()]).toEqual([{ name: "a.mp4", size: 3, root: "ab".repeat(32) }]);
    expect(shop.asked.length).toBe(2);
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

  test("a file with another content comes back once it stands still, is hashed anew, and not while it grows", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    await shop.library.hashAll();
    const path = join(shop.folder, "a.mp4");
    const grow = () => fs.appendFileSync(path, "more");
    grow();
    await shop.library.doubt("a.mp4");
    for (let i = 0; i < 10; i++) {
      grow();
      await shop.pass(1);
    }
    expect(shop.told).toEqual(["hashed a.mp4", "lost a.mp4"]);
    await shop.pass(LOOK_SECONDS_MIN * 16);
    expect(shop.told).toEqual(["hashed a.mp4", "lost a.mp4", "shared a.mp4", "hashed a.mp4"]);
    expect([...shop.library.shares()][0]?.size).toBe(47);
  });

  test("a file that is as it was outlives a mistaken doubt", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    await shop.library.doubt("a.mp4");
    await shop.library.doubt("none.mp4");
    expect(shop.told).toEqual([]);
    expect(shop.library.names()).toEqual(["a.mp4"]);
  });

  test("a file found gone by hashing is lost too, a folder in its place stays away", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    shop.answer = () => fault("CHANGED", "ours", "changed while it was hashed", true);
    fs.rmSync(join(shop.folder, "a.mp4"));
    fs.mkdirSync(join(shop.folder, "a.mp4"));
    await shop.library.hashAll();
    expect(shop.told).toEqual(["lost a.mp4"]);
    await shop.pass(200);
    expect(shop.told).toEqual(["lost a.mp4"]);
  });

  test("a file that a download put there again is shared at once, and not looked for any more", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    fs.rmSync(join(shop.folder, "a.mp4"));
    await shop.library.doubt("a.mp4");
    fs.writeFileSync(join(shop.folder, "a.mp4"), "");
    await shop.library.add("a.mp4", { ...hashedAs(0), root: EMPTY_ROOT });
    await shop.pass(100);
    expect(shop.told).toEqual(["lost a.mp4"]);
    expect([...shop.library.shares()]).toEqual([{ name: "a.mp4", size: 0, root: EMPTY_ROOT }]);
  });

  test("a file that is gone leaves nothing behind once the library is closed", async () => {
    const shop = await open({ "a.mp4": "aaa" });
    fs.rmSync(join(shop.folder, "a.mp4"));
    await shop.library.doubt("a.mp4");
    shop.library.close();
    fs.writeFileSync(join(shop.folder, "a.mp4"), "aaa");
    await shop.pass(100);
    expect(shop.told).toEqual(["lost a.mp4"]);
    expect(shop.clock.pending).toBe(0);
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
