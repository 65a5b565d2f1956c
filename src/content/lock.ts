// One download of a name in a folder at a time, whichever process, person or machine does it: NAME.part.lock beside it.
// Invariant: the folder decides what is one name, as it makes the file only once; a holder that died blocks no other.
// Never: believes an old record where the system's own lock tells more, or leaves a lock that was lost unsaid.

import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { hostname } from "node:os";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { isLocal } from "./file-system.ts";
import { CAREFULLY, diskFault, errorCode, FORBIDDEN, workPath } from "./safe-files.ts";
import { lockOpenFile, openAlone } from "./system-lock.ts";

export type Lock = {
  /** The holder before us showed no life for `watchMs`, which proves no death: what it still writes would be in our file. */
  readonly doubtful: boolean;
  /** No other program can have it at the same time: the system, and no record in a file, keeps it. */
  readonly exact: boolean;
  /** Whether the folder still has our lock: "gone" when it has none, IN_USE when it has another's. */
  check(): Promise<"held" | "gone" | Fault>;
  /** Resolves with IN_USE once the lock is seen to be another's. */
  readonly lost: Promise<Fault>;
  release(): Promise<void>;
};

/** In milliseconds; arguments, so that a test need not wait. */
export type LockTiming = {
  /** Longer than a program takes from its look at a lock to its own record in it. */
  readonly settleMs: number;
  /** A holder shows so often that it lives, where no lock of the system shows it. */
  readonly beatMs: number;
  /** A holder on another machine that has not shown it for so long is taken for dead. */
  readonly watchMs: number;
  /** The system's lock; an argument, so that a test can be a drive without one. */
  readonly system: typeof lockOpenFile;
};

const TIMING: LockTiming = { settleMs: 300, beatMs: 5000, watchMs: 20_000, system: lockOpenFile };
const TRIES_MAX = 50; // a FUSE or a network drive may show a file for a second after it was removed
const TRY_MS = 50;
const RECORD_BYTES = 256;
const FILE_MODE = 0o644; // others may read which program is at work here, whatever the umask

/** The program that holds a lock. */
type Holder = { readonly id: string; readonly machine: string; readonly pid: number; readonly since: string };
type Found = { readonly text: string; readonly holder: Holder | undefined };

/** A lock file, open. `fresh`: we made it. `writable`: false for another person's. */
type LockFile = { readonly handle: fs.promises.FileHandle; readonly fresh: boolean; readonly writable: boolean };

const IN_USE = fault("IN_USE", "ours", "another download of this file is at work", true);
const BLOCKED = fault("PART_BLOCKED", "disk", "the lock is no regular file");

/** Ours that were not given back. A record of this process that is not among them lies in a file that could not be removed. */
const ours = new Set<string>();

/**
 * Takes the lock on `name` in `folder`. IN_USE when another has it, PART_BLOCKED when no regular file is in its place,
 * FOLDER_DENIED, FILE_MISSING (no folder), DISK_FULL, DISK_ERROR. What a dead holder left is taken over, and garbage.
 */
export async function takeLock(folder: string, name: string, given: Partial<LockTiming> = {}): Promise<Lock | Fault> {
  const timing = { ...TIMING, ...given };
  const path = workPath(folder, name, "lock");
  if (isFault(path)) return path;
  if (openAlone !== undefined) return takeAlone(openAlone, path);
  try {
    let doubted = false;
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const lock = await takeFile(path, timing);
      if (lock === "late") doubted = true;
      else if (lock !== "again") return isFault(lock) || !doubted ? lock : { ...lock, doubtful: true };
      await Bun.sleep(TRY_MS);
    }
    return IN_USE;
  } catch (error) {
    if (FORBIDDEN.has(errorCode(error))) return fault("FOLDER_DENIED", "disk", `lock: ${errorCode(error)}`);
    return diskFault(error, "lock");
  }
}

function takeAlone(open: NonNullable<typeof openAlone>, path: string): Lock | Fault {
  const handle = open(path);
  if (handle === "taken") return IN_USE;
  if (handle === "refused") return fault("FOLDER_DENIED", "disk", "the lock cannot be made");
  const lost = new Promise<Fault>(() => {});
  return { doubtful: false, exact: true, lost, check: async () => "held", release: async () => handle.release() };
}

