// The server's desk: what each order of each client comes to, from its line to its reply.
// Invariant: one order, one reply, in order; whoever leaves, in whatever way, is in no list from then on.
// Never: accepts or reads a connection; servidor.ts does.

import { type Answered, answer } from "../catalog/answer.ts";
import { after, type Catalog, type MaybePromise } from "../catalog/contract.ts";
import { type Job, runInSlices, runSoon } from "../catalog/time-slices.ts";
import { formatAddress } from "../protocol/address.ts";
import { nextServerState } from "../protocol/conversation.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { FIND_WAIT_SECONDS_MAX, FINDS_AT_ONCE_MAX, FINDS_AT_ONCE_PER_ADDRESS_MAX } from "../protocol/limits.ts";
import type { ServerRequest, Share } from "../protocol/messages.ts";
import type { Order } from "../protocol/orders.ts";
import { readShares } from "../protocol/payloads.ts";
import { encodeReply } from "../protocol/replies.ts";
import type { Limits } from "../protocol/server-limits.ts";
import type { Clock } from "../shared/clock.ts";
import { createAdmission, type Judged } from "./admission.ts";
import { eventOf, type LeftReason, type ServidorOptions } from "./events.ts";
import { createFairQueue } from "./fair-queue.ts";
import { createJoinBudget } from "./join-budget.ts";
import type { Metrics } from "./metrics.ts";
import type { Probes } from "./reachability.ts";
import type { ReplyBuffer } from "./reply-buffer.ts";
import { errorLine, FATAL, type Session, stay, takeTurn } from "./session.ts";

type DeskParts = {
  readonly options: Pick<ServidorOptions, "onEvent" | "tellSearches">;
  readonly limits: Limits;
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly outbox: ReplyBuffer;
  /** Undefined where nobody is dialled back. */
  readonly probes: Probes | undefined;
  /** As the entrance has them. */
  readonly outside: string | undefined;
  readonly open: Set<string>;
};

export type RequestHandler = {
  /** Everyone who is connected. */
  readonly sessions: Set<Session>;
  /** How many connections there are, and how many of the peers on them are in no list. */
  counts(): { readonly connections: number; readonly unlisted: number };
  /** Answers one order; a promise when that takes a while. */
  serve(session: Session, order: Order | Fault): Promise<void> | undefined;
  /** An ERROR in the reply's place. */
  refuse(session: Session, why: Fault): void;
  /** It is gone. */
  forget(session: Session, reason: LeftReason): void;
  /** `bytes` of a JOIN are here. */
  hold(session: Session, bytes: number): void;
};

/** A JOIN's payload up to this size is read at once; it takes less than a millisecond. */
const READ_AT_ONCE_BYTES_MAX = 32 * 1024;

/** Names that are gathered without a pause. */
const NAMES_AT_ONCE_MAX = 4096;

const NO_SHARES: readonly never[] = [];
const DISPLACED = fault("ADDRESS_TAKEN", "theirs", "another peer has proved that it listens at your address", true);
const FINDS_TOO_MANY = fault("TOO_MANY", "ours", "FINDs that wait", true);
const HELD_TOO_MUCH = fault("TOO_MANY", "theirs", "bytes of JOINs that are under way", true);
type JoinRequest = Extract<ServerRequest, { verb: "JOIN" }>;

