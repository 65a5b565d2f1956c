// What each order of each client comes to, from its line to its reply.
// Invariant: one order, one reply, in order; a client that leaves, in whatever way, is in no list from then on.
// Never: accepts or reads a connection; servidor.ts does.

import { type Answered, answer } from "../catalog/answer.ts";
import { after, type Catalog, type MaybePromise, type Member } from "../catalog/contract.ts";
import { formatAddress } from "../protocol/address.ts";
import { nextServerState, type ServerState } from "../protocol/conversation.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { FIND_WAIT_SECONDS_MAX, FINDS_AT_ONCE_MAX, FINDS_AT_ONCE_PER_ADDRESS_MAX } from "../protocol/limits.ts";
import type { ServerRequest } from "../protocol/messages.ts";
import type { Order } from "../protocol/orders.ts";
import { encodeReply } from "../protocol/replies.ts";
import type { Limits } from "../protocol/server-limits.ts";
import type { Clock } from "../shared/clock.ts";
import { createAdmission, type JoinRequest, type Prepared } from "./admission.ts";
import { eventOf, type LeftReason, type ServidorOptions } from "./events.ts";
import { createFairQueue } from "./fair-queue.ts";
import { prepareJoin } from "./join.ts";
import { createJoinBudget } from "./join-budget.ts";
import type { Metrics } from "./metrics.ts";
import type { Probes } from "./reachability.ts";
import type { ReplyBuffer } from "./reply-buffer.ts";
import { errorLine, FATAL, type Session, stay, takeTurn } from "./session.ts";
import { createWishes } from "./wishes.ts";

type Parts = {
  readonly options: Pick<ServidorOptions, "onEvent" | "tellSearches">;
  readonly limits: Limits;
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly replies: ReplyBuffer;
  /** Undefined where no peer is dialled back. */
  readonly probes: Probes | undefined;
  /** The IP at which other machines reach this one; undefined when they do not reach the server. */
  readonly outside: string | undefined;
};

/** A request that is being answered, and when it came. */
type Asked = { readonly session: Session; readonly request: ServerRequest; readonly at: number };
/** What the catalog made of it, the state that follows, and the membership that it found. */
type Outcome = {
  readonly result: Answered | Fault;
  readonly next: ServerState | Fault;
  readonly before: Member | undefined;
};

export type RequestHandler = {
  /** Every client that is connected. */
  readonly sessions: Set<Session>;
  /** How many connections there are, how many of the peers on them are in no list, and how many files they wish for. */
  counts(): { readonly connections: number; readonly unlisted: number; readonly wishes: number };
  /** Whether the peer listed at this address in 127.0.0.0/8 listens to other machines too. */
  isOpen(address: string): boolean;
  /** Answers one order; a promise when that takes a while. */
  serve(session: Session, order: Order | Fault): Promise<void> | undefined;
  /** An ERROR in the reply's place. */
  refuse(session: Session, why: Fault): void;
  /** It is gone. */
  forget(session: Session, reason: LeftReason): void;
  /** `bytes` of a JOIN are here. */
  hold(session: Session, bytes: number): void;
};

const DISPLACED = fault("ADDRESS_TAKEN", "theirs", "another peer has proved that it listens at your address", true);
const FINDS_TOO_MANY = fault("TOO_MANY", "ours", "FINDs that wait", true);
const JOINS_TOO_LARGE = fault("TOO_MANY", "theirs", "bytes of JOINs that are under way", true);

