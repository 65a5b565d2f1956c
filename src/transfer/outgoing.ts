// What a connection is sending after a line that announced it: a payload from memory, or bytes of a file.
// Invariant: one buffer, refilled only once it has left; what was announced follows, or nothing does.
// Never: waits for the disk on this thread.

import { type Fault, isFault } from "../protocol/fault.ts";
import { CANNOT_SEND, type Connection } from "../transport/connection.ts";
import type { MaybeLater } from "./shelf.ts";

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
export const SLICE_BYTES = 512 * 1024;
/** What is read for a connection that sends files by itself but takes no more now: enough to hear of it when it does. */
const NUDGE_BYTES = 16 * 1024;

/** Nothing. */
export const NOTHING: Outgoing = { left: 0, send: () => 0 };

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

/** Files of one connection, by one buffer. */
export function createFileSender(connection: Connection): (from: number, length: number, slices: Slices) => Outgoing {
  let buffer: Uint8Array | undefined;

  /** Through the buffer; 0 when the file no longer gives what it announced. */
  async function sendRead(offset: number, most: number, { read }: Slices): Promise<number> {
    if (buffer === undefined || buffer.length < most) buffer = new Uint8Array(most);
    const slice = buffer.subarray(0, most);
    const got = await read(slice, offset);
    if (isFault(got) || got < slice.length) return 0;
    connection.send(slice);
    return slice.length;
  }

  return (from, length, slices) => {
    const { fd, inMemory, onSent } = slices;
    let offset = from;
    let direct = fd !== undefined && connection.sendFile !== undefined;

    async function send(most: number): Promise<number> {
      let asked = most;
      let sent = 0;
      if (direct && inMemory(offset, most)) {
        sent = connection.sendFile?.(fd as number, offset, most) ?? CANNOT_SEND;
        if (sent === CANNOT_SEND) direct = false;
        else asked = Math.min(most, NUDGE_BYTES);
      }
      if (sent <= 0) sent = await sendRead(offset, asked, slices);
      offset += sent;
      if (sent > 0) onSent(sent);
      return sent;
    }
    return { left: length, send };
  };
}
