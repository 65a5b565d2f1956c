// The whole server in one switch: a request from a peer, and what the catalog makes of it.
// Invariant: one request, one reply; a member changes its own entries only, because `from` is its connection.
// Never: touches a socket, waits, or decides what a console shows.

import { type Address, AS_SEEN, formatAddress, isLoopback } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { Id } from "../protocol/id.ts";
import type { Reply, ServerRequest } from "../protocol/messages.ts";
import { VERSION } from "../protocol/messages.ts";
import { encodeAddresses, encodeFound, encodeHolders } from "../protocol/payloads.ts";
import { after, type Catalog, type MaybePromise, type Member, type Shares } from "./contract.ts";

/** The asker: the connection's other end as we see it, and its membership once it has joined. */
export type Client = {
  readonly observedIp: string;
  /** Addresses of this machine other than 127.0.0.0/8. */
  readonly machineIps: ReadonlySet<string>;
  /** Where it reaches us: this machine's end of its connection. */
  readonly localIp?: string;
  /** The key that it has proved; undefined on a plain connection. */
  readonly id?: Id;
  /** Of an address in 127.0.0.0/8 whose peer listens to other machines too, at the same port: how it is known there. */
  readonly open?: { at(address: string): Open | undefined };
  /** The operator lets connections from there declare any address: a proxy, a VPN. */
  readonly trusted?: boolean;
  /** It is none of those that may JOIN. */
  isBarred?: boolean;
  /** Whether the proof of an invitation lets it in all the same. */
  admit?: (proof: string) => boolean;
  member: Member | undefined;
};

/** `id`: of the key that it shows to other machines. */
export type Open = { readonly id?: Id };

export type Answered = { readonly reply: Reply; readonly payload?: Uint8Array };

/**
 * How a JOIN is taken: in the lists that others get; or a member that is in none, because it cannot be reached or
 * because it wants so.
 */
export type Standing = "listed" | "unlisted" | "unreached";

/** A JOIN's payload, how the JOIN is taken ("listed" when not given), and the key of the peer that is at its address. */
export type Announced = { readonly shares: Shares; readonly standing?: Standing; readonly id?: Id | undefined };

/** `announced` belongs to a JOIN. A fault becomes an ERROR line in the reply's place. */
export function answer(
  request: ServerRequest,
  from: Client,
  catalog: Catalog,
  announced: Announced = NOTHING,
): MaybePromise<Answered | Fault> {
  if (request.verb === "JOIN") return join(request.address, announced, from, catalog);
  if (request.verb === "HELLO") return { reply: { verb: "HELLO", version: Math.min(request.version, VERSION) } };
  if (request.verb === "PING") return PONG;
  const { member } = from;
  if (request.verb === "LEAVE") {
    from.member = undefined;
    return after(member && catalog.leave(member), () => LEAVE_OK);
  }
  if (member === undefined) return fault("NOT_JOINED", "theirs", `${request.verb} needs a JOIN first`);
  switch (request.verb) {
    // SPEC 4.c: SEARCH carries only the file's name; the answer lists each peer that has exactly that name.
    case "SEARCH":
      return after(catalog.search(request.name), (found) => {
        const shown = shownTo(
          from,
          found,
          (address) => address,
          (_, address) => address,
        );
        return list("SEARCH_OK", encodeAddresses(shown), catalog);
      });
    // SPEC 4.d: UPDATE adds the file to the entry of the peer that sends it.
    case "UPDATE":
      return after(catalog.update(member, request.share), (refused) => refused ?? UPDATE_OK);
    case "OFFER":
      return after(catalog.offer(member, request.share), (refused) => refused ?? OFFER_OK);
    case "WITHDRAW":
      return after(catalog.withdraw(member, request.name), () => WITHDRAW_OK);
    case "FIND":
      if (catalog.find === undefined) return fault("UNAVAILABLE", "theirs", "no FIND here");
      return after(catalog.find(request.words, request.offset, request.count), ({ found, next }) => {
        const payload = encodeFound(found);
        return { reply: { verb: "FIND_OK", next, payloadBytes: payload.length, ...partialOf(catalog) }, payload };
      });
    case "WISH":
    case "UNWISH":
      return fault("UNAVAILABLE", "theirs", "no wishes here"); // they are of connections: servidor/wishes.ts
    case "SOURCES":
      return after(catalog.sources(request.root), (found) => {
        const shown = shownTo(
          from,
          found,
          ({ address }) => address,
          (holder, address) => ({ ...holder, address }),
        );
        return list("SOURCES_OK", encodeHolders(shown), catalog);
      });
  }
}

