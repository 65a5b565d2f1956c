// Who may be in under which address: a JOIN's address is judged and dialled before it is taken.
// Invariant: an address belongs to one peer that is listed; only the newcomer's own proof takes it from another.
// Never: answers anything; desk.ts does.

import { publishedAddress, type Standing } from "../catalog/answer.ts";
import type { MaybePromise, Member } from "../catalog/contract.ts";
import { type Job, runInSlices, runSoon } from "../catalog/time-slices.ts";
import { type Address, formatAddress, isLoopback, sameAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { ServerRequest } from "../protocol/messages.ts";
import type { Probed, Probes } from "./reachability.ts";
import type { Session } from "./session.ts";

type Join = Extract<ServerRequest, { verb: "JOIN" }>;

/** What is known of a JOIN before it is taken. */
export type Judged = {
  readonly address: Address;
  readonly standing: Standing;
  readonly proven: boolean;
  /** A peer in 127.0.0.0/8: whether it listens to other machines too. */
  readonly isOpen?: boolean;
  /** It does not, and others would find it at this IP. */
  readonly localFor?: string | undefined;
  /** The names of its files, and what stands for them where that is asked for; once they have been read. */
  readonly names?: readonly string[];
  readonly digest?: string | undefined;
};

export type Admission = {
  /** Judges a JOIN's address, and dials it. */
  judge(session: Session, request: Join): MaybePromise<Judged | Fault>;
  /** What is still being answered to the one that it displaces: until then the catalog would not let go of the address. */
  departing(session: Session, judged: Judged): MaybePromise<void>;
  /** Takes a place for it, or says why not. Whoever holds the address and is proved dead is displaced. */
  clear(session: Session, judged: Judged): Fault | undefined;
  /** Stands for the names of a JOIN that is in no list, or was not before. */
  digest(session: Session, judged: Judged, names: readonly string[]): MaybePromise<string | undefined>;
  /** It has joined, having been `before`. Whether that is news, or one more try of the same names. */
  enter(session: Session, judged: Judged, before: Member | undefined): boolean;
  /** It is no member, or has not become one. */
  leave(session: Session): void;
  /** Members that are in no list. */
  readonly unlisted: number;
};

type Options = {
  /** Undefined where nobody is dialled: then everybody counts as reached, and nobody is displaced. */
  readonly probes: Probes | undefined;
  readonly peersMax: number;
  /** The IP at which other machines reach this one; undefined when they do not reach the server. */
  readonly outside?: string | undefined;
  /** Addresses in 127.0.0.0/8 of those who listen to other machines too: kept here. */
  readonly open: Set<string>;
  readonly onProbed: (probed: Probed) => void;
  readonly displace: (holder: Session) => void;
};

/** Names that are hashed without a pause, and between two yields. */
const AT_ONCE_MAX = 512;
const STRIDE = 64;

const TOO_MANY = fault("TOO_MANY", "ours", "peers", true);
const TAKEN = fault("ADDRESS_TAKEN", "theirs", "a live peer has this address", true);

export function createAdmission({ probes, peersMax, outside, open, onProbed, displace }: Options): Admission {
  const members = new Set<Session>();
  const holders = new Map<string, Session>(); // of those who are listed, by address
  const waiting = new Set<Session>(); // until the one that they displace has been answered

  const isFull = (session: Session): boolean => members.size >= peersMax && !members.has(session);

  function holderOf(session: Session, address: Address): Session | undefined {
    const holder = holders.get(formatAddress(address));
    return holder === session ? undefined : holder;
  }

  function judge(session: Session, { address: declared, key }: Join): MaybePromise<Judged | Fault> {
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
    session.probing = { outcome: here.outcome, cancel };
    return Promise.all([here.outcome, there?.outcome]).then(([probed, probedOutside]) => {
      if (session.probing !== undefined) onProbed(probed);
      session.probing = undefined;
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
    members.add(session);
    return undefined;
  }

  function departing(session: Session, { address, proven }: Judged): MaybePromise<void> {
    const holder = proven ? holderOf(session, address) : undefined;
    // Nobody waits for one that waits itself: two that go to each other's places would never get there.
    if (holder?.work === undefined || holder.probing !== undefined || waiting.has(holder)) return undefined;
    waiting.add(session);
    return holder.work.then(() => void waiting.delete(session));
  }

  function release(session: Session): void {
    if (session.listedAt !== undefined && holders.get(session.listedAt) === session) holders.delete(session.listedAt);
    if (session.listedAt !== undefined && !holders.has(session.listedAt)) open.delete(session.listedAt);
    session.listedAt = undefined;
  }

  return {
    judge,
    departing,
    clear,
    digest(session, { standing }, names) {
      if (standing === "unlisted" || (standing === "listed" && session.unlistedNames === undefined)) return undefined;
      return (names.length > AT_ONCE_MAX ? runInSlices : runSoon)(digestOf(names));
    },
    enter(session, { standing, digest: names, isOpen }, before) {
      const { member } = session.client;
      const { unlistedNames } = session;
      const isSame = before !== undefined && member !== undefined && sameAddress(before.address, member.address);
      // One that only asks is announced once it wants to be found.
      const isNews = standing !== "unlisted" && (!isSame || unlistedNames === undefined || unlistedNames !== names);
      release(session);
      session.unlistedNames = standing === "unreached" ? names : undefined;
      if (standing !== "listed" || member === undefined) return isNews;
      session.listedAt = formatAddress(member.address);
      holders.set(session.listedAt, session);
      if (isOpen && isLoopback(member.address.ip)) open.add(session.listedAt);
      return isNews;
    },
    leave(session) {
      session.probing?.cancel();
      session.probing = undefined;
      release(session);
      members.delete(session);
    },
    get unlisted() {
      return members.size - holders.size;
    },
  };
}

/** The names of a JOIN, however many, as a few bytes to keep. */
function* digestOf(names: readonly string[]): Job<string> {
  const hash = new Bun.CryptoHasher("sha256");
  for (const [i, name] of names.entries()) {
    hash.update(`${name}\n`);
    if (i % STRIDE === STRIDE - 1) yield;
  }
  return hash.digest("hex");
}
