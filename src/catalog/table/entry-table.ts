// Entries as rows of numbers: name -> entries and member -> entries, each a linked list. What they hold is in holdings.ts.
// Invariant: an entry stands in its member's list, a complete one in its name's list too.
// Never: takes time beyond what it adds or removes.

import type { Root, Share } from "../../protocol/messages.ts";
import type { Job } from "../time-slices.ts";
import { createContentIndex } from "./content-index.ts";
import { createHashIndex } from "./hash-index.ts";
import { append, clear, HEAD, HEAD_FIELDS, pairHash, USES, unlink } from "./linked-lists.ts";
import { createRefcounts } from "./refcounts.ts";
import { createRows, NONE } from "./rows.ts";

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

/** Hears of each change of what a member has; whoever hears looks up for itself what is true by then. */
export type Watcher = {
  /** A name is there for the first time, or for nobody any more. */
  spelled?(id: number): void;
  named?(member: number, name: string): void;
  held?(member: number, root: Root): void;
};

export function createEntryTable(watcher?: Watcher) {
  const terms = createRefcounts(watcher?.spelled);
  const { interner: names, lists: ofName } = terms;
  const members = createRows(HEAD_FIELDS);
  const entries = createRows(9);
  const entryTable = createHashIndex((e) => pairHash(entries.get(e, MEMBER), entries.get(e, NAME)));
  const holdings = createContentIndex(watcher?.held);
  const { hold, letGo, contentOf, rootText } = holdings;
  const scratch = new Uint8Array(1024);
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  let entryCount = 0;

  const encode = (text: string): number => encoder.encodeInto(text, scratch).written;
  const nameOf = (id: number): string => decoder.decode(names.view(id));

  let wantedMember = 0;
  let wantedName = 0;
  const isWanted = (e: number) => entries.get(e, NAME) === wantedName && entries.get(e, MEMBER) === wantedMember;
  function findEntry(member: number, name: number): number {
    wantedMember = member;
    wantedName = name;
    return entryTable.find(pairHash(member, name), isWanted);
  }

  /** Counts what a member's entries take, in its own row. */
  function charge(member: number, bytes: number): void {
    members.set(member, USES, members.get(member, USES) + bytes);
  }

  function removeEntry(entry: number): void {
    const name = entries.get(entry, NAME);
    const member = entries.get(entry, MEMBER);
    charge(member, -costOf(names.lengthOf(name), entries.get(entry, HOLDING) !== NONE));
    const complete = (entries.get(entry, SIZE_HIGH) & COMPLETE) !== 0;
    const holding = entries.get(entry, HOLDING);
    if (holding !== NONE) letGo(holding, complete);
    if (complete) {
      watcher?.named?.(member, nameOf(name));
      unlink(ofName, name, entries, entry, BY_NAME);
    }
    unlink(members, member, entries, entry, BY_MEMBER);
    entryTable.remove(pairHash(member, name), entry);
    terms.release(name);
    entries.set(entry, MEMBER, NONE);
    entries.free(entry);
    entryCount--;
  }

  /** Adds an entry, in the place of the one that this member has under that name. */
  function put(member: number, { name: text, size, root }: Share, complete: boolean): void {
    const length = encode(text);
    const known = names.find(scratch, 0, length);
    const present = known < 0 ? -1 : findEntry(member, known);
    if (present >= 0) removeEntry(present);
    if (present >= 0) encode(text);
    const name = terms.take(scratch, length);
    const entry = entries.take();
    entries.set(entry, NAME, name);
    entries.set(entry, MEMBER, member);
    entries.set(entry, SIZE_LOW, (size % LOW) | 0);
    entries.set(entry, SIZE_HIGH, Math.floor(size / LOW) | (complete ? COMPLETE : 0));
    if (complete) {
      watcher?.named?.(member, text);
      append(ofName, name, entries, entry, BY_NAME);
    }
    append(members, member, entries, entry, BY_MEMBER);
    entryTable.add(pairHash(member, name), entry);
    entries.set(entry, HOLDING, root === undefined ? NONE : hold(member, root, complete));
    charge(member, costOf(length, root !== undefined));
    entryCount++;
  }

  function entryOf(member: number, text: string): number {
    const name = names.find(scratch, 0, encode(text));
    return name < 0 ? -1 : findEntry(member, name);
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
      return entry >= 0 && (entries.get(entry, SIZE_HIGH) & COMPLETE) !== 0;
    },
    holds: holdings.holds,
    /** Says everything that the member has to `watcher`, a few at a time. */
    *tellAll(member: number): Job<void> {
      const all: number[] = [];
      for (let e = members.get(member, HEAD); e !== NONE; e = entries.get(e, BY_MEMBER)) all.push(e);
      for (const [i, entry] of all.entries()) {
        if (i % 32 === 31) yield;
        if (entries.get(entry, MEMBER) !== member) continue; // gone meanwhile
        if ((entries.get(entry, SIZE_HIGH) & COMPLETE) !== 0)
          watcher?.named?.(member, nameOf(entries.get(entry, NAME)));
        const holding = entries.get(entry, HOLDING);
        if (holding !== NONE) watcher?.held?.(member, rootText(contentOf(holding)));
      }
    },
    /** The first complete entry of that name, or NONE. */
    firstOf(text: string): number {
      const name = names.find(scratch, 0, encode(text));
      return name < 0 ? NONE : ofName.get(name, HEAD);
    },
    /** The same for a name as it stands in `bytes`, from `from` up to `to`. */
    firstOfBytes(bytes: Uint8Array, from: number, to: number): number {
      const name = names.find(bytes, from, to);
      return name < 0 ? NONE : ofName.get(name, HEAD);
    },
    nextOf: (entry: number): number => entries.get(entry, BY_NAME),
    memberOf: (entry: number): number => entries.get(entry, MEMBER),
    firstHolding: holdings.firstHolding,
    nextHolding: holdings.nextHolding,
    ownerOf: holdings.ownerOf,
    isWhole: holdings.isWhole,
    /** For FIND, by ids: a name's complete entries, an entry's size and content, a content's holders. */
    limit: () => names.limit,
    nameText: (name: number): string | undefined => (names.has(name) ? nameOf(name) : undefined),
    rootText,
    firstById: (name: number): number => (names.has(name) ? ofName.get(name, HEAD) : NONE),
    sizeOf: (e: number): number => (entries.get(e, SIZE_HIGH) & ~COMPLETE) * LOW + (entries.get(e, SIZE_LOW) >>> 0),
    rootOf: (e: number): number => (entries.get(e, HOLDING) === NONE ? NONE : contentOf(entries.get(e, HOLDING))),
    holdersOf: holdings.holdersOf,
    get entries() {
      return entryCount;
    },
    /** Memory held, in bytes. */
    get bytes() {
      return terms.bytes + members.bytes + entries.bytes + entryTable.bytes + holdings.bytes;
    },
  };
}
