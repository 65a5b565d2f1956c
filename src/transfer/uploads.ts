// Serving files to other peers: who may have a slot, and the bytes of each GET, read as the other side takes them.
// Invariant: only what was announced is served; one buffer per connection, refilled only once it has left.
// Never: knows it runs on a thread of its own (upload-worker.ts), or opens a path that came from the network.

import { type Address, formatAddress } from "../protocol/address.ts";
import { nextPeerState, type PeerState } from "../protocol/conversation.ts";
import { type Fault, fault, isFault, type WireCode } from "../protocol/fault.ts";
import { READ_AHEAD_BYTES_MAX, UNJOINED_SECONDS_MAX, UPLOAD_IDLE_SECONDS_MAX } from "../protocol/limits.ts";
import { type PeerRequest, type Reply, type Root, VERSION } from "../protocol/messages.ts";
import { createReader, type Reader } from "../protocol/reader.ts";
import { encodeReply } from "../protocol/replies.ts";
import { decodePeerRequest } from "../protocol/requests.ts";
import type { Clock } from "../transport/clock.ts";
import type { Connection, Handlers } from "../transport/connection.ts";
import type { ReadableFile, Shelf, Stocked } from "./shelf.ts";

export type UploadsEvent =
  /** Somebody downloads a file whose piece layer is not here yet: it goes before the others. */
  | { readonly type: "wanted"; readonly name: string }
  /** A file is no longer what was announced. */
  | { readonly type: "changed"; readonly name: string }
  | { readonly type: "uploaded"; readonly name: string; readonly to: Address; readonly bytes: number };

export type UploadsOptions = {
  readonly shelf: Shelf;
  readonly clock: Clock;
  /** 32 hex digits that nobody can guess. */
  readonly newTicket: () => string;
  /** Files being sent at once; a DOWNLOAD beyond it is rejected. */
  readonly maxUploads: number;
  readonly rejectAll: boolean;
  readonly onEvent: (event: UploadsEvent) => void;
};

/** One granted download: its slot, its file, and the connections that fetch it. */
type Upload = {
  readonly ticket: string;
  readonly stocked: Stocked;
  readonly file: ReadableFile;
  readonly control: Guest;
  readonly guests: Set<Guest>;
  sent: number;
  movedAt: number;
};

/** One connection from a downloading peer. */
type Guest = {
  readonly connection: Connection;
  readonly reader: Reader;
  readonly since: number;
  state: PeerState;
  upload: Upload | undefined;
  /** The GET being answered: where its next byte is, and how many are left. */
  offset: number;
  left: number;
  buffer: Uint8Array | undefined;
  busy: boolean;
  ended: boolean;
  gone: boolean;
};

const SLICE_BYTES = 512 * 1024;
const TURN_SLICES = 8;
const SWEEP_MS = 1000;

export type Uploads = {
  /** What the listener calls for each connection. */
  accept(connection: Connection): Handlers;
  /** Ends every upload. */
  close(): void;
};

