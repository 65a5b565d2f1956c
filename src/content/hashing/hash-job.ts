// One file to be hashed: its callers, how far it is, and which of its pieces the next task reads.
// Invariant: each piece is in one task at a time, and is given out again only after its task failed.
// Never: opens or reads a file.

import { type Fault, fault, isFault } from "../../protocol/fault.ts";
import { isUntouched, type OpenFile, type Stamp } from "../safe-files.ts";
import { EMPTY_ROOT, HASH_BYTES, type Hashed, pieceBytesFor, pieceCount, rootOfLayer } from "./merkle.ts";

/** One task: short enough that an urgent file starts at once on a slow disk too, long enough that messages cost nothing. */
const TASK_BYTES = 4 * 1024 * 1024;

type Waiter = {
  readonly resolve: (result: Hashed | Fault) => void;
  readonly onProgress: ((bytes: number, size: number) => void) | undefined;
};

export type Job = {
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
export type PartialPieces = {
  readonly stamp: Stamp;
  readonly pieceBytes: number;
  readonly pieces: number;
  readonly layer: Uint8Array;
  /** Where the next task begins, and where those began that failed or were given back: pieces. */
  next: number;
  readonly again: number[];
  hashedBytes: number;
};

export type Work = PartialPieces & { readonly file: OpenFile; running: number; concluding: boolean; failed?: Fault };

export type Task = { readonly first: number; readonly pieces: number; readonly bytes: number };

export const cancelled = (): Fault => fault("CANCELLED", "ours", "hashing was cancelled");

/** The job's result for one more caller; CANCELLED when `signal` aborts, and `rest` when that caller was the last one. */
export function waitFor(
  job: Job,
  onProgress: Waiter["onProgress"],
  signal: AbortSignal | undefined,
  rest: () => void,
): Promise<Hashed | Fault> {
  const { promise, resolve } = Promise.withResolvers<Hashed | Fault>();
  const abort = (): void => {
    if (!job.waiters.delete(waiter)) return;
    waiter.resolve(cancelled());
    if (job.waiters.size === 0) rest();
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
  return promise;
}

export function beginFile(file: OpenFile): PartialPieces {
  const pieceBytes = pieceBytesFor(file.size);
  const pieces = pieceCount(file.size, pieceBytes);
  const layer = new Uint8Array(pieces * HASH_BYTES);
  return { stamp: file, pieceBytes, pieces, layer, next: 0, again: [], hashedBytes: 0 };
}

export const isGivenOut = ({ next, pieces, again }: PartialPieces): boolean => next === pieces && again.length === 0;

/** The next task of a file of which something is left to give out. */
export function nextTask({ again, next, pieceBytes, pieces, stamp }: PartialPieces): Task {
  const first = again.at(-1) ?? next;
  const count = Math.min(Math.max(1, TASK_BYTES / pieceBytes), pieces - first);
  return { first, pieces: count, bytes: Math.min((first + count) * pieceBytes, stamp.size) - first * pieceBytes };
}

export function takeTask(work: PartialPieces, { first, pieces }: Task): void {
  if (work.again.at(-1) === first) work.again.pop();
  else work.next = first + pieces;
}

const remaining = ({ stamp, hashedBytes }: PartialPieces): number => stamp.size - hashedBytes;

const isReady = ({ waiters }: Job, work: Work): boolean =>
  waiters.size > 0 && work.failed === undefined && !work.concluding && !isGivenOut(work);

/** The job whose task comes next: of the urgent ones the one that is done soonest; else the first. */
export function nextReady(jobs: Iterable<Job>): Job | undefined {
  let first: Job | undefined;
  let soonest: Job | undefined;
  for (const job of jobs) {
    const { work } = job;
    if (work === undefined || !isReady(job, work)) continue;
    first ??= job;
    if (job.urgent && (soonest?.work === undefined || remaining(work) < remaining(soonest.work))) soonest = job;
  }
  return soonest ?? first;
}

/** `after`: the file once it was read. */
export function resultOf({ file, pieceBytes, layer }: Work, after: Stamp | Fault): Hashed | Fault {
  if (isFault(after)) return after;
  if (!isUntouched(file, after)) return fault("CHANGED", "ours", "changed while it was hashed", true);
  const { size } = file;
  return { root: size === 0 ? EMPTY_ROOT : rootOfLayer(layer, pieceBytes), size, pieceBytes, layer };
}
