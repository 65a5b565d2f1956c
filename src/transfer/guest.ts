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
  /** DATA and then `length` bytes of `slices` from `offset` on. */
  send(offset: number, length: number, slices: Slices): void;
  /** Whether a GET is being answered. */
  readonly sending: boolean;
  readonly gone: boolean;
};

/** Where the bytes of a GET come from. */
export type Slices = {
  /** The file's descriptor, for a connection that sends from it by itself. */
  readonly fd: number | undefined;
  /** Fills `into` from `offset`; a fault or fewer bytes end the connection. */
  read(into: Uint8Array, offset: number): number | Fault;
  /** So many bytes more are on their way. */
  onSent(bytes: number): void;
};

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
/** What is read for a connection that sends files by itself but takes no more now: enough to hear of it when it does. */
const NUDGE_BYTES = 16 * 1024;
const FATAL: ReadonlySet<string> = new Set(["LINE_TOO_LONG", "TIMEOUT", "CHANGED"]);

/** A guest, and what the transport must tell it. */
export function createGuest(options: GuestOptions): { guest: Guest; handlers: Handlers } {
  const { connection, bucket, clock } = options;
  const reader = createReader();
  let offset = 0;
  let left = 0;
  let slices: Slices | undefined;
  let allowed = 0; // bytes that the rate limit has let pass and that have not been sent
  let direct = true; // as far as we know, the system can send this file by itself
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
    send(from, length, source) {
      guest.reply({ verb: "DATA", offset: from, payloadBytes: length });
      offset = from;
      left = length;
      slices = source;
      direct = true;
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
    let served = 0;
    while (!gone && connection.queued === 0) {
      if (left > 0 && slices !== undefined) {
        if (!sendSlice(slices)) await waitMs(bucket.waitMs());
        // A fast reader must not keep the others from their turn.
        else if (++served % TURN_SLICES === 0) await new Promise<void>((turn) => setImmediate(turn));
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
  function sendSlice(from: Slices): boolean {
    if (allowed === 0) allowed = bucket.take(Math.min(left, SLICE_BYTES));
    if (allowed === 0) return false;
    const sent = sendDirectly(from) || sendRead(from);
    if (sent === 0) {
      left = 0;
      allowed = 0;
      connection.destroy();
      return true;
    }
    offset += sent;
    left -= sent;
    allowed -= sent;
    from.onSent(sent);
    return true;
  }

  /** By the system alone; 0 when the socket takes no more now, and where there is no such way. */
  function sendDirectly({ fd }: Slices): number {
    if (!direct || fd === undefined || connection.sendFile === undefined) return 0;
    return connection.sendFile(fd, offset, allowed);
  }

  /** Through the buffer; 0 when the file no longer gives what it announced. */
  function sendRead({ fd, read }: Slices): number {
    const nudging = direct && fd !== undefined && connection.sendFile !== undefined;
    const most = nudging ? NUDGE_BYTES : SLICE_BYTES;
    if (buffer === undefined || buffer.length < most) buffer = new Uint8Array(most);
    const slice = buffer.subarray(0, Math.min(allowed, most));
    const got = read(slice, offset);
    if (isFault(got) || got < slice.length) return 0;
    connection.send(slice);
    // It took all of that, so it was not full: the system cannot send this file by itself.
    if (connection.queued === 0) direct = false;
    return slice.length;
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
