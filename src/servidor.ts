// The central server: accepts peers, answers each in the order it asked, and forgets those that are gone.
// Invariant: a peer is in the catalog exactly as long as its connection lives; its replies leave in request order.
// Never: prints. It tells what happened through onEvent; the console decides what a person sees.

import type { Catalog } from "./catalog/contract.ts";
import { type Address, isLoopback } from "./protocol/address.ts";
import { type Fault, fault, isFault } from "./protocol/fault.ts";
import { PROBES_MAX, READ_AHEAD_BYTES_MAX } from "./protocol/limits.ts";
import { type Limits, limitsFor } from "./protocol/server-limits.ts";
import {
  type ClientConnection,
  type ConnectionGate,
  createConnectionGate,
  outsideIp,
  putOff,
  setPaused,
  silence,
} from "./servidor/client-connection.ts";
import type { ServidorEnv, ServidorOptions } from "./servidor/events.ts";
import { createFastSearch, type FastSearch } from "./servidor/fast-search.ts";
import { createMetrics } from "./servidor/metrics.ts";
import { gaugesOf, type Index, openIndex } from "./servidor/open-catalog.ts";
import { serveOperations } from "./servidor/operations.ts";
import { createPayloadTurns } from "./servidor/payload-turns.ts";
import { createReachability } from "./servidor/reachability.ts";
import { createReplyBuffer } from "./servidor/reply-buffer.ts";
import { createRequestHandler, type RequestHandler } from "./servidor/request-handler.ts";
import { createRequestLoop } from "./servidor/request-loop.ts";
import { type Clock, every, systemClock } from "./shared/clock.ts";
import { type Connection, DEAF, type Handlers, type Listen, type Listener } from "./transport/connection.ts";
import { DESCRIPTORS_FOR_CONNECTIONS, DESCRIPTORS_FOR_DIALS } from "./transport/descriptors.ts";
import { createDialProbe } from "./transport/dial-probe.ts";
import { newSecurity, type Security } from "./transport/security.ts";
import { createTcp } from "./transport/tcp.ts";

export type { ServidorEnv, ServidorEvent, ServidorOptions } from "./servidor/events.ts";

const SWEEP_MS = 1000;
const newNonce = (): string => crypto.getRandomValues(new Uint8Array(16)).toHex();

/** The network with that key. */
export const networkOf = (security: Security): Pick<ServidorEnv, "listen" | "connect"> => ({
  listen: createTcp(security).listen,
  connect: createDialProbe(security),
});

export class Servidor {
  readonly #options: ServidorOptions;
  readonly #catalog: Catalog & Partial<Index>;
  readonly #clock: Clock;
  readonly #listen: Listen;
  readonly #isMember: ServidorEnv["isMember"];
  readonly #admit: ServidorEnv["admit"];
  readonly #limits: Limits;
  readonly #gate: ConnectionGate;
  readonly #handler: RequestHandler;
  readonly #metrics = createMetrics();
  readonly #replies = createReplyBuffer(this.#metrics.sent);
  readonly #payloadTurns = createPayloadTurns();
  readonly #fastSearch: FastSearch | undefined;
  readonly #answerNext: (client: ClientConnection) => void;
  #listener: Listener | undefined;
  #operations: Listener | undefined;
  #stopSweep: () => void = () => {};

