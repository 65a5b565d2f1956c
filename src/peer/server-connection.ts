// The one connection of a peer to the server: dialled, joined over, and let go.
// Invariant: at most one is ours; a dial that is under way when it is let go ends by itself.
// Never: dials again by itself; the link decides when.

import type { Address } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { inviteProof } from "../protocol/invite.ts";
import { type Share, VERSION } from "../protocol/messages.ts";
import { encodeShares } from "../protocol/payloads.ts";
import { type Caller, createCaller, expectReply } from "../transport/caller.ts";
import type { Env } from "../transport/env.ts";

/** Whether others shall find us: at once; a little later, for a peer that came to ask something first; or not at all. */
export type Listing = "now" | "later" | "never";

/** What a JOIN says. */
export type Plan = { readonly address: Address; readonly listing: Listing; readonly shares: () => Iterable<Share> };

/** In, under that address. */
export type Entered = {
  readonly address: Address;
  /** Others can connect to us, as far as the server could find out; only then do they find us. */
  readonly reached: boolean;
  /** Only this machine's peers find us there; the IP at which others would. */
  readonly localFor?: string;
};

export type ServerConnection = {
  /** The connection that is ours, from its dial on. */
  readonly caller: Caller | undefined;
  /** The one whose JOIN is not answered yet: what is said meanwhile goes behind it. */
  readonly joining: Caller | undefined;
  /** Why the last one is over. */
  readonly ended: Fault;
  /** A new one, ours from now on. */
  dial(): Promise<Caller | Fault>;
  /** HELLO and JOIN over `over`. */
  join(over: Caller, plan: Plan): Promise<Entered | Fault>;
  /** It is ours no more; for a last word, or to end it. */
  release(): Caller | undefined;
};

/** `invite`: the code of an invitation to that server. */
export type InvitedTo = Address & { readonly invite?: string | undefined };

export type ServerConnectionOptions = {
  readonly server: InvitedTo;
  readonly env: Env;
  /** What our listening socket proves when the server dials back; without it the JOIN carries none. */
  readonly key?: string | undefined;
  /** The connection that was ours is over. */
  readonly onEnd: (why: Fault) => void;
};

export function createServerConnection({ server, env, key, onEnd }: ServerConnectionOptions): ServerConnection {
  let ours: Caller | undefined;
  let joining: Caller | undefined;
  let ended = fault("SERVER_GONE", "network");
  let releases = 0; // a dial that began before the last of them is void
  return {
    get caller() {
      return ours;
    },
    get joining() {
      return joining;
    },
    get ended() {
      return ended;
    },
    async dial() {
      const epoch = releases;
      let made: Caller | undefined;
      const connection = await env.connect(server, (opened) => {
        const { caller, handlers } = createCaller(opened, env.clock);
        made = caller;
        return handlers;
      });
      if (isFault(connection)) return unreached(connection);
      const caller = made as Caller;
      if (epoch !== releases) {
        caller.end();
        return LEFT;
      }
      ours = caller;
      void caller.closed.then((why) => {
        if (ours !== caller) return;
        ours = undefined;
        ended = why;
        onEnd(why);
      });
      return caller;
    },
    async join(over, { address, listing, shares }) {
      joining = over;
      const payload = encodeShares(shares());
      const proven = listing === "now" ? key : "-";
      void over.call({ verb: "HELLO", version: VERSION });
      const channel = server.invite === undefined ? undefined : over.connection.channel?.();
      const invite = channel && { key: proven ?? "-", invite: inviteProof(server.invite ?? "", channel) };
      const proof = { ...(proven !== undefined && { key: proven }), ...invite };
      const answer = await over.call({ verb: "JOIN", address, payloadBytes: payload.length, ...proof }, { payload });
      joining = undefined;
      // SPEC 5.b: the peer is in once the answer holds JOIN_OK.
      const joined = expectReply(answer, "JOIN_OK");
      if (isFault(joined)) return asServerFault(joined);
      const { address: at, reached, localFor } = joined.reply;
      return { address: at, reached, ...(localFor !== undefined && { localFor }) };
    },
    release() {
      const caller = ours;
      ours = undefined;
      releases += 1;
      return caller;
    },
  };
}

/** What is there is no server of ours, or nothing is. */
const unreached = (why: Fault): Fault =>
  why.fault === "PEER_UNREACHABLE" ? fault("SERVER_UNREACHABLE", "network", why.detail, true) : why;

/** What was begun before we left comes to nothing. */
export const LEFT: Fault = fault("SERVER_GONE", "ours", "left");

/** The server's end of a broken connection: the person should hear of the server, not of "a peer". */
export function asServerFault(why: Fault): Fault {
  return why.fault === "PEER_GONE" || why.fault === "STALLED" ? fault("SERVER_GONE", "network", why.detail, true) : why;
}
