// Writing to the two standard outputs without ever waiting for their readers.
// Invariant: bytes leave in the order they came; what waits is bounded; a reader that stops holds up no other. Beyond
// OUTPUT_QUEUE_BYTES_MAX unread bytes whole lines are dropped without a word: there is no reader to tell.
// Never: blocks the event loop, throws, or holds a thread of the pool where the system can avoid it.

import { type BigIntStats, closeSync, constants, fstatSync, openSync, write as writeBytes, writeSync } from "node:fs";
import { isatty } from "node:tty";

/** What may wait for a reader that has stopped. Two JOINs of 100,000 names fit; a frozen console loses what follows. */
export const OUTPUT_QUEUE_BYTES_MAX = 32 * 1024 * 1024;

/** One write: larger ones are cut, smaller ones are joined, so that a flood costs few system calls. */
const WRITE_BYTES_MAX = 64 * 1024;

/** How soon a full pipe is tried again: first, and at most. */
const RETRY_MS_MIN = 2;
const RETRY_MS_MAX = 50;

export type Writer = (text: string) => void;

export type Output = {
  readonly out: Writer;
  readonly err: Writer;
  /**
   * A line that is made while it is written, in the parts that `parts` yields, so that other work goes on meanwhile. `bytes`
   * is about how many it has, and counts as waiting from now on; its newline is added.
   */
  outParts(bytes: number, parts: Iterator<string, void>): void;
  /** Resolves once at most half of the queue waits: what a producer that can wait, waits for. */
  ready(): Promise<void>;
  /** Resolves when all is written, or after `msMax`. */
  flush(msMax: number): Promise<void>;
};

/** Writes to stderr before an Output exists, which needs descriptors of its own; the caller waits for the write. */
export function errAtOnce(text: string): void {
  writeSync(2, text);
}

/** Writes part of `bytes`, resolving to how many; rejects with a system error code. */
type WriteSome = (fd: number, bytes: Uint8Array) => Promise<number>;

/**
 * Both outputs. `ordered` keeps one order across them, for a person who sees both on one screen; without it
 * a reader that has stopped on one of them does not hold up the other.
 */
export function createOutput({ ordered }: { ordered: boolean }): Output {
  const targets = new Map([1, 2].map((fd) => [fd, unblocked(fd)] as const));
  const writeSome: WriteSome = (fd, bytes) => writeOnce(targets.get(fd) ?? fd, bytes);
  const first = createQueue(writeSome);
  const second = ordered ? first : createQueue(writeSome);
  return {
    out: (text) => first.push(1, text),
    err: (text) => second.push(2, text),
    outParts: (bytes, parts) => first.pushParts(1, bytes, parts),
    ready: async () => {
      await Promise.all([first.below(OUTPUT_QUEUE_BYTES_MAX / 2), second.below(OUTPUT_QUEUE_BYTES_MAX / 2)]);
    },
    flush: async (msMax) => {
      const timeout = Promise.withResolvers<void>();
      const timer = setTimeout(timeout.resolve, msMax);
      await Promise.race([Promise.all([first.below(0), second.below(0)]), timeout.promise]);
      clearTimeout(timer);
    },
  };
}

type Queue = {
  push(fd: number, text: string): void;
  pushParts(fd: number, bytes: number, parts: Iterator<string, void>): void;
  /** Resolves once at most `bytes` wait. */
  below(bytes: number): Promise<void>;
};

const encoder = new TextEncoder();

/** What waits: bytes, or a line of which `weight` bytes, about, are still to be made. */
type Waiting = { readonly fd: number; readonly bytes: Uint8Array } | Line;
type Line = { readonly fd: number; readonly parts: Iterator<string, void>; weight: number };

