// Who is in the catalog in memory: each member with its row, its entries and what they take.
// Invariant: a member is seen from the moment its JOIN is complete until it leaves, with all of its entries or none.
// Never: takes long at a stretch: a large library enters and leaves in slices, unseen meanwhile.

import { type Address, formatAddress } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import { after, type MaybePromise, type Member, type Shares } from "./contract.ts";
import type { Lines } from "./table/address-lines.ts";
import type { EntryTable } from "./table/entry-table.ts";
import { type Job, runInSlices, runSoon } from "./time-slices.ts";
import { createUsage } from "./usage.ts";

/** Entries that enter or leave without a pause, if the turn has time for them: about a millisecond. */
const AT_ONCE_MAX = 512;
/** Entries between two looks at the clock. */
const STRIDE = 32;

export type MemberRecord = {
  address: Address;
  readonly row: number;
  /** Counts this catalog's members; a row is used again, a serial is not. */
  readonly serial: number;
  /** It is another server's peer (others.ts). */
  readonly isOther: boolean;
  /** In: found by others, and may change its entries. */
  seen: boolean;
  entries: number;
  /** What its entries take, as it is counted in the budgets. */
  bytes: number;
};

/** What the entries of all, and of those at one IP, may take, in bytes. */
export type Budget = { readonly bytes: number; readonly bytesPerAddress: number };

export const FULL = fault("TOO_MANY", "ours", "the catalog has no room for more names", true);

export type Members = ReturnType<typeof createMembers>;

/** What is told of members: that one is in or out of the lists, or that its last entry is gone; and at which address. */
export type MemberWatch = { listed?(record: MemberRecord): void; taken?(address: string): void };

export function createMembers(store: EntryTable, lines: Lines, budget: Budget, watch: MemberWatch = {}) {
  const byAddress = new Map<string, MemberRecord>();
  const entering = new Map<string, MemberRecord>(); // not seen yet
  const { records, bySerial, place, show } = createRecords(store, lines);
  const usage = createUsage();
  let othersBytes = 0;

  /** Brings the budgets up to what the member's entries take now. */
  function account(record: MemberRecord, bytes = store.costOf(record.row)): void {
    if (record.isOther) othersBytes += bytes - record.bytes;
    else usage.add(record.address.ip, bytes - record.bytes);
    record.bytes = bytes;
  }

  /** Whether there is too much, not counting what `leaving` is about to give back. */
  function isOver({ address, isOther }: MemberRecord, leaving?: MemberRecord): boolean {
    const less = leaving?.bytes ?? 0;
    if (usage.total + othersBytes - less > budget.bytes) return true;
    if (isOther) return false;
    const lessAtIp = leaving?.address.ip === address.ip ? less : 0;
    return usage.at(address.ip) - lessAtIp > budget.bytesPerAddress;
  }

  function* enter(record: MemberRecord, shares: Shares, before: MemberRecord | undefined): Job<Fault | undefined> {
    let count = 0;
    for (const share of shares) {
      store.put(record.row, share, true);
      count++;
      if (count % STRIDE !== 0 && count < shares.length) continue;
      account(record);
      if (isOver(record, before)) return FULL;
      if (count < shares.length) yield;
    }
    return undefined;
  }

  function* empty(record: MemberRecord): Job<void> {
    for (let i = 1; store.removeOne(record.row); i++) {
      if (i % STRIDE !== 0) continue;
      account(record);
      yield;
    }
    account(record, 0);
    store.dropMember(record.row);
    if (bySerial.delete(record.serial)) watch.listed?.(record);
  }

  /** Its entries go, soon or in slices. */
  const clear = (record: MemberRecord): MaybePromise<void> =>
    (record.entries <= AT_ONCE_MAX ? runSoon : runInSlices)(empty(record));

  /** Unseen from now on; its rows follow. */
  function dismiss(record: MemberRecord): MaybePromise<void> {
    show(record, false);
    const key = formatAddress(record.address);
    if (byAddress.get(key) === record) byAddress.delete(key);
    watch.listed?.(record);
    watch.taken?.(key);
    return clear(record);
  }

  function appear(record: MemberRecord, replacing: MemberRecord | undefined): Member {
    const key = formatAddress(record.address);
    entering.delete(key);
    if (replacing !== undefined) void dismiss(replacing);
    byAddress.set(key, record);
    show(record, true);
    watch.listed?.(record);
    watch.taken?.(key);
    return record;
  }

  /** What has entered of it goes again; the member that it would have replaced stays. */
  function turnAway(record: MemberRecord, refused: Fault): MaybePromise<Fault> {
    const key = formatAddress(record.address);
    if (entering.get(key) === record) entering.delete(key);
    return after(dismiss(record), () => refused);
  }

  /** The record of a member that is in; one that has left changes nothing. */
  const recordOf = (member: Member): MemberRecord | undefined =>
    (member as MemberRecord).seen ? (member as MemberRecord) : undefined;

  function join(address: Address, shares: Shares, replacing: Member | undefined): MaybePromise<Member | Fault> {
    const key = formatAddress(address);
    const present = byAddress.get(key);
    if (present !== undefined && present !== replacing)
      return fault("ADDRESS_TAKEN", "theirs", "a live peer has this address", true);
    const record = place(address, false);
    record.entries = shares.length;
    const before = replacing && recordOf(replacing);
    // From now on the address is not free, although its new member is not seen yet.
    if (present === undefined) byAddress.set(key, record);
    entering.set(key, record);
    const entered = (shares.length <= AT_ONCE_MAX ? runSoon : runInSlices)(enter(record, shares, before));
    return after(entered, (refused) => (refused === undefined ? appear(record, before) : turnAway(record, refused)));
  }

  return {
    join,
    leave: (member: Member): MaybePromise<void> => (recordOf(member) ? dismiss(member as MemberRecord) : undefined),
    account,
    isOver,
    recordOf,
    byRow: (row: number): MemberRecord => records[row] as MemberRecord,
    /** Our own member that is seen at this address. */
    seenAt: (address: string): MemberRecord | undefined => [byAddress.get(address)].find((record) => record?.seen),
    /** Our own of that number, until its last entry is gone. */
    bySerial: (serial: number): MemberRecord | undefined => bySerial.get(serial),
    own: (): MemberRecord[] => [...bySerial.values()],
    place,
    show,
    clear,
    get count() {
      return byAddress.size;
    },
  };
}

/** Each member's record by its row, and our own by their serials until their last entry is gone. */
function createRecords(store: EntryTable, lines: Lines) {
  const records: MemberRecord[] = [];
  const bySerial = new Map<number, MemberRecord>();
  let serials = 0;

  /** A new row, in no list yet. */
  function place(address: Address, isOther: boolean): MemberRecord {
    const record = {
      ...{ address, row: store.addMember(), serial: ++serials, isOther },
      ...{ seen: false, entries: 0, bytes: 0 },
    };
    records[record.row] = record;
    lines.hide(record.row);
    if (!isOther) bySerial.set(record.serial, record);
    return record;
  }

  /** In the lists from now on, or in none. */
  function show(record: MemberRecord, seen: boolean): void {
    record.seen = seen;
    if (seen) lines.show(record.row, record.address);
    else lines.hide(record.row);
  }

  return { records, bySerial, place, show };
}
