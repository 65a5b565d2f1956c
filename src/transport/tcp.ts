// The real network: Bun's TCP sockets behind the contract of connection.ts.
// Invariant: `socket.write` may take a part only; the rest waits in the queue and leaves on `drain`, in order.
// Never: reads what it carries.

import * as fs from "node:fs";
import type { Socket, TCPSocketListener } from "bun";
import type { Address } from "../protocol/address.ts";
import { type Fault, type FaultCode, fault, isFault } from "../protocol/fault.ts";
import { CONNECT_SECONDS_MAX, LINGER_SECONDS_MAX } from "../protocol/limits.ts";
import { type Connect, type Connection, DEAF, type Handlers, type Listen, unreachable } from "./connection.ts";
import { nextDescriptor, SCARCE_FROM } from "./descriptors.ts";
import { ownTrouble } from "./route.ts";
import { sendFile } from "./sendfile.ts";
import { followTaken } from "./tcp-info.ts";

/** What one socket carries: its owner's handlers, and what has not left yet. */
type Wire = {
  handlers: Handlers;
  queue: Uint8Array[];
  queued: number;
  /** We have said end(): nothing more is queued after it. */
  ending: boolean;
  /** The other side has said it sends no more. */
  ended: boolean;
  lingering?: ReturnType<typeof setTimeout>;
};

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
const fdOf = (socket: Socket<Wire>): number => (socket as unknown as { fd: number }).fd;

function readNow(socket: Socket<Wire>, into: Uint8Array): number {
  if (socket.readyState <= 0) return 0;
  try {
    // 0 at the end of the stream too, which Bun tells in its own time.
    return fs.readSync(fdOf(socket), into, 0, into.length, null);
  } catch {
    return 0; // nothing there now (EAGAIN), or an error that Bun is about to tell
  }
}

