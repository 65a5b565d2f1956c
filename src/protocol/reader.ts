// Bytes as they arrive -> lines and payloads, however the network cut them.
// Invariant: holds at most one unfinished line (LINE_BYTES_MAX) beyond the chunks that it was given and not yet asked for.
// Never: copies a payload on its way through, decides what a line means, or throws.

import { type Fault, fault } from "./fault.ts";
import { decodeText } from "./fields.ts";
import { LINE_BYTES_MAX } from "./limits.ts";

export type Reader = {
  /** Hands over bytes; they are kept, mostly without a copy, so the caller must not reuse them. */
  push(chunk: Uint8Array): void;
  /** The next line without its newline (a CR before it is dropped); undefined when it has not arrived whole. */
  line(): string | undefined | Fault;
  /** Some bytes of a payload: 1–`most` of those at hand, without a copy; undefined when there are none. */
  some(most: number): Uint8Array | undefined;
  /** A payload of exactly `length` bytes, once all of them are here; undefined before. */
  exactly(length: number): Uint8Array | undefined;
  /** Lets go of everything at hand. */
  clear(): void;
  /** Bytes at hand. */
  readonly size: number;
};

const NEWLINE = 10;
const RETURN = 13;
const NOTHING = new Uint8Array(0);
/** Chunks up to this size that come behind others are gathered in chunks of our own… */
const SCRAP_BYTES_MAX = 2048;
/** …of this size, or as large as what is held already: a long payload is few chunks, and at most half of it is room. */
const GATHER_BYTES_MIN = 4096;
const GATHER_BYTES_MAX = 256 * 1024;

/** A reader for one direction of one connection. */
export function createReader(): Reader {
  let chunks: Uint8Array[] = [];
  let head = 0; // index of the first chunk still in use: shift() would cost a move of all the others
  let used = 0; // bytes of that chunk that have been taken
  let size = 0;

  let room = 0; // bytes at the end of the last chunk that are free for more
  let own: Uint8Array = NOTHING; // the whole of that chunk, when it is one of ours

  function push(chunk: Uint8Array): void {
    const { length } = chunk;
    if (length === 0) return;
    size += length;
    const isScrap = length <= SCRAP_BYTES_MAX && head < chunks.length;
    if (!isScrap || length > room) stopGathering();
    if (!isScrap) {
      chunks.push(chunk);
      return;
    }
    // Bytes that trickle in are gathered: each by itself would cost a hundred times what it holds.
    if (room === 0) {
      room = Math.min(GATHER_BYTES_MAX, Math.max(GATHER_BYTES_MIN, size - length));
      own = new Uint8Array(room);
      chunks.push(own.subarray(0, 0));
    }
    const from = own.length - room;
    own.set(chunk, from);
    room -= length;
    const last = chunks[chunks.length - 1] as Uint8Array;
    chunks[chunks.length - 1] = own.subarray(last.byteOffset, from + length);
  }

  /** Gives back the room that the last chunk has left: what is waited for next comes in a chunk of its own. */
  function stopGathering(): void {
    if (room > 0 && head < chunks.length) chunks.push((chunks.pop() as Uint8Array).slice());
    room = 0;
    own = NOTHING;
  }

  /** Takes the first `length` bytes, which must be at hand. */
  function take(length: number): Uint8Array {
    const first = chunks[head];
    if (first !== undefined && first.length - used >= length) return takeFromFirst(first, length);
    const whole = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const chunk = chunks[head] as Uint8Array;
      const part = takeFromFirst(chunk, Math.min(chunk.length - used, length - at));
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  function takeFromFirst(first: Uint8Array, length: number): Uint8Array {
    const bytes = first.subarray(used, used + length);
    skip(first, length);
    return bytes;
  }

  /** The first chunk's next `length` bytes are done with. */
  function skip(first: Uint8Array, length: number): void {
    size -= length;
    used += length;
    if (used < first.length) return;
    used = 0;
    head++;
    if (head === chunks.length) stopGathering();
    if (head === chunks.length || (head > 1024 && head * 2 > chunks.length)) {
      chunks = chunks.slice(head);
      head = 0;
    }
  }

  /** Bytes before the first newline, or -1; looks no further than a line may be long. */
  function lineLength(): number {
    let before = -used;
    for (let i = head; i < chunks.length && before <= LINE_BYTES_MAX; i++) {
      const chunk = chunks[i] as Uint8Array;
      const at = chunk.indexOf(NEWLINE, i === head ? used : 0);
      if (at >= 0) return before + at;
      before += chunk.length;
    }
    return -1;
  }

  function line(): string | undefined | Fault {
    if (size === 0) return undefined;
    const length = lineLength();
    if (length > LINE_BYTES_MAX || (length < 0 && size > LINE_BYTES_MAX)) {
      return fault("LINE_TOO_LONG", "theirs", `a line has at most ${LINE_BYTES_MAX} bytes`);
    }
    if (length < 0) return undefined;
    const bytes = take(length + 1);
    const end = length > 0 && bytes[length - 1] === RETURN ? length - 1 : length;
    return decodeText(bytes.subarray(0, end)) ?? fault("BAD_REQUEST", "theirs", "a line is not UTF-8");
  }

  return {
    push,
    line,
    some: (most) => {
      const first = chunks[head];
      return first === undefined || most <= 0 ? undefined : takeFromFirst(first, Math.min(first.length - used, most));
    },
    exactly: (length) => (size < length ? undefined : take(length)),
    clear() {
      chunks = [];
      own = NOTHING;
      head = used = size = room = 0;
    },
    get size() {
      return size;
    },
  };
}
