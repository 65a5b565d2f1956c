// What each order of each client comes to, from its line to its reply.
// Invariant: one order, one reply, in order; a client that leaves, in whatever way, is in no list from then on.
// Never: accepts or reads a connection; servidor.ts does.

import { type Answered, answer, type Open } from "../catalog/answer.ts";
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
import { type ClientConnection, errorLine, FATAL, setPaused, stay, takeTurn } from "./client-connection.ts";
import { eventOf, type LeftReason, type ServidorOptions } from "./events.ts";
import { createFairQueue } from "./fair-queue.ts";
import { prepareJoin } from "./join.ts";
import { createJoinBudget } from "./join-budget.ts";
import { createJoinQueue } from "./join-queue.ts";
import type { Metrics } from "./metrics.ts";
import type { Reachability } from "./reachability.ts";
import type { ReplyBuffer } from "./reply-buffer.ts";
import { createWishes } from "./wishes.ts";

type Parts = {
  readonly options: Pick<ServidorOptions, "onEvent" | "tellSearches">;
  readonly limits: Limits;
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly replies: ReplyBuffer;
  /** Undefined where no peer is dialled back. */
  readonly reachability: Reachability | undefined;
  /** The IP at which other machines reach this one; undefined when they do not reach the server. */
  readonly outside: string | undefined;
};

/** A request that is being answered, and when it came. */
type Asked = { readonly client: ClientConnection; readonly request: ServerRequest; readonly at: number };
/** What the catalog made of it, the state that follows, and the membership that it found. */
type Outcome = {
  readonly result: Answered | Fault;
  readonly next: ServerState | Fault;
  readonly before: Member | undefined;
};

export type RequestHandler = {
  /** Every client that is connected. */
  readonly clients: Set<ClientConnection>;
  /** How many connections there are, how many of the peers on them are in no list, and how many files they wish for. */
  counts(): { readonly connections: number; readonly unlisted: number; readonly wishes: number };
  /** Whether the peer listed at this address in 127.0.0.0/8 listens to other machines too. */
  openAt(address: string): Open | undefined;
  /** Answers one order; a promise when that takes a while. */
  serve(client: ClientConnection, order: Order | Fault): Promise<void> | undefined;
  /** An ERROR in the reply's place. */
  refuse(client: ClientConnection, why: Fault): void;
  /** It is gone. */
  forget(client: ClientConnection, reason: LeftReason): void;
  /** What JOINs under way may take. */
  readonly joins: Pick<JoinRoom, "hold" | "endSlow">;
};

const DISPLACED = fault("ADDRESS_TAKEN", "theirs", "another peer has proved that it listens at your address", true);
const FINDS_TOO_MANY = fault("TOO_MANY", "ours", "FINDs that wait", true);
const JOINS_TOO_LARGE = fault("TOO_MANY", "theirs", "bytes of JOINs that are under way", true);

/** Whether it may be put out for its JOIN's bytes: not while that JOIN is being answered, unless it still waits for a dial. */
const mayGo = ({ busy, standing }: ClientConnection): boolean => !busy || standing.probing !== undefined;

