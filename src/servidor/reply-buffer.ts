// Replies on their way out: those to one batch of requests leave in one write.
// Invariant: what is put for one connection leaves in that order, and before anything that is put for another.
// Never: keeps bytes across a turn of the event loop: each caller that puts also flushes.

import type { Connection } from "../transport/connection.ts";

export type ReplyBuffer = {
  /** `text` is ASCII. */
  put(connection: Connection, text: string, payload?: Uint8Array): void;
  /** The buffer, with room for `length` bytes of a reply from `used` on; the caller writes them, and `wrote` says how many. */
  open(connection: Connection, length: number): Uint8Array;
  readonly used: number;
  wrote(length: number): void;
  flush(): void;
};

/** Above it a batch is sent before the next reply is computed, so that back-pressure is noticed. */
const BATCH_BYTES_MAX = 128 * 1024;
/** A payload of this size is sent as it is rather than copied. */
const COPY_BYTES_MAX = 16 * 1024;

/** `sent` hears of every byte that is handed on. */
export function createReplyBuffer(sent: (bytes: number) => void): ReplyBuffer {
  let buffer = Buffer.allocUnsafeSlow(BATCH_BYTES_MAX);
  let used = 0;
  let current: Connection | undefined;

  function flush(): void {
    if (current === undefined || used === 0) return;
    const connection = current;
    const bytes = buffer.subarray(0, used);
    current = undefined;
    used = 0;
    connection.send(bytes);
    sent(bytes.length);
    // What has not left must not be overwritten.
    if (connection.queued > 0) buffer = Buffer.allocUnsafeSlow(BATCH_BYTES_MAX);
  }

  return {
    flush,
    open(connection, length) {
      if (connection !== current || used + length > BATCH_BYTES_MAX) flush();
      current = connection;
      return buffer;
    },
    get used() {
      return used;
    },
    wrote(length) {
      used += length;
    },
    put(connection, text, payload) {
      const copied = payload !== undefined && payload.length <= COPY_BYTES_MAX ? payload.length : 0;
      if (connection !== current || used + text.length + copied > BATCH_BYTES_MAX) flush();
      current = connection;
      used += buffer.write(text, used, "latin1");
      if (payload === undefined || payload.length === 0) return;
      if (copied > 0) {
        buffer.set(payload, used);
        used += copied;
        return;
      }
      flush();
      connection.send(payload);
      sent(payload.length);
    },
  };
}
