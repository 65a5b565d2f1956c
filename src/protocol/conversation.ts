// Which request is allowed when, and the state after it: a table for connections to the server, one for those to a peer.
// Invariant: a state is the table's answer to the last request that succeeded, and every verb stands in a table.
// Never: looks at a request's content, a socket or a clock.

import { type Fault, fault } from "./fault.ts";
import type { PeerRequest, ServerRequest } from "./messages.ts";

/** A connection to the server: before JOIN, in, and after LEAVE. */
export type ServerState = "new" | "joined" | "left";
/** A connection to a peer: before anything is granted; in the control conversation of a download; in one of its lanes. */
export type PeerState = "new" | "granted" | "lane";

type Table<State extends string, Verb extends string> = Record<State, Partial<Record<Verb, State>>>;

/** state -> verb -> the state once the request has succeeded. A verb that is missing is not allowed there. */
export const SERVER_TABLE: Table<ServerState, ServerRequest["verb"]> = {
  new: { HELLO: "new", JOIN: "joined", PING: "new", LEAVE: "left" },
  joined: {
    HELLO: "joined",
    JOIN: "joined",
    SEARCH: "joined",
    UPDATE: "joined",
    OFFER: "joined",
    WITHDRAW: "joined",
    SOURCES: "joined",
    FIND: "joined",
    WISH: "joined",
    UNWISH: "joined",
    PING: "joined",
    LEAVE: "left",
  },
  left: {},
};

export const PEER_TABLE: Table<PeerState, PeerRequest["verb"]> = {
  new: { HELLO: "new", DOWNLOAD: "granted", FETCH: "granted", LANE: "lane", PING: "new", PROBE: "new" },
  granted: {
    HELLO: "granted",
    LAYER: "granted",
    PIECES: "granted",
    GET: "granted",
    DAMAGED: "granted",
    PING: "granted",
  },
  lane: { HELLO: "lane", GET: "lane", PING: "lane" },
};

/** The state after `verb` succeeds in `state`; a fault when the table does not allow it. */
export function nextServerState(state: ServerState, verb: ServerRequest["verb"]): ServerState | Fault {
  const next = SERVER_TABLE[state][verb];
  if (next !== undefined) return next;
  return state === "new"
    ? fault("NOT_JOINED", "theirs", `${verb} needs a JOIN first`)
    : fault("BAD_STATE", "theirs", `${verb} after LEAVE`);
}

/** The same for a connection between peers. */
export function nextPeerState(state: PeerState, verb: PeerRequest["verb"]): PeerState | Fault {
  return PEER_TABLE[state][verb] ?? fault("BAD_STATE", "theirs", `${verb} is not for a connection that is ${state}`);
}
