// The index of who has which file, as the server sees it: the contract that every catalog keeps.
// Invariant: search(name) names exactly the members that have announced `name` whole and neither withdrew it nor left.
// Never: knows a socket, a request's line or a console.

import type { Address } from "../protocol/address.ts";
import type { Fault } from "../protocol/fault.ts";
import type { Found, Holder, Root, Share } from "../protocol/messages.ts";

/** A peer that is in. The object itself is the identity: its holder may change its entries. */
export type Member = { readonly address: Address };

/** A catalog in memory answers at once, without the cost of a promise. */
export type MaybePromise<T> = T | Promise<T>;

/** What `use` makes of the value, at once when it is there. */
export function after<T, U>(value: MaybePromise<T>, use: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return value instanceof Promise ? value.then(use) : use(value);
}

/** `next` is the offset of what follows, 0 when nothing does. */
export type Page = { readonly found: readonly Found[]; readonly next: number };

/** What a JOIN announces; a long list is read from its payload each time that it is walked. */
export type Shares = Iterable<Share> & { readonly length: number };

/** Bytes from `from` up to `to`. */
export type Span = { bytes: Uint8Array; from: number; to: number };

export type Catalog = {
  /** Peers of other servers may be missing in its answers, now: the index that servers share is away, or not read yet. */
  readonly isPartial?: boolean;
  /** From now on `listener` hears each name that peers of other servers come to have. */
  onArrival?(listener: { readonly isWanted: () => boolean; readonly hear: (name: string) => void }): void;
  /**
   * A peer enters, or moves when `replacing` is its present membership. ADDRESS_TAKEN when another live peer has the
   * address. A member that the catalog does not know replaces none: what it says changes nothing, here as everywhere.
   */
  join(address: Address, shares: Shares, replacing: Member | undefined): MaybePromise<Member | Fault>;
  /** Everyone who has the whole of a file of exactly this name: in the order in which this server heard of it. */
  search(name: string): MaybePromise<readonly Address[]>;
  /**
   * The answer to the same question as bytes, for a catalog that can: the lines (formatPeer) of everyone who has `name`,
   * written into `into`. How many bytes were written; -1 when no peer has that name or they do not fit.
   */
  writeHolders?(bytes: Uint8Array, from: number, to: number, into: Span): number;
  /**
   * The member now has this file whole; a new root or size replaces what it said of that name before. TOO_MANY for one
   * name more than a JOIN may hold.
   */
  update(member: Member, share: Share): MaybePromise<Fault | undefined>;
  /** The member is downloading this content and can send its verified pieces. `share.root` is known. Faults as those of update. */
  offer(member: Member, share: Share): MaybePromise<Fault | undefined>;
  /** The member no longer has the file. */
  withdraw(member: Member, name: string): MaybePromise<void>;
  /** Everyone who holds some of this content, complete holders first. */
  sources(root: Root): MaybePromise<readonly Holder[]>;
  /**
   * What has all of these words in a name, by content, those with most sources first: `count` of them from `offset` on.
   * A catalog that cannot tell does without.
   */
  find?(words: string, offset: number, count: number): MaybePromise<Page>;
  /** The member is gone, with everything it announced. */
  leave(member: Member): MaybePromise<void>;
};
