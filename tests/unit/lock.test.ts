// The lock on a name in a folder: two processes, two caches, two people, two spellings, two machines; and what the dead leave.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, setDefaultTimeout, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import { type Lock, type LockTiming, takeLock } from "../../src/content/lock.ts";
import { openPartWorkspace, type PartWorkspace } from "../../src/content/part-workspace.ts";
import { type Folder, temporaryFolder } from "../support/folders.ts";
import { type FoldingFolder, openFoldingFolder } from "../support/folding.ts";
import { codeOf, good } from "../support/good.ts";
import { type Program, startProgram } from "../support/program.ts";
import { describeWith } from "../support/tools.ts";

setDefaultTimeout(60_000);

const windows = process.platform === "win32";
const root = process.getuid?.() === 0;
const NAME = "v.mp4";
const LOCK = `${NAME}.part.lock`;
// A drive without locks, as an old NFS or an SMB share can be, and a holder that is given up soon.
const NO_SYSTEM: Partial<LockTiming> = { system: () => "none", settleMs: 20, beatMs: 20, watchMs: 200 };

let temporary: Folder;
let folder: string;
beforeEach(() => {
  temporary = temporaryFolder("lock");
  folder = temporary.sub("shared");
});
afterEach(() => temporary[Symbol.dispose]());

const there = () => fs.readdirSync(folder).sort();
const put = (text: string, name = LOCK) => fs.writeFileSync(join(folder, name), text);

/** Another process, with a home and a cache of its own. */
function holder(name = NAME, where = folder, ...user: string[]): Program {
  const home = temporary.sub(`home ${Math.random()}`);
  const command = [process.execPath, join(import.meta.dir, "..", "support", "lock-holder.ts"), where, name, ...user];
  return startProgram({ command, env: { HOME: home, XDG_CACHE_HOME: join(home, "cache"), NAPSTER_CACHE: undefined } });
}

describe("a lock", () => {
  test("a lock is one holder's until it is given back, and leaves no file then", async () => {
    const lock = good(await takeLock(folder, NAME));
    expect(await lock.check()).toBe("held");
    expect(codeOf(await takeLock(folder, NAME))).toBe("IN_USE");
    const other = good(await takeLock(folder, "w.mp4"));
    await lock.release();
    const next = good(await takeLock(folder, NAME));
    await next.release();
    await other.release();
    expect(there()).toEqual([]);
  });

  test("a lock is seen by a process with another home and another cache", async () => {
    await using other = holder();
    await other.shows("held");
    expect(codeOf(await takeLock(folder, NAME))).toBe("IN_USE");
    other.endInput();
    expect(await other.exit()).toBe(0);
    await good(await takeLock(folder, NAME)).release();
  });

  test("a lock of one that was killed blocks no other, and is gone after the next", async () => {
    const other = holder();
    await other.shows("held");
    other.signal("SIGKILL");
    await other.exit();
    const lock = good(await takeLock(folder, NAME));
    expect(lock.doubtful).toBe(false);
    await lock.release();
    expect(there()).toEqual([]);
  });

  test("a lock goes to exactly one of eight processes that want it at once", async () => {
    const all = Array.from({ length: 8 }, () => holder());
    await Promise.all(all.map((other) => other.shows(/held|IN_USE/)));
    expect(all.map((other) => other.stdout().trim()).sort()).toEqual([...Array(7).fill("IN_USE"), "held"]);
    for (const other of all) other.endInput();
    await Promise.all(all.map((other) => other.exit()));
  });

  test("a lock goes to one of many in one process, one after another", async () => {
    let inside = 0;
    let taken = 0;
    await Promise.all(
      Array.from({ length: 12 }, async () => {
        for (let tries = 0; tries < 20; tries++) {
          const lock = await takeLock(folder, NAME);
          if ("fault" in lock) continue;
          expect(++inside).toBe(1);
          taken += 1;
          await Promise.resolve();
          inside -= 1;
          await lock.release();
        }
      }),
    );
    expect(taken).toBeGreaterThan(0);
    expect(there()).toEqual([]);
  });

  for (const [what, text] of [
    ["nothing", ""],
    ["garbage", "\0\0garbage"],
    ["a megabyte of it", "x".repeat(2 ** 20)],
    ["half a record", "napster-lock 1 0123"],
  ] as const) {
    test(`a lock file of ${what} is taken over`, async () => {
      put(text);
      await good(await takeLock(folder, NAME)).release();
      expect(there()).toEqual([]);
    });
  }

  test.skipIf(windows)(
    "a lock is PART_BLOCKED where a link, a folder or a pipe is in its place, and nothing is touched",
    async () => {
      put("untouched", "elsewhere");
      fs.symlinkSync("elsewhere", join(folder, LOCK));
      expect(codeOf(await takeLock(folder, NAME))).toBe("PART_BLOCKED");
      fs.mkdirSync(join(folder, "d.mp4.part.lock"));
      expect(codeOf(await takeLock(folder, "d.mp4"))).toBe("PART_BLOCKED");
      Bun.spawnSync(["mkfifo", join(folder, "p.mp4.part.lock")]);
      expect(codeOf(await takeLock(folder, "p.mp4"))).toBe("PART_BLOCKED");
      expect(fs.readFileSync(join(folder, "elsewhere"), "utf8")).toBe("untouched");
    },
  );

  test("a lock in a folder that is not there is FILE_MISSING", async () => {
    expect(codeOf(await takeLock(join(folder, "gone"), NAME))).toBe("FILE_MISSING");
  });

  test.skipIf(windows)("a lock that was removed or replaced is not said to be held", async () => {
    const lock = good(await takeLock(folder, NAME));
    fs.unlinkSync(join(folder, LOCK));
    expect(await lock.check()).toBe("gone");
    const other = good(await takeLock(folder, NAME));
    expect(codeOf(await lock.check())).toBe("IN_USE");
    await lock.release();
    expect(await other.check()).toBe("held");
    await other.release();
  });
});