export function createRequestHandler(parts: DeskParts): RequestHandler {
  const { options, limits, catalog, clock, metrics, outbox, probes, outside, open } = parts;
  const sessions = new Set<Session>();
  const held = createJoinBudget<Session>(limits, ({ busy, probing }) => !busy || probing !== undefined);
  const finds = createFairQueue(FINDS_AT_ONCE_MAX, FINDS_AT_ONCE_PER_ADDRESS_MAX);
  const entrance = createAdmission({
    probes,
    peersMax: limits.peers,
    outside,
    open,
    onProbed: metrics.probed,
    displace: (holder) => putOut(holder, DISPLACED, "displaced"),
  });

  function serve(session: Session, order: Order | Fault): Promise<void> | undefined {
    if (isFault(order)) {
      metrics.answered("unknown", order.fault, 0);
      return refuse(session, order);
    }
    const { request, payload } = order;
    const arrivedAt = clock.now();
    if (request.verb === "JOIN") return join(session, request, payload, arrivedAt);
    const waitMs = takeTurn(session, request.verb, clock, limits);
    if (waitMs > 0) return wait(waitMs).then(() => serve(session, order));
    if (request.verb === "FIND") return find(session, request, arrivedAt);
    return answerTo(session, request, NO_SHARES, arrivedAt);
  }

  /** A FIND costs so much that addresses take turns. */
  function find(session: Session, request: ServerRequest, at: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let hasBegun = false;
    let stopWaiting = (): void => {};
    const giveUp = finds.take(session.connection.remote.ip, () => {
      hasBegun = true;
      stopWaiting();
      const work = answerTo(session, request, NO_SHARES, at) ?? Promise.resolve();
      void work.then(resolve);
      return work;
    });
    const late = (): void => {
      if (giveUp()) resolve(answerTo(session, request, FINDS_TOO_MANY, at));
    };
    if (!hasBegun) stopWaiting = clock.after(FIND_WAIT_SECONDS_MAX * 1000, late);
    return promise;
  }

  function wait(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    clock.after(ms, resolve);
    return promise;
  }

  /** A JOIN's address is judged and dialled first, and only then its payload read. */
  function join(
    session: Session,
    request: JoinRequest,
    payload: Order["payload"],
    at: number,
  ): Promise<void> | undefined {
    if (!hold(session, request.payloadBytes)) return undefined;
    const work = after(entrance.judge(session, request), (judged): MaybePromise<void> => {
      if (!sessions.has(session)) return;
      if (isFault(judged)) return answerTo(session, request, judged, at);
      const job = readShares(payload, limits.names);
      const shares = request.payloadBytes > READ_AT_ONCE_BYTES_MAX ? runInSlices(job) : runSoon(job);
      const named = after(shares, (list) => {
        if (isFault(list)) return { list, names: [], digest: undefined };
        const names = list.length > NAMES_AT_ONCE_MAX ? runInSlices(namesOf(list)) : list.map(({ name }) => name);
        return after(names, (all) =>
          after(entrance.digest(session, judged, all), (digest) => ({ list, names: all, digest })),
        );
      });
      const ready = after(named, (known) => after(entrance.departing(session, judged), () => known));
      return after(ready, ({ list, ...known }) => answerTo(session, request, list, at, { ...judged, ...known }));
    });
    return settled(after(work, () => void hold(session, 0)));
  }

  function answerTo(
    session: Session,
    request: ServerRequest,
    shares: readonly Share[] | Fault,
    arrivedAt: number,
    judged?: Judged,
  ): Promise<void> | undefined {
    const { client } = session;
    const { member } = client;
    const forgotten = () => client.member && catalog.leave(client.member);
    if (!sessions.has(session)) return settled(after(forgotten(), () => {}));
    const next = nextServerState(session.state, request.verb);
    const why = (isFault(shares) && shares) || (isFault(next) && next) || (judged && entrance.clear(session, judged));
    const standing = judged?.standing;
    const answered = why || answer(request, shares as readonly Share[], client, catalog, standing);
    return settled(
      after(answered, (result): MaybePromise<void> => {
        // It went away while the catalog was at work: nothing of it may stay behind.
        if (!sessions.has(session)) return forgotten();
        const now = clock.now();
        metrics.answered(request.verb, isFault(result) ? result.fault : "ok", now - arrivedAt);
        if (client.member === undefined) entrance.leave(session);
        if (isFault(result)) return refuse(session, result);
        if (!isFault(next)) session.state = next;
        if (client.member !== undefined) stay(session, now, limits);
        const isNews = judged === undefined || entrance.enter(session, judged, member);
        const event = isNews && eventOf(request, judged?.names ?? [], client.member, options);
        if (event) options.onEvent(event);
        outbox.put(session.connection, encodeReply(replyOf(result, judged)), result.payload);
        if (request.verb !== "LEAVE") return;
        if (member !== undefined) options.onEvent({ type: "left", address: member.address, reason: "left" });
        outbox.flush();
        session.connection.end();
      }),
    );
  }

  /** `bytes` of a JOIN are here. Whoever holds most goes when that is too much; false when it is this one. */
  function hold(session: Session, bytes: number): boolean {
    const { ip } = session.connection.remote;
    const out = held.set(session, ip, bytes);
    if (out !== undefined) putOut(out, HELD_TOO_MUCH, "closed");
    return out !== session;
  }

  /** Tells it why, and is done with it. */
  function putOut(session: Session, why: Fault, reason: LeftReason): void {
    session.state = "left";
    refuse(session, why);
    session.reader.clear();
    forget(session, reason);
  }

  /** An ERROR in the reply's place; a fault after which the stream cannot be understood ends the connection. */
  function refuse(session: Session, why: Fault): undefined {
    const { connection } = session;
    metrics.fault(why.fault);
    options.onEvent({ type: "fault", remote: formatAddress(connection.remote), fault: why });
    outbox.put(connection, errorLine(why));
    if (FATAL.has(why.fault) || session.orders.lost) session.state = "left";
    if (session.state !== "left") return undefined;
    outbox.flush();
    connection.end();
    return undefined;
  }

  function forget(session: Session, reason: LeftReason): void {
    const { member } = session.client;
    session.known();
    // One that is being answered leaves the catalog once that is done; one that is being dialled, at once.
    const isEntering = session.work !== undefined && session.probing === undefined;
    entrance.leave(session);
    held.set(session, session.connection.remote.ip, 0);
    if (!sessions.delete(session) || member === undefined) return;
    options.onEvent({ type: "left", address: member.address, reason });
    if (!isEntering) void catalog.leave(member);
  }

  const counts = () => ({ connections: sessions.size, unlisted: entrance.unlisted });
  return { sessions, counts, serve, refuse, forget, hold };
}

/** A JOIN_OK also says whether only this machine's peers find whoever joined. */
const replyOf = ({ reply }: Answered, judged: Judged | undefined): Answered["reply"] =>
  reply.verb === "JOIN_OK" && judged?.localFor !== undefined ? { ...reply, localFor: judged.localFor } : reply;

function* namesOf(shares: readonly Share[]): Job<string[]> {
  const names: string[] = [];
  for (let i = 0; i < shares.length; i++) {
    names.push((shares[i] as Share).name);
    if (i % NAMES_AT_ONCE_MAX === NAMES_AT_ONCE_MAX - 1) yield;
  }
  return names;
}

/** A promise to wait for, or nothing to wait for. */
const settled = (work: MaybePromise<void>): Promise<void> | undefined => (work instanceof Promise ? work : undefined);
