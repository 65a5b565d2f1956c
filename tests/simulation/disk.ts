// A disk in memory with a write-back cache: what programs see, and what a power cut would leave.
// A sync makes the bytes written before it safe, and the folder's entries with them, as journaling file systems do.

import type { WorkFile } from "../../src/content/part-workspace.ts";
import type { Disk } from "../../src/content/publish.ts";
import { diskFault } from "../../src/content/safe-files.ts";
import { type Fault, fault } from "../../src/protocol/fault.ts";
import type { Random } from "./random.ts";
import type { Process, Time } from "./time.ts";

const SECTOR = 512;

type Range = readonly [from: number, to: number];

export type SimFile = {
  /** What programs see; `size` bytes of it. */
  bytes: Uint8Array;
  size: number;
  /** What is safe. */
  safe: Uint8Array;
  safeSize: number;
  /** Written or cut since the last sync, and while one is under way. */
  dirty: Range[];
  syncing: Range[];
  changedAt: number;
  /** A failed sync forgot some of its bytes. */
  forgot: boolean;
  /** How often a program has it open for writing. */
  open: number;
  readonly id: number;
};

/** No descriptor is left, or an antivirus, a backup or a network drive has the file for a moment. */
export type Refusal = {
  readonly doing: "open" | "read";
  readonly code: "EMFILE" | "ENFILE" | "EBUSY" | "EACCES" | "EAGAIN";
};

export type DiskHealth = {
  /** No room for another byte. */
  full: boolean;
  /** What happens to a sync: it works; it fails and the bytes stay dirty; it fails and the system forgets that they are. */
  sync: "works" | "fails" | "forgets";
  syncMs: number;
  /** Whether a file can have two names: not on exFAT, nor on some network drives. */
  links: boolean;
  /** What the system answers to whoever opens or reads a share now: it passes. */
  refuses: Refusal | undefined;
};

export type SimDisk = {
  readonly health: DiskHealth;
  readonly names: readonly string[];
  /** What was done to a file after it was closed: a real system would do it to whichever file has that number now. */
  readonly misuses: readonly string[];
  file(name: string): SimFile | undefined;
  byFd(fd: number): SimFile;
  fdOf(file: SimFile): number;
  create(name: string): SimFile;
  /** Puts a whole, safe file there. */
  plant(name: string, bytes: Uint8Array): void;
  remove(name: string): void;
  read(file: SimFile, into: Uint8Array, offset: number): number;
  /** Why a share cannot be opened or read just now, as a real folder would say. */
  refusal(doing: Refusal["doing"]): Fault | undefined;
  /** Fails half way when the disk is full. */
  write(file: SimFile, bytes: Uint8Array, offset: number): Fault | undefined;
  work(file: SimFile, process: Process, watch?: { wrote(bytes: Uint8Array, offset: number): void }): WorkFile;
  /** The operations of the last step, for a program. */
  publishing(process: Process): Disk;
  /** The cache lets go of what it takes for clean: bytes that a failed sync forgot are seen no more. */
  evict(): void;
  /** What was not synced is lost, kept or torn, as chance has it. */
  cutPower(): void;
  /** Changes a file behind everyone's back, on the disk itself. */
  damage(name: string, how: "rot" | "cut" | "garbage" | "longer" | "gone"): void;
};

type Step = { readonly name: string; readonly file: SimFile | undefined };

const FULL = fault("DISK_FULL", "disk", "write: ENOSPC", true);

function grow(bytes: Uint8Array, least: number): Uint8Array {
  if (bytes.length >= least) return bytes;
  const grown = new Uint8Array(Math.max(least, bytes.length * 2, 4096));
  grown.set(bytes);
  return grown;
}

function error(code: string): Error & { code: string } {
  return Object.assign(new Error(code), { code });
}

/** Changes one bit of it, wherever. */
export function flipBit(bytes: Uint8Array, random: Random): void {
  if (bytes.length === 0) return;
  const at = random.int(0, bytes.length - 1);
  bytes[at] = (bytes[at] as number) ^ (1 << random.int(0, 7));
}