describe.skipIf(!root)("a lock and another person", () => {
  const PERSON = "65534";

  test("a lock is IN_USE for a person who may not write to its file", async () => {
    fs.chmodSync(temporary.path, 0o755);
    fs.chmodSync(folder, 0o777);
    const before = process.umask(0o077);
    const lock = good(await takeLock(folder, NAME));
    process.umask(before);
    await using other = holder(NAME, folder, PERSON);
    await other.shows("IN_USE");
    await lock.release();
  });

  test("a lock that was left by a dead one is taken over where the folder lets us, and FOLDER_DENIED where not", async () => {
    fs.chmodSync(temporary.path, 0o755);
    fs.chmodSync(folder, 0o777);
    put("left by root");
    await using other = holder(NAME, folder, PERSON);
    await other.shows("held");
    fs.chmodSync(folder, 0o1777);
    put("left by root", "w.mp4.part.lock");
    await using third = holder("w.mp4", folder, PERSON);
    await third.shows("FOLDER_DENIED");
  });

  test("another person's .part may not be written to: PART_DENIED", async () => {
    fs.chmodSync(temporary.path, 0o755);
    fs.chmodSync(folder, 0o777);
    put("left by root", `${NAME}.part`);
    const source = JSON.stringify(join(import.meta.dir, "..", "..", "src", "content", "part-workspace.ts"));
    const code = `import { openPartWorkspace } from ${source};
      process.setuid(${PERSON});
      console.log((await openPartWorkspace(${JSON.stringify(folder)}, ${JSON.stringify(NAME)})).fault);`;
    await using other = startProgram({ command: [process.execPath, "-e", code], stdin: "none" });
    await other.shows("PART_DENIED");
    await other.exit();
    expect(there()).toEqual([`${NAME}.part`]);
  });
});

