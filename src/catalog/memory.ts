// The catalog in this process's memory: who is in, and what each has, in the rows of store.ts.
// Invariant: a member is seen from the moment its JOIN is complete until it leaves, with all of its entries or none.
// Never: takes long at a stretch: a large library enters and leaves in slices, unseen meanwhile.

import { type Address, formatAddress } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import { JOIN_NAMES_MAX, SEARCH_PEERS_MAX } from "../protocol/limits.ts";
import type { Holder, Root, Share } from "../protocol/messages.ts";
import { after, type Catalog, type MaybePromise, type Member } from "./contract.ts";
import { createLines } from "./table/address-lines.ts";
import { createEntryTable } from "./table/entry-table.ts";
import { NONE } from "./table/rows.ts";
import { type Job, runInSlices, runSoon } from "./time-slices.ts";
import { gather } from "./words/find.ts";
import { createWords } from "./words/words.ts";

/** Entries that enter or leave without a pause, if the turn has time for them: about a millisecond. */
const AT_ONCE_MAX = 512;
/** Entries between two looks at the clock. */
const STRIDE = 32;

type Record = Member & {
  readonly row: number;
  /** In: found by others, and may change its entries. */
  seen: boolean;
  entries: number;
  /** What its entries take, as it is counted in the budgets. */
  bytes: number;
};

/** What the entries of all, and of those at one IP, may take, in bytes. */
export type Budget = { readonly bytes: number; readonly bytesPerAddress: number };

const NO_BUDGET: Budget = { bytes: Number.POSITIVE_INFINITY, bytesPerAddress: Number.POSITIVE_INFINITY };
const FULL = fault("TOO_MANY", "ours", "the catalog has no room for more names", true);

