// The central server: accepts peers, answers each in the order it asked, and forgets whoever is gone.
// Invariant: a peer is in the catalog exactly as long as its connection lives; its replies leave in request order.
// Never: prints. It tells what happened through onEvent; the console decides what a person sees.

import { networkInterfaces } from "node:os";
import { type Answered, answer, type Client } from "./catalog/answer.ts";
import type { Catalog } from "./catalog/contract.ts";
import { createMemoryCatalog } from "./catalog/memory.ts";
import { type Address, formatAddress } from "./protocol/address.ts";
import { nextServerState, type ServerState } from "./protocol/conversation.ts";
import { type Fault, fault, isFault, type WireCode } from "./protocol/fault.ts";
import {
  IDLE_SECONDS_MAX,
  JOIN_BYTES_PER_SECOND_MIN,
  READ_AHEAD_BYTES_MAX,
  UNJOINED_SECONDS_MAX,
} from "./protocol/limits.ts";
import { createOrders, type Order, type Orders } from "./protocol/orders.ts";
import { createReader, type Reader } from "./protocol/reader.ts";
import { encodeReply } from "./protocol/replies.ts";
import { type Clock, systemClock } from "./transport/clock.ts";
import type { Connection, Handlers, Listen, Listener } from "./transport/connection.ts";
import { listen } from "./transport/tcp.ts";

export type LeftReason = "left" | "closed" | "silent";

export type ServidorEvent =
  | { readonly type: "joined"; readonly address: Address; readonly names: readonly string[] }
  | { readonly type: "searched"; readonly address: Address; readonly name: string }
  | { readonly type: "left"; readonly address: Address; readonly reason: LeftReason }
  | { readonly type: "fault"; readonly remote: string; readonly fault: Fault };

export type ServidorOptions = {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly onEvent: (event: ServidorEvent) => void;
  readonly catalog?: Catalog;
  readonly listen?: Listen;
  readonly clock?: Clock;
};

/** One connected client. */
type Session = {
  readonly connection: Connection;
  readonly reader: Reader;
  readonly orders: Orders;
  readonly client: Client;
  state: ServerState;
  /** A request is being answered; the next waits its turn in the reader. */
  busy: boolean;
  /** The client will send no more: goodbye once everything is answered. */
  ended: boolean;
  /** When it will have been silent for too long. Only whole requests, and a JOIN's payload that makes way, put it off. */
  dueAt: number;
};

const SWEEP_MS = 1000;
const TURN_ORDERS = 256;

export class Servidor {
  readonly #options: ServidorOptions;
  readonly #catalog: Catalog;
  readonly #clock: Clock;
  readonly #sessions = new Set<Session>();
  readonly #machineIps: ReadonlySet<string>;
  #listener: Listener | undefined;
  #stopSweep: () => void = () => {};

