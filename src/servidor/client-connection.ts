// One connected client as the server keeps it, and what ends the conversation with it.
// Invariant: its requests are answered one after another; `busy` says that one is being answered.
// Never: answers anything; request-handler.ts does.

import { networkInterfaces } from "node:os";
import type { Client, Open } from "../catalog/answer.ts";
import { isIn, isLoopback, type Range } from "../protocol/address.ts";
import type { ServerState } from "../protocol/conversation.ts";
import { type Fault, fault, type WireCode } from "../protocol/fault.ts";
import { JOIN_BYTES_PER_SECOND_MIN } from "../protocol/limits.ts";
import type { ServerRequest } from "../protocol/messages.ts";
import { createOrders, type Orders } from "../protocol/orders.ts";
import { createReader, type Reader } from "../protocol/reader.ts";
import { encodeReply } from "../protocol/replies.ts";
import type { Limits } from "../protocol/server-limits.ts";
import type { Clock } from "../shared/clock.ts";
import { createConnectionLimit } from "../shared/connection-limit.ts";
import { createTokenBucket, REQUESTS, type TokenBucket } from "../shared/token-bucket.ts";
import type { Connection } from "../transport/connection.ts";
import type { Probe } from "./reachability.ts";

/** A peer's standing on this server. */
export type PeerStanding = {
  /** It counts among the peers that are in, listed or not. */
  isMember: boolean;
  /** Its address is being dialled, or waits for that. */
  probing: Probe | undefined;
  /** Its JOIN waits until the peer that it displaces has been answered. */
  isWaiting: boolean;
  /** The address under which others find it. */
  listedAt: string | undefined;
  /** That address is in 127.0.0.0/8, and the peer listens to other machines too. */
  open: Open | undefined;
  /** Stands for the names with which it joined and could not be reached. */
  unlistedNames: string | undefined;
};

/** One connected client. */
export type ClientConnection = {
  readonly connection: Connection;
  readonly reader: Reader;
  readonly orders: Orders;
  readonly from: Client;
  state: ServerState;
  /** A request is being answered; the next waits its turn in the reader. */
  busy: boolean;
  /** Answering that request takes a while; afterwards the client may be gone. */
  work: Promise<void> | undefined;
  /** What its JOINs have come to; admission.ts alone changes it. */
  readonly standing: PeerStanding;
  /** What it may still ask; there from the first time on. */
  searches?: TokenBucket;
  finds?: TokenBucket;
  /** We do not read it for now. */
  paused: boolean;
  /** The payload that is arriving waits for its turn (payload-turns.ts); it is paused until then. */
  waits: boolean;
  /** The client will send no more: goodbye once everything is answered. */
  ended: boolean;
  /** When it will have been silent for too long. Only whole requests, and a JOIN's payload that makes way, put it off. */
  dueAt: number;
  /** It has joined or is gone: it no longer counts among the unjoined. */
  known(): void;
};

/** The IP at which other machines reach one that listens at `host`; undefined when they do not. */
export function outsideIp(host: string): string | undefined {
  if (host !== "0.0.0.0") return isLoopback(host) ? undefined : host;
  const all = Object.values(networkInterfaces()).flatMap((some) => some ?? []);
  return all.find(({ family, internal }) => family === "IPv4" && !internal)?.address;
}

/** Every address of this machine. */
const machineAddresses = (): ReadonlySet<string> =>
  new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map((one) => one.address)));

type Arrival = {
  readonly connection: Connection;
  readonly from: Client;
  readonly dueAt: number;
  readonly joinBytesMax: number;
  readonly onKnown: () => void;
};

/** A client that has just connected and may take until `dueAt` to join; `onKnown` is called once. */
function createClientConnection({ connection, from, dueAt, joinBytesMax, onKnown }: Arrival): ClientConnection {
  const reader = createReader();
  let isKnown = false;
  return {
    connection,
    reader,
    orders: createOrders(reader, joinBytesMax),
    from,
    state: "new",
    busy: false,
    work: undefined,
    standing: {
      isMember: false,
      probing: undefined,
      isWaiting: false,
      listedAt: undefined,
      open: undefined,
      unlistedNames: undefined,
    },
    paused: false,
    waits: false,
    ended: false,
    dueAt,
    known() {
      if (!isKnown) onKnown();
      isKnown = true;
    },
  };
}