export function createRequestHandler(parts: Parts): RequestHandler {
  const { options, limits, catalog, clock, metrics, replies, probes, outside } = parts;
  const sessions = new Set<Session>();
  const isHere = (session: Session): boolean => sessions.has(session);
  const budget = createJoinBudget<Session>(limits, ({ busy, standing }) => !busy || standing.probing !== undefined);
  const takeFindTurn = createFindTurns(clock);
  const wishes = createWishes({ limits, replies, metrics, seesAll: catalog.isShared !== true });
  const displace = (holder: Session): void => putOut(holder, DISPLACED, "displaced");
  const admission = createAdmission({ probes, peersMax: limits.peers, outside, onProbed: metrics.probed, displace });

  function serve(session: Session, order: Order | Fault): Promise<void> | undefined {
    if (isFault(order)) {
      metrics.answered("unknown", order.fault, 0);
      return refuse(session, order);
    }
    const { request, payload } = order;
    const asked = { session, request, at: clock.now() };
    if (request.verb === "JOIN") return join(asked, request, payload);
    const waitMs = takeTurn(session, request.verb, clock, limits);
    if (waitMs > 0) return new Promise<void>((done) => clock.after(waitMs, done)).then(() => serve(session, order));
    return request.verb === "FIND" ? find(asked) : answerTo(asked);
  }

  async function find(asked: Asked): Promise<void> {
    const done = await takeFindTurn(asked.session.connection.remote.ip);
    await answerTo(asked, done === undefined ? FINDS_TOO_MANY : undefined);
    done?.();
  }

  async function join(asked: Asked, request: JoinRequest, payload: Order["payload"]): Promise<void> {
    const { session } = asked;
    if (!hold(session, request.payloadBytes)) return;
    const prepared = await prepareJoin({ admission, namesMax: limits.names, isHere }, session, request, payload);
    const leaving = prepared && !isFault(prepared) ? admission.departing(session, prepared) : undefined;
    if (leaving !== undefined) await leaving;
    if (prepared !== undefined) await answerTo(asked, prepared);
    hold(session, 0);
  }

  /** Answers at once where the catalog does: a promise for each request would cost a tenth of all SEARCHes. */
  function answerTo(asked: Asked, prepared?: Prepared | Fault): Promise<void> | undefined {
    const { session, request } = asked;
    const { client } = session;
    const { member } = client;
    if (!isHere(session)) return settled(after(member && catalog.leave(member), () => {}));
    const joining = isFault(prepared) ? undefined : prepared;
    const next = nextServerState(session.state, request.verb);
    const why =
      (isFault(prepared) && prepared) || (isFault(next) && next) || (joining && admission.clear(session, joining));
    const answered = why || (wishes.answer(session, request) ?? answer(request, client, catalog, joining));
    return settled(after(answered, (result) => finish(asked, joining, { result, next, before: member })));
  }

  function finish(asked: Asked, joining: Prepared | undefined, outcome: Outcome): MaybePromise<void> {
    const { session, request, at } = asked;
    const { client, connection } = session;
    const { result, next, before } = outcome;
    // It went away while the catalog was at work: nothing of it may stay behind.
    if (!isHere(session)) return client.member && catalog.leave(client.member);
    const now = clock.now();
    metrics.answered(request.verb, isFault(result) ? result.fault : "ok", now - at);
    if (client.member === undefined) admission.leave(session);
    if (isFault(result)) return refuse(session, result);
    if (!isFault(next)) session.state = next;
    if (client.member !== undefined) stay(session, now, limits);
    const isNews = joining === undefined || admission.enter(session, joining, before);
    const event = isNews && eventOf(request, joining?.names ?? [], client.member, options);
    if (event) options.onEvent(event);
    replies.put(connection, encodeReply(replyOf(result, joining)), result.payload);
    wishes.hear(session, request, joining?.names);
    if (request.verb !== "LEAVE") return;
    if (before !== undefined) options.onEvent({ type: "left", address: before.address, reason: "left" });
    replies.flush();
    connection.end();
  }

  /** `bytes` of a JOIN are here. The largest holder goes when that is too much; false when it is this one. */
  function hold(session: Session, bytes: number): boolean {
    const out = budget.set(session, session.connection.remote.ip, bytes);
    if (out !== undefined) putOut(out, JOINS_TOO_LARGE, "closed");
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
    replies.put(connection, errorLine(why));
    if (FATAL.has(why.fault) || session.orders.lost) session.state = "left";
    if (session.state !== "left") return;
    replies.flush();
    connection.end();
  }

  function forget(session: Session, reason: LeftReason): void {
    const { member } = session.client;
    session.known();
    // One that is being answered leaves the catalog once that is done; one that is being dialled, at once.
    const isEntering = session.work !== undefined && session.standing.probing === undefined;
    admission.leave(session);
    wishes.forget(session);
    budget.set(session, session.connection.remote.ip, 0);
    if (!sessions.delete(session) || member === undefined) return;
    options.onEvent({ type: "left", address: member.address, reason });
    if (!isEntering) void catalog.leave(member);
  }

  const counts = () => ({ connections: sessions.size, unlisted: admission.unlisted, wishes: wishes.count });
  return { sessions, counts, isOpen: admission.isOpen, serve, refuse, forget, hold };
}

/**
 * FINDs cost so much that addresses take turns. Resolves at this address' turn with what ends it, or with undefined
 * after FIND_WAIT_SECONDS_MAX without one.
 */
function createFindTurns(clock: Clock): (ip: string) => Promise<(() => void) | undefined> {
  const queue = createFairQueue(FINDS_AT_ONCE_MAX, FINDS_AT_ONCE_PER_ADDRESS_MAX);
  return (ip) => {
    const { promise, resolve } = Promise.withResolvers<(() => void) | undefined>();
    let stopWaiting = (): void => {};
    let hasBegun = false;
    const giveUp = queue.take(ip, () => {
      const turn = Promise.withResolvers<void>();
      hasBegun = true;
      stopWaiting();
      resolve(turn.resolve);
      return turn.promise;
    });
    if (!hasBegun)
      stopWaiting = clock.after(FIND_WAIT_SECONDS_MAX * 1000, () => {
        if (giveUp()) resolve(undefined);
      });
    return promise;
  };
}

/** A JOIN_OK also says whether only this machine's peers find the new one. */
const replyOf = ({ reply }: Answered, joined: Prepared | undefined): Answered["reply"] =>
  reply.verb === "JOIN_OK" && joined?.localFor !== undefined ? { ...reply, localFor: joined.localFor } : reply;

/** A promise to wait for, or nothing to wait for. */
const settled = (work: MaybePromise<void>): Promise<void> | undefined => (work instanceof Promise ? work : undefined);
