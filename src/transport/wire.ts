// One of Bun's sockets as a connection: what waits to leave it, how it ends, and its owner's handlers.
// Invariant: `socket.write` may take a part only; the rest waits in the queue and leaves on `drain`, in order.
// Never: reads what it carries, or hands a byte to an owner before the other side has been verified (handshake.ts).

import * as fs from "node:fs";
import type { TLSSocket } from "node:tls";
import type { Socket } from "bun";
import { INVITE_CHANNEL_BYTES, INVITE_LABEL } from "../protocol/invite.ts";
import { LINGER_SECONDS_MAX } from "../protocol/limits.ts";
import { type Connection, DEAF, type Handlers } from "./connection.ts";
import type { Verified } from "./handshake.ts";
import { sendFile } from "./sendfile.ts";
import { followTaken } from "./tcp-info.ts";

/** What one socket carries: its owner's handlers, and what has not left yet. */
export type Wire = {
  /** Undefined until the other side has been verified. */
  handlers: Handlers | undefined;
  /** While it is not: ends what waits for that. */
  unverified?: (() => void) | undefined;
  queue: Uint8Array[];
  queued: number;
  /** We have said end(): nothing more is queued after it. */
  ending: boolean;
  /** The other side has said it sends no more. */
  ended: boolean;
  lingering?: ReturnType<typeof setTimeout>;
};

export const newWire = (): Wire => ({ handlers: undefined, queue: [], queued: 0, ending: false, ended: false });

const encoder = new TextEncoder();

// SPEC 5.e: TCP loses and repeats nothing, and neither do we: what a write did not take waits its turn in the queue.
function flush(socket: Socket<Wire>): void {
  const wire = socket.data;
  if (wire.queue.length === 0) return;
  while (wire.queue.length > 0) {
    const first = wire.queue[0] as Uint8Array;
    const written = socket.write(first);
    if (written < 0) return;
    wire.queued -= written;
    if (wire.ending && written > 0) linger(socket);
    if (written < first.length) {
      wire.queue[0] = first.subarray(written);
      return;
    }
    wire.queue.shift();
  }
  if (wire.ending) finish(socket);
}

/** Everything has left: half-close, and give the other side a bounded time to do the same. */
function finish(socket: Socket<Wire>): void {
  if (socket.data.ended) socket.end();
  else socket.shutdown();
}

/** After a goodbye the other side has a bounded time, from each byte that it takes, to take the rest and say its own. */
function linger(socket: Socket<Wire>): void {
  clearTimeout(socket.data.lingering);
  socket.data.lingering = setTimeout(() => socket.terminate(), LINGER_SECONDS_MAX * 1000);
}

function send(socket: Socket<Wire>, wire: Wire, bytes: string | Uint8Array): void {
  if (wire.ending || socket.readyState <= 0) return;
  const raw = typeof bytes === "string" ? encoder.encode(bytes) : bytes;
  let sent = 0;
  if (wire.queue.length === 0) sent = Math.max(0, socket.write(raw));
  if (sent < raw.length) {
    wire.queue.push(sent === 0 ? raw : raw.subarray(sent));
    wire.queued += raw.length - sent;
  }
}

/** On Linux a socket is read like a file; elsewhere `data` alone tells what has come. */
const READS_SOCKETS = process.platform === "linux";

/** Bun's types leave out fd; it is there. */
export const fdOf = (socket: Socket<Wire>): number => (socket as unknown as { fd: number }).fd;

function readNow(socket: Socket<Wire>, into: Uint8Array): number {
  if (socket.readyState <= 0) return 0;
  try {
    // 0 at the end of the stream too, which Bun tells in its own time.
    return fs.readSync(fdOf(socket), into, 0, into.length, null);
  } catch {
    return 0; // nothing there now (EAGAIN), or an error that Bun is about to tell
  }
}

/** What goes past TLS, to the bare descriptor: for a plain socket only. */
function direct(socket: Socket<Wire>, wire: Wire): Pick<Connection, "readNow" | "sendFile"> {
  return {
    ...(READS_SOCKETS && { readNow: (into: Uint8Array) => readNow(socket, into) }),
    ...(sendFile && {
      sendFile: (fd: number, offset: number, length: number) =>
        wire.ending || wire.queue.length > 0 || socket.readyState <= 0
          ? 0
          : (sendFile?.(fdOf(socket), fd, offset, length) ?? 0),
    }),
  };
}

/** Bun's types leave out exportKeyingMaterial; it is there. */
const channelOf = (socket: Socket<Wire>): Uint8Array =>
  (socket as unknown as Pick<TLSSocket, "exportKeyingMaterial">).exportKeyingMaterial(
    INVITE_CHANNEL_BYTES,
    INVITE_LABEL,
    Buffer.alloc(0),
  );

/** Our contract over one of Bun's sockets. */
function wrap({ socket, id }: Verified<Socket<Wire>>): Connection {
  const remote = { ip: socket.remoteAddress, port: socket.remotePort };
  // Bun's types leave out localAddress; it is there.
  const local = { ip: (socket as unknown as { localAddress: string }).localAddress, port: socket.localPort };
  const wire = socket.data; // it stays the same, and asking the socket for it costs
  let follow: ReturnType<typeof followTaken>;
  return {
    remote,
    local,
    ...(id === undefined ? direct(socket, wire) : { id, channel: () => channelOf(socket) }),
    send: (bytes) => send(socket, wire, bytes),
    taken() {
      if (socket.readyState <= 0) return undefined; // its descriptor may be another connection's by now
      follow ??= followTaken(fdOf(socket));
      return follow?.();
    },
    get queued() {
      return wire.queued;
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end() {
      if (socket.data.ending || socket.readyState <= 0) return;
      socket.data.ending = true;
      linger(socket);
      if (socket.data.queue.length === 0) finish(socket);
    },
    destroy: () => void socket.terminate(),
  };
}

/** Hands a connection to its owner. Only from here on are bytes of the other side told. */
export function own(verified: Verified<Socket<Wire>>, open: (connection: Connection) => Handlers): Connection {
  const { data: wire } = verified.socket;
  wire.unverified?.();
  wire.unverified = undefined;
  const connection = wrap(verified);
  wire.handlers = DEAF; // it may close while it is opened
  wire.handlers = open(connection);
  return connection;
}

/** The handlers that every socket shares; a socket's own are in its `data`. */
export const shared = {
  data(socket: Socket<Wire>, chunk: Uint8Array) {
    const { handlers } = socket.data;
    if (handlers === undefined) socket.terminate();
    else handlers.data(chunk);
  },
  drain(socket: Socket<Wire>) {
    flush(socket);
    if (socket.data.queue.length === 0) socket.data.handlers?.drain();
  },
  end(socket: Socket<Wire>) {
    socket.data.ended = true;
    if (socket.data.handlers === undefined) return void socket.terminate();
    socket.data.handlers.end();
    if (socket.data.ending && socket.data.queue.length === 0) socket.end();
  },
  close(socket: Socket<Wire>) {
    clearTimeout(socket.data.lingering);
    socket.data.unverified?.();
    const { handlers } = socket.data;
    socket.data.handlers = DEAF;
    handlers?.close();
  },
  error() {
    // Bun calls `close` right after it, and that is where an owner learns of it.
  },
};
