// Peers of other servers in this server's own tables, so that SEARCH, SOURCES and FIND find them as they find ours.
// Invariant: of all members at one address one is seen: our own, else the one that was told of last.
// Never: touches our own members, or takes a peer from a list before another stands in its place.

import { type Address, formatAddress } from "../protocol/address.ts";
import type { Share } from "../protocol/messages.ts";
import type { MemberRecord, Members } from "./members.ts";
import type { EntryTable } from "./table/entry-table.ts";

/** A peer of another server, as its holder changes it. */
export type Other = MemberRecord;

export type Others = {
  /** A peer that is in no list yet. */
  add(): Other;
  /** It has this file, whole or in part; false when there is no room for it, and nothing has changed. */
  put(other: Other, share: Share, complete: boolean): boolean;
  remove(other: Other, name: string): void;
  /** It is in the lists from now on, under that address; whether none was seen there before. */
  show(other: Other, address: Address): boolean;
  /** It is in no list from now on; its entries go in slices. */
  drop(other: Other): void;
  /** The names of what it has, a few at a time; undefined where one has just gone. */
  names(other: Other): Iterable<string | undefined>;
  /** Our own member at this address has come or gone. */
  settle(address: string): void;
  readonly peers: number;
  readonly entries: number;
};

/** No peer is ever at this address. */
const NOWHERE: Address = { ip: "0.0.0.0", port: 1 };

export function createOthers(store: EntryTable, members: Members): Others {
  const byAddress = new Map<string, MemberRecord[]>(); // the last is the one told of last
  let peers = 0;
  let entries = 0;

  function settle(key: string): void {
    const all = byAddress.get(key);
    if (all === undefined) return;
    const best = members.seenAt(key) ?? all.at(-1);
    if (best?.isOther && !best.seen) members.show(best, true);
    for (const one of all) if (one !== best && one.seen) members.show(one, false);
  }

  function hide(other: Other): void {
    const key = formatAddress(other.address);
    const all = byAddress.get(key);
    const at = all?.indexOf(other) ?? -1;
    if (all === undefined || at < 0) return;
    peers--;
    all.splice(at, 1);
    settle(key); // the next one first
    if (all.length === 0) byAddress.delete(key);
    if (other.seen) members.show(other, false);
  }

  return {
    add: () => members.place(NOWHERE, true),
    put(other, share, complete) {
      const before = store.entries;
      store.put(other.row, share, complete);
      members.account(other);
      const isMore = store.entries > before;
      if (isMore && members.isOver(other)) {
        store.remove(other.row, share.name);
        members.account(other);
        return false;
      }
      if (isMore) count(other, 1);
      return true;
    },
    remove(other, name) {
      const before = store.entries;
      store.remove(other.row, name);
      count(other, store.entries - before);
      members.account(other);
    },
    show(other, address) {
      hide(other);
      const key = formatAddress(address);
      const all = byAddress.get(key) ?? [];
      const isNew = all.length === 0 && members.seenAt(key) === undefined;
      other.address = address;
      byAddress.set(key, [...all, other]);
      peers++;
      settle(key);
      return isNew;
    },
    drop(other) {
      hide(other);
      entries -= other.entries;
      void members.clear(other);
    },
    names: (other) => store.namesOf(other.row),
    settle,
    get peers() {
      return peers;
    },
    get entries() {
      return entries;
    },
  };

  function count(other: Other, more: number): void {
    other.entries += more;
    entries += more;
  }
}
