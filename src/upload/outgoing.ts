// What a connection is sending after a line that announced it: a payload from memory, or bytes of a file.
// Invariant: two buffers, each refilled only once it has left; what was announced follows, or nothing does.
// Never: waits for the disk on this thread.

import { type Fault, isFault } from "../protocol/fault.ts";
import { CANNOT_SEND, type Connection } from "../transport/connection.ts";
import type { MaybeLater } from "./share-index.ts";

/** What is left of it, and how its next bytes go. */
export type Outgoing = {
  left: number;
  /** Sends at least one and at most `most` bytes: how many, 0 where they are not to be had. */
  readonly send: (most: number) => MaybeLater<number>;
};

/** Where the bytes of a GET come from. */
export type Slices = {
  /** The file's descriptor, for a connection that sends from it by itself what is in memory. */
  readonly fd: number | undefined;
  inMemory(offset: number, length: number): boolean;
  /** Fills `into` from `offset`; a fault or fewer bytes end the connection. */
  read(into: Uint8Array, offset: number): MaybeLater<number | Fault>;
  /** So many bytes more are on their way. */
  onSent(bytes: number): void;
};

/** What is sent at once, and read for it. */
export const SLICE_BYTES = 1024 * 1024;
/** What is read for a connection that sends files by itself but takes no more now: enough to hear of it when it does. */
const NUDGE_BYTES = 16 * 1024;

/** Nothing. */
export const NOTHING: Outgoing = { left: 0, send: () => 0 };
const EMPTY: Uint8Array = new Uint8Array(0);

export function fromMemory(connection: Connection, payload: Uint8Array): Outgoing {
  let at = 0;
  return {
    left: payload.length,
    send(most) {
      const slice = payload.subarray(at, at + most);
      at += slice.length;
      connection.send(slice);
      return slice.length;
    },
  };
}

/** Files of one connection, by two buffers: one leaves while the other is filled. */
export function createFileSender(connection: Connection): (from: number, length: number, slices: Slices) => Outgoing {
  const buffers: [Uint8Array, Uint8Array] = [EMPTY, EMPTY];

  return (from, length, slices) => {
    const { fd, inMemory, onSent } = slices;
    const end = from + length;
    let offset = from;
    let direct = fd !== undefined && connection.sendFile !== undefined;
    /** What was read and has not been sent; what is read next, and for up to which offset. */
    let ready = EMPTY;
    let reading: MaybeLater<Uint8Array | undefined>;
    let readTo = from;

    /** Reads up to `most` bytes into the buffer that has left; undefined when the file no longer gives what it announced. */
    function startReading(most: number): void {
      const bytes = Math.min(most, end - readTo);
      buffers.reverse();
      if (buffers[0].length < bytes) buffers[0] = new Uint8Array(bytes);
      const slice = buffers[0].subarray(0, bytes);
      const got = slices.read(slice, readTo);
      const whole = (count: number | Fault) => (isFault(count) || count < bytes ? undefined : slice);
      reading = got instanceof Promise ? got.then(whole) : whole(got);
      readTo += bytes;
    }

    /** Through the buffers; 0 when the file no longer gives what it announced. */
    async function sendRead(most: number): Promise<number> {
      if (ready.length === 0) {
        if (readTo === offset) startReading(most);
        const read = await reading;
        if (read === undefined) return 0;
        ready = read;
        // Nothing is queued: what was sent before has left, so that its buffer is free.
        if (readTo < end && !(direct && inMemory(readTo, Math.min(most, end - readTo)))) startReading(most);
      }
      const slice = ready.subarray(0, most);
      ready = ready.subarray(slice.length);
      connection.send(slice);
      return slice.length;
    }

    async function send(most: number): Promise<number> {
      let asked = most;
      let sent = 0;
      if (direct && readTo === offset && inMemory(offset, most)) {
        sent = connection.sendFile?.(fd as number, offset, most) ?? CANNOT_SEND;
        if (sent === CANNOT_SEND) direct = false;
        else asked = Math.min(most, NUDGE_BYTES);
        if (sent > 0) readTo += sent;
      }
      if (sent <= 0) sent = await sendRead(asked);
      offset += sent;
      if (sent > 0) onSent(sent);
      return sent;
    }
    return { left: length, send };
  };
}
