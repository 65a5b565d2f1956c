// The catalog in this process's memory: who is in (members.ts), and what each has, in the rows of table/.
// Invariant: an answer names members that are seen, and no other.
// Never: keeps an object for an entry.

import { type Address, formatPeer } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import { JOIN_NAMES_MAX, SEARCH_PEERS_MAX } from "../protocol/limits.ts";
import type { Holder, Root, Share } from "../protocol/messages.ts";
import type { Catalog, Member, Span } from "./contract.ts";
import { type Budget, createMembers, FULL } from "./members.ts";
import { createLines } from "./table/address-lines.ts";
import { createEntryTable } from "./table/entry-table.ts";
import { NONE } from "./table/rows.ts";
import { type Job, runInSlices } from "./time-slices.ts";
import { gather } from "./words/find.ts";
import { createWords } from "./words/words.ts";

const NO_BUDGET: Budget = { bytes: Number.POSITIVE_INFINITY, bytesPerAddress: Number.POSITIVE_INFINITY };

export type MemoryCatalog = Catalog & {
  /** What is true of a peer (formatPeer) now, for a listener that repeats it elsewhere. */
  hasWhole(address: string, name: string): boolean;
  holds(address: string, root: Root): "whole" | "part" | undefined;
  /** Says everything to the watch, as if it had just changed. */
  tellAll(): Job<void>;
  close(): Promise<void>;
  readonly peers: number;
  readonly entries: number;
  /** Memory held by entries and names, in bytes. */
  readonly bytes: number;
  /** Names that FIND does not know yet. */
  readonly wordsWaiting: number;
};

/** Hears of each change, by the peer (formatPeer) that it concerns. */
export type Watch = { named(address: string, name: string): void; held(address: string, root: Root): void };

/** An empty catalog that keeps `namesMax` names of one member at most, and stays within `budget`. */
export function createMemoryCatalog(
  watch?: Watch,
  namesMax = JOIN_NAMES_MAX,
  budget: Budget = NO_BUDGET,
): MemoryCatalog {
  const keyOf = (row: number): string => formatPeer(members.byRow(row).address);
  const store = createEntryTable(
    watch === undefined
      ? { spelled: (id) => words.spelled(id) }
      : {
          named: (row, name) => watch.named(keyOf(row), name),
          held: (row, root) => watch.held(keyOf(row), root),
        },
  );
  const { contents } = store;
  const words = createWords(store.limit, store.nameText);
  const lines = createLines();
  const members = createMembers(store, lines, budget);

  function search(name: string): Address[] {
    const found: Address[] = [];
    for (let entry = store.firstOf(name); entry !== NONE; entry = store.nextOf(entry)) {
      const record = members.byRow(store.memberOf(entry));
      if (!record.seen) continue;
      if (found.length === SEARCH_PEERS_MAX) break;
      found.push(record.address);
    }
    return found;
  }

  function writeHolders(bytes: Uint8Array, from: number, to: number, into: Span): number {
    const { bytes: list, from: start, to: most } = into;
    let end = start;
    for (let entry = store.firstOfBytes(bytes, from, to); entry !== NONE; entry = store.nextOf(entry)) {
      end = lines.copy(store.memberOf(entry), list, end, most);
      if (end < 0) return -1;
    }
    return end === start ? -1 : end - start;
  }

  function sources(root: Root): Holder[] {
    const holders: Holder[] = [];
    for (let holding = contents.firstHolding(root); holding !== NONE; holding = contents.nextHolding(holding)) {
      const record = members.byRow(contents.ownerOf(holding));
      if (!record.seen) continue;
      if (holders.length === SEARCH_PEERS_MAX) break;
      holders.push({ address: record.address, complete: contents.isWhole(holding) });
    }
    return holders.sort((a, b) => Number(b.complete) - Number(a.complete));
  }

  function put(member: Member, share: Share, complete: boolean): Fault | undefined {
    const record = members.recordOf(member);
    if (record === undefined) return undefined;
    const { row } = record;
    // What is whole stays whole: an offer never takes a complete file out of SEARCH.
    if (!complete && store.isComplete(row, share.name)) return undefined;
    // One peer's names are bounded however they come: UPDATE takes no more than JOIN would.
    if (record.entries >= namesMax && !store.has(row, share.name))
      return fault("TOO_MANY", "theirs", `at most ${namesMax} names`);
    const before = store.entries;
    store.put(row, share, complete);
    record.entries += store.entries - before;
    members.account(record);
    // What was there already and has only learned its root stays.
    if (store.entries === before || !members.isOver(record)) return undefined;
    store.remove(row, share.name);
    record.entries--;
    members.account(record);
    return FULL;
  }

  return {
    join: members.join,
    leave: members.leave,
    search,
    writeHolders,
    sources,
    update: (member, share) => put(member, share, true),
    offer: (member, share) => put(member, share, false),
    withdraw(member, name) {
      const record = members.recordOf(member);
      if (record === undefined) return;
      const before = store.entries;
      store.remove(record.row, name);
      record.entries += store.entries - before;
      members.account(record);
    },
    async find(text, offset, count) {
      const names = await words.find(text);
      return runInSlices(gather(store, (row) => members.byRow(row).seen, names, { offset, count }));
    },
    close: async () => words.close(),
    hasWhole: (address, name) => members.at(address).some(({ row }) => store.isComplete(row, name)),
    holds(address, root) {
      const held = members.at(address).map(({ row }) => contents.holds(row, root));
      return held.includes("whole") ? "whole" : held.find((one) => one !== undefined);
    },
    *tellAll() {
      for (const record of members.all()) if (members.byRow(record.row) === record) yield* store.tellAll(record.row);
    },
    get peers() {
      return members.count;
    },
    get entries() {
      return store.entries;
    },
    get bytes() {
      return store.bytes + lines.bytes;
    },
    get wordsWaiting() {
      return words.waiting;
    },
  };
}
