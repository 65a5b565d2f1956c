// The central server: accepts peers, answers each in the order it asked, and forgets whoever is gone.
// Invariant: a peer is in the catalog exactly as long as its connection lives; its replies leave in request order.
// Never: prints. It tells what happened through onEvent; the console decides what a person sees.

import { answer } from "./catalog/answer.ts";
import { after, type Catalog, type MaybePromise } from "./catalog/contract.ts";
import { runInSlices, runSoon } from "./catalog/slices.ts";
import { type Address, formatAddress } from "./protocol/address.ts";
import { nextServerState } from "./protocol/conversation.ts";
import { type Fault, fault, isFault } from "./protocol/fault.ts";
import { JOIN_BYTES_PER_SECOND_MIN, READ_AHEAD_BYTES_MAX } from "./protocol/limits.ts";
import type { ServerRequest, Share } from "./protocol/messages.ts";
import type { Order } from "./protocol/orders.ts";
import { readShares } from "./protocol/payloads.ts";
import { encodeReply } from "./protocol/replies.ts";
import { eventOf, type LeftReason, type ServidorOptions } from "./servidor/events.ts";
import { gaugesOf, type Index, openIndex } from "./servidor/index.ts";
import { createMetrics } from "./servidor/metrics.ts";
import { serveOperations } from "./servidor/operations.ts";
import { createOutbox } from "./servidor/outbox.ts";
import { createQuick, type Quick } from "./servidor/quick.ts";
import { createDoorway, errorLine, FATAL, putOff, type Session, setPaused, silence, stay } from "./servidor/session.ts";
import { type Clock, every, systemClock } from "./transport/clock.ts";
import { type Connection, DEAF, type Handlers, type Listener } from "./transport/connection.ts";
import { listen } from "./transport/tcp.ts";

export type { ServidorEvent, ServidorOptions } from "./servidor/events.ts";

const SWEEP_MS = 1000;
const TURN_ORDERS = 256;
/** A JOIN's payload up to this size is read at once; it takes less than a millisecond. */
const READ_AT_ONCE_BYTES_MAX = 32 * 1024;

export class Servidor {
  readonly #options: ServidorOptions;
  readonly #catalog: Catalog & Partial<Index>;
  readonly #clock: Clock;
  readonly #sessions = new Set<Session>();
  readonly #doorway = createDoorway();
  readonly #metrics = createMetrics();
  readonly #outbox = createOutbox(this.#metrics.sent);
  readonly #quick: Quick | undefined;
  #listener: Listener | undefined;
  #operations: Listener | undefined;
  #stopSweep: () => void = () => {};
  #chunkAt = 0; // when the chunk that is being answered quickly arrived

