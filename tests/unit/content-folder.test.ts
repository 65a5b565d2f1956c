// What a folder shares, and the one door to its files.
// Invariant: every case runs in a folder of its own that is removed at the end.
// Never: leaves the temporary folder, or waits for time to pass.

import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { folderFault, type Listing, type LocalShare, listFolder } from "../../src/content/folder.ts";
import { removeLeftovers } from "../../src/content/part-workspace.ts";
import { type Disk, publish } from "../../src/content/publish.ts";
import {
  discard,
  finalPath,
  journalName,
  openPart,
  openShare,
  openWorkFile,
  partName,
} from "../../src/content/safe-files.ts";
import { type Fault, isFault } from "../../src/protocol/fault.ts";

setDefaultTimeout(60_000);

const windows = process.platform === "win32";
const root = fs.mkdtempSync(join(tmpdir(), "napster-folder-"));
let folder = root;
let turn = 0;

beforeEach(() => {
  folder = join(root, String(turn++), "pasta");
  fs.mkdirSync(folder, { recursive: true });
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

function good<T>(value: T | Fault): T {
  if (isFault(value)) throw new Error(`${value.fault}: ${value.detail}`);
  return value;
}
const codeOf = (value: unknown): string => (isFault(value) ? value.fault : "no fault");
const put = (name: string, text = "x"): void => fs.writeFileSync(join(folder, name), text);
const list = async (): Promise<Listing> => good(await listFolder(folder));
const only = async (): Promise<LocalShare> => (await list()).shares[0] as LocalShare;
const names = (listing: Listing): string[] => listing.shares.map((share) => share.name);

describe("a listing", () => {
  test("dot files are in none, and not worth a word", async () => {
    for (const name of [".bash_history", ".x.mp4", "a.mp4", "b..mp4"]) put(name);
    expect([names(await list()), (await list()).skipped]).toEqual([["a.mp4", "b..mp4"], []]);
  });

  test("names come sorted by code unit, with size and identity", async () => {
    for (const name of ["b.mp4", "a.mp4", "B.mp4", "ção.mp4", "10.mp4", "9.mp4", "com espaço.mp4"]) put(name, name);
    const listing = await list();
    expect(names(listing)).toEqual(["10.mp4", "9.mp4", "B.mp4", "a.mp4", "b.mp4", "com espaço.mp4", "ção.mp4"]);
    expect(listing.shares[0]).toMatchObject({ size: 6, file: "10.mp4", ino: expect.any(BigInt) });
    expect(listing.skipped).toEqual([]);
  });

  test("an empty folder has an empty listing", async () => {
    expect(await list()).toEqual({ folder, shares: [], skipped: [] });
  });

  test("a sub-folder and what is in it are left out", async () => {
    fs.mkdirSync(join(folder, "sub.mp4"));
    put(join("sub.mp4", "secret.mp4"));
    expect(await list()).toEqual({ folder, shares: [], skipped: [] });
  });

  test("a folder that is missing, or is a file, is FOLDER_MISSING", async () => {
    put("file");
    expect(codeOf(await listFolder(join(folder, "nowhere")))).toBe("FOLDER_MISSING");
    expect(codeOf(await listFolder(join(folder, "file")))).toBe("FOLDER_MISSING");
    expect(codeOf(await listFolder(join(folder, "file", "deeper")))).toBe("FOLDER_MISSING");
    expect(codeOf(await listFolder(join(folder, "x".repeat(5000))))).toBe("FOLDER_MISSING");
    expect(codeOf(await listFolder(`${folder}\0`))).toBe("FOLDER_MISSING");
  });

  test("no folder at all has nothing to share", async () => {
    expect(good(await listFolder(undefined)).shares).toEqual([]);
  });

  test("one look at a folder tells what a listing would", async () => {
    put("file");
    for (const path of [folder, join(folder, "nowhere"), join(folder, "file"), "x".repeat(5000), `${folder}\0`]) {
      const listed = await listFolder(path);
      expect(codeOf(folderFault(path)), path.slice(-20)).toBe(codeOf(listed));
    }
    expect(codeOf(folderFault(""))).toBe("FOLDER_MISSING");
  });

  test.skipIf(windows || process.getuid?.() === 0)("a folder that may not be read is FOLDER_DENIED", async () => {
    fs.chmodSync(folder, 0);
    const listed = await listFolder(folder);
    fs.chmodSync(folder, 0o700);
    expect(codeOf(listed)).toBe("FOLDER_DENIED");
  });

  test.skipIf(windows)("symlinks and FIFOs are skipped, wherever they lead", async () => {
    put("real.mp4");
    fs.writeFileSync(join(root, "outside.mp4"), "secret");
    fs.symlinkSync(join(root, "outside.mp4"), join(folder, "out.mp4"));
    fs.symlinkSync("real.mp4", join(folder, "in.mp4"));
    fs.symlinkSync("nothing", join(folder, "loose.mp4"));
    fs.symlinkSync("/etc", join(folder, "etc"));
    Bun.spawnSync(["mkfifo", join(folder, "pipe.mp4")]);
    const listing = await list();
    expect(names(listing)).toEqual(["real.mp4"]);
    expect(listing.skipped.map((s) => `${s.name} ${s.reason}`)).toEqual(
      ["etc", "in.mp4", "loose.mp4", "out.mp4", "pipe.mp4"].map((name) => `${name} not-a-file`),
    );
  });

  test.skipIf(windows)("unsafe names are skipped with their reason, and our own files too", async () => {
    const bad: Record<string, string> = {
      "CON.mp4": "reserved-device",
      "a:b.mp4": "forbidden-character",
      "x.": "trailing-dot-or-space",
      "a\nb": "control",
      "v\u202e4pm.exe": "invisible",
      "a\\b": "separator",
      "v.mp4.part": "ours",
      "v.mp4.part.journal": "ours",
      "v.mp4.part.lock": "ours",
    };
    for (const name of Object.keys(bad)) put(name);
    put("ok.mp4");
    fs.writeFileSync(Buffer.concat([Buffer.from(folder), Buffer.from([0x2f, 0xff, 0xfe, 0x41])]), "x");
    const listing = await list();
    expect(names(listing)).toEqual(["ok.mp4"]);
    const reasons = Object.fromEntries(listing.skipped.map((s) => [s.name, s.reason as string]));
    expect(reasons).toEqual({ ...bad, "\ufffd\ufffdA": "not-utf8" });
  });

  test.skipIf(process.platform !== "linux")("a name is announced in NFC and found on disk as it is", async () => {
    put("Ac\u0327a\u0303o.mp4", "decomposed");
    const share = await only();
    expect(share).toMatchObject({ name: "A\u00e7\u00e3o.mp4", file: "Ac\u0327a\u0303o.mp4" });
    const file = good(await openShare(folder, share));
    expect(file.size).toBe(10);
    await file.close();
    put("A\u00e7\u00e3o.mp4", "composed");
    const both = await list();
    expect(names(both)).toEqual(["A\u00e7\u00e3o.mp4"]);
    expect(both.skipped).toEqual([{ name: "A\u00e7\u00e3o.mp4", reason: "duplicate" }]);
  });

  test("20,000 files are listed without holding the event loop", async () => {
    for (let i = 0; i < 20_000; i += 1) put(`aula ${i}.mp4`, "");
    let turns = 0;
    const counter = setInterval(() => {
      turns += 1;
    }, 1);
    expect((await list()).shares.length).toBe(20_000);
    clearInterval(counter);
    expect(turns).toBeGreaterThan(5);
  }); // making so many files takes a slow disk a while
});

describe("opening a share", () => {
  test("what was listed opens, and reads from its descriptor", async () => {
    put("v.mp4", "bytes");
    const file = good(await openShare(folder, await only()));
    const buffer = Buffer.alloc(5);
    fs.readSync(file.fd, buffer, 0, 5, 0);
    await file.close();
    expect(buffer.toString()).toBe("bytes");
  });

  test("a file that vanished is FILE_MISSING", async () => {
    put("v.mp4");
    const share = await only();
    fs.unlinkSync(join(folder, "v.mp4"));
    expect(codeOf(await openShare(folder, share))).toBe("FILE_MISSING");
  });

  test("a file that grew, was rewritten or was replaced by an equal one is CHANGED", async () => {
    const path = join(folder, "v.mp4");
    put("v.mp4", "old");
    const share = await only();
    fs.appendFileSync(path, "more");
    expect(codeOf(await openShare(folder, share))).toBe("CHANGED");
    fs.truncateSync(path, 3);
    fs.utimesSync(path, 1, 1);
    expect(codeOf(await openShare(folder, share))).toBe("CHANGED");
    const listed = await only();
    fs.writeFileSync(join(folder, "w"), "new");
    fs.utimesSync(join(folder, "w"), 1, 1);
    fs.renameSync(join(folder, "w"), path);
    expect(codeOf(await openShare(folder, listed))).toBe("CHANGED");
  });

  test.skipIf(windows)("a symlink or a FIFO swapped in is refused at once", async () => {
    const path = join(folder, "v.mp4");
    put("v.mp4");
    const share = await only();
    fs.renameSync(path, join(root, "moved.mp4"));
    fs.symlinkSync(join(root, "moved.mp4"), path);
    expect(codeOf(await openShare(folder, share))).toBe("CHANGED");
    fs.unlinkSync(path);
    Bun.spawnSync(["mkfifo", path]);
    expect(codeOf(await openShare(folder, share))).toBe("CHANGED");
  });

  test("no name leads out of the folder", async () => {
    put("v.mp4");
    const share = await only();
    for (const file of ["../x", "..", ".", "/etc/passwd", "a/../../x", "..\\x", "C:x", "", "\\\\srv\\x"]) {
      expect(codeOf(await openShare(folder, { ...share, file }))).toBe("BAD_NAME");
      expect(codeOf(finalPath(folder, file))).toBe("BAD_NAME");
      expect(codeOf(await openWorkFile(folder, file))).toBe("BAD_NAME");
      expect(codeOf(await publish(folder, file))).toBe("BAD_NAME");
      expect(codeOf(await discard(folder, file))).toBe("BAD_NAME");
    }
  });
});

describe("the names of a download at work", () => {
  test("a short name keeps its whole text", () => {
    expect(partName("Aula 1.mp4")).toBe("Aula 1.mp4.part");
    expect(journalName("Aula 1.mp4")).toBe("Aula 1.mp4.part.journal");
  });

  test("work names fit in 255 bytes, cut no character, and differ for names that begin alike", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 255 }), (text) => {
        for (const name of [partName(text), journalName(text)]) {
          expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
          expect(name.isWellFormed()).toBe(true);
        }
        expect(journalName(text)).toBe(`${partName(text)}.journal`);
      }),
    );
    expect(partName(`${"é".repeat(125)}1.mp4`)).not.toBe(partName(`${"é".repeat(125)}2.mp4`));
  });

  test("the longest legal name can be made and published", async () => {
    const name = `${"é".repeat(125)}x.mp4`;
    expect(Buffer.byteLength(name)).toBe(255);
    await good(await openWorkFile(folder, name)).close();
    await good(await openWorkFile(folder, name, "journal")).close();
    expect(await publish(folder, name)).toBeUndefined();
    expect(fs.readdirSync(folder)).toEqual([name]);
  });
});

