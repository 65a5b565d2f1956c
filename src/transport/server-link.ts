// A peer's one connection to the server: joined, kept alive, and joined again by itself when the server comes back.
// Invariant: what the server knows of us is what `shares()` says, from each JOIN on; at most one connection is ours.
// Never: gives up while we are in; a transfer between peers neither needs it nor waits for it.

import type { Address } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import {
  LISTED_LATER_SECONDS,
  PING_SECONDS,
  RECONNECT_AFTER_SHUTDOWN_MS,
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  UNREACHED_SECONDS_MAX,
  UNREACHED_SECONDS_MIN,
} from "../protocol/limits.ts";
import { type ServerRequest, type Share, VERSION } from "../protocol/messages.ts";
import { encodeShares } from "../protocol/payloads.ts";
import { type Answer, type Caller, createCaller, expectReply } from "./caller.ts";
import type { Clock } from "./clock.ts";
import type { Connect } from "./connection.ts";

export type ServerLinkOptions = {
  readonly server: Address;
  readonly connect: Connect;
  readonly clock: Clock;
  /** 0 ≤ r < 1; spreads the return of many peers to a restarted server. */
  readonly random: () => number;
  /** What we have now, for each JOIN. */
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
export type Entered = { readonly address: Address; readonly reached: boolean };

export type ServerLink = {
  /**
   * Enters the network at this listening address, or moves there when already in. An address that nobody can connect
   * to is tried again by itself, as long as we are in.
   */
  join(address: Address, listing?: Listing): Promise<Entered | Fault>;
  /** One request to the server; NOT_JOINED before JOIN, SERVER_GONE while it is away. */
  call(request: ServerRequest): Promise<Answer | Fault>;
  /** Tells the server goodbye and stops. */
  leave(): Promise<void>;
};

export function createServerLink(options: ServerLinkOptions): ServerLink {
  const { server, connect, clock } = options;
  let caller: Caller | undefined;
  let entering: Caller | undefined; // its JOIN is not answered yet: what is said meanwhile goes behind it
  let returning: Promise<void> | undefined;
  let place: { readonly address: Address; listing: Listing } | undefined; // set while we are in
  let reached = true; // as far as we know
  let cancelTimer: () => void = () => {};
  let cancelRetry: () => void = () => {};

  async function dial(): Promise<Caller | Fault> {
    let made: Caller | undefined;
    const connection = await connect(server, (opened) => {
      const { caller: ours, handlers } = createCaller(opened, clock);
      made = ours;
      return handlers;
    });
    if (isFault(connection)) return fault("SERVER_UNREACHABLE", "network", connection.detail, true);
    return made as Caller;
  }

  /** JOIN over `link`, which becomes ours when it succeeds. */
  async function enter(link: Caller, address: Address, listing: Listing): Promise<Entered | Fault> {
    entering = link;
    const payload = encodeShares(options.shares());
    const key = listing === "now" ? options.key : "-";
    void link.call({ verb: "HELLO", version: VERSION });
    const request = { verb: "JOIN", address, payloadBytes: payload.length, ...(key !== undefined && { key }) } as const;
    const answer = await link.call(request, { payload });
    // SPEC 5.b: the peer is in once the answer holds JOIN_OK.
    const joined = expectReply(answer, "JOIN_OK");
    if (isFault(joined)) return asServerFault(joined);
    return { address: joined.reply.address, reached: joined.reply.reached };
  }

  async function join(address: Address, listing: Listing = "now"): Promise<Entered | Fault> {
    if (caller === undefined) cancelTimer();
    cancelRetry();
    // A return under way is waited for, and its connection used: two of ours would shut each other out.
    await returning;
    const link = caller ?? (await dial());
    const entered = isFault(link) ? link : await enter(link, address, listing);
    entering = undefined;
    if (isFault(entered) || isFault(link)) {
      if (!isFault(link) && link !== caller) link.end();
      if (place !== undefined && caller === undefined) comeBack(RECONNECT_MS_MIN);
      else if (!reached) retryLater(UNREACHED_SECONDS_MIN);
      return entered;
    }
    place = { address, listing };
    reached = entered.reached;
    adopt(link);
    planRetry();
    return entered;
  }

  /** What a JOIN that has just succeeded leaves to be done: nothing, when others find us or shall not. */
  function planRetry(): void {
    cancelRetry();
    if (!reached) retryLater(UNREACHED_SECONDS_MIN);
    else if (place?.listing === "later") retryLater(LISTED_LATER_SECONDS);
  }

  /** JOINs again after `seconds`, and then after twice as long, until others can connect to us. */
  function retryLater(seconds: number): void {
    cancelRetry();
    cancelRetry = clock.after(seconds * 1000, async () => {
      const link = caller;
      const at = place;
      if (link === undefined || at === undefined) return; // whoever comes back JOINs anyway
      at.listing = "now";
      const entered = await enter(link, at.address, at.listing);
      entering = undefined;
      if (caller !== link || place !== at) return;
      const isIn = !isFault(entered) && entered.reached;
      if (isIn) options.onListed?.();
      else retryLater(Math.min(Math.max(seconds * 2, UNREACHED_SECONDS_MIN), UNREACHED_SECONDS_MAX));
      if (!isFault(entered)) hear(entered);
    });
  }

  function hear(entered: Entered): void {
    const isNews = reached !== entered.reached;
    reached = entered.reached;
    if (isNews) options.onReach?.(reached, entered.address);
  }

  function adopt(link: Caller): void {
    if (caller === link) return;
    caller = link;
    keepAlive(link);
    void link.closed.then((why) => {
      if (caller !== link) return;
      caller = undefined;
      cancelTimer();
      if (place === undefined) return;
      options.onLost();
      comeBack(why.fault === "SHUTTING_DOWN" ? RECONNECT_AFTER_SHUTDOWN_MS : RECONNECT_MS_MIN);
    });
  }

  function keepAlive(link: Caller): void {
    cancelTimer = clock.after(PING_SECONDS * 1000, () => {
      if (caller !== link) return;
      void link.call({ verb: "PING" });
      keepAlive(link);
    });
  }

  /** Tries again after a random part of `ms`, then of twice as long, up to RECONNECT_MS_MAX. */
  function comeBack(ms: number): void {
    cancelTimer();
    cancelTimer = clock.after(ms * (0.5 + options.random() / 2), () => {
      returning = tryAgain(ms).finally(() => {
        returning = undefined;
      });
    });
  }

  async function tryAgain(ms: number): Promise<void> {
    const at = place;
    if (at === undefined) return;
    const link = await dial();
    const entered = isFault(link) ? link : await enter(link, at.address, at.listing);
    entering = undefined;
    const left = place === undefined;
    if (left || isFault(entered) || isFault(link)) {
      if (!isFault(link)) link.end();
      if (!left) comeBack(Math.min(ms * 2, RECONNECT_MS_MAX));
      return;
    }
    adopt(link);
    options.onBack(entered.address);
    hear(entered);
    planRetry();
  }

  async function call(request: ServerRequest): Promise<Answer | Fault> {
    const link = caller ?? entering;
    if (link === undefined && place === undefined) {
      return fault("NOT_JOINED", "ours", `${request.verb} before JOIN`);
    }
    if (link === undefined) return fault("SERVER_GONE", "network", "reconnecting", true);
    const answer = await link.call(request);
    return isFault(answer) ? asServerFault(answer) : answer;
  }

  async function leave(): Promise<void> {
    cancelTimer();
    cancelRetry();
    place = undefined;
    const link = caller;
    caller = undefined;
    if (link === undefined) return;
    await link.call({ verb: "LEAVE" }, { seconds: 2 });
    link.end();
  }

  return { join, call, leave };
}

/** The server's end of a broken connection: the person should hear of the server, not of "a peer". */
function asServerFault(why: Fault): Fault {
  return why.fault === "PEER_GONE" || why.fault === "STALLED" ? fault("SERVER_GONE", "network", why.detail, true) : why;
}
