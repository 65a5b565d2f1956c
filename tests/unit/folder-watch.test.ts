// What a peer learns of its folder while files come, grow, change and go.
// Invariant: a virtual clock and a scripted folder; only the last tests touch a disk.
// Never: waits for time to pass.

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import type { LocalShare, Skipped } from "../../src/content/folder.ts";
import {
  createFolderWatch,
  type FolderChange,
  HINT_SECONDS,
  HINT_SECONDS_MAX,
  isFileReady,
  LIST_SECONDS,
  listenToFolder,
  STILL_SECONDS,
} from "../../src/content/folder-watch.ts";
import { stampFile } from "../../src/content/safe-files.ts";
import { type Fault, fault } from "../../src/protocol/fault.ts";
import { createVirtualClock, turn } from "../support/clock.ts";
import { closeAfterTest } from "../support/closing.ts";
import { temporaryFolder } from "../support/folders.ts";
import { good } from "../support/good.ts";
import { until } from "../support/until.ts";

const MISSING = fault("FILE_MISSING", "disk", "stat: ENOENT");
const HELD = fault("DISK_ERROR", "disk", "stat: EBUSY", true);

/** A folder in memory, a watch of it, and what is shared as its caller would share it. */
function open(names: readonly string[] = []) {
  const clock = createVirtualClock();
  const disk = new Map<string, LocalShare>();
  const shares = new Map<string, LocalShare>();
  const told: string[] = [];
  const script = {
    skipped: [] as Skipped[],
    fault: undefined as Fault | undefined,
    stampFault: undefined as Fault | undefined,
    unready: new Set<string>(),
    listings: 0,
    stamps: 0,
    listens: 0,
    listened: 0,
    listSeconds: 0,
    hint: (): void => {},
  };
  let changes = 0n;
  const write = (name: string, size = 1): void => {
    changes += 1n;
    const ino = disk.get(name)?.ino ?? changes;
    disk.set(name, { name, file: name, size, mtimeNs: changes, ctimeNs: changes, ino });
  };
  for (const name of names) write(name);
  for (const [name, local] of disk) shares.set(name, local);
  function onChange({ settled, lost, skipped }: FolderChange): void {
    for (const name of lost) shares.delete(name);
    for (const local of settled) shares.set(local.name, local);
    if (lost.length > 0) told.push(`lost ${lost}`);
    if (settled.length > 0) told.push(`settled ${settled.map(({ name, size }) => `${name}:${size}`)}`);
    if (skipped.length > 0) told.push(`skipped ${skipped.map(({ name }) => name)}`);
  }
  const watch = createFolderWatch({
    clock,
    folder: {
      async list() {
        script.listings += 1;
        if (script.listSeconds > 0) await new Promise<void>((done) => clock.after(script.listSeconds * 1000, done));
        return script.fault ?? { folder: "/f", shares: [...disk.values()], skipped: script.skipped };
      },
      async stamp({ name }) {
        script.stamps += 1;
        return script.stampFault ?? disk.get(name) ?? MISSING;
      },
      isReady: async ({ name }) => !script.unready.has(name),
      listen(onHint) {
        script.hint = onHint;
        script.listens += 1;
        script.listened += 1;
        return () => {
          script.listens -= 1;
        };
      },
    },
    shared: { names: () => [...shares.keys()], local: (name) => shares.get(name) },
    skipped: [],
    onChange,
  });
  closeAfterTest(() => watch.close());
  const pass = (seconds: number) => clock.advance(seconds * 1000);
  return { clock, disk, shares, told, script, write, watch, pass };
}

