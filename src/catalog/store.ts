// Entries and holdings as rows of numbers: name -> entries, member -> entries, root -> holdings, each a linked list.
// Invariant: an entry stands in its member's list, a complete one in its name's list too; a holding counts the entries
// of one member with one root. Never: takes time beyond what it adds or removes.

import type { Root, Share } from "../protocol/messages.ts";
import { createIdTable } from "./id-table.ts";
import { createInterner } from "./interner.ts";
import { append, clear, HEAD, pairHash, USES, unlink, writeRoot } from "./lists.ts";
import { createRows, NONE, type Rows } from "./rows.ts";
import type { Job } from "./slices.ts";

/** Fields of an entry. Lists go through NEXT and PREVIOUS of their kind. */
const NAME = 0;
const MEMBER = 1;
const HOLDING = 2;
const BY_NAME = 3; // next; previous is one further
const BY_MEMBER = 5;
const SIZE_LOW = 7;
const SIZE_HIGH = 8; // with COMPLETE
const COMPLETE = 1 << 30;

/** Fields of a holding. */
const ROOT = 0;
const OWNER = 1;
const BY_ROOT = 2;
const WHOLE = 4;
const PARTIAL = 5;

const LOW = 2 ** 32;

export type Store = ReturnType<typeof createStore>;

/** Hears of each change of what a member has; whoever hears looks up for itself what is true by then. */
export type Watcher = {
  /** A name is there for the first time, or for nobody any more. */
  spelled?(id: number, name: string | undefined): void;
  named?(member: number, name: string): void;
  held?(member: number, root: Root): void;
};