  constructor(options: ServidorOptions) {
    this.#options = options;
    this.#catalog = options.catalog ?? createMemoryCatalog();
    this.#clock = options.clock ?? systemClock;
    this.#machineIps = new Set(
      Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map((one) => one.address)),
    );
  }

  /** Starts to accept peers; the address says which port was taken. Faults: PORT_IN_USE, HOST_UNAVAILABLE, PORT_DENIED. */
  listen(): Address | Fault {
    const at = { ip: this.#options.host, port: this.#options.port };
    // SPEC 4.a: one event loop serves every peer at once; no request waits for another peer's.
    const listener = (this.#options.listen ?? listen)(at, (connection) => this.#accept(connection));
    if (isFault(listener)) return listener;
    this.#listener = listener;
    this.#sweep();
    return listener.address;
  }

  /** Stops accepting, tells every peer to come back later, and closes. */
  async close(): Promise<void> {
    this.#stopSweep();
    this.#listener?.close();
    for (const session of [...this.#sessions]) {
      this.#refuse(session, fault("SHUTTING_DOWN", "ours", "the server is stopping", true));
      session.connection.end();
    }
    // What was queued leaves with the event loop's next turns; a peer that does not read is not waited for.
    await new Promise<void>((resolve) => this.#clock.after(50, resolve));
    for (const session of [...this.#sessions]) session.connection.destroy();
  }

  #accept(connection: Connection): Handlers {
    const reader = createReader();
    const session: Session = {
      connection,
      reader,
      orders: createOrders(reader),
      client: { observedIp: connection.remote.ip, machineIps: this.#machineIps, member: undefined },
      state: "new",
      busy: false,
      ended: false,
      dueAt: this.#clock.now() + UNJOINED_SECONDS_MAX * 1000,
    };
    this.#sessions.add(session);
    return {
      data: (chunk) => {
        if (session.state === "left") return; // whatever follows a goodbye is not kept
        session.reader.push(chunk);
        if (session.orders.joining) this.#putOff(session, (chunk.length / JOIN_BYTES_PER_SECOND_MIN) * 1000);
        if (session.busy && session.reader.size > READ_AHEAD_BYTES_MAX) connection.pause();
        void this.#pump(session);
      },
      drain: () => void this.#pump(session),
      end: () => {
        session.ended = true;
        void this.#pump(session);
      },
      close: () => void this.#forget(session, "closed"),
    };
  }

  /** Answers, one after another, every request that has arrived whole. */
  async #pump(session: Session): Promise<void> {
    if (session.busy) return;
    session.busy = true;
    let served = 0;
    // Back-pressure: a client that does not read its replies gets no further ones computed.
    while (session.connection.queued === 0) {
      const order = session.state === "left" ? undefined : session.orders.next();
      if (order === undefined) break;
      await this.#serve(session, order);
      // One that asks a great deal at once must not keep the others from their turn.
      if (++served % TURN_ORDERS === 0) await new Promise<void>((turn) => setImmediate(turn));
    }
    session.busy = false;
    const { connection, reader, orders } = session;
    if (session.ended && connection.queued === 0) connection.end();
    // One that sends without reading is read no further: only a JOIN's payload may pile up here.
    else if (connection.queued > 0 && !orders.joining && reader.size > READ_AHEAD_BYTES_MAX) connection.pause();
    else connection.resume();
  }

  /** A peer's deadline moves by `ms`, at most to a whole IDLE_SECONDS_MAX from now. */
  #putOff(session: Session, ms: number): void {
    session.dueAt = Math.min(session.dueAt + ms, this.#clock.now() + IDLE_SECONDS_MAX * 1000);
  }

  async #serve(session: Session, order: Order | Fault): Promise<void> {
    if (isFault(order)) return this.#refuse(session, order);
    const { request, shares } = order;
    const { member } = session.client;
    const next = nextServerState(session.state, request.verb);
    const answered = isFault(next) ? next : await answer(request, shares, session.client, this.#catalog);
    if (!this.#sessions.has(session)) {
      // It went away while the catalog was at work: nothing of it may stay behind.
      if (session.client.member !== undefined) await this.#catalog.leave(session.client.member);
      return;
    }
    if (isFault(answered)) return this.#refuse(session, answered);
    if (!isFault(next)) session.state = next;
    if (session.client.member !== undefined) this.#putOff(session, Number.POSITIVE_INFINITY);
    this.#tell(session, order);
    this.#reply(session, answered);
    if (request.verb !== "LEAVE") return;
    if (member !== undefined) this.#options.onEvent({ type: "left", address: member.address, reason: "left" });
    session.connection.end();
  }

  #reply({ connection }: Session, { reply, payload }: Answered): void {
    connection.send(encodeReply(reply));
    if (payload !== undefined && payload.length > 0) connection.send(payload);
  }

  /** An ERROR in the reply's place; a fault after which the stream cannot be understood ends the connection. */
  #refuse(session: Session, why: Fault): void {
    const { connection } = session;
    this.#options.onEvent({ type: "fault", remote: formatAddress(connection.remote), fault: why });
    connection.send(encodeReply({ verb: "ERROR", code: why.fault as WireCode, retry: why.retry, text: why.detail }));
    if (FATAL.has(why.fault) || session.orders.lost) session.state = "left";
    if (session.state === "left") connection.end();
  }

  #tell(session: Session, { request, shares }: Order): void {
    const address = session.client.member?.address;
    if (address === undefined) return;
    if (request.verb === "JOIN") {
      this.#options.onEvent({ type: "joined", address, names: shares.map((share) => share.name) });
    } else if (request.verb === "SEARCH") {
      this.#options.onEvent({ type: "searched", address, name: request.name });
    }
  }

  async #forget(session: Session, reason: LeftReason): Promise<void> {
    const { member } = session.client;
    if (!this.#sessions.delete(session) || member === undefined) return;
    this.#options.onEvent({ type: "left", address: member.address, reason });
    if (!session.busy) await this.#catalog.leave(member); // a busy one leaves once the catalog has answered it
  }

  /** Closes, once a second, whoever has been silent past the deadline of its state. */
  #sweep(): void {
    this.#stopSweep = this.#clock.after(SWEEP_MS, () => {
      const now = this.#clock.now();
      for (const session of this.#sessions) {
        if (now < session.dueAt) continue;
        const detail = session.client.member === undefined ? "no JOIN" : `silent for ${IDLE_SECONDS_MAX} s`;
        this.#refuse(session, fault("TIMEOUT", "theirs", detail, true));
        // One that does not read would never hear it.
        if (session.connection.queued > 0) session.connection.destroy();
        void this.#forget(session, "silent");
      }
      this.#sweep();
    });
  }
}

/** Faults after which we cannot know where the next request begins, or want no next one. */
const FATAL: ReadonlySet<string> = new Set([
  "LINE_TOO_LONG",
  "PAYLOAD_TOO_LARGE",
  "SHUTTING_DOWN",
  "TIMEOUT",
  "INTERNAL",
]);