  constructor(options: ServidorOptions) {
    this.#options = options;
    this.#limits = limitsFor(options.limits ?? {}, DESCRIPTORS_FOR_CONNECTIONS);
    const { catalog } = options;
    this.#catalog = typeof catalog === "object" ? catalog : openIndex(catalog, this.#limits, options.onEvent);
    const env: ServidorEnv = { clock: systemClock, ...networkOf(newSecurity()), ...options.env };
    this.#clock = env.clock;
    this.#listen = env.listen;
    this.#isMember = env.isMember;
    this.#admit = env.admit;
    this.#gate = createConnectionGate(this.#limits, options.trusted, {
      at: (address) => this.#handler.openAt(address),
    });
    const most = Math.min(PROBES_MAX, DESCRIPTORS_FOR_DIALS);
    const dial = { connect: env.connect, clock: this.#clock, newNonce, most };
    const parts = {
      options,
      limits: this.#limits,
      metrics: this.#metrics,
      replies: this.#replies,
      clock: this.#clock,
    };
    this.#handler = createRequestHandler({
      ...parts,
      catalog: this.#catalog,
      outside: outsideIp(options.at.ip),
      reachability: options.probe === false ? undefined : createReachability(dial),
    });
    this.#answerNext = createRequestLoop(this.#handler.serve, this.#replies);
    this.#fastSearch = createFastSearch(this.#catalog, parts);
  }

  /** How many peers are in, listed or not. */
  get peers(): number {
    return (this.#catalog.peers ?? 0) + this.#handler.counts().unlisted;
  }

  /** Starts to accept peers; the address says which port was taken. Faults: PORT_IN_USE, HOST_UNAVAILABLE, PORT_DENIED. */
  listen(): Address | Fault {
    // SPEC 4.a: one event loop serves every peer at once; no request waits for another peer's.
    const listener = this.#listen(this.#options.at, (connection) => this.#accept(connection));
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
    const gauges = () => gaugesOf(this.#catalog, this.#handler.counts(), this.#listener !== undefined);
    const operations = serveOperations(at, this.#metrics, this.#clock, gauges);
    if (isFault(operations)) return operations;
    this.#operations = operations;
    return operations.address;
  }

  /** Stops accepting, tells every peer to come back later, and closes. */
  async close(): Promise<void> {
    this.#stopSweep();
    this.#listener?.close();
    this.#listener = undefined;
    for (const client of [...this.#handler.clients]) {
      this.#handler.refuse(client, fault("SHUTTING_DOWN", "ours", "the server is stopping", true));
      client.connection.end();
    }
    // What was queued leaves with the event loop's next turns; a peer that does not read is not waited for.
    await new Promise<void>((resolve) => this.#clock.after(50, resolve));
    for (const client of [...this.#handler.clients]) client.connection.destroy();
    await this.#catalog.close?.();
    this.#operations?.close();
  }

  #accept(connection: Connection): Handlers {
    const client = this.#gate.enter(connection, this.#clock.now());
    if (client === undefined) return DEAF;
    // In the clear there are no keys: what this machine itself may see of the server is no matter of membership.
    const isOwn = connection.id === undefined && isLoopback(connection.remote.ip);
    if (!isOwn) client.from.isBarred = this.#isMember?.(connection.id) === false;
    const { id, channel } = connection;
    if (id !== undefined && channel !== undefined)
      client.from.admit = (proof) => this.#admit?.(id, proof, channel()) === true;
    this.#handler.clients.add(client);
    return {
      data: (chunk) => {
        if (client.state === "left") return; // what follows a goodbye is not kept
        this.#metrics.received(chunk.length);
        const now = this.#clock.now();
        const answered = this.#fastSearch?.(client, chunk, now) ?? 0;
        if (answered === chunk.length) return this.#replies.flush();
        client.reader.push(answered === 0 ? chunk : chunk.subarray(answered));
        const { orders, reader } = client;
        const isPayload = orders.joining;
        if (isPayload) putOff(client, chunk.length, now, this.#limits);
        if (client.busy && reader.size > READ_AHEAD_BYTES_MAX) setPaused(client, true);
        this.#answerNext(client);
        if (orders.joining && !this.#handler.joins.hold(client, reader.size)) return;
        if (!orders.joining && !isPayload && chunk.length < READ_AHEAD_BYTES_MAX) return;
        this.#payloadTurns.came(client, chunk.length);
      },
      drain: () => this.#answerNext(client),
      end: () => {
        client.ended = true;
        this.#answerNext(client);
      },
      close: () => {
        this.#gate.leave(client);
        this.#payloadTurns.forget(client);
        this.#handler.forget(client, "closed");
      },
    };
  }

  /** Closes, once a second, each connection that has been silent past the deadline of its state. */
  #sweep(): void {
    const now = this.#clock.now();
    this.#handler.joins.endSlow();
    for (const client of this.#handler.clients) {
      // One that waits for our answer is not silent, however long we take.
      if (now < client.dueAt || client.work !== undefined) continue;
      this.#handler.refuse(client, silence(client, this.#limits));
      // One that does not read would never hear it.
      if (client.connection.queued > 0) client.connection.destroy();
      this.#handler.forget(client, "silent");
    }
  }
}
