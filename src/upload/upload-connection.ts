// One connection from a downloading peer: its requests read in order, and what each is answered as it takes it.
// Invariant: one request at a time; what a line announced follows, or nothing does; every byte counts against the rate.
// Never: decides what is granted; upload-server.ts answers everything but the bytes.

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
  readonly transport: Connection;
  reply(message: Reply, payload?: Uint8Array): undefined;
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
  readonly transport: Connection;
  readonly payer: Payer;
  /** Answers one request; the next is read once it has. A fault becomes an ERROR. */
  readonly serve: (
    connection: UploadConnection,
    request: PeerRequest,
  ) => Promise<Fault | undefined> | Fault | undefined;
  readonly onClose: (connection: UploadConnection) => void;
};

const TURN_SLICES = 4;
const FATAL: ReadonlySet<string> = new Set(["LINE_TOO_LONG", "TIMEOUT", "CHANGED"]);

/** How far one connection is. */
type State = {
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

/** A connection, and what the transport must tell it. */
export function createUploadConnection(options: UploadConnectionOptions): {
  connection: UploadConnection;
  handlers: Handlers;
} {
  const { transport, payer } = options;
  const state: State = {
    reader: createReader(),
    outgoing: NOTHING,
    allowed: 0,
    handed: 0,
    overhead: 0,
    busy: false,
    ended: false,
    gone: false,
  };
  const fromFile = createFileSender(transport);

  const connection: UploadConnection = {
    transport,
    reply(message, payload) {
      const line = encodeReply(message);
      transport.send(line);
      const bytes = Buffer.byteLength(line);
      payer.spend(bytes);
      state.handed += bytes;
      state.overhead += bytes + (payload?.length ?? 0);
      if (payload !== undefined) state.outgoing = fromMemory(transport, payload);
    },
    refuse(why, verb = "ERROR") {
      connection.reply({ verb, code: why.fault as WireCode, retry: why.retry, text: why.detail });
      if (verb === "REJECT" || !FATAL.has(why.fault)) return;
      // Its slot is free from now on, however long the goodbye takes, and whatever it still asks is not heard.
      state.gone = true;
      state.outgoing = NOTHING;
      transport.end();
      options.onClose(connection);
    },
    send(offset, length, slices) {
      connection.reply({ verb: "DATA", offset, payloadBytes: length });
      state.outgoing = fromFile(offset, length, slices);
    },
    joins: (download) => payer.joins(download),
    get sending() {
      return state.outgoing.left > 0;
    },
    get gone() {
      return state.gone;
    },
    progress: () => progressOf(transport, state),
  };
  const goOn = () => void serveAll(connection, state, options);
  return { connection, handlers: handlersOf(connection, state, options, goOn) };
}

function handlersOf(
  connection: UploadConnection,
  state: State,
  { transport, onClose }: UploadConnectionOptions,
  goOn: () => void,
): Handlers {
  return {
    data(chunk) {
      if (state.gone) return;
      state.reader.push(chunk);
      if (state.reader.size > READ_AHEAD_BYTES_MAX) transport.pause();
      goOn();
    },
    drain: goOn,
    end() {
      state.ended = true;
      goOn();
    },
    close() {
      state.gone = true;
      onClose(connection);
    },
  };
}

/** Serves what the connection asked for, in its order, as fast as it reads. */
async function serveAll(
  connection: UploadConnection,
  state: State,
  { transport, payer, serve }: UploadConnectionOptions,
): Promise<void> {
  if (state.busy) return;
  state.busy = true;
  let served = 0;
  while (!state.gone && transport.queued === 0) {
    if (state.outgoing.left > 0) {
      await sendSome(state, transport, payer);
      // A fast reader must not keep the others from their turn.
      if (++served % TURN_SLICES === 0) await new Promise<void>((turn) => setImmediate(turn));
      continue;
    }
    const unpaid = payer.settled();
    if (unpaid !== undefined) {
      await unpaid;
      continue;
    }
    const line = state.reader.line();
    if (line === undefined) break;
    const request = isFault(line) ? line : decodePeerRequest(line);
    const refused = isFault(request) ? request : await serve(connection, request);
    if (refused !== undefined) connection.refuse(refused);
    if (refused?.fault === "LINE_TOO_LONG") break;
  }
  state.busy = false;
  if (state.reader.size <= READ_AHEAD_BYTES_MAX) transport.resume();
  if (state.ended && transport.queued === 0 && state.outgoing.left === 0) transport.end();
}

/** A slice of what is being sent, as large as the rate lets pass. */
async function sendSome(state: State, transport: Connection, payer: Payer): Promise<void> {
  const { outgoing } = state;
  if (state.allowed === 0) state.allowed = await payer.take(Math.min(outgoing.left, SLICE_BYTES));
  while (state.allowed > 0 && !state.gone && transport.queued === 0) {
    const sent = await outgoing.send(state.allowed);
    if (state.gone) return;
    if (sent === 0) {
      state.outgoing = NOTHING;
      return transport.destroy();
    }
    outgoing.left -= sent;
    state.handed += sent;
    state.allowed -= sent;
  }
}

function progressOf(transport: Connection, { handed, overhead }: State): Progress {
  const told = transport.taken?.();
  const left = handed - transport.queued;
  const isQueued = transport.queued > 0;
  if (told === undefined) return { taken: left, overhead, isHeldUp: isQueued, step: SEND_STEP_BYTES_MAX };
  const { bytes, acknowledged, step } = told;
  return { taken: Math.min(bytes, handed), overhead, isHeldUp: isQueued || acknowledged < handed, step };
}