describe("a file that appears", () => {
  test("a new file is reported once two looks two seconds apart agree, after a hint of the system", async () => {
    const { told, script, write, pass } = open(["a.mp4"]);
    await pass(HINT_SECONDS);
    write("b.mp4");
    script.hint();
    await pass(HINT_SECONDS + STILL_SECONDS - 0.1);
    expect(told).toEqual([]);
    await pass(0.1);
    expect(told).toEqual(["settled b.mp4:1"]);
    await pass(600);
    expect(told).toEqual(["settled b.mp4:1"]);
  });

  test("a new file is found without any hint within a minute, as on a network drive", async () => {
    const { told, write, pass } = open();
    await pass(HINT_SECONDS);
    write("b.mp4");
    await pass(LIST_SECONDS + STILL_SECONDS);
    expect(told).toEqual(["settled b.mp4:1"]);
  });

  test("a file that grows is never reported, and costs no listing while it does, whatever hints it gives", async () => {
    const { told, script, write, pass } = open();
    await pass(HINT_SECONDS);
    for (let size = 1; size <= 300; size++) {
      write("copy.mp4", size);
      script.hint();
      await pass(1 / 2);
    }
    expect(told).toEqual([]);
    expect(script.listings).toBeLessThan(150 / HINT_SECONDS_MAX + 5);
    await pass(HINT_SECONDS + STILL_SECONDS);
    expect(told).toEqual(["settled copy.mp4:300"]);
  });

  test("a file that another program holds open is not reported however still it stands, and soon after it is let go", async () => {
    const { told, script, write, pass } = open();
    script.unready.add("copy.mp4");
    write("copy.mp4", 9);
    await pass(600);
    expect(told).toEqual([]);
    script.unready.clear();
    script.hint();
    await pass(HINT_SECONDS);
    expect(told).toEqual(["settled copy.mp4:9"]);
  });

  test("while one file grows another one is reported", async () => {
    const { told, script, write, pass } = open();
    await pass(HINT_SECONDS);
    write("whole.mp4", 7);
    for (let size = 1; size <= 40; size++) {
      write("copy.mp4", size);
      script.hint();
      await pass(1 / 2);
    }
    expect(told).toEqual(["settled whole.mp4:7"]);
  });

  test("a file that goes before it was reported leaves nothing behind", async () => {
    const { told, disk, write, pass, clock } = open();
    write("b.mp4");
    await pass(HINT_SECONDS);
    disk.delete("b.mp4");
    await pass(600);
    expect([told, clock.pending]).toEqual([[], 1]);
  });

  test("a download of our own that is shared between the two looks is not reported", async () => {
    const { told, disk, shares, write, pass } = open();
    write("b.mp4");
    await pass(HINT_SECONDS);
    shares.set("b.mp4", disk.get("b.mp4") as LocalShare);
    await pass(600);
    expect(told).toEqual([]);
  });

  test("100,000 files at once are reported together, after two looks at each", async () => {
    const { told, shares, script, write, pass } = open();
    await pass(HINT_SECONDS);
    for (let i = 0; i < 100_000; i++) write(`${i}.mp4`);
    script.hint();
    await pass(HINT_SECONDS + STILL_SECONDS);
    await until("all of them", () => shares.size === 100_000);
    expect(told.length).toBe(1);
    expect(script.stamps).toBe(100_000);
  });

  test("a file that cannot be shared is reported once, our own work files never", async () => {
    const { told, script, pass } = open();
    await pass(HINT_SECONDS);
    script.skipped = [
      { name: "a:b.mp4", reason: "character" as Skipped["reason"] },
      { name: "b.mp4.part", reason: "ours" },
    ];
    await pass(300);
    expect(told).toEqual(["skipped a:b.mp4"]);
  });
});

describe("a file that changes, or goes", () => {
  test("a file that changes is lost at once, and reported anew once it stands still", async () => {
    const { told, script, write, pass } = open(["a.mp4"]);
    await pass(HINT_SECONDS);
    write("a.mp4", 2);
    script.hint();
    await pass(HINT_SECONDS);
    expect(told).toEqual(["lost a.mp4"]);
    await pass(STILL_SECONDS);
    expect(told).toEqual(["lost a.mp4", "settled a.mp4:2"]);
  });

  test("a file that is gone is lost; one that could not be looked at is not", async () => {
    const { told, disk, script, pass } = open(["a.mp4", "b.mp4"]);
    await pass(HINT_SECONDS);
    script.stampFault = HELD;
    disk.delete("a.mp4");
    await pass(LIST_SECONDS);
    expect(told).toEqual([]);
    script.stampFault = undefined;
    await pass(LIST_SECONDS);
    expect(told).toEqual(["lost a.mp4"]);
  });

  test("a folder that cannot be read loses nothing, and is looked at until it can", async () => {
    const { told, disk, script, write, pass } = open(["a.mp4"]);
    await pass(HINT_SECONDS);
    script.fault = fault("FOLDER_DENIED", "disk", "EACCES");
    disk.clear();
    write("b.mp4");
    await pass(600);
    expect(told).toEqual([]);
    script.fault = undefined;
    await pass(LIST_SECONDS + STILL_SECONDS);
    expect(told).toEqual(["lost a.mp4", "settled b.mp4:1"]);
  });

  test("a folder that is deleted loses all its files, costs one listing a minute and no look at a file, and comes back", async () => {
    const names = Array.from({ length: 10_000 }, (_, i) => `${i}.mp4`);
    const { told, disk, shares, script, pass } = open(names);
    await pass(HINT_SECONDS);
    const kept = new Map(disk);
    disk.clear();
    script.fault = fault("FOLDER_MISSING", "disk", "no such folder");
    await pass(LIST_SECONDS);
    await until("the loss", () => shares.size === 0);
    expect(told).toEqual([`lost ${names}`]);
    await pass(LIST_SECONDS * 2);
    const { stamps, listings } = script;
    await pass(600);
    expect(script.stamps - stamps).toBe(0);
    expect(script.listings - listings).toBeLessThan(16);
    script.fault = undefined;
    for (const [name, local] of kept) disk.set(name, local);
    await pass(LIST_SECONDS + STILL_SECONDS);
    await until("the return", () => shares.size === 10_000);
  });
});