describe("a download's file", () => {
  test("a work file is made fresh once and found again with its bytes", async () => {
    const first = good(await openWorkFile(folder, "v.mp4"));
    fs.writeSync(first.fd, "abc", 0);
    await first.close();
    const second = good(await openWorkFile(folder, "v.mp4"));
    await second.close();
    expect([first.fresh, second.fresh, second.size]).toEqual([true, false, 3]);
  });

  test("a work file is not made where the final name is taken, by a file or a folder", async () => {
    put("v.mp4", "mine");
    fs.mkdirSync(join(folder, "dir.mp4"));
    expect(codeOf(await openWorkFile(folder, "v.mp4"))).toBe("FILE_EXISTS");
    expect(codeOf(await openWorkFile(folder, "dir.mp4"))).toBe("FILE_EXISTS");
    expect(fs.readdirSync(folder).sort()).toEqual(["dir.mp4", "v.mp4"]);
  });

  test.skipIf(windows)(
    "a symlink or a FIFO in a work file's place is refused, and what it led to is untouched",
    async () => {
      const outside = join(root, "outside.txt");
      fs.writeFileSync(outside, "untouched");
      fs.symlinkSync(outside, join(folder, "v.mp4.part"));
      fs.symlinkSync(outside, join(folder, "v.mp4.part.journal"));
      Bun.spawnSync(["mkfifo", join(folder, "p.mp4.part")]);
      fs.mkdirSync(join(folder, "d.mp4.part.journal"));
      fs.symlinkSync("nothing", join(folder, "l.mp4.part"));
      expect(codeOf(await openWorkFile(folder, "v.mp4"))).toBe("PART_BLOCKED");
      expect(codeOf(await openWorkFile(folder, "v.mp4", "journal"))).toBe("PART_BLOCKED");
      expect(codeOf(await openWorkFile(folder, "p.mp4"))).toBe("PART_BLOCKED");
      expect(codeOf(await openWorkFile(folder, "d.mp4", "journal"))).toBe("PART_BLOCKED");
      expect(codeOf(await openWorkFile(folder, "l.mp4"))).toBe("PART_BLOCKED");
      expect(fs.readFileSync(outside, "utf8")).toBe("untouched");
    },
  );

  test("a .part that is a second name of another file is given up, not written through", async () => {
    put("renamed by the person.mp4", "whole");
    fs.linkSync(join(folder, "renamed by the person.mp4"), join(folder, "v.mp4.part"));
    const file = good(await openWorkFile(folder, "v.mp4"));
    fs.writeSync(file.fd, "other", 0);
    await file.close();
    expect(file.fresh).toBe(true);
    expect(fs.readFileSync(join(folder, "renamed by the person.mp4"), "utf8")).toBe("whole");
  });

  test("a work file in a folder that is gone is a fault", async () => {
    expect(codeOf(await openWorkFile(join(folder, "gone"), "v.mp4"))).toBe("FILE_MISSING");
  });

  test("discarding removes both files, and again is no fault", async () => {
    await good(await openWorkFile(folder, "v.mp4")).close();
    await good(await openWorkFile(folder, "v.mp4", "journal")).close();
    expect(await discard(folder, "v.mp4")).toBeUndefined();
    expect(await discard(folder, "v.mp4")).toBeUndefined();
    expect(fs.readdirSync(folder)).toEqual([]);
  });
});

