// A network in memory: connections whose two ends a test holds, and whose moment of dying it chooses.

import type { Address } from "../../src/protocol/address.ts";
import { fault } from "../../src/protocol/fault.ts";
import type { Connect, Connection, Handlers } from "../../src/transport/connection.ts";

/** The other end of one dialled connection. */
export type FarEnd = {
  /** Everything that our side sent so far, as text. */
  readonly sent: string;
  /** Forgets what was sent, and returns it. */
  take(): string;
  /** Bytes that arrive at our side. */
  say(bytes: string | Uint8Array): void;
  /** What our side has queued from now on, as a slow reader would leave it. */
  queued: number;
  drain(): void;
  /** The other side says that it sends no more. */
  end(): void;
  /** The connection is over. */
  close(): void;
  readonly state: "open" | "ended" | "closed";
};

export type Net = {
  readonly connect: Connect;
  /** Every connection dialled so far, the refused ones left out. */
  readonly dialled: readonly FarEnd[];
  /** Whether dialling works. */
  up: boolean;
};

const LOCAL: Address = { ip: "127.0.0.1", port: 50_000 };

export function createFarEnd(to: Address, open: (connection: Connection) => Handlers): [Connection, FarEnd] {
  let sent = "";
  let state: FarEnd["state"] = "open";
  const close = () => {
    if (state === "closed") return;
    state = "closed";
    handlers.close();
  };
  const far: FarEnd = {
    get sent() {
      return sent;
    },
    take() {
      const all = sent;
      sent = "";
      return all;
    },
    say: (bytes) => {
      if (state !== "closed") handlers.data(typeof bytes === "string" ? Buffer.from(bytes) : bytes);
    },
    queued: 0,
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
      if (state === "open") sent += typeof bytes === "string" ? bytes : Buffer.from(bytes).toString("latin1");
    },
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
  const net = {
    up: true,
    dialled,
    connect: (async (to, open) => {
      if (!net.up) return fault("PEER_UNREACHABLE", "network", "ECONNREFUSED", true);
      const [connection, far] = createFarEnd(to, open);
      dialled.push(far);
      return connection;
    }) as Connect,
  };
  return net;
}
