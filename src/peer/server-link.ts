// A peer's membership of the network: joined, kept alive, and joined again by itself when the server comes back.
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
import type { ServerRequest, Share } from "../protocol/messages.ts";
import { type Clock, createTimer } from "../shared/clock.ts";
import type { Answer, Caller, CallOptions } from "../transport/caller.ts";
import type { Env } from "../transport/env.ts";
import { createStanding, type Standing } from "./link-state.ts";
import {
  asServerFault,
  createServerConnection,
  type Entered,
  type InvitedTo,
  LEFT,
  type Listing,
  type Plan,
  type ServerConnection,
} from "./server-connection.ts";

export type ServerLinkOptions = {
  readonly server: InvitedTo;
  /** Its chance spreads the return of many peers to a restarted server. */
  readonly env: Env;
  /** What we have now, for each JOIN that brings none of its own. */
  readonly shares: () => Iterable<Share>;
  /** What our listening socket proves when the server dials back; without it the JOIN carries none. */
  readonly key?: string;
  readonly onLost: () => void;
  readonly onBack: (published: Address) => void;
  /** We were in and could not be found; from now on we are. Only whole files are: the server has dropped the offers. */
  readonly onListed?: () => void;
  /** Whether others can connect to us has changed since the JOIN that was asked for. */
  readonly onReach?: (reached: boolean, published: Address) => void;
};

export type JoinOptions = {
  readonly listing?: Listing | undefined;
  /** What we have there, for this JOIN and those that follow from it. */
  readonly shares?: () => Iterable<Share>;
};

export type ServerLink = {
  /**
   * Enters the network at this listening address, or moves there when already in; after whatever JOIN is under way. An
   * address that no other machine can connect to is tried again by itself, as long as we are in.
   */
  join(address: Address, options?: JoinOptions): Promise<Entered | Fault>;
  /**
   * One request to the server; NOT_JOINED before JOIN, SERVER_GONE while it is away. A question (SEARCH, FIND, SOURCES)
   * is asked again when the server is back within RETURN_SECONDS_MAX.
   */
  call(request: ServerRequest, options?: Pick<CallOptions, "onArrived">): Promise<Answer | Fault>;
  /** Tells the server goodbye and stops. */
  leave(): Promise<void>;
};

/** A server that does not answer the goodbye learns of it from the closed connection. */
const LEAVE_SECONDS_MAX = 2;

export function createServerLink(options: ServerLinkOptions): ServerLink {
  const { env } = options;
  const { clock } = env;
  const standing = createStanding(clock);
  const connection = createServerConnection({ ...options, onEnd: lose });
  const turns = createTurns();
  const pause = createPause(env.random);
  const [returning, pinging, relisting] = [createTimer(clock), createTimer(clock), createTimer(clock)];
  let plan: Plan | undefined; // set while we are in
  let reached = true; // as far as we know
  let enteredAt = 0;

  function lose(why: Fault): void {
    if (!standing.isIn()) return;
    standing.go("lost");
    pinging.cancel();
    relisting.cancel();
    // Only a connection that has lasted makes up for those that did not.
    if (clock.now() - enteredAt >= LASTED_SECONDS_MIN * 1000) pause.reset();
    if (why.fault === "SHUTTING_DOWN") pause.lengthen(RECONNECT_AFTER_SHUTDOWN_MS);
    returnLater();
    options.onLost();
  }

  const returnLater = (): void => returning.set(pause.next(), () => void turns.take(comeBack));

  async function comeBack(): Promise<void> {
    if (standing.state !== "waiting" || plan === undefined) return;
    standing.go("due");
    const entered = await attempt(plan);
    if (isFault(entered)) return;
    options.onBack(entered.address);
    hear(entered);
  }

  /** One JOIN, over the connection that there is or a new one, and what comes of it. */
  async function attempt(wanted: Plan): Promise<Entered | Fault> {
    const hasLeft = turns.mark();
    const over = connection.caller ?? (await connection.dial());
    const entered = isFault(over) ? over : await connection.join(over, wanted);
    if (hasLeft() || isFault(over) || isFault(entered)) {
      if (!hasLeft() && standing.state !== "waiting") giveUp();
      return isFault(entered) ? entered : LEFT;
    }
    plan = wanted;
    if (standing.state === "waiting") return entered; // lost since the answer came
    if (standing.state !== "moving") enteredAt = clock.now();
    standing.go("entered");
    if (connection.caller === over) keepAlive(over);
    else lose(connection.ended); // as soon as it was answered
    if (!entered.reached) relistLater(UNREACHED_SECONDS_MIN);
    else if (wanted.listing === "later") relistLater(LISTED_LATER_SECONDS);
    return entered;
  }

  /** A JOIN has failed: we are where we were. */
  function giveUp(): void {
    standing.go("refused");
    if (standing.state === "in") return;
    connection.release()?.end();
    if (standing.state === "waiting") returnLater();
  }

  function keepAlive(over: Caller): void {
    pinging.set(PING_SECONDS * 1000, () => {
      void over.call({ verb: "PING" });
      keepAlive(over);
    });
  }

  /** JOINs again after `seconds`, and then after twice as long, until others can connect to us. */
  function relistLater(seconds: number): void {
    relisting.set(seconds * 1000, () => void turns.take(() => relist(seconds)));
  }

  async function relist(seconds: number): Promise<void> {
    if (standing.state !== "in" || plan === undefined) return; // the return JOINs anyway
    plan = { ...plan, listing: "now" };
    standing.go("join");
    const entered = await attempt(plan);
    if (standing.state !== "in") return;
    if (!isFault(entered) && entered.reached) options.onListed?.();
    else relistLater(Math.min(Math.max(seconds * 2, UNREACHED_SECONDS_MIN), UNREACHED_SECONDS_MAX));
    if (!isFault(entered)) hear(entered);
  }

  function hear(entered: Entered): void {
    const isNews = reached !== entered.reached;
    reached = entered.reached;
    if (isNews) options.onReach?.(reached, entered.address);
  }

  return {
    join: (address, { listing = "now", shares = options.shares } = {}) =>
      turns.take(async () => {
        returning.cancel();
        relisting.cancel();
        standing.go("join");
        const entered = await attempt({ address, listing, shares });
        if (!isFault(entered)) reached = entered.reached;
        else if (standing.state === "in" && !reached) relistLater(UNREACHED_SECONDS_MIN);
        return entered;
      }),
    call: (request, options) =>
      call(request, { options, standing, connection, clock, isMember: () => plan !== undefined }),
    leave() {
      const isIn = standing.isIn();
      for (const timer of [returning, pinging, relisting]) timer.cancel();
      plan = undefined;
      const over = connection.release();
      standing.go("leave");
      const gone = (async () => {
        if (isIn) await over?.call({ verb: "LEAVE" }, { seconds: LEAVE_SECONDS_MAX });
        over?.end();
      })();
      turns.leave(gone);
      return gone;
    },
  };
}

