// One connection from a downloading peer: its requests read in order, and the bytes of each GET as it takes them.
// Invariant: one buffer per connection, refilled only once it has left; what DATA announced follows, or nothing does.
// Never: decides who may have what; uploads.ts answers everything but the bytes.

import { type Fault, isFault, type WireCode } from "../protocol/fault.ts";
import { READ_AHEAD_BYTES_MAX } from "../protocol/limits.ts";
import type { PeerRequest, Reply } from "../protocol/messages.ts";
import { createReader } from "../protocol/reader.ts";
import { encodeReply } from "../protocol/replies.ts";
import { decodePeerRequest } from "../protocol/requests.ts";
import type { Clock } from "../transport/clock.ts";
import type { Connection, Handlers } from "../transport/connection.ts";
import type { Bucket } from "./bucket.ts";

export type Guest = {
  readonly connection: Connection;
  reply(message: Reply, payload?: Uint8Array): void;
  refuse(why: Fault, verb?: "ERROR" | "REJECT"): void;
  /** DATA and then `length` bytes from `offset`, read by `read`. */
  send(offset: number, length: number, read: ReadSlice): void;
  /** Whether a GET is being answered. */
  readonly sending: boolean;
  readonly gone: boolean;
};

/** Fills `into` from `offset`; a fault or fewer bytes end the connection. */
export type ReadSlice = (into: Uint8Array, offset: number) => number | Fault;

export type GuestOptions = {
  readonly connection: Connection;
  readonly bucket: Bucket;
  readonly clock: Clock;
  /** Answers one request; the next is read once it has. A fault becomes an ERROR. */
  readonly serve: (guest: Guest, request: PeerRequest) => Promise<Fault | undefined> | Fault | undefined;
  readonly onClose: (guest: Guest) => void;
};

const SLICE_BYTES = 512 * 1024;
const TURN_SLICES = 8;
const FATAL: ReadonlySet<string> = new Set(["LINE_TOO_LONG", "TIMEOUT", "CHANGED"]);

/** A guest, and what the transport must tell it. */
export function createGuest(options: GuestOptions): { guest: Guest; handlers: Handlers } {
  const { connection, bucket, clock } = options;
  const reader = createReader();
  let offset = 0;
  let left = 0;
  let readSlice: ReadSlice | undefined;
  let buffer: Uint8Array | undefined;
  let busy = false;
  let ended = false;
  let gone = false;

  const guest: Guest = {
    connection,
    reply(message, payload) {
      connection.send(encodeReply(message));
      if (payload !== undefined && payload.length > 0) connection.send(payload);
    },
    refuse(why, verb = "ERROR") {
      guest.reply({ verb, code: why.fault as WireCode, retry: why.retry, text: why.detail });
      if (verb === "REJECT" || !FATAL.has(why.fault)) return;
      // Its slot is free from now on, however long the goodbye takes, and whatever it still asks is not heard.
      gone = true;
      left = 0;
      connection.end();
      options.onClose(guest);
    },
    send(from, length, read) {
      guest.reply({ verb: "DATA", offset: from, payloadBytes: length });
      offset = from;
      left = length;
      readSlice = read;
    },
    get sending() {
      return left > 0;
    },
    get gone() {
      return gone;
    },
  };

  /** Serves what the guest asked for, in its order, as fast as it reads. */
  async function pump(): Promise<void> {
    if (busy) return;
    busy = true;
    let slices = 0;
    while (!gone && connection.queued === 0) {
      if (left > 0) {
        if (!sendSlice()) await waitMs(bucket.waitMs());
        // A fast reader must not keep the others from their turn.
        else if (++slices % TURN_SLICES === 0) await new Promise<void>((turn) => setImmediate(turn));
        continue;
      }
      const line = reader.line();
      if (line === undefined) break;
      const request = isFault(line) ? line : decodePeerRequest(line);
      const refused = isFault(request) ? request : await options.serve(guest, request);
      if (refused !== undefined) guest.refuse(refused);
      if (refused?.fault === "LINE_TOO_LONG") break;
    }
    busy = false;
    if (reader.size <= READ_AHEAD_BYTES_MAX) connection.resume();
    if (ended && connection.queued === 0 && left === 0) connection.end();
  }

  const waitMs = (ms: number) => new Promise<void>((done) => clock.after(ms, done));

  /** One slice of the GET under way; false when the rate limit lets nothing pass now. */
  function sendSlice(): boolean {
    buffer ??= new Uint8Array(SLICE_BYTES);
    const length = bucket.take(Math.min(left, SLICE_BYTES));
    if (length === 0) return false;
    const slice = buffer.subarray(0, length);
    const read = readSlice?.(slice, offset) ?? 0;
    if (isFault(read) || read < length) {
      left = 0;
      connection.destroy();
      return true;
    }
    connection.send(slice);
    offset += length;
    left -= length;
    return true;
  }

  const handlers: Handlers = {
    data(chunk) {
      if (gone) return;
      reader.push(chunk);
      if (reader.size > READ_AHEAD_BYTES_MAX) connection.pause();
      void pump();
    },
    drain: () => void pump(),
    end() {
      ended = true;
      void pump();
    },
    close() {
      gone = true;
      options.onClose(guest);
    },
  };
  return { guest, handlers };
}
