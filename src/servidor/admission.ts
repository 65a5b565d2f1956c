// Who may be in under which address: a JOIN's address is checked and dialled before it is taken.
// Invariant: an address belongs to one peer that is listed; only the newcomer's own proof takes it from another.
// Never: answers anything; request-handler.ts does.

import { type Open, publishedAddress, type Standing } from "../catalog/answer.ts";
import type { MaybePromise, Member, Shares } from "../catalog/contract.ts";
import { type Job, runInSlices, runSoon } from "../catalog/time-slices.ts";
import { type Address, formatAddress, isLoopback, sameAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { Id } from "../protocol/id.ts";
import type { ServerRequest } from "../protocol/messages.ts";
import type { Limits } from "../protocol/server-limits.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { Names } from "./events.ts";
import type { Probed, Reachability } from "./reachability.ts";

export type JoinRequest = Extract<ServerRequest, { verb: "JOIN" }>;

/** What is known of a JOIN before it is taken. */
export type Checked = {
  readonly address: Address;
  readonly standing: Standing;
  readonly proven: boolean;
  /** Of the key at that address. */
  readonly id?: Id | undefined;
  /** A peer in 127.0.0.0/8 that listens to other machines too. */
  readonly open?: Open | undefined;
  /** It does not, and others would find it at this IP. */
  readonly localFor?: string | undefined;
};

/** The same once its payload has been read. */
export type Prepared = Checked & {
  readonly shares: Shares;
  readonly names: Names;
  /** Stands for the names where they are compared with those of an earlier JOIN. */
  readonly digest: string | undefined;
};

export type Admission = {
  /** Checks a JOIN's address, and dials it. */
  check(client: ClientConnection, request: JoinRequest): MaybePromise<Checked | Fault>;
  /** What is still being answered to the peer that it displaces: until then the catalog would not let go of the address. */
  departing(client: ClientConnection, checked: Checked): Promise<void> | undefined;
  /** Counts it among the peers, or says why not. A peer that holds the address and is proved dead is displaced. */
  clear(client: ClientConnection, checked: Checked): Fault | undefined;
  /** Stands for the names of a JOIN that is in no list, or was not before. */
  digest(client: ClientConnection, checked: Checked, names: Names): MaybePromise<string | undefined>;
  /** It has joined, having been `before`. Whether that is news, or one more try of the same names. */
  enter(client: ClientConnection, joined: Prepared, before: Member | undefined): boolean;
  /** It is no member, or has not become one. */
  leave(client: ClientConnection): void;
  /** The peer listed at this address in 127.0.0.0/8, if it listens to other machines too. */
  openAt(address: string): Open | undefined;
  /** Members that are in no list. */
  readonly unlisted: number;
};

type Options = {
  /** Undefined where no peer is dialled: then each counts as reached, and none is displaced. */
  readonly reachability: Reachability | undefined;
  readonly limits: Pick<Limits, "peers">;
  /** The IP at which other machines reach this one; undefined when they do not reach the server. */
  readonly outside?: string | undefined;
  readonly onProbed: (probed: Probed) => void;
  readonly displace: (holder: ClientConnection) => void;
};

/** Names that are hashed without a pause, and between two yields. */
const AT_ONCE_MAX = 512;
const STRIDE = 64;

const TOO_MANY = fault("TOO_MANY", "ours", "peers", true);
const NO_MEMBER = fault("NOT_MEMBER", "theirs", "this server knows its members by their IDs");
const TAKEN = fault("ADDRESS_TAKEN", "theirs", "a live peer has this address", true);

export function createAdmission({ reachability, limits, outside, onProbed, displace }: Options): Admission {
  const holders = new Map<string, ClientConnection>(); // the listed ones, by address
  let members = 0;

  const isFull = ({ standing }: ClientConnection): boolean => members >= limits.peers && !standing.isMember;

  function count(client: ClientConnection, isMember: boolean): void {
    members += Number(isMember) - Number(client.standing.isMember);
    client.standing.isMember = isMember;
  }

  function holderOf(client: ClientConnection, address: Address): ClientConnection | undefined {
    const holder = holders.get(formatAddress(address));
    return holder === client ? undefined : holder;
  }

  function check(
    client: ClientConnection,
    { address: declared, key, invite }: JoinRequest,
  ): MaybePromise<Checked | Fault> {
    const { from } = client;
    if (from.isBarred && invite !== undefined && from.admit?.(invite)) from.isBarred = false;
    if (from.isBarred) return NO_MEMBER;
    const address = publishedAddress(declared, from);
    if (isFault(address)) return address;
    const isHeld = holderOf(client, address) !== undefined;
    if (isFull(client) && !isHeld) return TOO_MANY;
    if (key === "-") return { address, standing: "unlisted", proven: false };
    const { id } = from;
    if (reachability === undefined) return { address, standing: "listed", proven: false, id, open: {} };
    if (isHeld && key === undefined && id === undefined) return TAKEN; // it could prove nothing
    const here = reachability.probe({ ...address, id }, key);
    const asksOutside = outside !== undefined && isLoopback(address.ip);
    const there = asksOutside ? reachability.probe({ ip: outside, port: address.port }, key) : undefined;
    const cancel = (): void => {
      here.cancel();
      there?.cancel();
    };
    client.standing.probing = { ...here, cancel };
    return Promise.all([here.outcome, there?.outcome]).then(([probed, probedOutside]) => {
      if (client.standing.probing !== undefined) onProbed(probed);
      client.standing.probing = undefined;
      const standing = probed === "unreached" ? "unreached" : "listed";
      const open = probedOutside === "reached" ? { id: there?.met() } : undefined;
      const localFor = asksOutside && open === undefined && standing === "listed" ? outside : undefined;
      const proven = probed === "reached" && (key !== undefined || (id !== undefined && here.met() === id));
      // One that came from this machine in the clear is known by what was met at its address.
      return { address, standing, proven, id: id ?? here.met(), open, localFor };
    });
  }

  function clear(client: ClientConnection, { address, standing, proven }: Checked): Fault | undefined {
    const holder = standing === "unlisted" ? undefined : holderOf(client, address);
    if (holder !== undefined && !proven) return TAKEN;
    if (holder !== undefined) displace(holder);
    if (isFull(client)) return TOO_MANY;
    count(client, true);
    return undefined;
  }

  function departing(client: ClientConnection, { address, proven }: Checked): Promise<void> | undefined {
    const holder = proven ? holderOf(client, address) : undefined;
    // No JOIN waits for one that waits itself: two that take each other's address would wait forever.
    if (holder?.work === undefined || holder.standing.probing !== undefined || holder.standing.isWaiting)
      return undefined;
    client.standing.isWaiting = true;
    return holder.work.then(() => {
      client.standing.isWaiting = false;
    });
  }

  function release(client: ClientConnection): void {
    const { standing } = client;
    if (standing.listedAt !== undefined && holders.get(standing.listedAt) === client) holders.delete(standing.listedAt);
    standing.listedAt = undefined;
    standing.open = undefined;
  }

  return {
    check,
    departing,
    clear,
    digest({ standing: known }, { standing }, names) {
      if (standing === "unlisted" || (standing === "listed" && known.unlistedNames === undefined)) return undefined;
      return (names.length > AT_ONCE_MAX ? runInSlices : runSoon)(digestOf(names));
    },
    enter(client, { standing, digest: names, open }, before) {
      const { member } = client.from;
      const { unlistedNames } = client.standing;
      const isSame = before !== undefined && member !== undefined && sameAddress(before.address, member.address);
      // A peer that only asked is announced once it wants to be found.
      const isNews = standing !== "unlisted" && (!isSame || unlistedNames === undefined || unlistedNames !== names);
      release(client);
      client.standing.unlistedNames = standing === "unreached" ? names : undefined;
      if (standing !== "listed" || member === undefined) return isNews;
      client.standing.listedAt = formatAddress(member.address);
      client.standing.open = isLoopback(member.address.ip) ? open : undefined;
      holders.set(client.standing.listedAt, client);
      return isNews;
    },
    leave(client) {
      client.standing.probing?.cancel();
      client.standing.probing = undefined;
      release(client);
      count(client, false);
    },
    openAt: (address) => holders.get(address)?.standing.open,
    get unlisted() {
      return members - holders.size;
    },
  };
}

/** The names of a JOIN, however many, as a few bytes to keep. */
function* digestOf(names: Names): Job<string> {
  const hash = new Bun.CryptoHasher("sha256");
  let count = 0;
  for (const name of names) {
    hash.update(`${name}\n`);
    if (++count % STRIDE === 0) yield;
  }
  return hash.digest("hex");
}
