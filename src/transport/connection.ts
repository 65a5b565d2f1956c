// What the rest of the program knows of a network: two functions, and connections made by them.
// Invariant: bytes handed to `send` leave in order, all of them, or the connection closes with a fault.
// Never: names Bun. tcp.ts is the real network; a test hands in another.

import type { Address } from "../protocol/address.ts";
import { type Fault, fault, type Whose } from "../protocol/fault.ts";
import type { Id } from "../protocol/id.ts";

export type Connection = {
  readonly remote: Address;
  readonly local: Address;
  /** Of the key that the other side has proved; undefined where the connection is plain. */
  readonly id?: Id;
  /** What only the two ends of an encrypted connection know, for the proof of an invitation. */
  channel?(): Uint8Array;
  /** Sends now or as soon as the other side reads. The bytes must not be changed before they have left. */
  send(bytes: string | Uint8Array): void;
  /**
   * What has arrived by now and was not told through `data`, into a buffer of the caller's: how many bytes, 0 for none.
   * Only inside `data`, and only on a plain connection, where the system has it; it spares the copy of each chunk into memory of its own.
   */
  readNow?(into: Uint8Array): number;
  /**
   * Bytes of an open file, sent without passing through here: how many of `length` from `offset` on, 0 for none now,
   * CANNOT_SEND where the caller must read them itself. It waits for the disk where the bytes are not in memory. Only
   * while nothing is queued, on a plain connection, where the system has it.
   */
  sendFile?(fd: number, offset: number, length: number): number;
  /** What the other side has taken of all that was sent, where the system tells; undefined once it tells no more. */
  taken?(): Taken | undefined;
  /** Bytes accepted by `send` that have not left. A producer stops above SEND_QUEUE_BYTES_MAX until `drain`. */
  readonly queued: number;
  /** Stops and restarts the arrival of data: back-pressure towards the other side. */
  pause(): void;
  resume(): void;
  /** Says goodbye once everything queued has left. */
  end(): void;
  /** Closes at once, whatever is queued. */
  destroy(): void;
};

/** The answer of sendFile where this file, or these bytes of it, cannot be sent that way. */
export const CANNOT_SEND = -1;

/** How far the other side is. */
export type Taken = {
  /** Bytes of ours that its program has read, as far as the system knows; it never falls. */
  readonly bytes: number;
  /** Bytes that have arrived at its machine, read or not. */
  readonly acknowledged: number;
  /** By how many the count may jump at once: a steady reader may be ahead of it by so many. */
  readonly step: number;
};

/** What a connection tells its owner. `close` comes once, last, and always. */
export type Handlers = {
  data(chunk: Uint8Array): void;
  /** Everything queued has left. */
  drain(): void;
  /** The other side will send no more; it may still read. */
  end(): void;
  close(): void;
};

/** Handlers for a connection without an owner. */
export const DEAF: Handlers = { data() {}, drain() {}, end() {}, close() {} };

export type Listener = { readonly address: Address; close(): void };

/** Listens on an address of this machine, port 0 for any free one. */
export type Listen = (at: Address, accept: (connection: Connection) => Handlers) => Listener | Fault;

/**
 * Dials. Where the address has an ID, only the program with that key is taken for it: WRONG_ID. NOT_ENCRYPTED for one
 * that is no TLS 1.3, or shows no key, where that is asked. PEER_UNREACHABLE without an answer within CONNECT_SECONDS_MAX, "ours" when the dial cannot have left this
 * machine. `signal` says that the answer is not wanted any more; where it can, the dial then gives back at once what it holds.
 */
export type Connect = (
  to: Address,
  open: (connection: Connection) => Handlers,
  signal?: AbortSignal,
) => Promise<Connection | Fault>;

/** The fault of a dial that failed with this system code. */
export function unreachable(to: Address, code: string, whose: Whose = "network"): Fault {
  const failed = fault("PEER_UNREACHABLE", whose, `${to.ip}:${to.port} ${code}`, true);
  return code === "ECONNREFUSED" ? { ...failed, cause: "connection-refused" } : failed;
}
