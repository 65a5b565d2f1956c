// The central server: accepts peers, answers each in the order it asked, and forgets whoever is gone.
// Invariant: a peer is in the catalog exactly as long as its connection lives; its replies leave in request order.
// Never: prints. It tells what happened through onEvent; the console decides what a person sees.

import type { Catalog } from "./catalog/contract.ts";
import type { Address } from "./protocol/address.ts";
import { type Fault, fault, isFault } from "./protocol/fault.ts";
import { PROBES_MAX, READ_AHEAD_BYTES_MAX } from "./protocol/limits.ts";
import { type Limits, limitsFor } from "./protocol/server-limits.ts";
import type { ServidorOptions } from "./servidor/events.ts";
import { createFastSearch, type FastSearch } from "./servidor/fast-search.ts";
import { createMetrics } from "./servidor/metrics.ts";
import { gaugesOf, type Index, openIndex } from "./servidor/open-catalog.ts";
import { serveOperations } from "./servidor/operations.ts";
import { createReachability } from "./servidor/reachability.ts";
import { createReplyBuffer } from "./servidor/reply-buffer.ts";
import { createRequestHandler, type RequestHandler } from "./servidor/request-handler.ts";
import { createRequestLoop, TURN_ORDERS } from "./servidor/request-loop.ts";
import {
  createDoorway,
  type Doorway,
  outsideIp,
  putOff,
  type Session,
  searchesOf,
  setPaused,
  silence,
  stay,
} from "./servidor/session.ts";
import { type Clock, every, systemClock } from "./shared/clock.ts";
import { type Connection, DEAF, type Handlers, type Listener } from "./transport/connection.ts";
import { DESCRIPTORS_FOR_CONNECTIONS, DESCRIPTORS_FOR_DIALS } from "./transport/descriptors.ts";
import { dialProbe } from "./transport/dial-probe.ts";
import { listen } from "./transport/tcp.ts";

export type { ServidorEvent, ServidorOptions } from "./servidor/events.ts";

const SWEEP_MS = 1000;
const newNonce = (): string => crypto.getRandomValues(new Uint8Array(16)).toHex();

export class Servidor {
  readonly #options: ServidorOptions;
  readonly #catalog: Catalog & Partial<Index>;
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #doorway: Doorway;
  readonly #desk: RequestHandler;
  readonly #metrics = createMetrics();
  readonly #outbox = createReplyBuffer(this.#metrics.sent);
  readonly #quick: FastSearch | undefined;
  readonly #pump: (session: Session) => void;
  #listener: Listener | undefined;
  #operations: Listener | undefined;
  #stopSweep: () => void = () => {};
  #chunkAt = 0; // when the chunk that is being answered quickly arrived…
  #asker: Session | undefined; // …and whose it is

  constructor(options: ServidorOptions) {
    this.#options = options;
    this.#limits = limitsFor(options.limits ?? {}, DESCRIPTORS_FOR_CONNECTIONS);
    this.#catalog = options.catalog ?? openIndex(options.redis, this.#limits, options.onEvent);
    this.#clock = options.clock ?? systemClock;
    const open = new Set<string>();
    this.#doorway = createDoorway(this.#limits, options.trusted, open);
    const most = Math.min(PROBES_MAX, DESCRIPTORS_FOR_DIALS);
    const dial = { connect: options.connect ?? dialProbe, clock: this.#clock, newNonce, most };
    this.#desk = createRequestHandler({
      options,
      limits: this.#limits,
      catalog: this.#catalog,
      clock: this.#clock,
      metrics: this.#metrics,
      outbox: this.#outbox,
      outside: outsideIp(options.host),
      open,
      probes: options.probe === false ? undefined : createReachability(dial),
    });
    this.#pump = createRequestLoop(this.#desk.serve, this.#outbox);
    this.#quick = createFastSearch(this.#catalog, this.#outbox, options, (searches) => {
      this.#metrics.answered("SEARCH", "ok", this.#clock.now() - this.#chunkAt, searches);
      this.#asker?.searches?.spend(searches, this.#chunkAt);
    });
  }

  /** How many peers are in, listed or not. */
  get peers(): number {
    return (this.#catalog.peers ?? 0) + this.#desk.counts().unlisted;
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
    const gauges = () => gaugesOf(this.#catalog, this.#desk.counts(), this.#listener !== undefined);
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
    for (const session of [...this.#desk.sessions]) {
      this.#desk.refuse(session, fault("SHUTTING_DOWN", "ours", "the server is stopping", true));
      session.connection.end();
    }
    // What was queued leaves with the event loop's next turns; a peer that does not read is not waited for.
    await new Promise<void>((resolve) => this.#clock.after(50, resolve));
    for (const session of [...this.#desk.sessions]) session.connection.destroy();
    await this.#catalog.close?.();
    this.#operations?.close();
  }

  #accept(connection: Connection): Handlers {
    const session = this.#doorway.enter(connection, this.#clock.now());
    if (session === undefined) return DEAF;
    this.#desk.sessions.add(session);
    return {
      data: (chunk) => {
        if (session.state === "left") return; // whatever follows a goodbye is not kept
        this.#metrics.received(chunk.length);
        const answered = this.#answerQuickly(session, chunk);
        if (answered === chunk.length) return this.#outbox.flush();
        session.reader.push(answered === 0 ? chunk : chunk.subarray(answered));
        const { orders, reader } = session;
        if (orders.joining) putOff(session, chunk.length, this.#clock.now(), this.#limits);
        if (session.busy && reader.size > READ_AHEAD_BYTES_MAX) setPaused(session, true);
        this.#pump(session);
        if (orders.joining) this.#desk.hold(session, reader.size);
      },
      drain: () => this.#pump(session),
      end: () => {
        session.ended = true;
        this.#pump(session);
      },
      close: () => {
        this.#doorway.leave(session);
        this.#desk.forget(session, "closed");
      },
    };
  }

  /** How much of `chunk` has been answered already: its replies wait in the outbox. */
  #answerQuickly(session: Session, chunk: Uint8Array): number {
    const { connection, reader, client, orders } = session;
    if (client.member === undefined || session.busy || reader.size > 0 || orders.joining) return 0;
    if (this.#quick === undefined || connection.queued > 0) return 0;
    this.#chunkAt = this.#clock.now();
    this.#asker = session;
    const allowed = searchesOf(session, this.#clock, this.#limits).available(TURN_ORDERS, this.#chunkAt);
    const answered = this.#quick(connection, client, chunk, allowed);
    if (answered > 0) stay(session, this.#chunkAt, this.#limits);
    return answered;
  }

  /** Closes, once a second, whoever has been silent past the deadline of its state. */
  #sweep(): void {
    const now = this.#clock.now();
    for (const session of this.#desk.sessions) {
      // One that waits for our answer is not silent, however long we take.
      if (now < session.dueAt || session.work !== undefined) continue;
      this.#desk.refuse(session, silence(session, this.#limits));
      // One that does not read would never hear it.
      if (session.connection.queued > 0) session.connection.destroy();
      this.#desk.forget(session, "silent");
    }
  }
}