export type MemoryCatalog = Catalog & {
  /** What is true of an address now, for whoever repeats it elsewhere. */
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

/** Hears of each change, by the address that it concerns. */
export type Watch = { named(address: string, name: string): void; held(address: string, root: Root): void };

/** An empty catalog that keeps `namesMax` names of one member at most, and stays within `budget`. */
export function createMemoryCatalog(
  watch?: Watch,
  namesMax = JOIN_NAMES_MAX,
  budget: Budget = NO_BUDGET,
): MemoryCatalog {
  const keyOf = (row: number): string => formatAddress((records[row] as Record).address);
  const store = createEntryTable(
    watch === undefined
      ? { spelled: (id) => words.spelled(id) }
      : {
          named: (row, name) => watch.named(keyOf(row), name),
          held: (row, root) => watch.held(keyOf(row), root),
        },
  );
  const words = createWords(store.limit, store.nameText);
  const lines = createLines();
  const byAddress = new Map<string, Record>();
  const entering = new Map<string, Record>(); // not seen yet
  const records: Record[] = []; // by row

  const ofIp = new Map<string, number>(); // bytes
  let total = 0;

  /** Brings the budgets up to what the member's entries take now. */
  function account(record: Record, bytes = store.costOf(record.row)): void {
    const grown = bytes - record.bytes;
    const { ip } = record.address;
    record.bytes = bytes;
    total += grown;
    const atIp = (ofIp.get(ip) ?? 0) + grown;
    if (atIp === 0) ofIp.delete(ip);
    else ofIp.set(ip, atIp);
  }

  /** Whether there is too much, not counting what `leaving` is about to give back. */
  function isOver({ address }: Record, leaving?: Record): boolean {
    const less = leaving?.bytes ?? 0;
    const lessAtIp = leaving?.address.ip === address.ip ? less : 0;
    return total - less > budget.bytes || (ofIp.get(address.ip) ?? 0) - lessAtIp > budget.bytesPerAddress;
  }

  function* enter(record: Record, shares: readonly Share[], before: Record | undefined): Job<Fault | undefined> {
    for (let i = 0; i < shares.length; i++) {
      store.put(record.row, shares[i] as Share, true);
      if (i % STRIDE !== STRIDE - 1 && i + 1 < shares.length) continue;
      account(record);
      if (isOver(record, before)) return FULL;
      if (i + 1 < shares.length) yield;
    }
    return undefined;
  }

  function* empty(record: Record): Job<void> {
    for (let i = 1; store.removeOne(record.row); i++) {
      if (i % STRIDE !== 0) continue;
      account(record);
      yield;
    }
    account(record, 0);
    store.dropMember(record.row);
  }

  /** Unseen from now on; its rows follow. */
  function dismiss(record: Record): MaybePromise<void> {
    record.seen = false;
    lines.hide(record.row);
    const key = formatAddress(record.address);
    if (byAddress.get(key) === record) byAddress.delete(key);
    return (record.entries <= AT_ONCE_MAX ? runSoon : runInSlices)(empty(record));
  }

  function appear(record: Record, replacing: Record | undefined): Member {
    entering.delete(formatAddress(record.address));
    if (replacing !== undefined) void dismiss(replacing);
    byAddress.set(formatAddress(record.address), record);
    record.seen = true;
    lines.show(record.row, record.address);
    return record;
  }

  function join(
    address: Address,
    shares: readonly Share[],
    replacing: Member | undefined,
  ): MaybePromise<Member | Fault> {
    const key = formatAddress(address);
    const present = byAddress.get(key);
    if (present !== undefined && present !== replacing) {
      return fault("ADDRESS_TAKEN", "theirs", "a live peer has this address", true);
    }
    const record: Record = { address, row: store.addMember(), seen: false, entries: shares.length, bytes: 0 };
    records[record.row] = record;
    lines.hide(record.row);
    const before = replacing && rowOf(replacing);
    // From now on the address is not free, although whoever has it is not seen yet.
    if (present === undefined) byAddress.set(key, record);
    entering.set(key, record);
    const entered = (shares.length <= AT_ONCE_MAX ? runSoon : runInSlices)(enter(record, shares, before));
    return after(entered, (refused) => (refused === undefined ? appear(record, before) : turnAway(record, refused)));
  }

  /** What has entered of it goes again; whoever it would have replaced stays. */
  function turnAway(record: Record, refused: Fault): MaybePromise<Fault> {
    const key = formatAddress(record.address);
    if (entering.get(key) === record) entering.delete(key);
    return after(dismiss(record), () => refused);
  }

  function search(name: string): Address[] {
    const found: Address[] = [];
    for (let entry = store.firstOf(name); entry !== NONE; entry = store.nextOf(entry)) {
      const record = records[store.memberOf(entry)] as Record;
      if (!record.seen) continue;
      if (found.length === SEARCH_PEERS_MAX) break;
      found.push(record.address);
    }
    return found;
  }

  function writeHolders(
    bytes: Uint8Array,
    from: number,
    to: number,
    into: Uint8Array,
    at: number,
    most: number,
  ): number {
    let end = at;
    for (let entry = store.firstOfBytes(bytes, from, to); entry !== NONE; entry = store.nextOf(entry)) {
      end = lines.copy(store.memberOf(entry), into, end, at + most);
      if (end < 0) return -1;
    }
    return end === at ? -1 : end - at;
  }

  function sources(root: Root): Holder[] {
    const holders: Holder[] = [];
    for (let holding = store.firstHolding(root); holding !== NONE; holding = store.nextHolding(holding)) {
      const record = records[store.ownerOf(holding)] as Record;
      if (!record.seen) continue;
      if (holders.length === SEARCH_PEERS_MAX) break;
      holders.push({ address: record.address, complete: store.isWhole(holding) });
    }
    return holders.sort((a, b) => Number(b.complete) - Number(a.complete));
  }

  /** Whoever is or comes in at this address. */
  const at = (address: string): Record[] => {
    const [present, coming] = [byAddress.get(address), entering.get(address)];
    return [present, coming === present ? undefined : coming].flatMap((record) => record ?? []);
  };

  /** The row of a member that is in; one that has left changes nothing. */
  const rowOf = (member: Member): Record | undefined => ((member as Record).seen ? (member as Record) : undefined);
  function put(member: Member, share: Share, complete: boolean): Fault | undefined {
    const record = rowOf(member);
    if (record === undefined) return undefined;
    const { row } = record;
    // What is whole stays whole: an offer never takes a complete file out of SEARCH.
    if (!complete && store.isComplete(row, share.name)) return undefined;
    // One peer's names are bounded however they come: nobody fills the index by UPDATE with what JOIN would refuse.
    if (record.entries >= namesMax && !store.has(row, share.name))
      return fault("TOO_MANY", "theirs", `at most ${namesMax} names`);
    const before = store.entries;
    store.put(row, share, complete);
    record.entries += store.entries - before;
    account(record);
    // What was there already and has only learned its root stays.
    if (store.entries === before || !isOver(record)) return undefined;
    store.remove(row, share.name);
    record.entries--;
    account(record);
    return FULL;
  }

  return {
    join,
    search,
    writeHolders,
    sources,
    update: (member, share) => put(member, share, true),
    offer: (member, share) => put(member, share, false),
    withdraw(member, name) {
      const record = rowOf(member);
      if (record === undefined) return;
      const before = store.entries;
      store.remove(record.row, name);
      record.entries += store.entries - before;
      account(record);
    },
    leave: (member) => (rowOf(member) === undefined ? undefined : dismiss(member as Record)),
    async find(text, offset, count) {
      const names = await words.find(text);
      return runInSlices(gather(store, (row) => records[row]?.seen === true, names, offset, count));
    },
    close: async () => words.close(),
    hasWhole: (address, name) => at(address).some(({ row }) => store.isComplete(row, name)),
    holds(address, root) {
      const held = at(address).map(({ row }) => store.holds(row, root));
      return held.includes("whole") ? "whole" : held.find((one) => one !== undefined);
    },
    *tellAll() {
      for (const record of new Set([...byAddress.values(), ...entering.values()]))
        if (records[record.row] === record) yield* store.tellAll(record.row);
    },
    get peers() {
      return byAddress.size;
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
