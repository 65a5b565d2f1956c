// What a server is given and what it tells: its options and its events.
// Invariant: whatever a person or a program may want to know of a server's work is an event.
// Never: tells what a client asked before it has been answered.

import type { Catalog, Member } from "../catalog/contract.ts";
import type { Address, Range } from "../protocol/address.ts";
import type { Fault } from "../protocol/fault.ts";
import type { Id } from "../protocol/id.ts";
import type { ServerRequest } from "../protocol/messages.ts";
import type { Limits } from "../protocol/server-limits.ts";
import type { Clock } from "../shared/clock.ts";
import type { Connect, Listen } from "../transport/connection.ts";
import type { Admit } from "./invites.ts";
import type { IndexEvent } from "./open-catalog.ts";

export type LeftReason = "left" | "closed" | "silent" | "displaced";

/** The names of a JOIN, in its order; a long list is read from the payload as it is walked. */
export type Names = Iterable<string> & { readonly length: number; readonly bytes?: number };

export type ServidorEvent =
  | { readonly type: "joined"; readonly address: Address; readonly names: Names }
  | { readonly type: "searched"; readonly address: Address; readonly name: string }
  | { readonly type: "left"; readonly address: Address; readonly reason: LeftReason }
  | { readonly type: "fault"; readonly remote: string; readonly fault: Fault }
  | IndexEvent;

/** `connect` dials peers back. The machine's own network has a key for this run. */
export type ServidorEnv = {
  readonly clock: Clock;
  readonly listen: Listen;
  readonly connect: Connect;
  /** Whether a program with this key may JOIN; each may when not given. */
  readonly isMember?: (id: Id | undefined) => boolean;
  /** Whether an invitation makes one that may not a member. */
  readonly admit?: Admit;
};

export type ServidorOptions = {
  /** Where it listens; port 0 takes any free one. */
  readonly at: Address;
  readonly onEvent: (event: ServidorEvent) => void;
  /** Whether onEvent hears of each SEARCH; yes when not given. No person reads the lines of a busy server. */
  readonly tellSearches?: boolean;
  /** A catalog, or the URL of an index that several servers share; one in memory when not given. */
  readonly catalog?: Catalog | string | undefined;
  /** Whether a peer that joins is dialled back; yes when not given. */
  readonly probe?: boolean;
  /** Those that the operator moved. */
  readonly limits?: Partial<Limits>;
  /** Connections from there may declare any address. */
  readonly trusted?: readonly Range[];
  /** The machine's own where not given. */
  readonly env?: Partial<ServidorEnv>;
};

/** What a request that has succeeded tells; `names` are those of a JOIN. */
export function eventOf(
  request: ServerRequest,
  names: Names,
  member: Member | undefined,
  { tellSearches }: Pick<ServidorOptions, "tellSearches">,
): ServidorEvent | undefined {
  if (member === undefined) return undefined;
  const { address } = member;
  if (request.verb === "JOIN") return { type: "joined", address, names };
  if (request.verb === "SEARCH" && tellSearches !== false) return { type: "searched", address, name: request.name };
  return undefined;
}
