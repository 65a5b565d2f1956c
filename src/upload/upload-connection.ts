// One connection from a downloading peer: its requests read in order, and what each is answered as it takes it.
// Invariant: one request at a time; what a line announced follows, or nothing does; every byte counts against the rate.
// Never: decides who may have what; uploads.ts answers everything but the bytes.

import { type Fault, isFault, type WireCode } from "../protocol/fault.ts";
import { READ_AHEAD_BYTES_MAX, SEND_STEP_BYTES_MAX } from "../protocol/limits.ts";
import type { PeerRequest, Reply } from "../protocol/messages.ts";
import { createReader } from "../protocol/reader.ts";
import { encodeReply } from "../protocol/replies.ts";
import { decodePeerRequest } from "../protocol/requests.ts";
import type { Connection, Handlers } from "../transport/connection.ts";
import type { Payer } from "./fair-rate.ts";
import { createFileSender, fromMemory, NOTHING, type Outgoing, SLICE_BYTES, type Slices } from "./outgoing.ts";

export type UploadConnection = {
  readonly connection: Connection;
  reply(message: Reply, payload?: Uint8Array): void;
  refuse(why: Fault, verb?: "ERROR" | "REJECT"): void;
  /** DATA and then `length` bytes of `slices` from `offset` on. */
  send(offset: number, length: number, slices: Slices): void;
  /** From now on it sends for this download. */
  joins(download: string): void;
  /** Whether something that was announced is still to be sent. */
  readonly sending: boolean;
  readonly gone: boolean;
  progress(): Progress;
};

/** How far the other side is with what it was sent. */
export type Progress = {
  /** Bytes that it has taken, as far as we know. */
  readonly taken: number;
  /** Of what was sent in all, bytes that are no file's: lines and payloads. */
  readonly overhead: number;
  /** Whether something lies here, or in the system, that it has not let in. */
  readonly isHeldUp: boolean;
  /** By how many bytes `taken` may be behind. */
  readonly step: number;
};

export type UploadConnectionOptions = {
  readonly connection: Connection;
  readonly payer: Payer;
  /** Answers one request; the next is read once it has. A fault becomes an ERROR. */
  readonly serve: (guest: UploadConnection, request: PeerRequest) => Promise<Fault | undefined> | Fault | undefined;
  readonly onClose: (guest: UploadConnection) => void;
};

const TURN_SLICES = 4;
const FATAL: ReadonlySet<string> = new Set(["LINE_TOO_LONG", "TIMEOUT", "CHANGED"]);

/** The state of one connection. */
type Talk = {
  readonly reader: ReturnType<typeof createReader>;
  outgoing: Outgoing;
  /** Bytes that the rate has let pass and that have not been sent. */
  allowed: number;
  /** Bytes handed to the connection, and those of them that are no file's. */
  handed: number;
  overhead: number;
  busy: boolean;
  ended: boolean;
  gone: boolean;
};

/** A guest, and what the transport must tell it. */
export function createUploadConnection(options: UploadConnectionOptions): {
  guest: UploadConnection;
  handlers: Handlers;
} {
  const { connection, payer } = options;
  const talk: Talk = {
    reader: createReader(),
    outgoing: NOTHING,
    allowed: 0,
    handed: 0,
    overhead: 0,
    busy: false,
    ended: false,
    gone: false,
  };
  const fromFile = createFileSender(connection);

  const guest: UploadConnection = {
    connection,
    reply(message, payload) {
      const line = encodeReply(message);
      connection.send(line);
      const bytes = Buffer.byteLength(line);
      payer.spend(bytes);
      talk.handed += bytes;
      talk.overhead += bytes + (payload?.length ?? 0);
      if (payload !== undefined) talk.outgoing = fromMemory(connection, payload);
    },
    refuse(why, verb = "ERROR") {
      guest.reply({ verb, code: why.fault as WireCode, retry: why.retry, text: why.detail });
      if (verb === "REJECT" || !FATAL.has(why.fault)) return;
      // Its slot is free from now on, however long the goodbye takes, and whatever it still asks is not heard.
      talk.gone = true;
      talk.outgoing = NOTHING;
      connection.end();
      options.onClose(guest);
    },
    send(offset, length, slices) {
      guest.reply({ verb: "DATA", offset, payloadBytes: length });
      talk.outgoing = fromFile(offset, length, slices);
    },
    joins: (download) => payer.joins(download),
    get sending() {
      return talk.outgoing.left > 0;
    },
    get gone() {
      return talk.gone;
    },
    progress: () => progressOf(connection, talk),
  };
  const pump = () => void serveAll(guest, talk, options);
  return { guest, handlers: handlersOf(guest, talk, options, pump) };
}

function handlersOf(
  guest: UploadConnection,
  talk: Talk,
  { connection, onClose }: UploadConnectionOptions,
  pump: () => void,
): Handlers {
  return {
    data(chunk) {
      if (talk.gone) return;
      talk.reader.push(chunk);
      if (talk.reader.size > READ_AHEAD_BYTES_MAX) connection.pause();
      pump();
    },
    drain: pump,
    end() {
      talk.ended = true;
      pump();
    },
    close() {
      talk.gone = true;
      onClose(guest);
    },
  };
}

/** Serves what the guest asked for, in its order, as fast as it reads. */
async function serveAll(
  guest: UploadConnection,
  talk: Talk,
  { connection, payer, serve }: UploadConnectionOptions,
): Promise<void> {
  if (talk.busy) return;
  talk.busy = true;
  let served = 0;
  while (!talk.gone && connection.queued === 0) {
    if (talk.outgoing.left > 0) {
      await sendSome(talk, connection, payer);
      // A fast reader must not keep the others from their turn.
      if (++served % TURN_SLICES === 0) await new Promise<void>((turn) => setImmediate(turn));
      continue;
    }
    const unpaid = payer.settled();
    if (unpaid !== undefined) {
      await unpaid;
      continue;
    }
    const line = talk.reader.line();
    if (line === undefined) break;
    const request = isFault(line) ? line : decodePeerRequest(line);
    const refused = isFault(request) ? request : await serve(guest, request);
    if (refused !== undefined) guest.refuse(refused);
    if (refused?.fault === "LINE_TOO_LONG") break;
  }
  talk.busy = false;
  if (talk.reader.size <= READ_AHEAD_BYTES_MAX) connection.resume();
  if (talk.ended && connection.queued === 0 && talk.outgoing.left === 0) connection.end();
}

/** A slice of what is being sent, as large as the rate lets pass. */
async function sendSome(talk: Talk, connection: Connection, payer: Payer): Promise<void> {
  const { outgoing } = talk;
  if (talk.allowed === 0) talk.allowed = await payer.take(Math.min(outgoing.left, SLICE_BYTES));
  while (talk.allowed > 0 && !talk.gone && connection.queued === 0) {
    const sent = await outgoing.send(talk.allowed);
    if (talk.gone) return;
    if (sent === 0) {
      talk.outgoing = NOTHING;
      return connection.destroy();
    }
    outgoing.left -= sent;
    talk.handed += sent;
    talk.allowed -= sent;
  }
}

function progressOf(connection: Connection, { handed, overhead }: Talk): Progress {
  const told = connection.taken?.();
  const left = handed - connection.queued;
  const isQueued = connection.queued > 0;
  if (told === undefined) return { taken: left, overhead, isHeldUp: isQueued, step: SEND_STEP_BYTES_MAX };
  const { bytes, acknowledged, step } = told;
  return { taken: Math.min(bytes, handed), overhead, isHeldUp: isQueued || acknowledged < handed, step };
}
