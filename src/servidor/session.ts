// One connected client as the server keeps it, and what ends the conversation with it.
// Invariant: its requests are answered one after another; `busy` says that one is being answered.
// Never: decides or sends anything; servidor.ts does.

import type { Client } from "../catalog/answer.ts";
import type { ServerState } from "../protocol/conversation.ts";
import { IDLE_SECONDS_MAX, UNJOINED_SECONDS_MAX } from "../protocol/limits.ts";
import { createOrders, type Orders } from "../protocol/orders.ts";
import { createReader, type Reader } from "../protocol/reader.ts";
import type { Connection } from "../transport/connection.ts";

/** One connected client. */
export type Session = {
  readonly connection: Connection;
  readonly reader: Reader;
  readonly orders: Orders;
  readonly client: Client;
  state: ServerState;
  /** A request is being answered; the next waits its turn in the reader. */
  busy: boolean;
  /** We do not read it for now. */
  paused: boolean;
  /** The client will send no more: goodbye once everything is answered. */
  ended: boolean;
  /** When it will have been silent for too long. Only whole requests, and a JOIN's payload that makes way, put it off. */
  dueAt: number;
};

/** A client that has just connected, at `now` milliseconds. */
export function createSession(connection: Connection, machineIps: ReadonlySet<string>, now: number): Session {
  const reader = createReader();
  return {
    connection,
    reader,
    orders: createOrders(reader),
    client: { observedIp: connection.remote.ip, machineIps, member: undefined },
    state: "new",
    busy: false,
    paused: false,
    ended: false,
    dueAt: now + UNJOINED_SECONDS_MAX * 1000,
  };
}

/** A peer's deadline moves by `ms`, at most to a whole IDLE_SECONDS_MAX from `now`. */
export function putOff(session: Session, ms: number, now: number): void {
  session.dueAt = Math.min(session.dueAt + ms, now + IDLE_SECONDS_MAX * 1000);
}

export function setPaused(session: Session, paused: boolean): void {
  if (session.paused === paused) return;
  session.paused = paused;
  if (paused) session.connection.pause();
  else session.connection.resume();
}

/** Faults after which we cannot know where the next request begins, or want no next one. */
export const FATAL: ReadonlySet<string> = new Set([
  "LINE_TOO_LONG",
  "PAYLOAD_TOO_LARGE",
  "SHUTTING_DOWN",
  "TIMEOUT",
  "INTERNAL",
]);