describe("what a run leaves that was killed while it gave a file its name", () => {
  const killed = [
    ["the .part is a second name, and the journal is there", ["v.mp4.part", "v.mp4.part.journal", "v.mp4.part.lock"]],
    ["the .part is gone, and the journal is there", ["v.mp4.part.journal", "v.mp4.part.lock"]],
    ["the journal alone is there", ["v.mp4.part.journal"]],
  ] as const;
  for (const [when, left] of killed)
    test(`goes with the next look at the file, where ${when}`, async () => {
      put("v.mp4", "whole");
      for (const name of left)
        if (name === "v.mp4.part") fs.linkSync(join(folder, "v.mp4"), join(folder, name));
        else put(name, "");
      await removeLeftovers(folder, "v.mp4");
      expect(fs.readdirSync(folder)).toEqual(["v.mp4"]);
    });

  test("stays where the .part is another file than the one that has the name", async () => {
    put("v.mp4", "whole");
    put("v.mp4.part", "other");
    put("v.mp4.part.journal", "");
    await removeLeftovers(folder, "v.mp4");
    expect(fs.readdirSync(folder).sort()).toEqual(["v.mp4", "v.mp4.part", "v.mp4.part.journal"]);
  });
});

describe("a .part that is served", () => {
  const put3 = () => put("v.mp4.part", "new");
  const identity = () => {
    const { dev, ino } = fs.statSync(join(folder, "v.mp4.part"), { bigint: true });
    return { dev, ino };
  };

  test("a .part that is served is the very file that was verified, however it grew since", async () => {
    put3();
    const wanted = identity();
    fs.appendFileSync(join(folder, "v.mp4.part"), "more");
    const file = good(await openPart(folder, "v.mp4", wanted));
    expect(file.size).toBe(7);
    await file.close();
  });

  for (const [what, swap] of [
    ["another file", (path: string) => fs.writeFileSync(path, "new")],
    ["a folder", (path: string) => fs.mkdirSync(path)],
    ["nothing", () => {}],
    ["a link to the very file", (path: string) => fs.symlinkSync("kept", path)],
    ["a pipe", (path: string) => void Bun.spawnSync(["mkfifo", path])],
  ] as const) {
    test.skipIf(windows)(`a .part that is served is not ${what} in its place`, async () => {
      put3();
      const wanted = identity();
      fs.renameSync(join(folder, "v.mp4.part"), join(folder, "kept"));
      swap(join(folder, "v.mp4.part"));
      const open = fs.readdirSync(process.platform === "linux" ? "/proc/self/fd" : folder).length;
      expect(isFault(await openPart(folder, "v.mp4", wanted))).toBe(true);
      expect(fs.readdirSync(process.platform === "linux" ? "/proc/self/fd" : folder).length).toBeLessThanOrEqual(open);
    });
  }

  test("a .part that is served is not a file of the same number on another disk", async () => {
    put3();
    const { dev, ino } = identity();
    expect(codeOf(await openPart(folder, "v.mp4", { dev: dev + 1n, ino }))).toBe("CHANGED");
  });
});