export function createRequestHandler(parts: Parts): RequestHandler {
  const { options, limits, catalog, clock, metrics, replies, reachability, outside } = parts;
  const clients = new Set<ClientConnection>();
  const isHere = (client: ClientConnection): boolean => clients.has(client);
  const joins = createJoinRoom(limits, clock, (client) => putOut(client, JOINS_TOO_LARGE, "closed"));
  const takeFindTurn = createFindTurns(clock);
  const wishes = createWishes({ limits, replies, metrics, hearsAll: () => catalog.isPartial !== true });
  catalog.onArrival?.({ isWanted: () => wishes.count > 0, hear: wishes.hearName });
  const displace = (holder: ClientConnection): void => putOut(holder, DISPLACED, "displaced");
  const admission = createAdmission({ reachability, limits, outside, onProbed: metrics.probed, displace });

  function serve(client: ClientConnection, order: Order | Fault): Promise<void> | undefined {
    if (isFault(order)) {
      metrics.answered("unknown", order.fault, 0);
      return refuse(client, order);
    }
    const { request, payload } = order;
    const asked = { client, request, at: clock.now() };
    if (request.verb === "JOIN") return join(asked, request, payload);
    const waitMs = takeTurn(client, request.verb, clock, limits);
    if (waitMs > 0) return new Promise<void>((done) => clock.after(waitMs, done)).then(() => serve(client, order));
    return request.verb === "FIND" ? find(asked) : answerTo(asked);
  }

  async function find(asked: Asked): Promise<void> {
    const done = await takeFindTurn(asked.client.connection.remote.ip);
    await answerTo(asked, done === undefined ? FINDS_TOO_MANY : undefined);
    done?.();
  }

  async function join(asked: Asked, request: JoinRequest, payload: Order["payload"]): Promise<void> {
    const { client } = asked;
    if (!joins.take(client, request.payloadBytes)) return;
    const prepared = await prepareJoin({ admission, namesMax: limits.names, isHere }, client, request, payload);
    const leaving = prepared && !isFault(prepared) ? admission.departing(client, prepared) : undefined;
    if (leaving !== undefined) await leaving;
    if (prepared !== undefined) await answerTo(asked, prepared);
    joins.leave(client);
  }

  /** Answers at once where the catalog does. */
  function answerTo(asked: Asked, prepared?: Prepared | Fault): Promise<void> | undefined {
    const { client, request } = asked;
    const { from } = client;
    const { member } = from;
    if (!isHere(client)) return settled(after(member && catalog.leave(member), () => {}));
    const joining = isFault(prepared) ? undefined : prepared;
    const next = nextServerState(client.state, request.verb);
    const why =
      (isFault(prepared) && prepared) || (isFault(next) && next) || (joining && admission.clear(client, joining));
    const answered = why || (wishes.answer(client, request) ?? answer(request, from, catalog, joining));
    return settled(after(answered, (result) => finish(asked, joining, { result, next, before: member })));
  }

  function finish(asked: Asked, joining: Prepared | undefined, outcome: Outcome): MaybePromise<void> {
    const { client, request, at } = asked;
    const { from, connection } = client;
    const { result, next, before } = outcome;
    // It went away while the catalog was at work: nothing of it may stay behind.
    if (!isHere(client)) return from.member && catalog.leave(from.member);
    const now = clock.now();
    metrics.answered(request.verb, isFault(result) ? result.fault : "ok", now - at);
    if (from.member === undefined) admission.leave(client);
    if (isFault(result)) return refuse(client, result);
    if (!isFault(next)) client.state = next;
    if (from.member !== undefined) stay(client, now, limits);
    const isNews = joining === undefined || admission.enter(client, joining, before);
    const event = isNews && eventOf(request, joining?.names ?? [], from.member, options);
    if (event) options.onEvent(event);
    replies.put(connection, encodeReply(replyOf(result, joining)), result.payload);
    wishes.hear(client, request, joining?.names);
    if (request.verb !== "LEAVE") return;
    if (before !== undefined) options.onEvent({ type: "left", address: before.address, reason: "left" });
    replies.flush();
    connection.end();
  }

  /** Tells it why, and is done with it. */
  function putOut(client: ClientConnection, why: Fault, reason: LeftReason): void {
    client.state = "left";
    refuse(client, why);
    client.reader.clear();
    forget(client, reason);
  }

  /** An ERROR in the reply's place; a fault after which the stream cannot be understood ends the connection. */
  function refuse(client: ClientConnection, why: Fault): undefined {
    const { connection } = client;
    metrics.fault(why.fault);
    options.onEvent({ type: "fault", remote: formatAddress(connection.remote), fault: why });
    replies.put(connection, errorLine(why));
    if (FATAL.has(why.fault) || client.orders.lost) client.state = "left";
    if (client.state !== "left") return;
    replies.flush();
    connection.end();
  }

  function forget(client: ClientConnection, reason: LeftReason): void {
    const { member } = client.from;
    client.known();
    // One that is being answered leaves the catalog once that is done; one that is being dialled, at once.
    const isEntering = client.work !== undefined && client.standing.probing === undefined;
    admission.leave(client);
    wishes.forget(client);
    joins.leave(client);
    if (!clients.delete(client) || member === undefined) return;
    options.onEvent({ type: "left", address: member.address, reason });
    if (!isEntering) void catalog.leave(member);
  }

  const counts = () => ({ connections: clients.size, unlisted: admission.unlisted, wishes: wishes.count });
  return { clients, counts, openAt: admission.openAt, serve, refuse, forget, joins };
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

type JoinRoom = {
  /** `bytes` of a JOIN are here. The largest holder goes when that is too much; false when it is this one. */
  take(client: ClientConnection, bytes: number): boolean;
  /** The same while the payload arrives. Whether more of it is read now; else it is paused until its turn. */
  hold(client: ClientConnection, bytes: number): boolean;
  /** Its JOIN is answered, or it is gone. */
  leave(client: ClientConnection): void;
  /** Puts out the large ones that take or have waited too long; to be called about once a second. */
  endSlow(): void;
};

/** What JOINs under way may take: those beyond it are put out, or wait unread. */
function createJoinRoom(limits: Limits, clock: Clock, putOut: (client: ClientConnection) => void): JoinRoom {
  const budget = createJoinBudget(limits, mayGo);
  const queue = createJoinQueue<ClientConnection>(clock, (client) => {
    client.waits = false;
    client.dueAt = clock.now() + limits.unjoinedSeconds * 1000;
    setPaused(client, false);
  });
  function take(client: ClientConnection, bytes: number): boolean {
    const out = budget.set(client, client.connection.remote.ip, bytes);
    if (out !== undefined) putOut(out);
    return out !== client;
  }
  return {
    take,
    hold(client, bytes) {
      if (!take(client, bytes)) return false;
      if (queue.mayRead(client, client.connection.remote.ip, client.orders.announced)) return true;
      client.waits = true;
      client.dueAt = Number.POSITIVE_INFINITY; // it is not silent while it waits for us
      setPaused(client, true);
      return false;
    },
    leave(client) {
      take(client, 0);
      queue.leave(client);
    },
    endSlow() {
      for (const client of queue.overdue()) putOut(client);
    },
  };
}

/** A JOIN_OK also says whether only this machine's peers find the new one. */
const replyOf = ({ reply }: Answered, joined: Prepared | undefined): Answered["reply"] =>
  reply.verb === "JOIN_OK" && joined?.localFor !== undefined ? { ...reply, localFor: joined.localFor } : reply;

/** A promise to wait for, or nothing to wait for. */
const settled = (work: MaybePromise<void>): Promise<void> | undefined => (work instanceof Promise ? work : undefined);
