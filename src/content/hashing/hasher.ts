// Files to roots, in the background: which file comes next, and its pieces spread over all threads.
// Invariant: a root is given only for a file that was the same before and after it was read.
// Never: reads a file's bytes itself (hash-worker.ts does), or keeps more than a few files open.

import { type Fault, fault, isFault } from "../../protocol/fault.ts";
import * as inside from "../safe-files.ts";
import { isPassing, isUntouched, type OpenFile, type Stamp } from "../safe-files.ts";
import type { HashCache } from "./hash-cache.ts";
import * as hashPool from "./hash-pool.ts";
import { EMPTY_ROOT, HASH_BYTES, type Hashed, pieceBytesFor, pieceCount, rootOfLayer } from "./merkle.ts";

export type HashOptions = {
  readonly onProgress?: (bytes: number, size: number) => void;
  readonly signal?: AbortSignal;
  /** Reads the bytes even when the cache knows the root, and leaves the cache as it is: for finding damage. */
  readonly fresh?: boolean;
  /** Somebody waits for it: it goes before all files that nobody waits for, under way or not, and at full speed. */
  readonly urgent?: boolean;
};

/** Time, as transport/clock.ts has it. */
export type Clock = {
  now(): number;
  after(ms: number, then: () => void): () => void;
};

export type Hasher = {
  /**
   * The identity of the file at `path`, an absolute path. Faults: FILE_MISSING, CHANGED (edited while it was read, or
   * a symlink), DISK_ERROR, CANCELLED (the signal), SHUTTING_DOWN (close), INTERNAL (a thread died).
   * What was read before a CANCELLED, or a DISK_ERROR, is not read again when the same unchanged file is asked for.
   */
  hash(path: string, options?: HashOptions): Promise<Hashed | Fault>;
  /** Ends the threads; whatever is at work answers SHUTTING_DOWN. The cache is the caller's. */
  close(): void;
};

/** Beyond four threads it is the disk that is slow. */
export const HASH_WORKERS_MAX = 4;

/** One task: short enough that an urgent file starts at once on a slow disk too, long enough that messages cost nothing. */
const TASK_BYTES = 4 * 1024 * 1024;

/** Files open at once beyond one per thread: small files need the next ones at hand. */
const FILES_AHEAD = 4;

/** A disk that could not keep up with the rate may go faster than it for so long. */
const SAVED_MS_MAX = 1000;

/** A timer's longest wait: it is asked again then. */
const TIMER_MS_MAX = 60_000;

/** A file changed so recently may change again within the same tick of the file system's clock (FAT: two seconds). */
const SETTLED_MS = 2000;

/** Files begun and left, of which what was read is remembered: 32 bytes a piece of each. */
const BEGUN_FILES_MAX = 16;

type Waiter = {
  readonly resolve: (result: Hashed | Fault) => void;
  readonly onProgress: ((bytes: number, size: number) => void) | undefined;
};

type Job = {
  readonly key: string;
  readonly path: string;
  readonly fresh: boolean;
  /** Without any the job rests: it is given no more tasks, and is put aside when those under way have ended. */
  readonly waiters: Set<Waiter>;
  urgent: boolean;
  /** Set once the file is open; from then on the job is at work. */
  work?: Work;
};

/** How far a file is. */
type PartialPieces = {
  readonly stamp: Stamp;
  readonly pieceBytes: number;
  readonly pieces: number;
  readonly layer: Uint8Array;
  /** Where the next task begins, and where those began that failed or were given back: pieces. */
  next: number;
  readonly again: number[];
  hashedBytes: number;
};

type Work = PartialPieces & { readonly file: OpenFile; running: number; concluding: boolean; failed?: Fault };

function beginFile(file: OpenFile): PartialPieces {
  const pieceBytes = pieceBytesFor(file.size);
  const pieces = pieceCount(file.size, pieceBytes);
  const layer = new Uint8Array(pieces * HASH_BYTES);
  return { stamp: file, pieceBytes, pieces, layer, next: 0, again: [], hashedBytes: 0 };
}

const isGivenOut = ({ next, pieces, again }: PartialPieces): boolean => next === pieces && again.length === 0;

type Task = { readonly first: number; readonly pieces: number; readonly bytes: number };

/** The next task of a file of which something is left to give out. */
function nextTask({ again, next, pieceBytes, pieces, stamp }: PartialPieces): Task {
  const first = again.at(-1) ?? next;
  const count = Math.min(Math.max(1, TASK_BYTES / pieceBytes), pieces - first);
  return { first, pieces: count, bytes: Math.min((first + count) * pieceBytes, stamp.size) - first * pieceBytes };
}