describe.skipIf(windows)("a lock where the system has none", () => {
  const take = () => takeLock(folder, NAME, NO_SYSTEM);

  test("without the system's own, a lock is one holder's all the same", async () => {
    const lock = good(await take());
    expect(codeOf(await take())).toBe("IN_USE");
    await lock.release();
    await good(await take()).release();
    expect(there()).toEqual([]);
  });

  test("without the system's own, a lock of a live process of this machine is IN_USE, of a dead one is free at once", async () => {
    const other = holder();
    await other.shows("held");
    expect(codeOf(await take())).toBe("IN_USE");
    other.signal("SIGKILL");
    await other.exit();
    const lock = good(await take());
    expect(lock.doubtful).toBe(false);
    await lock.release();
  });

  /** What a holder writes, changed. */
  async function record(change: (fields: string[]) => void): Promise<string> {
    const lock = good(await take());
    const fields = fs.readFileSync(join(folder, LOCK), "latin1").trim().split(" ").slice(0, -1);
    await lock.release();
    change(fields);
    const text = fields.join(" ");
    return `${`${text} ${Bun.hash.crc32(text).toString(16)}`.padEnd(255)}\n`;
  }

  test("without the system's own, a lock of a number that is another process's by now is free", async () => {
    put(
      await record((fields) => {
        fields[2] = "0".repeat(32);
        fields[4] = String(process.ppid);
      }),
    );
    await good(await take()).release();
  });

  test("without the system's own, a lock of another machine is IN_USE while it shows life, and free, with a doubt, when it does not", async () => {
    const beats: string[] = [];
    for (let beat = 0; beat < 2; beat++)
      beats.push(
        await record((fields) => {
          fields[3] = "f".repeat(32);
          fields[6] = String(beat);
        }),
      );
    put(beats[0] as string);
    const asked = take();
    put(beats[1] as string);
    const alive = setInterval(() => put(beats[Math.round(Math.random())] as string), 5);
    expect(codeOf(await asked)).toBe("IN_USE");
    expect(codeOf(await take())).toBe("IN_USE");
    clearInterval(alive);
    put(beats[0] as string); // where this machine was too busy to beat, it was taken over meanwhile
    const lock = good(await take());
    expect(lock.doubtful).toBe(true);
    await lock.release();
  });

  test("without the system's own, a lock that a busy machine takes over too late keeps its doubt in the next try", async () => {
    put(
      await record((fields) => {
        fields[3] = "f".repeat(32);
      }),
    );
    let looks = 0;
    const now = performance.now.bind(performance);
    using _busy = spyOn(performance, "now").mockImplementation(() => now() + (++looks === 4 ? 1000 : 0));
    const lock = good(await takeLock(folder, NAME, { ...NO_SYSTEM, watchMs: 0 }));
    expect(looks).toBeGreaterThan(4);
    expect(lock.doubtful).toBe(true);
    await lock.release();
  });

  test("without the system's own, a lock shows that it lives, and hears when another has taken it", async () => {
    const lock: Lock = good(await take());
    const first = fs.readFileSync(join(folder, LOCK), "latin1");
    while (fs.readFileSync(join(folder, LOCK), "latin1") === first) await new Promise(setImmediate);
    const other = await record((fields) => {
      fields[3] = "f".repeat(32);
    }).catch(() => undefined);
    expect(other).toBeUndefined(); // nobody else gets it
    fs.unlinkSync(join(folder, LOCK));
    const next = good(await take());
    expect(codeOf(await lock.lost)).toBe("IN_USE");
    await lock.release();
    expect(await next.check()).toBe("held");
    await next.release();
    expect(there()).toEqual([]);
  });
});

describeWith(["a folder that does not tell case apart"], "a folder that does not tell case apart", () => {
  let folding: FoldingFolder;
  beforeAll(async () => {
    folding = await openFoldingFolder();
  });
  afterAll(() => folding[Symbol.asyncDispose]());

  test("has one lock for all spellings, in one process and in two", async () => {
    const lock = good(await takeLock(folding.path, "A.mp4"));
    expect(codeOf(await takeLock(folding.path, "a.mp4"))).toBe("IN_USE");
    await using other = holder("a.MP4", folding.path);
    await other.shows("IN_USE");
    await lock.release();
    await using next = holder("a.MP4", folding.path);
    await next.shows("held");
    expect(codeOf(await takeLock(folding.path, "A.mp4"))).toBe("IN_USE");
    next.signal("SIGKILL");
    await next.exit();
    await good(await takeLock(folding.path, "a.mp4")).release();
    expect(fs.readdirSync(folding.path)).toEqual([]);
  });

  test("goes to exactly one of eight that spell it in two ways", async () => {
    const all = Array.from({ length: 8 }, (_, i) => holder(i % 2 === 0 ? "B.mp4" : "b.mp4", folding.path));
    await Promise.all(all.map((other) => other.shows(/held|IN_USE/)));
    expect(all.map((other) => other.stdout().trim()).sort()).toEqual([...Array(7).fill("IN_USE"), "held"]);
    for (const other of all) other.endInput();
    await Promise.all(all.map((other) => other.exit()));
  });

  test("has what is taken up again read once more before its name, where no time can be relied on", async () => {
    const first = good(await openPartWorkspace(folding.path, "D.mp4"));
    await first.part.writeAt(Buffer.from("whole"), 0);
    expect(await first.doubt(5)).toBe(false);
    await first.leave(false);
    const second = good(await openPartWorkspace(folding.path, "D.mp4"));
    expect(await second.doubt(5)).toBe(folding.kind === "fuse" || process.platform === "darwin");
    second.trust();
    expect(await second.doubt(5)).toBe(false);
    await second.leave(true);
  });

  test("gives one download of all spellings a place, and the file keeps others from its name", async () => {
    const place: PartWorkspace = good(await openPartWorkspace(folding.path, "C.mp4"));
    expect(codeOf(await openPartWorkspace(folding.path, "c.mp4"))).toBe("IN_USE");
    await place.part.writeAt(Buffer.from("whole"), 0);
    expect(await place.publish(5)).toBeUndefined();
    expect(codeOf(await openPartWorkspace(folding.path, "c.mp4"))).toBe("FILE_EXISTS");
    expect(fs.readdirSync(folding.path).map((name) => name.toLowerCase())).toEqual(["c.mp4"]);
  });
});
