// Who may be in under which address: a JOIN's address is judged and dialled before it is taken.
// Invariant: an address belongs to one peer that is listed; only the newcomer's own proof takes it from another.
// Never: answers anything; request-handler.ts does.

import { publishedAddress, type Standing } from "../catalog/answer.ts";
import type { MaybePromise, Member, Shares } from "../catalog/contract.ts";
import { type Job, runInSlices, runSoon } from "../catalog/time-slices.ts";
import { type Address, formatAddress, isLoopback, sameAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { ServerRequest } from "../protocol/messages.ts";
import type { Names } from "./events.ts";
import type { Probed, Probes } from "./reachability.ts";
import type { Session } from "./session.ts";

export type JoinRequest = Extract<ServerRequest, { verb: "JOIN" }>;

/** What is known of a JOIN before it is taken. */
export type Judged = {
  readonly address: Address;
  readonly standing: Standing;
  readonly proven: boolean;
  /** A peer in 127.0.0.0/8: whether it listens to other machines too. */
  readonly isOpen?: boolean;
  /** It does not, and others would find it at this IP. */
  readonly localFor?: string | undefined;
};

/** The same once its payload has been read. */
export type Prepared = Judged & {
  readonly shares: Shares;
  readonly names: Names;
  /** Stands for the names where they are compared with those of an earlier JOIN. */
  readonly digest: string | undefined;
};

export type Admission = {
  /** Judges a JOIN's address, and dials it. */
  judge(session: Session, request: JoinRequest): MaybePromise<Judged | Fault>;
  /** What is still being answered to the peer that it displaces: until then the catalog would not let go of the address. */
  departing(session: Session, judged: Judged): Promise<void> | undefined;
  /** Counts it among the peers, or says why not. A peer that holds the address and is proved dead is displaced. */
  clear(session: Session, judged: Judged): Fault | undefined;
  /** Stands for the names of a JOIN that is in no list, or was not before. */
  digest(session: Session, judged: Judged, names: Names): MaybePromise<string | undefined>;
  /** It has joined, having been `before`. Whether that is news, or one more try of the same names. */
  enter(session: Session, joined: Prepared, before: Member | undefined): boolean;
  /** It is no member, or has not become one. */
  leave(session: Session): void;
  /** Whether the peer listed at this address in 127.0.0.0/8 listens to other machines too. */
  isOpen(address: string): boolean;
  /** Members that are in no list. */
  readonly unlisted: number;
};

type Options = {
  /** Undefined where no peer is dialled: then each counts as reached, and none is displaced. */
  readonly probes: Probes | undefined;
  readonly peersMax: number;
  /** The IP at which other machines reach this one; undefined when they do not reach the server. */
  readonly outside?: string | undefined;
  readonly onProbed: (probed: Probed) => void;
  readonly displace: (holder: Session) => void;
};

/** Names that are hashed without a pause, and between two yields. */
const AT_ONCE_MAX = 512;
const STRIDE = 64;

const TOO_MANY = fault("TOO_MANY", "ours", "peers", true);
const TAKEN = fault("ADDRESS_TAKEN", "theirs", "a live peer has this address", true);

export function createAdmission({ probes, peersMax, outside, onProbed, displace }: Options): Admission {
  const holders = new Map<string, Session>(); // the listed ones, by address
  let members = 0;

  const isFull = ({ standing }: Session): boolean => members >= peersMax && !standing.isMember;

  function count(session: Session, isMember: boolean): void {
    members += Number(isMember) - Number(session.standing.isMember);
    session.standing.isMember = isMember;
  }

  function holderOf(session: Session, address: Address): Session | undefined {
    const holder = holders.get(formatAddress(address));
    return holder === session ? undefined : holder;
  }

  function judge(session: Session, { address: declared, key }: JoinRequest): MaybePromise<Judged | Fault> {
    const address = publishedAddress(declared, session.client);
    if (isFault(address)) return address;
    const isHeld = holderOf(session, address) !== undefined;
    if (isFull(session) && !isHeld) return TOO_MANY;
    if (key === "-") return { address, standing: "unlisted", proven: false };
    if (probes === undefined) return { address, standing: "listed", proven: false, isOpen: true };
    if (isHeld && key === undefined) return TAKEN; // it could prove nothing
    const here = probes.probe(address, key);
    const asksOutside = outside !== undefined && isLoopback(address.ip);
    const there = asksOutside ? probes.probe({ ip: outside, port: address.port }, key) : undefined;
    const cancel = (): void => {
      here.cancel();
      there?.cancel();
    };
    session.standing.probing = { outcome: here.outcome, cancel };
    return Promise.all([here.outcome, there?.outcome]).then(([probed, probedOutside]) => {
      if (session.standing.probing !== undefined) onProbed(probed);
      session.standing.probing = undefined;
      const standing = probed === "unreached" ? "unreached" : "listed";
      const isOpen = probedOutside === "reached";
      const localFor = asksOutside && !isOpen && standing === "listed" ? outside : undefined;
      return { address, standing, proven: probed === "reached" && key !== undefined, isOpen, localFor };
    });
  }

  function clear(session: Session, { address, standing, proven }: Judged): Fault | undefined {
    const holder = standing === "unlisted" ? undefined : holderOf(session, address);
    if (holder !== undefined && !proven) return TAKEN;
    if (holder !== undefined) displace(holder);
    if (isFull(session)) return TOO_MANY;
    count(session, true);
    return undefined;
  }

  function departing(session: Session, { address, proven }: Judged): Promise<void> | undefined {
    const holder = proven ? holderOf(session, address) : undefined;
    // No JOIN waits for one that waits itself: two that take each other's address would wait forever.
    if (holder?.work === undefined || holder.standing.probing !== undefined || holder.standing.isWaiting)
      return undefined;
    session.standing.isWaiting = true;
    return holder.work.then(() => {
      session.standing.isWaiting = false;
    });
  }

  function release(session: Session): void {
    const { standing } = session;
    if (standing.listedAt !== undefined && holders.get(standing.listedAt) === session)
      holders.delete(standing.listedAt);
    standing.listedAt = undefined;
    standing.isOpen = false;
  }

  return {
    judge,
    departing,
    clear,
    digest({ standing: known }, { standing }, names) {
      if (standing === "unlisted" || (standing === "listed" && known.unlistedNames === undefined)) return undefined;
      return (names.length > AT_ONCE_MAX ? runInSlices : runSoon)(digestOf(names));
    },
    enter(session, { standing, digest: names, isOpen }, before) {
      const { member } = session.client;
      const { unlistedNames } = session.standing;
      const isSame = before !== undefined && member !== undefined && sameAddress(before.address, member.address);
      // A peer that only asked is announced once it wants to be found.
      const isNews = standing !== "unlisted" && (!isSame || unlistedNames === undefined || unlistedNames !== names);
      release(session);
      session.standing.unlistedNames = standing === "unreached" ? names : undefined;
      if (standing !== "listed" || member === undefined) return isNews;
      session.standing.listedAt = formatAddress(member.address);
      session.standing.isOpen = isOpen === true && isLoopback(member.address.ip);
      holders.set(session.standing.listedAt, session);
      return isNews;
    },
    leave(session) {
      session.standing.probing?.cancel();
      session.standing.probing = undefined;
      release(session);
      count(session, false);
    },
    isOpen: (address) => holders.get(address)?.standing.isOpen === true,
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