describe("publishing", () => {
  const failing = (code: string) => async (): Promise<never> => {
    throw Object.assign(new Error(code), { code });
  };
  let waited: number[] = [];
  const disk = (over: Partial<Disk>): Disk => ({
    link: fs.promises.link,
    rename: fs.promises.rename,
    unlink: fs.promises.unlink,
    lstat: (path) => fs.promises.lstat(path, { bigint: true }),
    wait: async (ms) => void waited.push(ms),
    ...over,
  });
  beforeEach(() => {
    waited = [];
    put("v.mp4.part", "new");
    put("v.mp4.part.journal");
  });
  const read = (name: string) => fs.readFileSync(join(folder, name), "utf8");

  test("the .part takes the final name and the journal goes", async () => {
    expect(await publish(folder, "v.mp4")).toBeUndefined();
    expect(fs.readdirSync(folder)).toEqual(["v.mp4"]);
    expect(read("v.mp4")).toBe("new");
  });

  for (const link of [fs.promises.link, failing("EPERM"), failing("ENOTSUP"), failing("UNKNOWN")]) {
    test(`a taken name is never overwritten (link: ${link === fs.promises.link ? "works" : "refused"})`, async () => {
      put("v.mp4", "old");
      expect(codeOf(await publish(folder, "v.mp4", disk({ link })))).toBe("FILE_EXISTS");
      expect([read("v.mp4"), read("v.mp4.part")]).toEqual(["old", "new"]);
      expect(waited).toEqual([]);
    });
  }

  test("where the system has no links it is renamed", async () => {
    expect(await publish(folder, "v.mp4", disk({ link: failing("EPERM") }))).toBeUndefined();
    expect(fs.readdirSync(folder)).toEqual(["v.mp4"]);
  });

  test("a file that is busy for a while is tried again", async () => {
    let tries = 0;
    const rename: Disk["rename"] = (from, to) => {
      tries += 1;
      return tries < 3 ? failing("EBUSY")() : fs.promises.rename(from, to);
    };
    expect(await publish(folder, "v.mp4", disk({ link: failing("EPERM"), rename }))).toBeUndefined();
    expect(waited).toEqual([50, 100]);
    expect(read("v.mp4")).toBe("new");
  });

  test("a file that stays busy is a DISK_ERROR that says to retry, and nothing is lost", async () => {
    const refused = await publish(folder, "v.mp4", disk({ link: failing("EPERM"), rename: failing("EPERM") }));
    expect(refused).toMatchObject({ fault: "DISK_ERROR", retry: true });
    expect(fs.readdirSync(folder).sort()).toEqual(["v.mp4.part", "v.mp4.part.journal"]);
    expect(await publish(folder, "v.mp4")).toBeUndefined();
  });

  test("a .part that is gone is FILE_MISSING", async () => {
    expect(codeOf(await publish(folder, "other.mp4"))).toBe("FILE_MISSING");
  });

  const stamp = () => {
    const { dev, ino, size, ctimeNs } = fs.statSync(join(folder, "v.mp4.part"), { bigint: true });
    return { dev, ino, size: Number(size), ctimeNs };
  };
  for (const [what, put] of [
    ["a link", (path: string) => fs.symlinkSync("outside", path)],
    ["another file", (path: string) => fs.writeFileSync(path, "new")],
    ["a folder", (path: string) => fs.mkdirSync(path)],
    ["nothing", () => {}],
  ] as const) {
    test(`${what} in the place of the .part that was written gets no final name`, async () => {
      const written = stamp();
      fs.renameSync(join(folder, "v.mp4.part"), join(folder, "kept"));
      put(join(folder, "v.mp4.part"));
      expect(codeOf(await publish(folder, "v.mp4", disk({}), written))).toBe("PART_LOST");
      expect(fs.readdirSync(folder)).not.toContain("v.mp4");
      expect(read("kept")).toBe("new");
    });
  }

  for (const way of ["link", "rename"] as const) {
    test(`a .part that is swapped between the look at it and the ${way} gives the name back`, async () => {
      const written = stamp();
      const swap: Disk["link"] = async (from, to) => {
        fs.renameSync(from, join(folder, "kept"));
        fs.symlinkSync("outside", from);
        await fs.promises[way](from, to);
      };
      const evil = disk(way === "link" ? { link: swap } : { link: failing("EPERM"), rename: swap });
      expect(codeOf(await publish(folder, "v.mp4", evil, written))).toBe("PART_LOST");
      expect(fs.readdirSync(folder)).not.toContain("v.mp4");
    });
  }

  test("a .part that another program has finished is FILE_EXISTS", async () => {
    const written = stamp();
    good(await publish(folder, "v.mp4"));
    expect(codeOf(await publish(folder, "v.mp4", disk({}), written))).toBe("FILE_EXISTS");
  });

  test("a .part that somebody has made longer gets no final name", async () => {
    const written = stamp();
    fs.appendFileSync(join(folder, "v.mp4.part"), "more");
    expect(codeOf(await publish(folder, "v.mp4", disk({}), written))).toBe("PART_LOST");
  });

  test("a .part that cannot be removed afterwards is no failure", async () => {
    expect(await publish(folder, "v.mp4", disk({ unlink: failing("EBUSY") }))).toBeUndefined();
    expect(read("v.mp4")).toBe("new");
  });
});
