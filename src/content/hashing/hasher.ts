// Files to roots, in the background: which file comes next, and its pieces spread over all threads.
// Invariant: urgent files come first; each caller gets one answer.
// Never: reads a file's bytes itself (hash-worker.ts does), or keeps more than a few files open.

import { type Fault, fault, isFault } from "../../protocol/fault.ts";
import { type Clock, systemClock } from "../../shared/clock.ts";
import * as files from "../safe-files.ts";
import { createFileHasher } from "./file-hasher.ts";
import type { HashCache } from "./hash-cache.ts";
import { cancelled, type Job, nextReady, nextTask, waitFor } from "./hash-job.ts";
import { createHashPool } from "./hash-pool.ts";
import type { Hashed } from "./merkle.ts";
import { createReadRate } from "./read-rate.ts";

export type HashOptions = {
  readonly onProgress?: (bytes: number, size: number) => void;
  readonly signal?: AbortSignal;
  /** Reads the bytes even when the cache knows the root, and leaves the cache as it is: for finding damage. */
  readonly fresh?: boolean;
  /** It goes before all files that are not urgent, under way or not, and at full speed. */
  readonly urgent?: boolean;
};

export type Hasher = {
  /**
   * The identity of the file at `path`, an absolute path. Faults: FILE_MISSING, CHANGED (edited while it was read, or
   * a symlink), DISK_ERROR, CANCELLED (the signal), SHUTTING_DOWN (close), INTERNAL (a thread died).
   * What was read before a CANCELLED, or a DISK_ERROR, is not read again when the same unchanged file is asked for.
   */
  hash(path: string, options?: HashOptions): Promise<Hashed | Fault>;
  /** Ends the threads; every job answers SHUTTING_DOWN. The cache is the caller's. */
  close(): void;
};

/** Beyond four threads it is the disk that is slow. */
export const HASH_WORKERS_MAX = 4;

/** Files open at once beyond one per thread: small files need the next ones at hand. */
const FILES_AHEAD = 4;

/** A timer's longest wait: it is asked again then. */
const TIMER_MS_MAX = 60_000;

/** The disk, its date and the threads. */
type Machine = {
  /** The date in milliseconds, as files' times are told. */
  readonly now: () => number;
  readonly openFile: typeof files.openFile;
  readonly stampFile: typeof files.stampFile;
  readonly createHashPool: typeof createHashPool;
};

const MACHINE: Machine = { now: Date.now, openFile: files.openFile, stampFile: files.stampFile, createHashPool };

type HasherOptions = {
  readonly cache?: HashCache | undefined;
  /** The machine's cores when not given, at most HASH_WORKERS_MAX. */
  readonly workers?: number | undefined;
  /** The threads give way to whatever else the machine does. */
  readonly background?: boolean;
  /** Bytes per second for all files that are not urgent; no limit when not given. */
  readonly rate?: number | undefined;
  readonly clock?: Clock;
  readonly machine?: Machine;
};

/** Starts nothing until it is asked. */
export function createHasher(options: HasherOptions = {}): Hasher {
  const { workers = Math.min(navigator.hardwareConcurrency, HASH_WORKERS_MAX), background = false } = options;
  const { cache, clock = systemClock, machine = MACHINE } = options;
  const { now, openFile, stampFile } = machine;
  const pool = machine.createHashPool(workers, { background });
  const reading = createReadRate(options.rate, clock);
  // Both in the order of arrival. A job is in one of them from its first cache miss to its answer.
  const queued = new Map<string, Job>();
  const active = new Map<string, Job>();
  const hashing = createFileHasher({ cache, pool, now, openFile, stampFile, onResult: answer, onFree: startTasks });
  let cancelWait = (): void => {};
  let closed = false;

  function answer(job: Job, result: Hashed | Fault): void {
    if (queued.get(job.key) === job) queued.delete(job.key);
    if (active.get(job.key) === job) active.delete(job.key);
    for (const waiter of job.waiters) waiter.resolve(result);
    job.waiters.clear();
  }

  function start(job: Job): void {
    queued.delete(job.key);
    active.set(job.key, job);
    void hashing.open(job);
  }

  /** Gives the free threads their tasks, as far as the rate allows. */
  function startTasks(): void {
    if (closed) return;
    for (const job of queued.values()) {
      if (active.size >= workers + FILES_AHEAD) break;
      start(job);
    }
    if (active.size === 0) reading.rest();
    while (pool.free()) {
      const job = nextReady(active.values());
      if (job?.work === undefined) return;
      const task = nextTask(job.work);
      if (!job.urgent) {
        const waitMs = reading.waitMs(task.bytes);
        cancelWait();
        if (waitMs > 0) {
          cancelWait = clock.after(Math.min(waitMs, TIMER_MS_MAX), startTasks);
          return;
        }
        reading.spend(task.bytes);
      }
      void hashing.hashRange(job, job.work, task);
    }
  }

  /** The last caller has left. Tasks under way run to their end; then the file is closed, and put aside as far as it is. */
  function rest(job: Job): void {
    job.urgent = false;
    if (queued.get(job.key) === job) queued.delete(job.key);
    if (job.work !== undefined) hashing.finishOrGoOn(job, job.work);
  }

  function enqueue(path: string, { onProgress, signal, fresh = false, urgent = false }: HashOptions) {
    const key = fresh ? `fresh ${path}` : path;
    const job = queued.get(key) ?? active.get(key) ?? { key, path, fresh, waiters: new Set(), urgent };
    job.urgent ||= urgent;
    const result = waitFor(job, onProgress, signal, () => rest(job));
    if (!active.has(key)) queued.set(key, job);
    // An urgent file does not wait for its turn to be opened either.
    if (job.urgent && queued.has(key)) start(job);
    startTasks();
    return result;
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
      for (const job of [...queued.values(), ...active.values()]) {
        answer(job, why);
        rest(job);
      }
    },
  };
}