function takeTask(work: PartialPieces, { first, pieces }: Task): void {
  if (work.again.at(-1) === first) work.again.pop();
  else work.next = first + pieces;
}

const remaining = ({ stamp, hashedBytes }: PartialPieces): number => stamp.size - hashedBytes;

const isReady = ({ waiters }: Job, work: Work): boolean =>
  waiters.size > 0 && work.failed === undefined && !work.concluding && !isGivenOut(work);

/** `after`: the file once it was read. */
function resultOf({ file, pieceBytes, layer }: Work, after: Stamp | Fault): Hashed | Fault {
  if (isFault(after)) return after;
  if (!isUntouched(file, after)) return fault("CHANGED", "ours", "changed while it was hashed", true);
  const { size } = file;
  return { root: size === 0 ? EMPTY_ROOT : rootOfLayer(layer, pieceBytes), size, pieceBytes, layer };
}

const cancelled = (): Fault => fault("CANCELLED", "ours", "hashing was cancelled");

/** When the next bytes may be read, at so many bytes per second; at once without a rate. */
function createMinRate(rate: number | undefined, clock: Clock) {
  let from: number | undefined; // the time up to which everything is paid for
  return {
    /** How long to wait before a task of so many bytes begins: they are earned before. */
    waitMs(bytes: number): number {
      if (rate === undefined) return 0;
      from ??= clock.now();
      return from + (bytes / rate) * 1000 - clock.now();
    },
    spend(bytes: number): void {
      if (rate !== undefined && from !== undefined)
        from = Math.max(from + (bytes / rate) * 1000, clock.now() - SAVED_MS_MAX);
    },
    /** There is nothing to read: time passes that earns nothing. */
    rest(): void {
      from = undefined;
    },
  };
}

const keyOf = (path: string, fresh: boolean): string => (fresh ? `fresh ${path}` : path);

type HasherOptions = {
  readonly cache?: HashCache | undefined;
  /** The machine's cores when not given, at most HASH_WORKERS_MAX. */
  readonly workers?: number;
  readonly now?: () => number;
  /** The threads give way to whatever else the machine does. */
  readonly background?: boolean;
  /** Bytes per second for all files that nobody waits for; no limit when not given. */
  readonly rate?: number | undefined;
  readonly clock?: Clock;
  /** The disk and the threads, where they are others than this machine's. */
  readonly openFile?: typeof inside.openFile;
  readonly stampFile?: typeof inside.stampFile;
  readonly createHashPool?: typeof hashPool.createHashPool;
};

const wallClock: Clock = {
  now: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
};