export function createDisk(time: Time, random: Random): SimDisk {
  const entries = new Map<string, SimFile>();
  let safeEntries = new Map<string, SimFile>();
  let steps: Step[] = []; // of the folder, not safe yet
  let stepsSaved = 0;
  const fds: SimFile[] = [];
  const misuses: string[] = [];
  const health: DiskHealth = { full: false, sync: "works", syncMs: 5, links: true, refuses: undefined };

  function set(name: string, file: SimFile | undefined): void {
    steps.push({ name, file });
    apply(entries, { name, file });
  }
  function apply(to: Map<string, SimFile>, { name, file }: Step): void {
    if (file === undefined) to.delete(name);
    else to.set(name, file);
  }
  /** Makes the first steps safe, up to the one of this number. */
  function saveEntries(upTo: number): void {
    const count = Math.max(0, upTo - stepsSaved);
    for (const step of steps.slice(0, count)) apply(safeEntries, step);
    steps = steps.slice(count);
    stepsSaved += count;
  }
  const stepsMade = (): number => stepsSaved + steps.length;

  function create(name: string): SimFile {
    const file: SimFile = {
      bytes: new Uint8Array(0),
      size: 0,
      safe: new Uint8Array(0),
      safeSize: 0,
      dirty: [],
      syncing: [],
      changedAt: time.now,
      forgot: false,
      open: 0,
      id: fds.length,
    };
    fds.push(file);
    set(name, file);
    return file;
  }

  function put(file: SimFile, bytes: Uint8Array, offset: number): void {
    const end = offset + bytes.length;
    file.bytes = grow(file.bytes, end);
    if (offset > file.size) file.bytes.fill(0, file.size, offset);
    file.bytes.set(bytes, offset);
    const from = Math.min(offset, file.size);
    const last = file.dirty.at(-1);
    if (last !== undefined && last[1] === from) file.dirty[file.dirty.length - 1] = [last[0], end];
    else file.dirty.push([from, end]);
    file.size = Math.max(file.size, end);
    file.changedAt = time.now;
  }

  function write(file: SimFile, bytes: Uint8Array, offset: number): Fault | undefined {
    if (!health.full) {
      put(file, bytes, offset);
      return undefined;
    }
    put(file, bytes.subarray(0, bytes.length >> 1), offset);
    return FULL;
  }

  /** Makes ranges safe as they are now. */
  function save(file: SimFile, ranges: readonly Range[]): void {
    file.safe = grow(file.safe, file.size);
    if (file.safe.length > file.size) file.safe.fill(0, file.size);
    for (const [from, to] of ranges) {
      const end = Math.min(to, file.size);
      if (end > from) file.safe.set(file.bytes.subarray(from, end), from);
    }
    file.safeSize = file.size;
  }

  function work(file: SimFile, process: Process, watch?: { wrote(bytes: Uint8Array, offset: number): void }): WorkFile {
    let open = true;
    let underWay = 0;
    file.open++;
    const later = <T>(what: string, ms: number, action: () => T): Promise<T> => {
      const { promise, resolve } = Promise.withResolvers<T>();
      if (!open) misuses.push(`a ${what} of a closed file`);
      underWay++;
      process.clock.after(ms, () => {
        underWay--;
        resolve(action());
      });
      return promise;
    };
    const soon = () => random.next() * 2;
    return {
      size: file.size,
      readAll: () => later("read", soon(), () => file.bytes.slice(0, file.size)),
      writeAt: (bytes, offset) =>
        later("write", soon(), () => {
          const failed = write(file, bytes, offset);
          if (failed === undefined) watch?.wrote(bytes, offset);
          return failed;
        }),
      truncate: (size) =>
        later("cut", soon(), () => {
          file.bytes = grow(file.bytes, size);
          if (size > file.size) file.bytes.fill(0, file.size, size);
          file.dirty.push([Math.min(size, file.size), Math.max(size, file.size)]);
          file.size = size;
          file.changedAt = time.now;
          return undefined;
        }),
      async sync() {
        // What a sync of a killed program left under way is the system's to bring home.
        const ranges = [...file.syncing, ...file.dirty];
        file.dirty = [];
        file.syncing = ranges;
        const made = stepsMade();
        return later("sync", health.syncMs * (0.5 + random.next()), () => {
          const done = new Set(ranges);
          file.syncing = file.syncing.filter((range) => !done.has(range));
          if (health.sync === "fails") {
            file.dirty.unshift(...ranges);
            return fault("DISK_ERROR", "disk", "sync: EIO", true);
          }
          if (health.sync === "forgets") {
            file.forgot = true;
            return fault("DISK_ERROR", "disk", "sync: EIO", true);
          }
          save(file, ranges);
          saveEntries(made);
          return undefined;
        });
      },
      async close() {
        if (!open) return;
        if (underWay > 0) misuses.push("a close under a write or a sync");
        open = false;
        file.open--;
      },
    };
  }

  function cut(file: SimFile): void {
    const unsafe = [...file.syncing, ...file.dirty];
    file.dirty = [];
    file.syncing = [];
    const left = grow(file.safe.slice(), file.size);
    let size = file.safeSize;
    const way = random.pick(["none", "all", "some", "first"] as const);
    let first = random.int(0, unsafe.length);
    for (const [from, to] of unsafe) {
      if (way === "first" && first-- <= 0) break;
      for (let at = from; at < to; ) {
        const end = Math.min(to, at - (at % SECTOR) + SECTOR, file.size);
        if (end <= at) break;
        if (way === "all" || way === "first" || (way === "some" && random.chance(0.5))) {
          if (at > size) left.fill(0, size, at);
          left.set(file.bytes.subarray(at, end), at);
          size = Math.max(size, end);
        }
        at = end;
      }
    }
    // A cut at the end is a change of the size alone, and may have reached the disk or not.
    if (file.size < size && random.chance(0.5)) size = file.size;
    file.bytes = left;
    file.size = size;
    file.safe = left.slice(0, size);
    file.safeSize = size;
  }

  return {
    health,
    get names() {
      return [...entries.keys()];
    },
    misuses,
    file: (name) => entries.get(name),
    byFd: (fd) => fds[fd] as SimFile,
    fdOf: (file) => file.id,
    create,
    plant(name, bytes) {
      const file = create(name);
      // Never written to: one copy serves every disk and both views.
      file.bytes = bytes;
      file.safe = bytes;
      file.size = bytes.length;
      file.safeSize = bytes.length;
      saveEntries(stepsMade());
    },
    remove: (name) => set(name, undefined),
    read(file, into, offset) {
      const bytes = file.bytes.subarray(offset, Math.min(file.size, offset + into.length));
      into.set(bytes);
      return bytes.length;
    },
    refusal(doing) {
      const { refuses } = health;
      return refuses?.doing === doing ? diskFault(error(refuses.code), doing) : undefined;
    },
    write,
    work,
    publishing(process) {
      const { clock } = process;
      const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);
      const later = <T>(action: () => T): Promise<T> => {
        const { promise, resolve, reject } = Promise.withResolvers<T>();
        clock.after(random.next() * 3, () => {
          try {
            resolve(action());
          } catch (failed) {
            reject(failed);
          }
        });
        return promise;
      };
      const at = (path: string): SimFile => {
        const file = entries.get(nameOf(path));
        if (file === undefined) throw error("ENOENT");
        return file;
      };
      return {
        link: (from, to) =>
          later(() => {
            const file = at(from);
            if (!health.links) throw error("EPERM");
            if (entries.has(nameOf(to))) throw error("EEXIST");
            if (health.full) throw error("ENOSPC");
            set(nameOf(to), file);
          }),
        rename: (from, to) =>
          later(() => {
            set(nameOf(to), at(from));
            set(nameOf(from), undefined);
          }),
        unlink: (path) =>
          later(() => {
            at(path);
            set(nameOf(path), undefined);
          }),
        lstat: (path) => later(() => ({ dev: 0n, ino: 0n, ctimeNs: 0n, size: BigInt(at(path).size) })),
        wait: (ms) => {
          const { promise, resolve } = Promise.withResolvers<void>();
          clock.after(ms, resolve);
          return promise;
        },
      };
    },
    damage(name, how) {
      const file = entries.get(name);
      // A publish was cut short: this is the finished file, under its other name.
      if (file === undefined || [...entries.values()].filter((one) => one === file).length > 1) return;
      let bytes = file.bytes.slice(0, file.size);
      if (how === "rot") flipBit(bytes, random);
      if (how === "cut") bytes = bytes.slice(0, random.int(0, bytes.length));
      if (how === "garbage") bytes = bytes.map(() => random.int(0, 255)).slice(0, 2000);
      if (how === "longer")
        bytes = new Uint8Array(Buffer.concat([bytes, new Uint8Array(random.int(1, 400_000)).fill(7)]));
      file.bytes = bytes;
      file.size = bytes.length;
      file.safe = bytes.slice();
      file.safeSize = bytes.length;
      file.dirty = [];
      if (how === "gone") {
        set(name, undefined);
        saveEntries(stepsMade());
      }
    },
    evict() {
      for (const file of new Set(entries.values())) {
        file.open = 0;
        if (!file.forgot) continue;
        const seen = grow(file.safe.slice(0, file.safeSize), file.size);
        for (const [from, to] of [...file.syncing, ...file.dirty])
          seen.set(file.bytes.subarray(from, Math.min(to, file.size)), from);
        file.bytes = seen;
        file.forgot = false;
      }
    },
    cutPower() {
      saveEntries(stepsSaved + random.int(0, steps.length));
      steps = [];
      for (const file of new Set([...entries.values(), ...safeEntries.values()])) {
        file.open = 0;
        if (file.dirty.length + file.syncing.length > 0) cut(file);
        else if (file.safe !== file.bytes) {
          // "forgets": the cache showed what the disk never got.
          file.bytes = file.safe.slice(0, file.safeSize);
          file.size = file.safeSize;
          file.safe = file.bytes.slice();
        }
      }
      entries.clear();
      for (const [name, file] of safeEntries) entries.set(name, file);
      safeEntries = new Map(entries);
    },
  };
}
