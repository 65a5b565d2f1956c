// A peer's one connection to the server: joined, kept alive, and joined again by itself when the server comes back.
// Invariant: what the server knows of us is what `shares()` says, from each JOIN on; one connection and one plan at most.
// Never: gives up while we are in; a transfer between peers neither needs it nor waits for it.

import type { Address } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import {
  LASTED_SECONDS_MIN,
  LISTED_LATER_SECONDS,
  PING_SECONDS,
  RECONNECT_AFTER_SHUTDOWN_MS,
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  RETURN_SECONDS_MAX,
  UNREACHED_SECONDS_MAX,
  UNREACHED_SECONDS_MIN,
} from "../protocol/limits.ts";
import { type ServerRequest, type Share, VERSION } from "../protocol/messages.ts";
import { encodeShares } from "../protocol/payloads.ts";
import type { Clock } from "../shared/clock.ts";
import { type Answer, type Caller, createCaller, expectReply } from "../transport/caller.ts";
import type { Connect } from "../transport/connection.ts";

export type ServerLinkOptions = {
  readonly server: Address;
  readonly connect: Connect;
  readonly clock: Clock;
  /** 0 ≤ r < 1; spreads the return of many peers to a restarted server. */
  readonly random: () => number;
  /** What we have now, for each JOIN that brings none of its own. */
  readonly shares: () => Iterable<Share>;
  /** What our door proves when the server dials back; without it the JOIN carries none. */
  readonly key?: string;
  readonly onLost: () => void;
  readonly onBack: (published: Address) => void;
  /** We were in and could not be found; from now on we are. Only whole files are: offers were heard by nobody. */
  readonly onListed?: () => void;
  /** Whether others can connect to us has changed since the JOIN that was asked for. */
  readonly onReach?: (reached: boolean, published: Address) => void;
};

/** Whether others shall find us: at once; a little later, for who came to ask something first; or not at all. */
export type Listing = "now" | "later" | "never";

/** In, under that address; others find us there if they can connect to it. */
export type Entered = {
  readonly address: Address;
  readonly reached: boolean;
  /** Only this machine's peers find us there; the IP at which others would. */
  readonly localFor?: string;
};

export type JoinOptions = {
  readonly listing?: Listing | undefined;
  /** What we have there, for this JOIN and those that follow from it. */
  readonly shares?: () => Iterable<Share>;
};

export type ServerLink = {
  /**
   * Enters the network at this listening address, or moves there when already in; after whatever JOIN is under way. An
   * address that nobody can connect to is tried again by itself, as long as we are in.
   */
  join(address: Address, options?: JoinOptions): Promise<Entered | Fault>;
  /**
   * One request to the server; NOT_JOINED before JOIN, SERVER_GONE while it is away. A question (SEARCH, FIND, SOURCES)
   * is asked again when the server is back within RETURN_SECONDS_MAX.
   */
  call(request: ServerRequest): Promise<Answer | Fault>;
  /** Tells the server goodbye and stops. */
  leave(): Promise<void>;
};

/**
 * out: not in, and nothing is under way. entering: the first JOIN is. in: joined. moving: joined, and another JOIN is
 * under way. waiting: the connection is lost, and a timer runs. returning: a JOIN of its own, or of the person's, is
 * under way on the way back.
 */
export type LinkState = "out" | "entering" | "in" | "moving" | "waiting" | "returning";
/** join: one begins, the person's or our own. due: the timer is. refused: the JOIN failed, for whatever reason. */
export type LinkEvent = "join" | "due" | "entered" | "refused" | "lost" | "leave";

/** state -> event -> state. What is missing cannot happen there: JOINs wait for each other. */
export const LINK_TABLE: Record<LinkState, Partial<Record<LinkEvent, LinkState>>> = {
  out: { join: "entering", leave: "out" },
  entering: { entered: "in", refused: "out", leave: "out" },
  in: { join: "moving", lost: "waiting", leave: "out" },
  moving: { entered: "in", refused: "in", lost: "waiting", leave: "out" },
  waiting: { join: "returning", due: "returning", leave: "out" },
  returning: { entered: "in", refused: "waiting", leave: "out" },
};

/** Questions change nothing, so they may be asked again. */
const QUESTIONS: ReadonlySet<string> = new Set(["SEARCH", "FIND", "SOURCES"]);

/** A server that does not answer the goodbye learns of it from the closed connection. */
const LEAVE_SECONDS_MAX = 2;

type Plan = { readonly address: Address; readonly listing: Listing; readonly shares: () => Iterable<Share> };

