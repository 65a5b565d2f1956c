// Entries and holdings as rows of numbers: name -> entries, member -> entries, root -> holdings, each a linked list.
// Invariant: an entry stands in its member's list, a complete one in its name's list too; a holding counts the entries
// of one member with one root. Never: takes time beyond what it adds or removes.

import type { Root, Share } from "../protocol/messages.ts";
import { createIdTable } from "./id-table.ts";
import { createInterner } from "./interner.ts";
import { createRows, NONE, type Rows } from "./rows.ts";

/** Fields of a list's head: a name's, a root's or a member's row. */
const HEAD = 0;
const TAIL = 1;
const USES = 2;

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

const pairHash = (a: number, b: number): number => {
  let hash = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
};

export function createStore() {
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
  let entryCount = 0;

  const encode = (text: string): number => encoder.encodeInto(text, scratch).written;
  function encodeRoot(root: Root): number {
    for (let i = 0; i < 32; i++) scratch[i] = (digit(root, 2 * i) << 4) | digit(root, 2 * i + 1);
    return 32;
  }

  /** Puts `row` at the end of the list of `list`. */
  function append(lists: Rows, list: number, rows: Rows, row: number, link: number): void {
    const tail = lists.get(list, TAIL);
    rows.set(row, link, NONE);
    rows.set(row, link + 1, tail);
    if (tail === NONE) lists.set(list, HEAD, row);
    else rows.set(tail, link, row);
    lists.set(list, TAIL, row);
  }
  function unlink(lists: Rows, list: number, rows: Rows, row: number, link: number): void {
    const next = rows.get(row, link);
    const previous = rows.get(row, link + 1);
    if (previous === NONE) lists.set(list, HEAD, next);
    else rows.set(previous, link, next);
    if (next === NONE) lists.set(list, TAIL, previous);
    else rows.set(next, link + 1, previous);
  }
  function clear(lists: Rows, list: number): void {
    lists.set(list, HEAD, NONE);
    lists.set(list, TAIL, NONE);
    lists.set(list, USES, 0);
  }

  /** The id of a name or root in `interner`, with an empty list in `lists` when it is new. */
  function take(interner: typeof names, lists: Rows, length: number): number {
    const before = interner.count;
    const id = interner.take(scratch, length);
    if (interner.count > before) {
      lists.reach(id);
      clear(lists, id);
    }
    lists.set(id, USES, lists.get(id, USES) + 1);
    return id;
  }
  function release(interner: typeof names, lists: Rows, id: number): void {
    const uses = lists.get(id, USES) - 1;
    lists.set(id, USES, uses);
    if (uses === 0) interner.drop(id);
  }
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
    const root = take(roots, ofRoot, encodeRoot(rootText));
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
    return holding;
  }
  function letGo(holding: number, complete: boolean): void {
    const root = holdings.get(holding, ROOT);
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
    if (complete) unlink(ofName, name, entries, entry, BY_NAME);
    unlink(members, member, entries, entry, BY_MEMBER);
    entryTable.remove(pairHash(member, name), entry);
    release(names, ofName, name);
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
    if (complete) append(ofName, name, entries, entry, BY_NAME);
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
    /** The member has no entries any more. */
    dropMember: (member: number): void => members.free(member),
    /** Takes out one of the member's entries, or says that there is none left. */
    removeOne(member: number): boolean {
      const first = members.get(member, HEAD);
      if (first === NONE) return false;
      removeEntry(first);
      return true;
    },
    remove(member: number, text: string): void {
      const entry = entryOf(member, text);
      if (entry >= 0) removeEntry(entry);
    },
    isComplete(member: number, text: string): boolean {
      const entry = entryOf(member, text);
      return entry >= 0 && (entries.get(entry, SIZE_HIGH) & COMPLETE) !== 0;
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
      const id = roots.find(scratch, 0, encodeRoot(root));
      return id < 0 ? NONE : ofRoot.get(id, HEAD);
    },
    nextHolding: (holding: number): number => holdings.get(holding, BY_ROOT),
    ownerOf: (holding: number): number => holdings.get(holding, OWNER),
    isWhole: (holding: number): boolean => holdings.get(holding, WHOLE) > 0,
    get entries() {
      return entryCount;
    },
    get names() {
      return names.count;
    },
    /** Memory held, in bytes. */
    get bytes() {
      const rows = [ofName, ofRoot, members, entries, holdings].reduce((sum, { bytes }) => sum + bytes, 0);
      return rows + names.bytes + roots.bytes + entryTable.bytes + holdingTable.bytes;
    },
  };
}

function digit(hex: string, at: number): number {
  const code = hex.charCodeAt(at);
  return code <= 57 ? code - 48 : code - 87;
}