/** A bounded queue in front of `writeSome`. Exported for its tests, which stand in for the system. */
export function createQueue(writeSome: WriteSome): Queue {
  const waiting: Waiting[] = [];
  const gone = new Set<number>();
  let waiters: { bytes: number; resolve: () => void }[] = [];
  let queued = 0;
  let busy = false;

  function settle(): void {
    for (const { bytes, resolve } of waiters) if (queued <= bytes) resolve();
    waiters = waiters.filter(({ bytes }) => queued > bytes);
  }

  function takeBatch(): { fd: number; bytes: Uint8Array } | undefined {
    const [head] = waiting;
    if (head === undefined) return undefined;
    if ("parts" in head) return { fd: head.fd, bytes: makePart(head) };
    const parts: Uint8Array[] = [];
    let length = 0;
    for (const next of waiting) {
      if (next.fd !== head.fd || "parts" in next) break;
      if (parts.length > 0 && length + next.bytes.length > WRITE_BYTES_MAX) break;
      parts.push(next.bytes);
      length += next.bytes.length;
    }
    waiting.splice(0, parts.length);
    return { fd: head.fd, bytes: parts.length === 1 ? head.bytes : Buffer.concat(parts) };
  }

  /** The next part of the line that is first, which leaves the queue with its last one. */
  function makePart(line: Line): Uint8Array {
    const { done, value } = gone.has(line.fd) ? { done: true, value: "" } : line.parts.next();
    const bytes = encoder.encode(done === true ? "\n" : (value ?? ""));
    const weight = done === true ? line.weight : Math.min(line.weight, bytes.length);
    line.weight -= weight;
    queued += bytes.length - weight;
    if (done === true) waiting.shift();
    return bytes;
  }

  async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
    let retryMs = RETRY_MS_MIN;
    for (let at = 0; at < bytes.length && !gone.has(fd); ) {
      const wrote = await writeSome(fd, bytes.subarray(at, at + WRITE_BYTES_MAX)).catch((error: { code?: string }) =>
        error.code === "EAGAIN" || error.code === "EINTR" ? 0 : undefined,
      );
      // EPIPE and the like: the reader is gone, which is no reason to stop.
      if (wrote === undefined) gone.add(fd);
      else if (wrote === 0) {
        await Bun.sleep(retryMs);
        retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
      } else {
        at += wrote;
        retryMs = RETRY_MS_MIN;
      }
    }
  }

  async function writeOut(): Promise<void> {
    busy = true;
    for (let batch = takeBatch(); batch !== undefined; batch = takeBatch()) {
      await writeAll(batch.fd, batch.bytes);
      queued -= batch.bytes.length;
      settle();
    }
    busy = false;
  }

  /** A line longer than the whole queue still passes when nothing waits before it. */
  function hasRoom(fd: number, bytes: number): boolean {
    return !gone.has(fd) && (queued === 0 || queued + bytes <= OUTPUT_QUEUE_BYTES_MAX);
  }

  function add(item: Waiting, bytes: number): void {
    waiting.push(item);
    queued += bytes;
    if (!busy) void writeOut();
  }

  return {
    push(fd, text) {
      const bytes = encoder.encode(text);
      if (hasRoom(fd, bytes.length)) add({ fd, bytes }, bytes.length);
    },
    pushParts(fd, bytes, parts) {
      // Made as it is written, it holds no more than a part; counted in full, the longest JOIN would be dropped beside short lines.
      const weight = Math.min(bytes, OUTPUT_QUEUE_BYTES_MAX / 2);
      if (hasRoom(fd, weight)) add({ fd, parts, weight }, weight);
    },
    below(bytes) {
      if (queued <= bytes) return Promise.resolve();
      const { promise, resolve } = Promise.withResolvers<void>();
      waiters.push({ bytes, resolve });
      return promise;
    },
  };
}

function writeOnce(fd: number, bytes: Uint8Array): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  writeBytes(fd, bytes, 0, bytes.length, null, (error, wrote) => (error ? reject(error) : resolve(wrote)));
  return promise;
}

/**
 * A descriptor of the same file on which a write returns EAGAIN instead of waiting. Bun's pool has one thread per
 * processor, so that two writes that wait would stop every other use of the disk on a small machine.
 * Where the system offers nothing (Windows, a terminal on macOS) it is `fd` itself, and the pool's threads do wait.
 */
function unblocked(fd: number): number {
  const stat = statOf(fd);
  if (stat === undefined || stat.isFile() || process.platform === "win32") return fd;
  if (process.platform === "linux" && (stat.isFIFO() || stat.isCharacterDevice())) {
    const reopened = reopen(fd, stat);
    if (reopened !== undefined) return reopened;
  }
  // Making a sink turns O_NONBLOCK on for pipes and sockets; nothing is ever written through it.
  if (!stat.isCharacterDevice()) sinks.push(Bun.file(fd).writer());
  return fd;
}

const sinks: Bun.FileSink[] = [];

/** The file opened anew, so that a process that shares the old description keeps a blocking one. */
function reopen(fd: number, stat: BigIntStats): number | undefined {
  try {
    const again = openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    const same = statOf(again);
    if (same?.ino === stat.ino && same.dev === stat.dev) return again;
    closeSync(again);
  } catch {
    // No /proc, or not ours to open (after su, say): the caller falls back.
  }
  return undefined;
}

function statOf(fd: number): BigIntStats | undefined {
  try {
    return fstatSync(fd, { bigint: true });
  } catch {
    return undefined;
  }
}

/** Whether a person sees both outputs together: both are terminals, or both are the same pipe or file. */
export function sharesScreen(): boolean {
  if (isatty(1) && isatty(2)) return true;
  const [out, err] = [statOf(1), statOf(2)];
  return out !== undefined && err !== undefined && out.ino === err.ino && out.dev === err.dev && out.rdev === err.rdev;
}