export type ConnectionGate = {
  /** Undefined for one too many, which has been told so. */
  enter(connection: Connection, now: number): ClientConnection | undefined;
  /** Its connection is closed. */
  leave(client: ClientConnection): void;
};

/** Lets clients in, but not too many at once, and fewer that have not joined. */
export function createConnectionGate(
  limits: Limits,
  trusted: readonly Range[] = [],
  open?: Client["open"],
  machineIps: ReadonlySet<string> = machineAddresses(),
): ConnectionGate {
  const all = createConnectionLimit(limits.connections, limits.connectionsPerAddress);
  const unjoined = createConnectionLimit(limits.unjoined, limits.unjoinedPerAddress);

  function refuse(connection: Connection, text: string): undefined {
    connection.send(encodeReply({ verb: "ERROR", code: "TOO_MANY", retry: true, text }));
    connection.end();
  }

  return {
    enter(connection, now) {
      const { ip } = connection.remote;
      const isTrusted = trusted.some((range) => isIn(ip, range));
      if (!all.admit(ip, isTrusted)) return refuse(connection, "connections");
      if (!unjoined.admit(ip, isTrusted)) {
        all.release(ip);
        return refuse(connection, "connections that have not joined");
      }
      const from: Client = {
        observedIp: ip,
        machineIps,
        localIp: connection.local.ip,
        ...(connection.id !== undefined && { id: connection.id }),
        ...(open && { open }),
        trusted: isTrusted,
        member: undefined,
      };
      const dueAt = now + limits.unjoinedSeconds * 1000;
      const onKnown = () => unjoined.release(ip);
      return createClientConnection({ connection, from, dueAt, joinBytesMax: limits.joinBytes, onKnown });
    },
    leave: ({ connection }) => all.release(connection.remote.ip),
  };
}

/** It is in, and was heard of at `now`. */
export function stay(client: ClientConnection, now: number, { idleSeconds }: Limits): void {
  client.known();
  client.dueAt = now + idleSeconds * 1000;
}

/** So many bytes of a JOIN have come by `now`: its deadline moves with them, at most to a whole idle time from now. */
export function putOff(client: ClientConnection, bytes: number, now: number, { idleSeconds }: Limits): void {
  const ms = (bytes / JOIN_BYTES_PER_SECOND_MIN) * 1000;
  client.dueAt = Math.min(client.dueAt + ms, Math.max(client.dueAt, now + idleSeconds * 1000));
}

/** What it may search now. */
export const searchesOf = (client: ClientConnection, clock: Clock, { searchesPerSecond }: Limits): TokenBucket =>
  (client.searches ??= createTokenBucket(searchesPerSecond, clock, REQUESTS));

/** Takes one request of this verb from what it may ask; how many milliseconds to wait first, if any. */
export function takeTurn(client: ClientConnection, verb: ServerRequest["verb"], clock: Clock, limits: Limits): number {
  if (verb !== "SEARCH" && verb !== "SOURCES" && verb !== "FIND" && verb !== "WISH") return 0;
  if (verb === "FIND") client.finds ??= createTokenBucket(limits.findsPerSecond, clock, REQUESTS);
  const bucket = (verb === "FIND" && client.finds) || searchesOf(client, clock, limits);
  return bucket.take(1) === 1 ? 0 : bucket.waitMs();
}

export function setPaused(client: ClientConnection, paused: boolean): void {
  if (client.paused === paused) return;
  client.paused = paused;
  if (paused) client.connection.pause();
  else client.connection.resume();
}

/** Why a client whose deadline has passed is closed. */
export function silence({ from }: ClientConnection, { idleSeconds }: Limits): Fault {
  return fault("TIMEOUT", "theirs", from.member === undefined ? "no JOIN" : `silent for ${idleSeconds} s`, true);
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
