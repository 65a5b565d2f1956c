// Files to roots, in the background: which file comes next, and its pieces spread over all threads.
// Invariant: a root is given only for a file that was the same before and after it was read.
// Never: reads a file's bytes itself (hash-worker.ts does), or keeps more than a few files open.

import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { HashCache } from "./hash-cache.ts";
import { createHashPool } from "./hash-pool.ts";
import { type OpenFile, openFile, sameStamp, stampFile } from "./inside.ts";
import { EMPTY_ROOT, HASH_BYTES, type Hashed, pieceBytesFor, pieceCount, rootOfLayer } from "./merkle.ts";

export type HashOptions = {
  readonly onProgress?: (bytes: number, size: number) => void;
  readonly signal?: AbortSignal;
  /** Reads the bytes even when the cache knows the root, and leaves the cache as it is: for finding damage. */
  readonly fresh?: boolean;
};

export type Hasher = {
  /**
   * The identity of the file at `path`, an absolute path. Faults: FILE_MISSING, CHANGED (edited while it was read, or
   * a symlink), DISK_ERROR, CANCELLED (the signal), SHUTTING_DOWN (close), INTERNAL (a thread died).
   */
  hash(path: string, options?: HashOptions): Promise<Hashed | Fault>;
  /** Somebody waits for this file: it goes before all others. Does nothing for a file that is not in the queue. */
  prioritise(path: string): void;
  /** Ends the threads; whatever is at work answers SHUTTING_DOWN. The cache is the caller's. */
  close(): void;
};

/** Beyond four threads it is the disk that is slow. */
export const HASH_WORKERS_MAX = 4;

/** One task: short enough that a prioritised file starts at once, long enough that messages cost nothing. */
const TASK_BYTES = 16 * 1024 * 1024;

/** Files open at once beyond one per thread: small files need the next ones at hand. */
const FILES_AHEAD = 4;

/** A file changed so recently may change again within the same tick of the file system's clock (FAT: two seconds). */
const SETTLED_MS = 2000;

type Waiter = {
  readonly resolve: (result: Hashed | Fault) => void;
  readonly onProgress: ((bytes: number, size: number) => void) | undefined;
};

type Job = {
  readonly key: string;
  readonly path: string;
  readonly fresh: boolean;
  readonly waiters: Set<Waiter>;
  urgent: boolean;
  /** Set once the file is open; from then on the job is at work. */
  work?: Work;
};

type Work = {
  readonly file: OpenFile;
  readonly pieceBytes: number;
  readonly pieces: number;
  readonly layer: Uint8Array;
  next: number;
  running: number;
  hashedBytes: number;
  failed?: Fault;
};

const keyOf = (path: string, fresh: boolean): string => (fresh ? `fresh ${path}` : path);

