// Entries as rows of numbers: name -> entries and member -> entries, each a linked list. Their contents: content-index.ts.
// Invariant: an entry stands in its member's list, a complete one in its name's list too.
// Never: takes time beyond what it adds or removes.

import type { Share } from "../../protocol/messages.ts";
import { createContentIndex } from "./content-index.ts";
import { createHashIndex } from "./hash-index.ts";
import { clear, createLinkedLists, HEAD, HEAD_FIELDS, pairHash, USES } from "./linked-lists.ts";
import { createRefcounts } from "./refcounts.ts";
import { createRows, NONE, type Rows } from "./rows.ts";

/** Fields of an entry. Lists go through NEXT and PREVIOUS of their kind. */
const NAME = 0;
const MEMBER = 1;
const HOLDING = 2;
const BY_NAME = 3; // next; previous is one further
const BY_MEMBER = 5;
const SIZE_LOW = 7;
const SIZE_HIGH = 8; // with COMPLETE
const COMPLETE = 1 << 30;

const LOW = 2 ** 32;

/** What an entry takes beside its name, and with a root, in bytes: measured, and rounded up. */
const ENTRY_BYTES = 120;
const ROOT_BYTES = 40;
const costOf = (nameBytes: number, hasRoot: boolean): number => ENTRY_BYTES + nameBytes + (hasRoot ? ROOT_BYTES : 0);

export type EntryTable = ReturnType<typeof createEntryTable>;

/** Hears of each change of what a member has; the listener looks up for itself what is true by then. */
export type Watcher = {
  /** A name has its first entry, or has lost its last. */
  spelled?(id: number): void;
  /** What the member has under the name with this id; the name is still there. */
  changed?(member: number, id: number): void;
};

/** The rows alone: an entry's fields, and its place in the lists of its name and of its member. */
function createEntryRows(names: Rows, members: Rows) {
  const rows = createRows(9);
  const ofName = createLinkedLists(names, rows, BY_NAME);
  const ofMember = createLinkedLists(members, rows, BY_MEMBER);
  const nameOf = (entry: number): number => rows.get(entry, NAME);
  const memberOf = (entry: number): number => rows.get(entry, MEMBER);
  const isComplete = (entry: number): boolean => (rows.get(entry, SIZE_HIGH) & COMPLETE) !== 0;
  const table = createHashIndex((entry) => pairHash(memberOf(entry), nameOf(entry)));
  let wantedMember = 0;
  let wantedName = 0;
  const isWanted = (entry: number) => nameOf(entry) === wantedName && memberOf(entry) === wantedMember;

  return {
    nameOf,
    memberOf,
    isComplete,
    /** The member's entry of that name, or -1. */
    find(member: number, name: number): number {
      wantedMember = member;
      wantedName = name;
      return table.find(pairHash(member, name), isWanted);
    },
    /** A new entry; only a complete one stands in its name's list. */
    add(member: number, name: number, size: number, complete: boolean): number {
      const entry = rows.take();
      rows.set(entry, NAME, name);
      rows.set(entry, MEMBER, member);
      rows.set(entry, SIZE_LOW, (size % LOW) | 0);
      rows.set(entry, SIZE_HIGH, Math.floor(size / LOW) | (complete ? COMPLETE : 0));
      if (complete) ofName.append(name, entry);
      ofMember.append(member, entry);
      table.add(pairHash(member, name), entry);
      return entry;
    },
    remove(entry: number): void {
      if (isComplete(entry)) ofName.unlink(nameOf(entry), entry);
      ofMember.unlink(memberOf(entry), entry);
      table.remove(pairHash(memberOf(entry), nameOf(entry)), entry);
      rows.set(entry, MEMBER, NONE);
      rows.free(entry);
    },
    sizeOf: (entry: number): number =>
      (rows.get(entry, SIZE_HIGH) & ~COMPLETE) * LOW + (rows.get(entry, SIZE_LOW) >>> 0),
    holdingOf: (entry: number): number => rows.get(entry, HOLDING),
    setHolding: (entry: number, holding: number): void => rows.set(entry, HOLDING, holding),
    nextOfName: (entry: number): number => rows.get(entry, BY_NAME),
    nextOfMember: ofMember.next,
    get bytes() {
      return rows.bytes + table.bytes;
    },
  };
}

