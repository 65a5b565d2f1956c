// One connected client as the server keeps it, and what ends the conversation with it.
// Invariant: its requests are answered one after another; `busy` says that one is being answered.
// Never: decides or sends anything; servidor.ts does.

import { networkInterfaces } from "node:os";
import type { Client } from "../catalog/answer.ts";
import type { ServerState } from "../protocol/conversation.ts";
import { type Fault, fault, type WireCode } from "../protocol/fault.ts";
import {
  IDLE_SECONDS_MAX,
  STRANGERS_MAX,
  STRANGERS_PER_ADDRESS_MAX,
  UNJOINED_SECONDS_MAX,
} from "../protocol/limits.ts";
import { createOrders, type Orders } from "../protocol/orders.ts";
import { createReader, type Reader } from "../protocol/reader.ts";
import { encodeReply } from "../protocol/replies.ts";
import type { Connection } from "../transport/connection.ts";
import { createCrowd } from "../transport/crowd.ts";

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
  /** It has joined or is gone: it no longer counts among those who have not. */
  known(): void;
};

/** Every address of this machine. */
const machineAddresses = (): ReadonlySet<string> =>
  new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map((one) => one.address)));

/** A client that has just connected, at `now` milliseconds; `onKnown` is called once. */
function createSession(
  connection: Connection,
  machineIps: ReadonlySet<string>,
  now: number,
  onKnown: () => void,
): Session {
  const reader = createReader();
  let isKnown = false;
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
    known() {
      if (!isKnown) onKnown();
      isKnown = true;
    },
  };
}

/** Lets clients in, but not too many at once that have not joined. */
export function createDoorway(machineIps: ReadonlySet<string> = machineAddresses()): {
  /** Undefined for one too many, which has been told so. */
  enter(connection: Connection, now: number): Session | undefined;
} {
  const strangers = createCrowd(STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX);
  return {
    enter(connection, now) {
      const { ip } = connection.remote;
      if (strangers.admit(ip)) return createSession(connection, machineIps, now, () => strangers.release(ip));
      const text = "connections that have not joined";
      connection.send(encodeReply({ verb: "ERROR", code: "TOO_MANY", retry: true, text }));
      connection.end();
      return undefined;
    },
  };
}

/** It is in, and was heard of at `now`. */
export function stay(session: Session, now: number): void {
  session.known();
  putOff(session, Number.POSITIVE_INFINITY, now);
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

/** Why a session whose deadline has passed is closed. */
export function silence({ client }: Session): Fault {
  return fault("TIMEOUT", "theirs", client.member === undefined ? "no JOIN" : `silent for ${IDLE_SECONDS_MAX} s`, true);
}

/** What stands in the place of a reply. */
export const errorLine = (why: Fault): string =>
  encodeReply({ verb: "ERROR", code: why.fault as WireCode, retry: why.retry, text: why.detail });

/** Faults after which we cannot know where the next request begins, or want no next one. */
export const FATAL: ReadonlySet<string> = new Set([
  "LINE_TOO_LONG",
  "PAYLOAD_TOO_LARGE",
  "SHUTTING_DOWN",
  "TIMEOUT",
  "INTERNAL",
]);