/** Starts nothing until it is asked. `workers` defaults to the machine's cores, at most HASH_WORKERS_MAX. */
export function createHasher(options: { cache?: HashCache; workers?: number; now?: () => number } = {}): Hasher {
  const { cache, workers = Math.min(navigator.hardwareConcurrency, HASH_WORKERS_MAX), now = Date.now } = options;
  const pool = createHashPool(workers);
  // Both in the order of arrival. A job is in one of them from its first cache miss to its answer.
  const queued = new Map<string, Job>();
  const active = new Map<string, Job>();
  let closed = false;

  const forget = (job: Job): void => {
    // The key may belong to a later job for the same file by now.
    if (queued.get(job.key) === job) queued.delete(job.key);
    if (active.get(job.key) === job) active.delete(job.key);
  };
  const answer = (job: Job, result: Hashed | Fault): void => {
    forget(job);
    for (const waiter of job.waiters) waiter.resolve(result);
    job.waiters.clear();
  };

  async function conclude(job: Job, work: Work): Promise<void> {
    const { file, pieceBytes, layer } = work;
    const after = await stampFile(job.path);
    await file.close();
    if (work.failed !== undefined) return answer(job, work.failed);
    if (isFault(after)) return answer(job, after);
    if (!sameStamp(file, after)) return answer(job, fault("CHANGED", "ours", "changed while it was hashed", true));
    const { size } = file;
    const hashed = { root: size === 0 ? EMPTY_ROOT : rootOfLayer(layer, pieceBytes), size, pieceBytes, layer };
    if (!job.fresh && now() - Number(file.mtimeNs / 1_000_000n) > SETTLED_MS) cache?.store(job.path, after, hashed);
    answer(job, hashed);
  }

  async function hashRange(job: Job, work: Work): Promise<void> {
    const { file, pieceBytes } = work;
    const first = work.next;
    const pieces = Math.min(Math.max(1, TASK_BYTES / pieceBytes), work.pieces - first);
    work.next += pieces;
    work.running += 1;
    const layer = await pool.run({ fd: file.fd, size: file.size, pieceBytes, first, pieces });
    work.running -= 1;
    if (isFault(layer)) work.failed ??= layer;
    else {
      work.layer.set(layer, first * HASH_BYTES);
      work.hashedBytes += Math.min((first + pieces) * pieceBytes, file.size) - first * pieceBytes;
      for (const waiter of job.waiters) waiter.onProgress?.(work.hashedBytes, file.size);
    }
    finishOrGoOn(job, work);
  }

  function finishOrGoOn(job: Job, work: Work): void {
    const given = work.failed !== undefined || work.next === work.pieces;
    if (given && work.running === 0) void conclude(job, work).then(pump);
    pump();
  }

  async function start(job: Job): Promise<void> {
    queued.delete(job.key);
    active.set(job.key, job);
    const file = await openFile(job.path);
    if (isFault(file)) answer(job, file);
    else if (job.waiters.size === 0) await file.close();
    else {
      const pieceBytes = pieceBytesFor(file.size);
      const pieces = pieceCount(file.size, pieceBytes);
      const layer = new Uint8Array(pieces * HASH_BYTES);
      job.work = { file, pieceBytes, pieces, layer, next: 0, running: 0, hashedBytes: 0 };
      if (pieces === 0) return finishOrGoOn(job, job.work);
    }
    pump();
  }

  const isReady = (job: Job): boolean =>
    job.work !== undefined && job.work.failed === undefined && job.work.next < job.work.pieces;

  function nextReady(): Job | undefined {
    let first: Job | undefined;
    for (const job of active.values()) {
      if (!isReady(job)) continue;
      if (job.urgent) return job;
      first ??= job;
    }
    return first;
  }

  function pump(): void {
    if (closed) return;
    for (const job of queued.values()) {
      if (active.size >= workers + FILES_AHEAD) break;
      void start(job);
    }
    while (pool.free()) {
      const job = nextReady();
      if (job?.work === undefined) return;
      void hashRange(job, job.work);
    }
  }

  /** Nobody waits any more. What is at a thread runs to its end, and the file is closed after it. */
  function abandon(job: Job, why: Fault): void {
    forget(job);
    const { work } = job;
    const concluding = work?.running === 0 && (work.failed !== undefined || work.next === work.pieces);
    if (work === undefined || concluding) return;
    work.failed ??= why;
    finishOrGoOn(job, work);
  }

  function withdraw(job: Job, waiter: Waiter): void {
    if (!job.waiters.delete(waiter)) return;
    const why = fault("CANCELLED", "ours", "hashing was cancelled");
    waiter.resolve(why);
    if (job.waiters.size === 0) abandon(job, why);
  }

  function enqueue(path: string, { onProgress, signal, fresh = false }: HashOptions): Promise<Hashed | Fault> {
    const key = keyOf(path, fresh);
    const job = queued.get(key) ?? active.get(key) ?? { key, path, fresh, waiters: new Set(), urgent: false };
    return new Promise((resolve) => {
      const abort = (): void => withdraw(job, waiter);
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
      pump();
    });
  }

  return {
    async hash(path, given = {}) {
      const stamp = await stampFile(path);
      if (closed) return fault("SHUTTING_DOWN", "ours");
      if (given.signal?.aborted) return fault("CANCELLED", "ours", "hashing was cancelled");
      if (isFault(stamp)) return stamp;
      return (given.fresh ? undefined : cache?.find(path, stamp)) ?? enqueue(path, given);
    },
    prioritise(path) {
      const job = queued.get(path) ?? active.get(path);
      if (job === undefined) return;
      job.urgent = true;
      if (queued.has(path)) void start(job);
    },
    close() {
      closed = true;
      pool.close();
      const why = fault("SHUTTING_DOWN", "ours");
      for (const job of [...queued.values(), ...active.values()]) {
        answer(job, why);
        abandon(job, why);
      }
    },
  };
}