test("a folder that is away for a moment is found again soon, though nothing tells of it", async () => {
  const { told, script, pass } = open(["a.mp4"]);
  const gone = fault("FOLDER_MISSING", "disk", "no such folder");
  script.fault = gone;
  script.stampFault = MISSING;
  await pass(HINT_SECONDS);
  expect(told).toEqual(["lost a.mp4"]);
  script.fault = undefined;
  script.stampFault = undefined;
  await pass(2 * STILL_SECONDS);
  expect(told).toEqual(["lost a.mp4", "settled a.mp4:1"]);
});

describe("what it costs", () => {
  test("a listing that takes long makes the next one wait twenty times as long, whatever hints there are, and without any", async () => {
    const { script, pass } = open(["a.mp4"]);
    script.listSeconds = 1;
    for (let i = 0; i < 120; i++) {
      script.hint();
      await pass(1 / 2);
    }
    expect(script.listings).toBeLessThan(5);
    script.listSeconds = 10;
    await pass(100);
    const { listings } = script;
    await pass(2 * 21 * 10);
    expect(script.listings - listings).toBe(2);
  });

  test("the folder is listened to anew at each listing, once, for it may have been replaced; closed, nothing is left", async () => {
    const { script, watch, clock, write, told, pass } = open(["a.mp4"]);
    await pass(600);
    expect(script.listens).toBe(1);
    expect(script.listened).toBe(script.listings + 1);
    write("b.mp4");
    script.hint();
    await pass(HINT_SECONDS);
    watch.close();
    script.hint();
    expect([script.listens, clock.pending]).toEqual([0, 0]);
    await pass(600);
    expect(told).toEqual([]);
  });
});

describe("the system", () => {
  test("tells of a file that is put into a folder, and of nothing once it is called off", async () => {
    using folder = temporaryFolder("watch");
    let hints = 0;
    const unlisten = listenToFolder(folder.path, () => hints++);
    fs.writeFileSync(join(folder.path, "b.mp4"), "x");
    await until("a hint", () => hints > 0);
    unlisten();
    const before = hints;
    fs.writeFileSync(join(folder.path, "c.mp4"), "x");
    await turn();
    await turn();
    expect(hints).toBe(before);
    listenToFolder(join(folder.path, "nowhere"), () => hints++)();
  });

  test("says that a file is ready which no program has open for writing, and no other", async () => {
    using folder = temporaryFolder("watch");
    const path = join(folder.path, "a.mp4");
    fs.writeFileSync(path, "x");
    const stamp = good(await stampFile(path));
    expect(await isFileReady(path, stamp)).toBe(true);
    const fd = fs.openSync(path, "r+");
    if (process.platform === "linux") expect(await isFileReady(path, stamp)).toBe(false);
    fs.closeSync(fd);
    expect(await isFileReady(path, stamp)).toBe(true);
    expect(await isFileReady(path, { ...stamp, size: 2 })).toBe(false);
    expect(await isFileReady(join(folder.path, "nowhere"), stamp)).toBe(false);
  });
});
