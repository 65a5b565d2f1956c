// One file from open to root: opened, its ranges hashed by the pool, looked at again, and the root kept in the cache.
// Invariant: a root is given only for a file that was the same before and after it was read.
// Never: chooses which file or range comes next.

import { type Fault, isFault } from "../../protocol/fault.ts";
import { isPassing, isUntouched, type OpenFile, type Stamp } from "../safe-files.ts";
import type { HashCache } from "./hash-cache.ts";
import {
  beginFile,
  cancelled,
  isGivenOut,
  type Job,
  type PartialPieces,
  resultOf,
  type Task,
  takeTask,
  type Work,
} from "./hash-job.ts";
import type { HashPool } from "./hash-pool.ts";
import { HASH_BYTES, type Hashed } from "./merkle.ts";

/** A file changed so recently may change again within the same tick of the file system's clock (FAT: two seconds). */
const SETTLED_MS = 2000;

/** Files begun and left, of which what was read is remembered: 32 bytes a piece of each. */
const BEGUN_FILES_MAX = 16;

type FileHasherOptions = {
  readonly cache: HashCache | undefined;
  readonly pool: HashPool;
  /** The date in milliseconds, as files' times are told. */
  readonly now: () => number;
  readonly openFile: (path: string) => Promise<OpenFile | Fault>;
  readonly stampFile: (path: string) => Promise<Stamp | Fault>;
  readonly onResult: (job: Job, result: Hashed | Fault) => void;
  /** A thread, or room among the open files, may be free now. */
  readonly onFree: () => void;
};

export function createFileHasher(options: FileHasherOptions) {
  const { cache, pool, now, openFile, stampFile, onResult, onFree } = options;
  const begun = new Map<string, PartialPieces>();

  /** Remembers how far the file is, for the next caller. */
  function putAside(key: string, { stamp, pieceBytes, pieces, layer, next, again, hashedBytes }: PartialPieces): void {
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
    if (isPart && work.failed === undefined && job.waiters.size > 0) return open(job); // asked for again meanwhile
    const result = isPart ? (work.failed ?? cancelled()) : resultOf(work, after);
    if (!isFault(result) && !isFault(after) && !job.fresh && isSettled) cache?.store(job.path, after, result);
    onResult(job, result);
  }

  /** Ends the job if nothing is left to do for it, or its last caller has left. */
  function finishOrGoOn(job: Job, work: Work): void {
    const isOver = work.failed !== undefined || isGivenOut(work) || job.waiters.size === 0;
    if (isOver && work.running === 0 && !work.concluding) void conclude(job, work).then(onFree);
    onFree();
  }

  /** Opens the job's file, and resumes where an earlier caller left it. */
  async function open(job: Job): Promise<void> {
    const file = await openFile(job.path);
    if (isFault(file)) onResult(job, file);
    else if (job.waiters.size === 0) {
      await file.close();
      onResult(job, cancelled());
    } else {
      const earlier = begun.get(job.key);
      begun.delete(job.key);
      const progress = earlier !== undefined && isUntouched(earlier.stamp, file) ? earlier : beginFile(file);
      job.work = { ...progress, file, running: 0, concluding: false };
      return finishOrGoOn(job, job.work);
    }
    onFree();
  }

  /** Hashes one range of an open job. */
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

  return { open, hashRange, finishOrGoOn };
}