export function createEntryTable(watcher?: Watcher) {
  const terms = createRefcounts(watcher?.spelled);
  const { pool: names, lists: ofName } = terms;
  const members = createRows(HEAD_FIELDS);
  const rows = createEntryRows(ofName, members);
  const contents = createContentIndex();
  const scratch = new Uint8Array(1024);
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  let entries = 0;

  const encode = (text: string): number => encoder.encodeInto(text, scratch).written;
  const textOf = (name: number): string => decoder.decode(names.view(name));
  const firstOfName = (name: number): number => (name < 0 ? NONE : ofName.get(name, HEAD));
  const rootOf = (entry: number): number =>
    rows.holdingOf(entry) === NONE ? NONE : contents.contentOf(rows.holdingOf(entry));

  /** Counts what a member's entries take, in its own row. */
  function charge(member: number, bytes: number): void {
    members.set(member, USES, members.get(member, USES) + bytes);
  }

  function removeEntry(entry: number): void {
    const name = rows.nameOf(entry);
    const member = rows.memberOf(entry);
    const holding = rows.holdingOf(entry);
    charge(member, -costOf(names.lengthOf(name), holding !== NONE));
    if (holding !== NONE) contents.letGo(holding, rows.isComplete(entry));
    rows.remove(entry);
    watcher?.changed?.(member, name);
    terms.release(name);
    entries--;
  }

  /** Adds an entry, in the place of the one that this member has under that name. */
  function put(member: number, { name: text, size, root }: Share, complete: boolean): void {
    const length = encode(text);
    const name = terms.take(scratch, length);
    const before = rows.find(member, name);
    const entry = rows.add(member, name, size, complete);
    rows.setHolding(entry, root === undefined ? NONE : contents.hold(member, root, complete));
    watcher?.changed?.(member, name);
    charge(member, costOf(length, root !== undefined));
    entries++;
    // Last, so that the name stays, and a page whose only row this is: giving pages back and taking them costs.
    if (before >= 0) removeEntry(before);
  }

  function entryOf(member: number, text: string): number {
    const name = names.find(scratch, 0, encode(text));
    return name < 0 ? -1 : rows.find(member, name);
  }

  return {
    put,
    addMember(): number {
      const member = members.take();
      clear(members, member);
      return member;
    },
    dropMember: (member: number): void => members.free(member),
    /** Takes out one of the member's entries, or says that there is none left. */
    removeOne(member: number): boolean {
      const first = members.get(member, HEAD);
      if (first !== NONE) removeEntry(first);
      return first !== NONE;
    },
    remove(member: number, text: string): void {
      const entry = entryOf(member, text);
      if (entry >= 0) removeEntry(entry);
    },
    /** About how many bytes the member's entries take, each name counted in full. */
    costOf: (member: number): number => members.get(member, USES),
    has: (member: number, text: string): boolean => entryOf(member, text) >= 0,
    isComplete(member: number, text: string): boolean {
      const entry = entryOf(member, text);
      return entry >= 0 && rows.isComplete(entry);
    },
    /** What the member has under that name now. */
    shareOf(member: number, text: string): (Share & { readonly complete: boolean }) | undefined {
      const entry = entryOf(member, text);
      if (entry < 0) return undefined;
      const root = rootOf(entry) === NONE ? undefined : contents.rootText(rootOf(entry));
      return { name: text, size: rows.sizeOf(entry), root, complete: rows.isComplete(entry) };
    },
    /** The names of what the member has, a few at a time; what goes meanwhile may be left out. */
    *namesOf(member: number): Generator<string | undefined, void> {
      const all: number[] = [];
      for (let e = members.get(member, HEAD); e !== NONE; e = rows.nextOfMember(e)) all.push(e);
      for (const entry of all) yield rows.memberOf(entry) === member ? textOf(rows.nameOf(entry)) : undefined;
    },
    /** The first complete entry of that name, or NONE. */
    firstOf: (text: string): number => firstOfName(names.find(scratch, 0, encode(text))),
    /** The same for a name as it stands in `bytes`, from `from` up to `to`; written out, as each SEARCH comes here. */
    firstOfBytes(bytes: Uint8Array, from: number, to: number): number {
      const name = names.find(bytes, from, to);
      return name < 0 ? NONE : ofName.get(name, HEAD);
    },
    nextOf: rows.nextOfName,
    memberOf: rows.memberOf,
    contents,
    /** For FIND, by ids: a name's complete entries, an entry's size and content. */
    limit: () => names.limit,
    nameText: (name: number): string | undefined => (names.has(name) ? textOf(name) : undefined),
    firstById: (name: number): number => (names.has(name) ? firstOfName(name) : NONE),
    sizeOf: rows.sizeOf,
    rootOf,
    get entries() {
      return entries;
    },
    /** Memory held, in bytes. */
    get bytes() {
      return terms.bytes + members.bytes + rows.bytes + contents.bytes;
    },
  };
}
