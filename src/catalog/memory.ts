// The catalog in this process's memory: name -> members, root -> members, member -> entries and what it holds.
// Invariant: the maps agree; every operation takes time in proportion to its own input and answer only.
// Never: keeps anything of a member that left.

import { type Address, formatAddress } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import { SEARCH_PEERS_MAX } from "../protocol/limits.ts";
import type { Holder, Root, Share } from "../protocol/messages.ts";
import type { Catalog, Member } from "./contract.ts";

type Entry = { readonly share: Share; readonly complete: boolean };
/** Entries of one content: more than one when the same file lies there under several names. */
type Holding = { whole: number; partial: number };
type Record = Member & { readonly entries: Map<string, Entry>; readonly holdings: Map<Root, Holding> };

/** An empty catalog. */
export function createMemoryCatalog(): Catalog {
  const members = new Map<string, Record>(); // by ip:port
  const byName = new Map<string, Set<Record>>(); // complete entries only
  const byRoot = new Map<Root, Set<Record>>();

  function put(member: Record, share: Share, complete: boolean): void {
    remove(member, share.name);
    member.entries.set(share.name, { share, complete });
    if (complete) addTo(byName, share.name, member);
    if (share.root === undefined) return;
    addTo(byRoot, share.root, member);
    const holding = member.holdings.get(share.root) ?? { whole: 0, partial: 0 };
    holding[complete ? "whole" : "partial"]++;
    member.holdings.set(share.root, holding);
  }

  function remove(member: Record, name: string): void {
    const entry = member.entries.get(name);
    if (entry === undefined) return;
    member.entries.delete(name);
    removeFrom(byName, name, member);
    const { root } = entry.share;
    const holding = root === undefined ? undefined : member.holdings.get(root);
    if (root === undefined || holding === undefined) return;
    holding[entry.complete ? "whole" : "partial"]--;
    if (holding.whole + holding.partial > 0) return;
    member.holdings.delete(root);
    removeFrom(byRoot, root, member);
  }

  function leave(member: Member): void {
    const record = members.get(formatAddress(member.address));
    if (record !== member) return;
    members.delete(formatAddress(member.address));
    for (const name of record.entries.keys()) removeFrom(byName, name, record);
    for (const root of record.holdings.keys()) removeFrom(byRoot, root, record);
    record.entries.clear();
    record.holdings.clear();
  }

  function join(address: Address, shares: readonly Share[], replacing: Member | undefined): Member | Fault {
    const present = members.get(formatAddress(address));
    if (present !== undefined && present !== replacing) {
      return fault("ADDRESS_TAKEN", "theirs", "a live peer has this address", true);
    }
    if (replacing !== undefined) leave(replacing);
    const record: Record = { address, entries: new Map(), holdings: new Map() };
    members.set(formatAddress(address), record);
    for (const share of shares) put(record, share, true);
    return record;
  }

  function search(name: string): Address[] {
    const found: Address[] = [];
    for (const member of byName.get(name) ?? []) {
      if (found.length === SEARCH_PEERS_MAX) break;
      found.push(member.address);
    }
    return found;
  }

  function sources(root: Root): Holder[] {
    const holders: Holder[] = [];
    for (const member of byRoot.get(root) ?? []) {
      if (holders.length === SEARCH_PEERS_MAX) break;
      holders.push({ address: member.address, complete: (member.holdings.get(root)?.whole ?? 0) > 0 });
    }
    return holders.sort((a, b) => Number(b.complete) - Number(a.complete));
  }

  const record = (member: Member): Record | undefined => {
    const present = members.get(formatAddress(member.address));
    return present === member ? present : undefined; // one that has left changes nothing
  };

  return {
    join,
    search,
    sources,
    leave,
    update(member, share) {
      const present = record(member);
      if (present !== undefined) put(present, share, true);
    },
    offer(member, share) {
      const present = record(member);
      // What is whole stays whole: an offer never takes a complete file out of SEARCH.
      if (present !== undefined && !present.entries.get(share.name)?.complete) put(present, share, false);
    },
    withdraw(member, name) {
      const present = record(member);
      if (present !== undefined) remove(present, name);
    },
  };
}

function addTo<K>(index: Map<K, Set<Record>>, key: K, member: Record): void {
  const set = index.get(key);
  if (set === undefined) index.set(key, new Set([member]));
  else set.add(member);
}

function removeFrom<K>(index: Map<K, Set<Record>>, key: K, member: Record): void {
  const set = index.get(key);
  if (set === undefined || !set.delete(member)) return;
  if (set.size === 0) index.delete(key);
}