export function createServerLink(options: ServerLinkOptions): ServerLink {
  const { server, connect, clock } = options;
  let state: LinkState = "out";
  let link: Caller | undefined; // the one connection, from its dial on
  let ended = fault("SERVER_GONE", "network"); // why the last one is over
  let asked: Caller | undefined; // its first JOIN is not answered yet: what is said meanwhile goes behind it
  let place: Plan | undefined; // set while we are in
  let reached = true; // as far as we know
  let left = 0; // how often we have left: what was begun before is void
  let pauseMs = RECONNECT_MS_MIN; // before the next return
  let enteredAt = 0;
  let turns: Promise<unknown> = Promise.resolve();
  let leaving: Promise<unknown> = turns;
  let cancelReturn: () => void = () => {};
  let cancelPing: () => void = () => {};
  let cancelRelist: () => void = () => {};
  const waiters = new Set<(isIn: boolean) => void>();

  function go(event: LinkEvent): void {
    const next = LINK_TABLE[state][event];
    if (next === undefined) throw new Error(`${event} while ${state}`);
    state = next;
    if (state !== "in" && state !== "out") return;
    for (const resolve of waiters) resolve(state === "in");
    waiters.clear();
  }

  /** One after the other; what was begun before we left is not begun any more. */
  function inTurn<T>(action: () => Promise<T>): Promise<T | Fault> {
    const epoch = left;
    const over = turns.then(async () => (epoch === left ? action() : fault("SERVER_GONE", "ours", "left")));
    turns = over.catch(() => undefined);
    return over;
  }

  /** A new connection, which is ours from now on. */
  async function dial(): Promise<Caller | Fault> {
    const epoch = left;
    let made: Caller | undefined;
    const connection = await connect(server, (opened) => {
      const { caller, handlers } = createCaller(opened, clock);
      made = caller;
      return handlers;
    });
    if (isFault(connection)) return fault("SERVER_UNREACHABLE", "network", connection.detail, true);
    const ours = made as Caller;
    if (epoch !== left) {
      ours.end();
      return fault("SERVER_GONE", "ours", "left");
    }
    link = ours;
    void ours.closed.then((why) => {
      if (link !== ours) return;
      link = undefined;
      ended = why;
      if (state === "in" || state === "moving") lose(why);
    });
    return ours;
  }

  function lose(why: Fault): void {
    go("lost");
    cancelPing();
    cancelRelist();
    // Only a connection that has lasted makes up for those that did not.
    if (clock.now() - enteredAt >= LASTED_SECONDS_MIN * 1000) pauseMs = RECONNECT_MS_MIN;
    if (why.fault === "SHUTTING_DOWN") pauseMs = Math.max(pauseMs, RECONNECT_AFTER_SHUTDOWN_MS);
    returnLater();
    options.onLost();
  }

  /** Tries again after a random part of the pause, which doubles up to RECONNECT_MS_MAX. */
  function returnLater(): void {
    const ms = pauseMs * (0.5 + options.random() / 2);
    pauseMs = Math.min(pauseMs * 2, RECONNECT_MS_MAX);
    cancelReturn = clock.after(ms, () => void inTurn(comeBack));
  }

  async function comeBack(): Promise<void> {
    if (state !== "waiting" || place === undefined) return;
    go("due");
    const entered = await attempt(place);
    if (isFault(entered)) return;
    options.onBack(entered.address);
    hear(entered);
  }

  /** JOIN over `over`. */
  async function enter(over: Caller, { address, listing, shares }: Plan): Promise<Entered | Fault> {
    asked = over;
    const payload = encodeShares(shares());
    const key = listing === "now" ? options.key : "-";
    void over.call({ verb: "HELLO", version: VERSION });
    const request = { verb: "JOIN", address, payloadBytes: payload.length, ...(key !== undefined && { key }) } as const;
    const answer = await over.call(request, { payload });
    asked = undefined;
    // SPEC 5.b: the peer is in once the answer holds JOIN_OK.
    const joined = expectReply(answer, "JOIN_OK");
    if (isFault(joined)) return asServerFault(joined);
    const { address: at, reached: isReached, localFor } = joined.reply;
    return { address: at, reached: isReached, ...(localFor !== undefined && { localFor }) };
  }

  /** One JOIN, over the connection that there is or a new one, and what comes of it. */
  async function attempt(plan: Plan): Promise<Entered | Fault> {
    const epoch = left;
    const over = link ?? (await dial());
    const entered = isFault(over) ? over : await enter(over, plan);
    if (epoch !== left || isFault(over) || isFault(entered)) {
      if (epoch === left && state !== "waiting") giveUp();
      return isFault(entered) ? entered : fault("SERVER_GONE", "ours", "left");
    }
    place = plan;
    if (state === "waiting") return entered; // lost since the answer came
    if (state !== "moving") enteredAt = clock.now();
    go("entered");
    if (link === over) keepAlive(over);
    else lose(ended); // as soon as it was answered
    if (!entered.reached) relistLater(UNREACHED_SECONDS_MIN);
    else if (plan.listing === "later") relistLater(LISTED_LATER_SECONDS);
    return entered;
  }

  /** A JOIN has failed: we are where we were. */
  function giveUp(): void {
    go("refused");
    if (state === "in") return;
    link?.end();
    link = undefined;
    if (state === "waiting") returnLater();
  }

  function keepAlive(over: Caller): void {
    cancelPing();
    cancelPing = clock.after(PING_SECONDS * 1000, () => {
      void over.call({ verb: "PING" });
      keepAlive(over);
    });
  }

  /** JOINs again after `seconds`, and then after twice as long, until others can connect to us. */
  function relistLater(seconds: number): void {
    cancelRelist();
    cancelRelist = clock.after(seconds * 1000, () => void inTurn(() => relist(seconds)));
  }

  async function relist(seconds: number): Promise<void> {
    if (state !== "in" || place === undefined) return; // whoever comes back JOINs anyway
    place = { ...place, listing: "now" };
    go("join");
    const entered = await attempt(place);
    if (state !== "in") return;
    if (!isFault(entered) && entered.reached) options.onListed?.();
    else relistLater(Math.min(Math.max(seconds * 2, UNREACHED_SECONDS_MIN), UNREACHED_SECONDS_MAX));
    if (!isFault(entered)) hear(entered);
  }

  function hear(entered: Entered): void {
    const isNews = reached !== entered.reached;
    reached = entered.reached;
    if (isNews) options.onReach?.(reached, entered.address);
  }

  async function join(address: Address, { listing = "now", shares = options.shares }: JoinOptions = {}) {
    return inTurn(async () => {
      cancelReturn();
      cancelRelist();
      go("join");
      const entered = await attempt({ address, listing, shares });
      if (!isFault(entered)) reached = entered.reached;
      else if (state === "in" && !reached) relistLater(UNREACHED_SECONDS_MIN);
      return entered;
    });
  }

  /** True when we are in again before `until`, in the clock's milliseconds. */
  function back(until: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const cancel = clock.after(until - clock.now(), () => settle(false));
    const settle = (isIn: boolean): void => {
      cancel();
      waiters.delete(settle);
      resolve(isIn);
    };
    waiters.add(settle);
    return promise;
  }

  async function call(request: ServerRequest): Promise<Answer | Fault> {
    const mayWait = QUESTIONS.has(request.verb);
    const until = clock.now() + RETURN_SECONDS_MAX * 1000;
    for (;;) {
      const isIn = state === "in" || state === "moving";
      const over = isIn ? link : mayWait && place !== undefined ? undefined : asked;
      if (over === undefined && place === undefined) {
        return fault("NOT_JOINED", "ours", `${request.verb} before JOIN`);
      }
      const answer = (await over?.call(request)) ?? fault("SERVER_GONE", "network", "reconnecting", true);
      if (!isFault(answer)) return answer;
      await over?.closed;
      const why = asServerFault(answer);
      const isAway = mayWait && why.fault === "SERVER_GONE" && place !== undefined && clock.now() < until;
      if (!isAway || !(await back(until))) return why;
    }
  }

  function leave(): Promise<void> {
    const wasIn = state === "in" || state === "moving";
    for (const cancel of [cancelReturn, cancelPing, cancelRelist]) cancel();
    left += 1;
    place = undefined;
    const over = link;
    link = undefined;
    go("leave");
    const gone = (async () => {
      if (wasIn) await over?.call({ verb: "LEAVE" }, { seconds: LEAVE_SECONDS_MAX });
      over?.end();
    })();
    leaving = Promise.all([leaving, gone]);
    turns = leaving; // who joins again does so when this connection is over
    return gone;
  }

  return { join, call, leave };
}

/** The server's end of a broken connection: the person should hear of the server, not of "a peer". */
function asServerFault(why: Fault): Fault {
  return why.fault === "PEER_GONE" || why.fault === "STALLED" ? fault("SERVER_GONE", "network", why.detail, true) : why;
}
