// A peer's one connection to the server: joined, kept alive, and joined again by itself when the server comes back.
// Invariant: what the server knows of us is what `shares()` says, from each JOIN on; at most one connection is ours.
// Never: gives up while we are in; a transfer between peers neither needs it nor waits for it.

import type { Address } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { PING_SECONDS, RECONNECT_AFTER_SHUTDOWN_MS, RECONNECT_MS_MAX, RECONNECT_MS_MIN } from "../protocol/limits.ts";
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
  readonly onLost: () => void;
  readonly onBack: (published: Address) => void;
};

export type ServerLink = {
  /** Enters the network at this listening address, or moves there when already in. The published address, or why not. */
  join(address: Address): Promise<Address | Fault>;
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
  let listening: Address | undefined; // set while we are in
  let cancelTimer: () => void = () => {};

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
  async function enter(link: Caller, address: Address): Promise<Address | Fault> {
    entering = link;
    const payload = encodeShares(options.shares());
    void link.call({ verb: "HELLO", version: VERSION });
    const answer = await link.call({ verb: "JOIN", address, payloadBytes: payload.length }, { payload });
    // SPEC 5.b: the peer is in once the answer holds JOIN_OK.
    const joined = expectReply(answer, "JOIN_OK");
    if (isFault(joined)) return asServerFault(joined);
    return joined.reply.address;
  }

  async function join(address: Address): Promise<Address | Fault> {
    if (caller === undefined) cancelTimer();
    // A return under way is waited for, and its connection used: two of ours would shut each other out.
    await returning;
    const link = caller ?? (await dial());
    const published = isFault(link) ? link : await enter(link, address);
    entering = undefined;
    if (isFault(published) || isFault(link)) {
      if (!isFault(link) && link !== caller) link.end();
      if (listening !== undefined && caller === undefined) comeBack(RECONNECT_MS_MIN);
      return published;
    }
    listening = address;
    adopt(link);
    return published;
  }

  function adopt(link: Caller): void {
    if (caller === link) return;
    caller = link;
    keepAlive(link);
    void link.closed.then((why) => {
      if (caller !== link) return;
      caller = undefined;
      cancelTimer();
      if (listening === undefined) return;
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
    const address = listening;
    if (address === undefined) return;
    const link = await dial();
    const published = isFault(link) ? link : await enter(link, address);
    entering = undefined;
    const left = listening === undefined;
    if (left || isFault(published) || isFault(link)) {
      if (!isFault(link)) link.end();
      if (!left) comeBack(Math.min(ms * 2, RECONNECT_MS_MAX));
      return;
    }
    adopt(link);
    options.onBack(published);
  }

  async function call(request: ServerRequest): Promise<Answer | Fault> {
    const link = caller ?? entering;
    if (link === undefined && listening === undefined) {
      return fault("NOT_JOINED", "ours", `${request.verb} before JOIN`);
    }
    if (link === undefined) return fault("SERVER_GONE", "network", "reconnecting", true);
    const answer = await link.call(request);
    return isFault(answer) ? asServerFault(answer) : answer;
  }

  async function leave(): Promise<void> {
    cancelTimer();
    listening = undefined;
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