  constructor(options: ServidorOptions) {
    this.#options = options;
    this.#catalog = options.catalog ?? openIndex(options.redis, options.onEvent);
    this.#clock = options.clock ?? systemClock;
    this.#quick = createQuick(this.#catalog, this.#outbox, options, (searches) =>
      this.#metrics.answered("SEARCH", "ok", this.#clock.now() - this.#chunkAt, searches),
    );
  }

  /** Starts to accept peers; the address says which port was taken. Faults: PORT_IN_USE, HOST_UNAVAILABLE, PORT_DENIED. */
  listen(): Address | Fault {
    const at = { ip: this.#options.host, port: this.#options.port };
    // SPEC 4.a: one event loop serves every peer at once; no request waits for another peer's.
    const listener = (this.#options.listen ?? listen)(at, (connection) => this.#accept(connection));
    if (isFault(listener)) {
      void this.#catalog.close?.();
      return listener;
    }
    this.#listener = listener;
    this.#stopSweep = every(this.#clock, SWEEP_MS, () => this.#sweep());
    return listener.address;
  }

  /** Serves /metrics and /healthz there, until close; the address says which port was taken. Faults as those of listen. */
  serveOperations(at: Address): Address | Fault {
    const gauges = () => gaugesOf(this.#catalog, this.#sessions.size, this.#listener !== undefined);
    const door = serveOperations(at, this.#metrics, this.#clock, gauges);
    if (isFault(door)) return door;
    this.#operations = door;
    return door.address;
  }

  /** Stops accepting, tells every peer to come back later, and closes. */
  async close(): Promise<void> {
    this.#stopSweep();
    this.#listener?.close();
    this.#listener = undefined;
    for (const session of [...this.#sessions]) {
      this.#refuse(session, fault("SHUTTING_DOWN", "ours", "the server is stopping", true));
      session.connection.end();
    }
    // What was queued leaves with the event loop's next turns; a peer that does not read is not waited for.
    await new Promise<void>((resolve) => this.#clock.after(50, resolve));
    for (const session of [...this.#sessions]) session.connection.destroy();
    await this.#catalog.close?.();
    this.#operations?.close();
  }

  #accept(connection: Connection): Handlers {
    const session = this.#doorway.enter(connection, this.#clock.now());
    if (session === undefined) return DEAF;
    this.#sessions.add(session);
    return {
      data: (chunk) => {
        if (session.state === "left") return; // whatever follows a goodbye is not kept
        this.#metrics.received(chunk.length);
        const answered = this.#answerQuickly(session, chunk);
        if (answered === chunk.length) return this.#outbox.flush();
        session.reader.push(answered === 0 ? chunk : chunk.subarray(answered));
        if (session.orders.joining)
          putOff(session, (chunk.length / JOIN_BYTES_PER_SECOND_MIN) * 1000, this.#clock.now());
        if (session.busy && session.reader.size > READ_AHEAD_BYTES_MAX) setPaused(session, true);
        this.#pump(session);
      },
      drain: () => this.#pump(session),
      end: () => {
        session.ended = true;
        this.#pump(session);
      },
      close: () => this.#forget(session, "closed"),
    };
  }

  /** How much of `chunk` has been answered already: its replies wait in the outbox. */
  #answerQuickly(session: Session, chunk: Uint8Array): number {
    const { connection, reader, client, orders } = session;
    if (client.member === undefined || session.busy || reader.size > 0 || orders.joining) return 0;
    if (this.#quick === undefined || connection.queued > 0) return 0;
    this.#chunkAt = this.#clock.now();
    const answered = this.#quick(connection, client.member, chunk, TURN_ORDERS);
    if (answered > 0) stay(session, this.#chunkAt);
    return answered;
  }

  /** Answers, one after another, every request that has arrived whole. */
  #pump(session: Session): void {
    if (session.busy) return;
    session.busy = true;
    const goOn = (): void => {
      session.busy = false;
      this.#pump(session);
    };
    // Back-pressure: a client that does not read its replies gets no further ones computed.
    for (let served = 1; session.connection.queued === 0; served++) {
      const order = session.state === "left" ? undefined : session.orders.next();
      if (order === undefined) break;
      const work = this.#serve(session, order);
      if (work === undefined && served < TURN_ORDERS) continue;
      this.#outbox.flush();
      // One that asks a great deal at once must not keep the others from their turn.
      if (work === undefined) setImmediate(goOn);
      else void work.then(goOn);
      return;
    }
    this.#outbox.flush();
    session.busy = false;
    const { connection, reader, orders } = session;
    if (session.ended && connection.queued === 0) connection.end();
    // One that sends without reading is read no further: only a JOIN's payload may pile up here.
    else setPaused(session, connection.queued > 0 && !orders.joining && reader.size > READ_AHEAD_BYTES_MAX);
  }

  #serve(session: Session, order: Order | Fault): Promise<void> | undefined {
    if (isFault(order)) {
      this.#metrics.answered("unknown", order.fault, 0);
      return this.#refuse(session, order);
    }
    const { request, payload } = order;
    const arrivedAt = this.#clock.now();
    if (request.verb !== "JOIN") return this.#answer(session, request, NO_SHARES, arrivedAt);
    const job = readShares(payload);
    const shares = request.payloadBytes > READ_AT_ONCE_BYTES_MAX ? runInSlices(job) : runSoon(job);
    return settled(after(shares, (list) => this.#answer(session, request, list, arrivedAt)));
  }

  #answer(
    session: Session,
    request: ServerRequest,
    shares: readonly Share[] | Fault,
    arrivedAt: number,
  ): Promise<void> | undefined {
    const { member } = session.client;
    const next = nextServerState(session.state, request.verb);
    const why = isFault(shares) ? shares : isFault(next) ? next : undefined;
    const answered = why ?? answer(request, shares as readonly Share[], session.client, this.#catalog);
    return settled(
      after(answered, (result): MaybePromise<void> => {
        // It went away while the catalog was at work: nothing of it may stay behind.
        if (!this.#sessions.has(session)) return session.client.member && this.#catalog.leave(session.client.member);
        const now = this.#clock.now();
        this.#metrics.answered(request.verb, isFault(result) ? result.fault : "ok", now - arrivedAt);
        if (isFault(result)) return this.#refuse(session, result);
        if (!isFault(next)) session.state = next;
        if (session.client.member !== undefined) stay(session, now);
        const event = eventOf(request, shares as readonly Share[], session.client.member, this.#options);
        if (event !== undefined) this.#options.onEvent(event);
        this.#outbox.put(session.connection, encodeReply(result.reply), result.payload);
        if (request.verb !== "LEAVE") return;
        if (member !== undefined) this.#options.onEvent({ type: "left", address: member.address, reason: "left" });
        this.#outbox.flush();
        session.connection.end();
      }),
    );
  }

  /** An ERROR in the reply's place; a fault after which the stream cannot be understood ends the connection. */
  #refuse(session: Session, why: Fault): undefined {
    const { connection } = session;
    this.#metrics.fault(why.fault);
    this.#options.onEvent({ type: "fault", remote: formatAddress(connection.remote), fault: why });
    this.#outbox.put(connection, errorLine(why));
    if (FATAL.has(why.fault) || session.orders.lost) session.state = "left";
    if (session.state !== "left") return undefined;
    this.#outbox.flush();
    connection.end();
    return undefined;
  }

  #forget(session: Session, reason: LeftReason): void {
    const { member } = session.client;
    session.known();
    if (!this.#sessions.delete(session) || member === undefined) return;
    this.#options.onEvent({ type: "left", address: member.address, reason });
    if (!session.busy) void this.#catalog.leave(member); // a busy one leaves once the catalog has answered it
  }

  /** Closes, once a second, whoever has been silent past the deadline of its state. */
  #sweep(): void {
    const now = this.#clock.now();
    for (const session of this.#sessions) {
      if (now < session.dueAt) continue;
      this.#refuse(session, silence(session));
      // One that does not read would never hear it.
      if (session.connection.queued > 0) session.connection.destroy();
      this.#forget(session, "silent");
    }
  }
}

const NO_SHARES: readonly never[] = [];

/** A promise to wait for, or nothing to wait for. */
const settled = (work: MaybePromise<void>): Promise<void> | undefined => (work instanceof Promise ? work : undefined);