/** Our contract over one of Bun's sockets. */
function wrap(socket: Socket<Wire>): Connection {
  const remote = { ip: socket.remoteAddress, port: socket.remotePort };
  // Bun's types leave out localAddress; it is there.
  const local = { ip: (socket as unknown as { localAddress: string }).localAddress, port: socket.localPort };
  const wire = socket.data; // it stays the same, and asking the socket for it costs
  let follow: ReturnType<typeof followTaken>;
  return {
    remote,
    local,
    send: (bytes) => send(socket, wire, bytes),
    ...(READS_SOCKETS && { readNow: (into: Uint8Array) => readNow(socket, into) }),
    ...(sendFile && {
      sendFile: (fd: number, offset: number, length: number) =>
        wire.ending || wire.queue.length > 0 || socket.readyState <= 0
          ? 0
          : (sendFile?.(fdOf(socket), fd, offset, length) ?? 0),
    }),
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

const newWire = (): Wire => ({ handlers: DEAF, queue: [], queued: 0, ending: false, ended: false });

/** The handlers that every socket shares; a socket's own are in its `data`. */
const shared = {
  data(socket: Socket<Wire>, chunk: Uint8Array) {
    socket.data.handlers.data(chunk);
  },
  drain(socket: Socket<Wire>) {
    flush(socket);
    if (socket.data.queue.length === 0) socket.data.handlers.drain();
  },
  end(socket: Socket<Wire>) {
    socket.data.ended = true;
    socket.data.handlers.end();
    if (socket.data.ending && socket.data.queue.length === 0) socket.end();
  },
  close(socket: Socket<Wire>) {
    clearTimeout(socket.data.lingering);
    const { handlers } = socket.data;
    socket.data.handlers = DEAF;
    handlers.close();
  },
  error() {
    // Bun calls `close` right after it, and that is where an owner learns of it.
  },
};

export const LISTEN_FAULTS: Record<string, FaultCode> = {
  EADDRINUSE: "PORT_IN_USE",
  EADDRNOTAVAIL: "HOST_UNAVAILABLE",
  EACCES: "PORT_DENIED",
  EMFILE: "NO_DESCRIPTORS",
  ENFILE: "NO_DESCRIPTORS",
};

export const errorCode = (error: unknown): string => String((error as { code?: unknown })?.code ?? error);

/** How often a listener looks whether descriptors are out, or back; and while less than half of them are in use. */
const DESCRIPTOR_CHECK_MS = 250;
const DESCRIPTOR_CHECK_MS_MAX = 5000;

/**
 * Listens until it is closed. While the system has no descriptor left it does not: a socket that cannot be accepted
 * would wake the event loop again and again. A dial meanwhile is refused, and a later one finds us again.
 */
export const listen: Listen = (at, accept) => {
  const opened = open(at, accept);
  if (isFault(opened)) return opened;
  const address = { ip: at.ip, port: opened.port };
  let listener: TCPSocketListener<Wire> | undefined = opened;
  let check = setTimeout(look, DESCRIPTOR_CHECK_MS).unref();
  function look(): void {
    const next = nextDescriptor();
    if (listener !== undefined && next === undefined) {
      listener.stop();
      listener = undefined;
    } else if (listener === undefined && next !== undefined && next < SCARCE_FROM) {
      const again = open(address, accept);
      if (!isFault(again)) listener = again;
    }
    const isPlenty = next !== undefined && next < SCARCE_FROM / 2;
    check = setTimeout(look, isPlenty ? DESCRIPTOR_CHECK_MS_MAX : DESCRIPTOR_CHECK_MS).unref();
  }
  return {
    address,
    close() {
      clearTimeout(check);
      listener?.stop();
    },
  };
};

/** How many ports after a taken one are tried. */
const FREE_PORT_TRIES = 100;

/** The first port from `at` on, of FREE_PORT_TRIES, where one can listen now. */
export function freePort({ ip, port }: Address): number | undefined {
  const last = Math.min(port + FREE_PORT_TRIES - 1, 65535);
  for (let candidate = port; candidate <= last; candidate += 1) {
    const listener = open({ ip, port: candidate }, () => DEAF);
    if (isFault(listener)) continue;
    listener.stop(true);
    return candidate;
  }
  return undefined;
}

function open(at: Address, accept: Parameters<Listen>[1]): TCPSocketListener<Wire> | Fault {
  try {
    return Bun.listen<Wire>({
      hostname: at.ip,
      port: at.port,
      exclusive: true,
      allowHalfOpen: true,
      socket: {
        ...shared,
        open(socket) {
          socket.data = newWire();
          // One that was reset while it waited to be accepted has no other end any more.
          if (socket.remoteAddress === undefined || isOneTooMany(socket)) return void socket.terminate();
          socket.setNoDelay(true);
          socket.data.handlers = accept(wrap(socket));
        },
      },
    });
  } catch (error) {
    const code = errorCode(error);
    const why = LISTEN_FAULTS[code] ?? (isOutOfDescriptors() ? "NO_DESCRIPTORS" : "HOST_UNAVAILABLE");
    return fault(why, "ours", `${at.ip}:${at.port} ${code}`);
  }
}

/** Bun names no reason when a socket cannot be made; another descriptor cannot be had then either. */
function isOutOfDescriptors(): boolean {
  try {
    fs.closeSync(fs.openSync(process.execPath, "r"));
    return false;
  } catch (error) {
    return /^E[MN]FILE$/.test(errorCode(error));
  }
}

/** What is left of our descriptors is for files, dials and answers. */
const isOneTooMany = (socket: Socket<Wire>): boolean => process.platform !== "win32" && fdOf(socket) >= SCARCE_FROM;

export const connect: Connect = (to, open) => {
  const { promise, resolve } = Promise.withResolvers<Connection | Fault>();
  let late = false;
  const give = (result: Connection | Fault) => {
    clearTimeout(deadline);
    late = true;
    resolve(result);
  };
  const refuse = (detail: string) => give(unreachable(to, detail));
  const fail = async (error: unknown) => {
    const ours = await ownTrouble(to);
    give(unreachable(to, ours ?? errorCode(error), ours === undefined ? "network" : "ours"));
  };
  const deadline = setTimeout(() => refuse("ETIMEDOUT"), CONNECT_SECONDS_MAX * 1000);
  Bun.connect<Wire>({
    hostname: to.ip,
    port: to.port,
    allowHalfOpen: true,
    data: newWire(),
    socket: {
      ...shared,
      open(socket) {
        // Wine reports a refused connection as an open one without a remote address.
        if (late || socket.remoteAddress === undefined) {
          socket.terminate();
          return refuse("ECONNREFUSED");
        }
        socket.setNoDelay(true);
        const connection = wrap(socket);
        socket.data.handlers = open(connection);
        give(connection);
      },
      connectError: (_socket, error) => void fail(error),
    },
  }).catch(fail);
  return promise;
};