export function createUploads(options: UploadsOptions): Uploads {
  const { shelf, clock } = options;
  const guests = new Set<Guest>();
  const uploads = new Map<string, Upload>();
  let opening = 0; // slots taken by files that are being opened

  function accept(connection: Connection): Handlers {
    const guest: Guest = {
      connection,
      reader: createReader(),
      since: clock.now(),
      state: "new",
      upload: undefined,
      offset: 0,
      left: 0,
      buffer: undefined,
      busy: false,
      ended: false,
      gone: false,
    };
    guests.add(guest);
    return {
      data(chunk) {
        guest.reader.push(chunk);
        if (guest.reader.size > READ_AHEAD_BYTES_MAX) connection.pause();
        void pump(guest);
      },
      drain: () => void pump(guest),
      end() {
        guest.ended = true;
        void pump(guest);
      },
      close() {
        guest.gone = true;
        guests.delete(guest);
        leave(guest);
      },
    };
  }

  /** Serves what the guest asked for, in its order, as fast as it reads. */
  async function pump(guest: Guest): Promise<void> {
    const { connection, reader } = guest;
    if (guest.busy) return;
    guest.busy = true;
    let slices = 0;
    while (!guest.gone && connection.queued === 0) {
      if (guest.left > 0) {
        sendSlice(guest);
        // A fast reader must not keep the others from their turn.
        if (++slices % TURN_SLICES === 0) await new Promise<void>((turn) => setImmediate(turn));
        continue;
      }
      const line = reader.line();
      if (line === undefined) break;
      const request = isFault(line) ? line : decodePeerRequest(line);
      const refused = isFault(request) ? request : await serve(guest, request);
      if (isFault(refused)) refuse(guest, refused);
    }
    guest.busy = false;
    if (reader.size <= READ_AHEAD_BYTES_MAX) connection.resume();
    if (guest.ended && connection.queued === 0 && guest.left === 0) connection.end();
  }

  function refuse(guest: Guest, why: Fault, verb: "ERROR" | "REJECT" = "ERROR"): void {
    reply(guest, { verb, code: why.fault as WireCode, retry: why.retry, text: why.detail });
    if (FATAL.has(why.fault)) guest.connection.end();
  }

  const reply = (guest: Guest, message: Reply): void => guest.connection.send(encodeReply(message));

  async function serve(guest: Guest, request: PeerRequest): Promise<Fault | undefined> {
    const next = nextPeerState(guest.state, request.verb);
    if (isFault(next)) return next;
    if (guest.upload !== undefined) guest.upload.movedAt = clock.now();
    switch (request.verb) {
      case "HELLO":
        reply(guest, { verb: "HELLO", version: Math.min(request.version, VERSION) });
        return undefined;
      case "PING":
        reply(guest, { verb: "PONG" });
        return undefined;
      // SPEC 5.g: DOWNLOAD is answered by what this peer really has, accepted or rejected.
      case "DOWNLOAD":
        return grant(guest, shelf.byName(request.name), request.name);
      case "FETCH":
        return grant(guest, shelf.byRoot(request.root), request.root);
      case "LANE":
        return openLane(guest, request.ticket);
      case "LAYER":
        return sendLayer(guest);
      case "PIECES":
        return fault("NOT_READY", "ours", "every piece is here");
      case "GET":
        return beginGet(guest, request.offset, request.length);
    }
  }

  async function grant(guest: Guest, stocked: Stocked | undefined, wanted: string): Promise<undefined> {
    const reject = (why: Fault): undefined => {
      refuse(guest, why, "REJECT");
    };
    if (options.rejectAll) return reject(fault("REFUSED", "ours", "this peer refuses every download"));
    if (stocked === undefined) return reject(fault("NOT_SHARED", "theirs", `not shared here: ${wanted}`));
    if (uploads.size + opening >= options.maxUploads) {
      return reject(fault("BUSY", "ours", `all ${options.maxUploads} upload slots are taken`, true));
    }
    opening++;
    const file = await shelf.open(stocked);
    opening--;
    if (isFault(file)) {
      options.onEvent({ type: "changed", name: stocked.share.name });
      return reject(fault("CHANGED", "ours", "the file is no longer as it was announced"));
    }
    const ticket = options.newTicket();
    const upload: Upload = {
      ticket,
      stocked,
      file,
      control: guest,
      guests: new Set([guest]),
      sent: 0,
      movedAt: clock.now(),
    };
    if (guest.gone) {
      file.close();
      return undefined;
    }
    uploads.set(ticket, upload);
    guest.upload = upload;
    guest.state = "granted";
    const { size, root } = stocked.share;
    reply(guest, { verb: "ACCEPT", grant: { ticket, size, pieceBytes: stocked.pieceBytes, root } });
    if (stocked.layer === undefined) options.onEvent({ type: "wanted", name: stocked.share.name });
    return undefined;
  }

  function openLane(guest: Guest, ticket: string): Fault | undefined {
    const upload = uploads.get(ticket);
    if (upload === undefined) return fault("BAD_STATE", "theirs", "no such ticket");
    if (upload.guests.size > LANES_PER_TICKET_MAX) return fault("TOO_MANY", "theirs", "lanes of one download");
    upload.guests.add(guest);
    guest.upload = upload;
    guest.state = "lane";
    reply(guest, { verb: "LANE_OK" });
    return undefined;
  }

  function sendLayer(guest: Guest): Fault | undefined {
    const layer = shelf.byName(guest.upload?.stocked.share.name ?? "")?.layer;
    if (layer === undefined) return fault("NOT_READY", "ours", "the file is still being hashed", true);
    reply(guest, { verb: "LAYER_OK", payloadBytes: layer.length });
    if (layer.length > 0) guest.connection.send(layer);
    return undefined;
  }

  function beginGet(guest: Guest, offset: number, length: number): Fault | undefined {
    const upload = guest.upload as Upload;
    if (offset + length > upload.stocked.share.size) return fault("BAD_RANGE", "theirs", "past the end of the file");
    if (!upload.file.unchanged()) {
      options.onEvent({ type: "changed", name: upload.stocked.share.name });
      return fault("CHANGED", "ours", "the file was changed while it was being sent");
    }
    reply(guest, { verb: "DATA", offset, payloadBytes: length });
    guest.offset = offset;
    guest.left = length;
    return undefined;
  }

  /** One slice of the GET under way. What was announced must follow: when it cannot, the connection ends. */
  function sendSlice(guest: Guest): void {
    const upload = guest.upload as Upload;
    guest.buffer ??= new Uint8Array(SLICE_BYTES);
    const slice = guest.left < SLICE_BYTES ? guest.buffer.subarray(0, guest.left) : guest.buffer;
    const read = upload.file.read(slice, guest.offset);
    if (isFault(read) || read < slice.length) {
      options.onEvent({ type: "changed", name: upload.stocked.share.name });
      guest.left = 0;
      return guest.connection.destroy();
    }
    guest.connection.send(slice);
    guest.offset += read;
    guest.left -= read;
    upload.sent += read;
    upload.movedAt = clock.now();
  }

  /** The guest's connection is over. With the control connection the whole upload is. */
  function leave(guest: Guest): void {
    const { upload } = guest;
    if (upload === undefined) return;
    upload.guests.delete(guest);
    if (upload.control !== guest) return;
    uploads.delete(upload.ticket);
    for (const lane of upload.guests) lane.connection.destroy();
    upload.file.close();
    const { name } = upload.stocked.share;
    options.onEvent({ type: "uploaded", name, to: guest.connection.remote, bytes: upload.sent });
  }

  /** Frees what nobody uses: connections that never asked, slots whose holder takes nothing. */
  function sweep(): () => void {
    return clock.after(SWEEP_MS, () => {
      const now = clock.now();
      for (const guest of guests) {
        const since = guest.upload?.movedAt ?? guest.since;
        const seconds = guest.upload === undefined ? UNJOINED_SECONDS_MAX : UPLOAD_IDLE_SECONDS_MAX;
        if (now - since < seconds * 1000) continue;
        if (guest.left === 0) refuse(guest, fault("TIMEOUT", "theirs", `nothing was fetched for ${seconds} s`, true));
        guests.delete(guest);
        leave(guest);
        guest.connection.destroy();
      }
      stopSweep = sweep();
    });
  }
  let stopSweep = sweep();

  return {
    accept,
    close() {
      stopSweep();
      for (const guest of [...guests]) guest.connection.destroy();
    },
  };
}

const LANES_PER_TICKET_MAX = 8;
const FATAL: ReadonlySet<string> = new Set(["LINE_TOO_LONG", "TIMEOUT", "CHANGED"]);
