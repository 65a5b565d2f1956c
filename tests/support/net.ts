// A network in memory: connections whose two ends a test holds, and whose moment of dying it chooses.

import type { Address } from "../../src/protocol/address.ts";
import {
  CANNOT_SEND,
  type Connect,
  type Connection,
  DEAF,
  type Handlers,
  type Listen,
  type Taken,
  unreachable,
} from "../../src/transport/connection.ts";

/** The other end of one connection. */
export type FarEnd = {
  /** Everything that our side sent so far, as text. */
  readonly sent: string;
  readonly sentBytes: Buffer;
  /** How often our side has called `send`. */
  readonly sends: number;
  /** Forgets what was sent, and returns it. */
  take(): string;
  /** Bytes that arrive at our side. */
  say(bytes: string | Uint8Array): void;
  /** How many more bytes leave our side before the rest is queued, as a slow reader would have it. */
  room: number;
  /** Reads so many bytes, of which the first were queued; whether none are any more. */
  read(bytes: number): boolean;
  /** What our side has queued. */
  queued: number;
  /** What the system tells our side of what was taken. */
  taken: Taken | undefined;
  drain(): void;
  /** The other side says that it sends no more. */
  end(): void;
  /** The connection is over. */
  close(): void;
  readonly state: "open" | "ended" | "closed";
};

/**
 * Sends a file by itself: the bytes that leave at once, of `length` from `offset` on, where `room` is left; undefined
 * where it cannot.
 */
type SendFile = (fd: number, offset: number, length: number, room: number) => Uint8Array | undefined;

export type Net = {
  readonly connect: Connect;
  /** Every connection dialled so far, the refused ones left out. */
  readonly dialled: readonly FarEnd[];
  /** Whether dialling works. */
  up: boolean;
  readonly listen: Listen;
  /** Somebody dials whoever listens here. */
  visit(from: Address): FarEnd;
};

const LOCAL: Address = { ip: "127.0.0.1", port: 50_000 };

export function createFarEnd(
  to: Address,
  open: (connection: Connection) => Handlers,
  sendFile?: SendFile,
): [Connection, FarEnd] {
  let sent: Uint8Array[] = [];
  const waiting: Uint8Array[] = [];
  let state: FarEnd["state"] = "open";
  let sends = 0;
  const close = () => {
    if (state === "closed") return;
    state = "closed";
    handlers.close();
  };
  /** Takes a copy: whoever sends may use the bytes again once they have left. */
  function leave(bytes: Uint8Array): void {
    const now = Uint8Array.from(bytes.subarray(0, far.room)); // a Buffer's own slice would be a view
    sent.push(now);
    far.room -= now.length;
    if (now.length === bytes.length) return;
    waiting.push(Uint8Array.from(bytes.subarray(now.length)));
    far.queued += bytes.length - now.length;
  }
  const all = (): Buffer => {
    if (sent.length > 1) sent = [Buffer.concat(sent)];
    return Buffer.from(sent[0] ?? []);
  };
  const far: FarEnd = {
    get sent() {
      return all().toString();
    },
    get sentBytes() {
      return all();
    },
    get sends() {
      return sends;
    },
    take() {
      const text = far.sent;
      sent = [];
      return text;
    },
    say: (bytes) => {
      if (state !== "closed") handlers.data(typeof bytes === "string" ? Buffer.from(bytes) : bytes);
    },
    room: Number.POSITIVE_INFINITY,
    read(bytes) {
      far.room = bytes;
      for (const chunk of waiting.splice(0)) {
        far.queued -= chunk.length;
        leave(chunk);
      }
      return waiting.length === 0;
    },
    queued: 0,
    taken: undefined,
    drain: () => handlers.drain(),
    end: () => handlers.end(),
    close,
    get state() {
      return state;
    },
  };
  const connection: Connection = {
    remote: to,
    local: LOCAL,
    send: (bytes) => {
      sends++;
      if (state === "open") leave(typeof bytes === "string" ? Buffer.from(bytes) : bytes);
    },
    ...(sendFile && {
      sendFile(fd, offset, length) {
        if (waiting.length > 0) throw new Error("a file goes ahead of what is queued");
        const bytes = sendFile(fd, offset, length, far.room);
        if (bytes === undefined) return CANNOT_SEND;
        leave(bytes);
        return bytes.length;
      },
    }),
    taken: () => far.taken,
    get queued() {
      return far.queued;
    },
    pause() {},
    resume() {},
    end: () => {
      if (state === "open") state = "ended";
    },
    destroy: close,
  };
  const handlers = open(connection);
  return [connection, far];
}

export function createNet(): Net {
  const dialled: FarEnd[] = [];
  let accept: Parameters<Listen>[1] = () => DEAF;
  const net: Net & { dialled: FarEnd[] } = {
    up: true,
    dialled,
    async connect(to, open) {
      if (!net.up) return unreachable(to, "ECONNREFUSED");
      const [connection, far] = createFarEnd(to, open);
      dialled.push(far);
      return connection;
    },
    listen(address, taken) {
      accept = taken;
      return { address, close() {} };
    },
    visit: (from) => createFarEnd(from, (connection) => accept(connection))[1],
  };
  return net;
}