/** JOINs, one after the other. */
function createTurns() {
  let left = 0;
  let last: Promise<unknown> = Promise.resolve();
  let leaving = last;
  /** The returned function tells whether we have left since. */
  function mark(): () => boolean {
    const then = left;
    return () => then !== left;
  }
  return {
    mark,
    /** Runs `action` after what was begun before; after a leave it comes to nothing. */
    take<T>(action: () => Promise<T>): Promise<T | Fault> {
      const hasLeft = mark();
      const over = last.then(async () => (hasLeft() ? LEFT : action()));
      last = over.catch(() => undefined);
      return over;
    },
    /** Voids what was begun; the next JOIN begins when the connection that is left is over. */
    leave(goodbye: Promise<void>): void {
      left += 1;
      leaving = Promise.all([leaving, goodbye]);
      last = leaving;
    },
  };
}

/** The pause before the next return: doubled each time up to RECONNECT_MS_MAX, and half of it random. */
function createPause(random: () => number) {
  let ms = RECONNECT_MS_MIN;
  return {
    next(): number {
      const pause = ms * (0.5 + random() / 2);
      ms = Math.min(ms * 2, RECONNECT_MS_MAX);
      return pause;
    },
    reset(): void {
      ms = RECONNECT_MS_MIN;
    },
    lengthen(least: number): void {
      ms = Math.max(ms, least);
    },
  };
}

/** Questions change nothing, so they may be asked again. */
const QUESTIONS: ReadonlySet<string> = new Set(["SEARCH", "FIND", "SOURCES"]);

type Calling = {
  readonly options: CallOptions | undefined;
  readonly standing: Standing;
  readonly connection: ServerConnection;
  readonly clock: Clock;
  /** A JOIN was answered, and we have not left since. */
  readonly isMember: () => boolean;
};

async function call(
  request: ServerRequest,
  { options, standing, connection, clock, isMember }: Calling,
): Promise<Answer | Fault> {
  const mayWait = QUESTIONS.has(request.verb);
  const until = clock.now() + RETURN_SECONDS_MAX * 1000;
  for (;;) {
    const over = standing.isIn() ? connection.caller : mayWait && isMember() ? undefined : connection.joining;
    if (over === undefined && !isMember()) return fault("NOT_JOINED", "ours", `${request.verb} before JOIN`);
    const answer = (await over?.call(request, options)) ?? fault("SERVER_GONE", "network", "reconnecting", true);
    if (!isFault(answer)) return answer;
    await over?.closed;
    const why = asServerFault(answer);
    const isAway = mayWait && why.fault === "SERVER_GONE" && isMember() && clock.now() < until;
    if (!isAway || !(await standing.back(until))) return why;
  }
}