/** Starts nothing until it is asked. */
export function createHasher(options: HasherOptions = {}): Hasher {
  const { cache, workers = Math.min(navigator.hardwareConcurrency, HASH_WORKERS_MAX), now = Date.now } = options;
  const { clock = wallClock, background = false, rate } = options;
  const { openFile = inside.openFile, stampFile = inside.stampFile } = options;
  const { createHashPool = hashPool.createHashPool } = options;
  const pool = createHashPool(workers, { background });
  const pace = createMinRate(rate, clock);
  // Both in the order of arrival. A job is in one of them from its first cache miss to its answer.
  const queued = new Map<string, Job>();
  const active = new Map<string, Job>();
  const begun = new Map<string, PartialPieces>();
  let cancelWait = (): void => {};
  let closed = false;

  const answer = (job: Job, result: Hashed | Fault): void => {
    if (queued.get(job.key) === job) queued.delete(job.key);
    if (active.get(job.key) === job) active.delete(job.key);
    for (const waiter of job.waiters) waiter.resolve(result);
    job.waiters.clear();
  };

  /** Remembers how far the file is, for the next who asks. */
  function putAside(key: string, { stamp, pieceBytes, pieces, layer, next, again, hashedBytes }: Work): void {
    begun.set(key, { stamp, pieceBytes, pieces, layer, next, again, hashedBytes });
    const [oldest] = begun.keys();
    if (begun.size > BEGUN_FILES_MAX && oldest !== undefined) begun.delete(oldest);
  }

  async function conclude(job: Job, work: Work): Promise<void> {
    const { file } = work;
    work.concluding = true;
    const after = await stampFile(job.path);
    await file.close();
    const isPart = !isGivenOut(work);
    const isSettled = now() - Number(file.mtimeNs / 1_000_000n) > SETTLED_MS;
    const why = work.failed ?? (isFault(after) ? after : undefined);
    if (isSettled && (why === undefined ? isPart : isPassing(why))) putAside(job.key, work);
    if (isPart && work.failed === undefined && job.waiters.size > 0) return start(job); // asked for again meanwhile
    const result = isPart ? (work.failed ?? cancelled()) : resultOf(work, after);
    if (!isFault(result) && !isFault(after) && !job.fresh && isSettled) cache?.store(job.path, after, result);
    answer(job, result);
  }

  async function hashRange(job: Job, work: Work, task: Task): Promise<void> {
    const { file, pieceBytes } = work;
    const { first, pieces, bytes } = task;
    takeTask(work, task);
    work.running += 1;
    const layer = await pool.run({ fd: file.fd, size: file.size, pieceBytes, first, pieces });
    work.running -= 1;
    if (isFault(layer)) {
      work.failed ??= layer;
      work.again.push(first);
    } else {
      work.layer.set(layer, first * HASH_BYTES);
      work.hashedBytes += bytes;
      for (const waiter of job.waiters) waiter.onProgress?.(work.hashedBytes, file.size);
    }
    finishOrGoOn(job, work);
  }

  function finishOrGoOn(job: Job, work: Work): void {
    const isOver = work.failed !== undefined || isGivenOut(work) || job.waiters.size === 0;
    if (isOver && work.running === 0 && !work.concluding) void conclude(job, work).then(pump);
    pump();
  }

  async function start(job: Job): Promise<void> {
    queued.delete(job.key);
    active.set(job.key, job);
    const file = await openFile(job.path);
    if (isFault(file)) answer(job, file);
    else if (job.waiters.size === 0) {
      await file.close();
      answer(job, cancelled());
    } else {
      const earlier = begun.get(job.key);
      begun.delete(job.key);
      const progress = earlier !== undefined && isUntouched(earlier.stamp, file) ? earlier : beginFile(file);
      job.work = { ...progress, file, running: 0, concluding: false };
      return finishOrGoOn(job, job.work);
    }
    pump();
  }

  /** Of the files that somebody waits for the one that is done soonest; else the first. */
  function nextReady(): Job | undefined {
    let first: Job | undefined;
    let soonest: Job | undefined;
    for (const job of active.values()) {
      const { work } = job;
      if (work === undefined || !isReady(job, work)) continue;
      first ??= job;
      if (job.urgent && (soonest?.work === undefined || remaining(work) < remaining(soonest.work))) soonest = job;
    }
    return soonest ?? first;
  }

  function pump(): void {
    if (closed) return;
    for (const job of queued.values()) {
      if (active.size >= workers + FILES_AHEAD) break;
      void start(job);
    }
    if (active.size === 0) pace.rest();
    while (pool.free()) {
      const job = nextReady();
      if (job?.work === undefined) return;
      const task = nextTask(job.work);
      if (!job.urgent) {
        const waitMs = pace.waitMs(task.bytes);
        cancelWait();
        if (waitMs > 0) {
          cancelWait = clock.after(Math.min(waitMs, TIMER_MS_MAX), pump);
          return;
        }
        pace.spend(task.bytes);
      }
      void hashRange(job, job.work, task);
    }
  }

  /** Nobody waits any more. What is at a thread runs to its end; then the file is closed, and put aside as far as it is. */
  function rest(job: Job): void {
    job.urgent = false;
    if (queued.get(job.key) === job) queued.delete(job.key);
    if (job.work !== undefined) finishOrGoOn(job, job.work);
  }

  function enqueue(path: string, { onProgress, signal, fresh = false, urgent = false }: HashOptions) {
    const key = keyOf(path, fresh);
    const job = queued.get(key) ?? active.get(key) ?? { key, path, fresh, waiters: new Set(), urgent };
    job.urgent ||= urgent;
    return new Promise<Hashed | Fault>((resolve) => {
      const abort = (): void => {
        if (!job.waiters.delete(waiter)) return;
        waiter.resolve(cancelled());
        if (job.waiters.size === 0) rest(job);
      };
      const waiter: Waiter = {
        onProgress,
        resolve(result) {
          signal?.removeEventListener("abort", abort);
          resolve(result);
        },
      };
      job.waiters.add(waiter);
      signal?.addEventListener("abort", abort);
      if (!active.has(key)) queued.set(key, job);
      // What somebody waits for does not wait for its turn to be opened either.
      if (job.urgent && queued.has(key)) void start(job);
      pump();
    });
  }

  return {
    async hash(path, given = {}) {
      const stamp = await stampFile(path);
      if (closed) return fault("SHUTTING_DOWN", "ours");
      if (given.signal?.aborted) return cancelled();
      if (isFault(stamp)) return stamp;
      return (given.fresh ? undefined : cache?.find(path, stamp)) ?? enqueue(path, given);
    },
    close() {
      closed = true;
      cancelWait();
      pool.close();
      const why = fault("SHUTTING_DOWN", "ours");
      const jobs = [...queued.values(), ...active.values()];
      for (const job of jobs) {
        answer(job, why);
        rest(job);
      }
    },
  };
}