/**
 * "again" when the file was removed or replaced while we looked at it. "late" when its holder is taken for dead with a
 * doubt and our record came too late to count: the next try finds that record, and the doubt stays.
 */
type Taken = Lock | Fault | "again" | "late";

async function takeFile(path: string, timing: LockTiming): Promise<Taken> {
  const since = performance.now();
  const file = await openLock(path);
  if (file === "again" || isFault(file)) return file;
  let keep = false;
  try {
    const system = timing.system(file.handle.fd);
    if (system === "taken") return IN_USE;
    if (!(await isAt(path, file.handle))) return "again";
    const sure = system === "held" && isLocal(file.handle.fd);
    const verdict = file.fresh || sure ? { doubtful: false, at: since } : await takeOver(path, timing);
    if (verdict === "again" || isFault(verdict)) return verdict;
    if (!file.writable) {
      await fs.promises.unlink(path); // another person's, whose program died
      return "again";
    }
    const lock = await claim(path, file, { timing, sure, ...verdict });
    keep = typeof lock === "object" && !isFault(lock);
    return lock;
  } finally {
    if (!keep) await file.handle.close();
  }
}

async function openLock(path: string): Promise<LockFile | Fault | "again"> {
  const { O_RDWR, O_RDONLY, O_CREAT, O_EXCL } = fs.constants;
  const { open } = fs.promises;
  try {
    const handle = await open(path, O_RDWR | O_CREAT | O_EXCL | CAREFULLY, FILE_MODE);
    await handle.chmod(FILE_MODE).catch(() => {}); // a folder without such modes needs none
    return { handle, fresh: true, writable: true };
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
  }
  try {
    if (!(await fs.promises.lstat(path)).isFile()) return BLOCKED;
    try {
      return { handle: await open(path, O_RDWR | CAREFULLY), fresh: false, writable: true };
    } catch (error) {
      if (!FORBIDDEN.has(errorCode(error))) throw error;
      return { handle: await open(path, O_RDONLY | CAREFULLY), fresh: false, writable: false };
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT") return "again";
    if (errorCode(error) === "ELOOP") return BLOCKED;
    throw error;
  }
}

/** Whether what is open is the regular file at `path`. */
async function isAt(path: string, handle: fs.promises.FileHandle): Promise<boolean> {
  const here = await handle.stat({ bigint: true });
  const there = await fs.promises.lstat(path, { bigint: true }).catch(() => undefined);
  return here.isFile() && there?.ino === here.ino && there.dev === here.dev;
}

type Verdict = { readonly doubtful: boolean /** When it was looked at last. */; readonly at: number };

/** Whether a lock that was there before us, and that the system does not know to be held, can be taken over. */
async function takeOver(path: string, timing: LockTiming): Promise<Verdict | Fault | "again"> {
  const first = await look(path);
  if (first === undefined) return "again";
  const { holder } = first;
  if (holder !== undefined && holder.machine === machine() && holder.since !== "") {
    return isAlive(holder) ? IN_USE : { doubtful: false, at: first.at };
  }
  // Another machine's, or of no process that can be asked; an empty one may be about to be written, or seen late.
  for (let waited = 0; ; waited += timing.settleMs) {
    const now = await look(path);
    if (now === undefined) return "again";
    if (now.text !== first.text) return holder === undefined ? "again" : IN_USE;
    if (waited >= timing.watchMs) return { doubtful: true, at: now.at };
    await Bun.sleep(timing.settleMs);
  }
}

/** What the file at `path` says now; opened anew, as network drives show then only what others have written. */
async function look(path: string): Promise<(Found & { readonly at: number }) | undefined> {
  const at = performance.now();
  const handle = await fs.promises.open(path, fs.constants.O_RDONLY | CAREFULLY).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  });
  if (handle === undefined) return undefined;
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(RECORD_BYTES), 0, RECORD_BYTES, 0);
    const text = buffer.toString("latin1", 0, bytesRead);
    return { at, text, holder: decode(text) };
  } finally {
    await handle.close();
  }
}

function encode({ id, machine: where, pid, since }: Holder, beat: number): Uint8Array {
  const fields = `napster-lock 1 ${id} ${where} ${pid} ${since || "-"} ${beat}`;
  return Buffer.from(`${`${fields} ${Bun.hash.crc32(fields).toString(16)}`.padEnd(RECORD_BYTES - 1)}\n`, "latin1");
}