/** Whether it asks from the server's own machine. */
export const isLocal = ({ observedIp, machineIps }: Client): boolean =>
  isLoopback(observedIp) || machineIps.has(observedIp);

/**
 * What of a list is of use to the asker. From another machine 127.0.0.1 is that machine itself: a peer that listens
 * to others too is named by the address at which the asker reaches this machine, and any other is left out.
 */
function shownTo<T>(
  from: Client,
  found: readonly T[],
  addressOf: (one: T) => Address,
  moved: (one: T, address: Address) => T,
): readonly T[] {
  if (isLocal(from) || !found.some((one) => isLoopback(addressOf(one).ip))) return found;
  const shown = new Map<string, T>(); // by address: two of them may come to the same
  for (const one of found) {
    const address = shownAddress(from, addressOf(one));
    if (address === undefined) continue;
    const key = formatAddress(address);
    if (!shown.has(key)) shown.set(key, address === addressOf(one) ? one : moved(one, address));
  }
  return [...shown.values()];
}

function shownAddress({ localIp, open }: Client, address: Address): Address | undefined {
  if (!isLoopback(address.ip)) return address;
  if (localIp === undefined || isLoopback(localIp)) return undefined;
  const there = open?.at(formatAddress(address));
  return there && { ip: localIp, port: address.port, ...there };
}

const NOTHING: Announced = { shares: [] };
const PONG: Answered = { reply: { verb: "PONG" } };
const LEAVE_OK: Answered = { reply: { verb: "LEAVE_OK" } };
const UPDATE_OK: Answered = { reply: { verb: "UPDATE_OK" } };
const OFFER_OK: Answered = { reply: { verb: "OFFER_OK" } };
const WITHDRAW_OK: Answered = { reply: { verb: "WITHDRAW_OK" } };

const PARTIAL = { partial: true } as const;
const partialOf = ({ isPartial }: Pick<Catalog, "isPartial">): { readonly partial?: true } =>
  isPartial ? PARTIAL : {};

const list = (verb: "SEARCH_OK" | "SOURCES_OK", payload: Uint8Array, catalog: Catalog): Answered => ({
  reply: { verb, payloadBytes: payload.length, ...partialOf(catalog) },
  payload,
});

// SPEC 4.b: JOIN carries ip, port and file names; the catalog stores them, and the answer is JOIN_OK.
function join(
  declared: Address,
  { shares, standing = "listed", id }: Announced,
  from: Client,
  catalog: Catalog,
): MaybePromise<Answered | Fault> {
  const published = publishedAddress(declared, from);
  if (isFault(published)) return published;
  const address = id === undefined ? published : { ...published, id };
  const answered: Answered = { reply: { verb: "JOIN_OK", address, reached: standing !== "unreached" } };
  if (standing !== "listed") {
    // A member that the catalog does not know: it may ask, and what it announces is kept nowhere.
    const { member } = from;
    from.member = { address };
    return after(member && catalog.leave(member), () => answered);
  }
  return after(catalog.join(address, shares, from.member), (member): Answered | Fault => {
    if (isFault(member)) return member;
    from.member = member;
    return answered;
  });
}

/**
 * The address to hand out for a peer: the observed one. A peer on the server's own machine may name any address of
 * that machine, and one that the operator trusts any at all. An index that repeats all that it is told would send
 * downloaders to any machine that a peer names.
 */
export function publishedAddress(declared: Address, from: Client): Address | Fault {
  const { observedIp, machineIps, trusted } = from;
  if (declared.ip === observedIp || declared.ip === AS_SEEN) return { ip: observedIp, port: declared.port };
  if (trusted) return declared;
  const local = isLoopback(observedIp) || machineIps.has(observedIp);
  if (local && (isLoopback(declared.ip) || machineIps.has(declared.ip))) return declared;
  return fault("ADDRESS_MISMATCH", "theirs", `you reach this server from ${observedIp}`);
}
