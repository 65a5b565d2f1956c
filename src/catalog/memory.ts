// The catalog in this process's memory: who is in (members.ts), and what each has, in the rows of table/.
// Invariant: an answer names members that are seen, and no other.
// Never: keeps an object for an entry.

import type { Address } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import { JOIN_NAMES_MAX, SEARCH_PEERS_MAX } from "../protocol/limits.ts";
import type { Holder, Root, Share } from "../protocol/messages.ts";
import type { Catalog, Member, Span } from "./contract.ts";
import { type Budget, createMembers, FULL, type Members } from "./members.ts";
import { createOthers, type Others } from "./others.ts";
import { createLines } from "./table/address-lines.ts";
import { createEntryTable, type EntryTable } from "./table/entry-table.ts";
import { NONE } from "./table/rows.ts";
import { type Job, runInSlices } from "./time-slices.ts";
import { gather } from "./words/find.ts";
import { createWords } from "./words/words.ts";

const NO_BUDGET: Budget = { bytes: Number.POSITIVE_INFINITY, bytesPerAddress: Number.POSITIVE_INFINITY };

export type MemoryCatalog = Catalog & {
  /** Our own peers, for a listener that tells of them elsewhere, and the place for what it hears there of others'. */
  readonly own: OwnPeers;
  readonly others: Others;
  close(): Promise<void>;
  readonly peers: number;
  readonly entries: number;
  /** Memory held by entries and names, in bytes. */
  readonly bytes: number;
  /** Names that FIND does not know yet. */
  readonly wordsWaiting: number;
} & Required<Pick<Catalog, "find" | "writeHolders">>;

/** Our own peers, by their serials. */
export type OwnPeers = {
  /** Where it is listed; undefined when it is not. */
  addressOf(serial: number): Address | undefined;
  /** What it has under that name. */
  shareOf(serial: number, name: string): (Share & { readonly complete: boolean }) | undefined;
  /** Says everything to the watch, as if it had just changed. */
  tellAll(): Job<void>;
};

/** Hears of each change of our own peers, before it is answered; what is true by then is asked of OwnPeers. */
export type Watch = {
  entry(serial: number, name: string): void;
  /** It is in the lists, or is no more, or the last of its entries is gone. */
  peer(serial: number): void;
};

/** An empty catalog that keeps `namesMax` names of one member at most, and stays within `budget`. */
export function createMemoryCatalog(
  watch?: Watch,
  namesMax = JOIN_NAMES_MAX,
  budget: Budget = NO_BUDGET,
): MemoryCatalog {
  const store = createEntryTable({
    spelled: (id) => words.spelled(id),
    ...(watch && { changed: (row, id) => tell(watch, row, id) }),
  });
  const { contents } = store;
  const words = createWords(store.limit, store.nameText);
  const lines = createLines();
  const members = createMembers(store, lines, budget, {
    ...(watch && { listed: ({ serial }) => watch.peer(serial) }),
    taken: (address) => others.settle(address),
  });
  const others = createOthers(store, members);

  function tell(to: Watch, row: number, id: number): void {
    const { isOther, serial } = members.byRow(row);
    if (!isOther) to.entry(serial, store.nameText(id) ?? "");
  }

  const own = ownPeersOf(members, store, watch);

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
    own,
    others,
    get peers() {
      return members.count;
    },
    get entries() {
      return store.entries - others.entries;
    },
    get bytes() {
      return store.bytes + lines.bytes;
    },
    get wordsWaiting() {
      return words.waiting;
    },
  };
}

function ownPeersOf(members: Members, store: EntryTable, watch: Watch | undefined): OwnPeers {
  return {
    addressOf(serial) {
      const record = members.bySerial(serial);
      return record?.seen ? record.address : undefined;
    },
    shareOf(serial, name) {
      const record = members.bySerial(serial);
      return record && store.shareOf(record.row, name);
    },
    *tellAll() {
      for (const { row, serial } of members.own()) {
        let count = 0;
        for (const name of store.namesOf(row)) {
          if (members.bySerial(serial) === undefined) break;
          if (name !== undefined) watch?.entry(serial, name);
          if (++count % 32 === 0) yield;
        }
        watch?.peer(serial);
        yield;
      }
    },
  };
}
