// Whether another program writes into a file that we write: its change time, looked at before and after each write of ours.
// Invariant: what is said to be touched was changed by a write, a cut or a new attribute that was none of ours.
// Never: sees a change that falls into a write of ours, or one that leaves no change time.

import * as fs from "node:fs";

/** Shared by all threads that write to the file. */
export type Watch = SharedArrayBuffer;

const WATCH_BYTES = 24;
// Its words: three of four bytes, then, from byte 16 on, the change time in microseconds.
const WRITING = 0; // writes under way
const BEGUN = 1; // how many have begun
const TOUCHED = 2;
const CHANGED_AT = 2; // as a word of eight bytes

const counts = (watch: Watch) => new Int32Array(watch);
const times = (watch: Watch) => new BigInt64Array(watch);
const changedAt = (fd: number) => BigInt(Math.round(fs.fstatSync(fd).ctimeMs * 1000));

/** From now on, for the file open as `fd`. */
export function createWatch(fd: number): Watch {
  const watch = new SharedArrayBuffer(WATCH_BYTES);
  times(watch)[CHANGED_AT] = changedAt(fd);
  return watch;
}

/** Does `write`, which changes the file open as `fd`. */
export function watched<T>(watch: Watch | undefined, fd: number, write: () => T): T {
  if (watch === undefined) return write();
  begin(watch, fd);
  try {
    return write();
  } finally {
    end(watch, fd);
  }
}

/** The same, for a write that takes its time. */
export async function watchedAsync<T>(watch: Watch | undefined, fd: number, write: () => Promise<T>): Promise<T> {
  if (watch === undefined) return write();
  begin(watch, fd);
  try {
    return await write();
  } finally {
    end(watch, fd);
  }
}

/** Whether the file open as `fd` was touched, as far as can be told. */
export function isTouched(watch: Watch, fd: number): boolean {
  look(watch, fd);
  return Atomics.load(counts(watch), TOUCHED) !== 0;
}

/** Its bytes were found right: what touched it so far is forgotten. */
export function forget(watch: Watch, fd: number): void {
  Atomics.store(times(watch), CHANGED_AT, changedAt(fd));
  Atomics.store(counts(watch), TOUCHED, 0);
}

function begin(watch: Watch, fd: number): void {
  const words = counts(watch);
  Atomics.add(words, BEGUN, 1);
  if (Atomics.add(words, WRITING, 1) === 0) look(watch, fd, 1);
}

/** Compares only when no write but ours, `mine` of them, was under way, and none has begun meanwhile. */
function look(watch: Watch, fd: number, mine = 0): void {
  const words = counts(watch);
  const begun = Atomics.load(words, BEGUN);
  if (Atomics.load(words, WRITING) !== mine) return;
  const now = changedAt(fd);
  const known = Atomics.load(times(watch), CHANGED_AT);
  if (now === known || Atomics.load(words, BEGUN) !== begun || Atomics.load(words, WRITING) !== mine) return;
  Atomics.store(words, TOUCHED, 1);
}

function end(watch: Watch, fd: number): void {
  const now = changedAt(fd);
  const time = times(watch);
  for (let known = Atomics.load(time, CHANGED_AT); known < now; ) {
    const found = Atomics.compareExchange(time, CHANGED_AT, known, now);
    if (found === known) break;
    known = found;
  }
  Atomics.sub(counts(watch), WRITING, 1);
}