function decode(text: string): Holder | undefined {
  const form =
    /^(napster-lock 1 ([0-9a-f]{32}) ([0-9a-f]{32}) (\d{1,10}) (-|[0-9a-f]{1,32}) \d{1,10}) ([0-9a-f]{1,8}) *\n$/;
  const [, fields = "", id = "", where = "", pid, since = "", sum] = form.exec(text) ?? [];
  if (pid === undefined || Bun.hash.crc32(fields).toString(16) !== sum) return undefined;
  return { id, machine: where, pid: Number(pid), since: since === "-" ? "" : since };
}

type Claim = Verdict & { readonly timing: LockTiming; readonly sure: boolean };

/** Puts our record in the file. Two programs that do so at once see, after a while in which both are there, which one is the last. */
async function claim(path: string, file: LockFile, { timing, sure, at, doubtful }: Claim): Promise<Taken> {
  const { handle } = file;
  const id = randomBytes(16).toString("hex");
  const holder = { id, machine: machine(), pid: process.pid, since: startOf(process.pid) };
  let beat = 0;
  const write = async (): Promise<void> => {
    await handle.write(encode(holder, beat), 0, RECORD_BYTES, 0);
    await handle.datasync();
  };
  await write();
  await handle.truncate(RECORD_BYTES);
  const isLate = performance.now() - at > timing.settleMs / 2;
  if (!sure && isLate && !file.fresh) return doubtful ? "late" : "again";
  if (!sure && (isLate || !file.fresh)) {
    await Bun.sleep(timing.settleMs);
    if ((await look(path))?.holder?.id !== id) return IN_USE;
  }

  ours.add(id);
  const lost = Promise.withResolvers<Fault>();
  const check = async (): Promise<"held" | "gone" | Fault> => {
    try {
      const now = await look(path);
      if (now?.holder?.id === id) return "held";
      return now?.holder === undefined ? "gone" : IN_USE;
    } catch (error) {
      return diskFault(error, "lock");
    }
  };
  let beating: Promise<void> | undefined;
  const show = async (): Promise<void> => {
    const now = await check();
    if (isFault(now) && now.fault === "IN_USE") return lost.resolve(now);
    beat += 1;
    await write().catch(() => {}); // a disk that refuses is the download's to tell
  };
  // Where the system's lock tells that we live, there is nothing to show.
  const timer = sure
    ? undefined
    : setInterval(() => {
        beating ??= show().finally(() => {
          beating = undefined;
        });
      }, timing.beatMs);
  timer?.unref();

  return {
    doubtful,
    exact: sure,
    check,
    lost: lost.promise,
    async release() {
      clearInterval(timer);
      await beating;
      // Removed before it is closed: a program that opens it now finds that it has no name any more, and looks again.
      if ((await check()) === "held") await fs.promises.unlink(path).catch(() => {});
      await handle.close();
      ours.delete(id);
    },
  };
}

let machineName: string | undefined;

/** This machine since it was started, and the processes that it shows us: only among those does a number name one. */
function machine(): string {
  machineName ??= createHash("sha256")
    .update(
      [hostname(), textOf("/proc/sys/kernel/random/boot_id"), orEmpty(() => fs.readlinkSync("/proc/self/ns/pid"))].join(
        "\n",
      ),
    )
    .digest("hex")
    .slice(0, 32);
  return machineName;
}

const textOf = (path: string): string => orEmpty(() => fs.readFileSync(path, "latin1"));

function orEmpty(read: () => string): string {
  try {
    return read();
  } catch {
    return "";
  }
}

function isAlive({ id, pid, since }: Holder): boolean {
  if (pid === process.pid) return ours.has(id);
  try {
    process.kill(pid, 0);
  } catch (error) {
    return errorCode(error) === "EPERM" && startOf(pid) === since;
  }
  return startOf(pid) === since;
}

/** When that process was started, in the system's own words: a number that was given to another since has another start. "" where it does not say. */
function startOf(pid: number): string {
  if (process.platform === "win32") return "";
  if (process.platform === "linux") {
    // proc(5): field 22, counted after the program's name, which may hold blanks and brackets.
    const stat = textOf(`/proc/${pid}/stat`);
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? 0).toString(16);
  }
  const { stdout } = Bun.spawnSync(["ps", "-o", "lstart=", "-p", String(pid)], { stderr: "ignore" });
  return createHash("sha256").update(stdout).digest("hex").slice(0, 16);
}