export function createStore(watcher?: Watcher) {
  const names = createInterner();
  const roots = createInterner();
  const ofName = createRows(3); // by the name's id
  const ofRoot = createRows(3);
  const members = createRows(3);
  const entries = createRows(9);
  const holdings = createRows(6);
  const entryTable = createIdTable((e) => pairHash(entries.get(e, MEMBER), entries.get(e, NAME)));
  const holdingTable = createIdTable((h) => pairHash(holdings.get(h, OWNER), holdings.get(h, ROOT)));
  const scratch = new Uint8Array(1024);
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  let entryCount = 0;

  const encode = (text: string): number => encoder.encodeInto(text, scratch).written;
  /** The id of a name or root in `interner`, with an empty list in `lists` when it is new. */
  function take(interner: typeof names, lists: Rows, length: number): number {
    const before = interner.count;
    const id = interner.take(scratch, length);
    if (interner.count > before) {
      lists.reach(id);
      if (interner === names) watcher?.spelled?.(id, nameOf(id));
      clear(lists, id);
    }
    lists.set(id, USES, lists.get(id, USES) + 1);
    return id;
  }
  function release(interner: typeof names, lists: Rows, id: number): void {
    const uses = lists.get(id, USES) - 1;
    lists.set(id, USES, uses);
    if (uses > 0) return;
    interner.drop(id);
    if (interner === names) watcher?.spelled?.(id, undefined);
  }
  const nameOf = (id: number): string => decoder.decode(names.view(id));
  const rootOf = (id: number): Root => roots.view(id).toHex();

  let wantedMember = 0;
  let wantedOther = 0;
  const isEntry = (e: number) => entries.get(e, NAME) === wantedOther && entries.get(e, MEMBER) === wantedMember;
  const isHolding = (h: number) => holdings.get(h, ROOT) === wantedOther && holdings.get(h, OWNER) === wantedMember;
  function findEntry(member: number, name: number): number {
    wantedMember = member;
    wantedOther = name;
    return entryTable.find(pairHash(member, name), isEntry);
  }
  function findHolding(member: number, root: number): number {
    wantedMember = member;
    wantedOther = root;
    return holdingTable.find(pairHash(member, root), isHolding);
  }

  function hold(member: number, rootText: Root, complete: boolean): number {
    const root = take(roots, ofRoot, writeRoot(scratch, rootText));
    let holding = findHolding(member, root);
    if (holding < 0) {
      holding = holdings.take();
      holdings.set(holding, ROOT, root);
      holdings.set(holding, OWNER, member);
      holdings.set(holding, WHOLE, 0);
      holdings.set(holding, PARTIAL, 0);
      append(ofRoot, root, holdings, holding, BY_ROOT);
      holdingTable.add(pairHash(member, root), holding);
    }
    const field = complete ? WHOLE : PARTIAL;
    holdings.set(holding, field, holdings.get(holding, field) + 1);
    watcher?.held?.(member, rootText);
    return holding;
  }
  function letGo(holding: number, complete: boolean): void {
    const root = holdings.get(holding, ROOT);
    watcher?.held?.(holdings.get(holding, OWNER), rootOf(root));
    const field = complete ? WHOLE : PARTIAL;
    holdings.set(holding, field, holdings.get(holding, field) - 1);
    if (holdings.get(holding, WHOLE) + holdings.get(holding, PARTIAL) === 0) {
      holdingTable.remove(pairHash(holdings.get(holding, OWNER), root), holding);
      unlink(ofRoot, root, holdings, holding, BY_ROOT);
      holdings.free(holding);
    }
    release(roots, ofRoot, root);
  }

  function removeEntry(entry: number): void {
    const name = entries.get(entry, NAME);
    const member = entries.get(entry, MEMBER);
    const complete = (entries.get(entry, SIZE_HIGH) & COMPLETE) !== 0;
    const holding = entries.get(entry, HOLDING);
    if (holding !== NONE) letGo(holding, complete);
    if (complete) {
      watcher?.named?.(member, nameOf(name));
      unlink(ofName, name, entries, entry, BY_NAME);
    }
    unlink(members, member, entries, entry, BY_MEMBER);
    entryTable.remove(pairHash(member, name), entry);
    release(names, ofName, name);
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
    const name = take(names, ofName, length);
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
    has: (member: number, text: string): boolean => entryOf(member, text) >= 0,
    isComplete(member: number, text: string): boolean {
      const entry = entryOf(member, text);
      return entry >= 0 && (entries.get(entry, SIZE_HIGH) & COMPLETE) !== 0;
    },
    /** "whole", "part", or undefined when the member has none of this content. */
    holds(member: number, root: Root): "whole" | "part" | undefined {
      const id = roots.find(scratch, 0, writeRoot(scratch, root));
      const holding = id < 0 ? -1 : findHolding(member, id);
      if (holding < 0) return undefined;
      return holdings.get(holding, WHOLE) > 0 ? "whole" : "part";
    },
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
        if (holding !== NONE) watcher?.held?.(member, rootOf(holdings.get(holding, ROOT)));
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
    firstHolding(root: Root): number {
      const id = roots.find(scratch, 0, writeRoot(scratch, root));
      return id < 0 ? NONE : ofRoot.get(id, HEAD);
    },
    nextHolding: (holding: number): number => holdings.get(holding, BY_ROOT),
    ownerOf: (holding: number): number => holdings.get(holding, OWNER),
    isWhole: (holding: number): boolean => holdings.get(holding, WHOLE) > 0,
    /** For FIND, by ids: a name's complete entries, an entry's size and content, a content's holders. */
    limit: () => names.limit,
    nameText: (name: number): string | undefined => (names.has(name) ? nameOf(name) : undefined),
    rootText: rootOf,
    firstById: (name: number): number => (names.has(name) ? ofName.get(name, HEAD) : NONE),
    sizeOf: (e: number): number => (entries.get(e, SIZE_HIGH) & ~COMPLETE) * LOW + (entries.get(e, SIZE_LOW) >>> 0),
    rootOf: (e: number): number =>
      entries.get(e, HOLDING) === NONE ? NONE : holdings.get(entries.get(e, HOLDING), ROOT),
    holdersOf: (root: number): number => ofRoot.get(root, HEAD),
    get entries() {
      return entryCount;
    },
    /** Memory held, in bytes. */
    get bytes() {
      const tables = [ofName, ofRoot, members, entries, holdings, names, roots, entryTable, holdingTable];
      return tables.reduce((sum, { bytes }) => sum + bytes, 0);
    },
  };
}
