// Short byte strings kept once each, known by a small number: the names and the roots of every entry.
// Invariant: two ids are the same exactly when their bytes are; an id stays valid until it is dropped.
// Never: keeps a JavaScript string, which would hold the whole payload that it was cut from.

import { createHashIndex } from "./hash-index.ts";
import { HEAD_FIELDS } from "./linked-lists.ts";
import { createRows, NONE, type Rows } from "./rows.ts";

export type StringPool = {
  /** The id of the bytes from `from` up to `to`, or -1. */
  find(bytes: Uint8Array, from: number, to: number): number;
  /** The id of these bytes, which are copied when they are new. At least one byte. */
  take(bytes: Uint8Array, length: number): number;
  drop(id: number): void;
  /** How many bytes an id has. */
  lengthOf(id: number): number;
  /** A view of an id's bytes, good until the next call of take or drop. */
  view(id: number): Uint8Array;
  readonly count: number;
  /** By id a list's head, for the owner. */
  readonly lists: Rows;
  /** Ids lie below this; whether one is in use, `has` says. */
  readonly limit: number;
  has(id: number): boolean;
  /** Memory held, in bytes. */
  readonly bytes: number;
};

/** Bytes lie in rows of their own, by their length in units of 8. */
const UNIT_BYTES = 8;
const UNIT_FIELDS = 2;

/** Fields of a row, behind those of a list's head, which are the owner's. */
const HASH = HEAD_FIELDS;
const SLOT = HEAD_FIELDS + 1; // the row of its bytes
const LENGTH = HEAD_FIELDS + 2;

export function createStringPool(): StringPool {
  const rows = createRows(HEAD_FIELDS + 3);
  const table = createHashIndex((id) => rows.get(id, HASH));
  const slabs: Rows[] = []; // by units
  // A peer that chooses names must not be able to choose their slots too.
  const [seed, factor] = crypto.getRandomValues(new Uint32Array(2)) as unknown as [number, number];
  const multiplier = factor | 1;
  let count = 0;

  function hashOf(bytes: Uint8Array, from: number, to: number): number {
    let hash = seed | 0;
    for (let i = from; i < to; i++) {
      hash = Math.imul(hash ^ (bytes[i] as number), multiplier);
      hash ^= hash >>> 15;
    }
    return hash;
  }

  // What `is` compares with: handed over here rather than in a closure for each call.
  let wanted: Uint8Array = new Uint8Array(0);
  let wantedFrom = 0;
  let wantedLength = 0;
  let wantedHash = 0;
  function is(id: number): boolean {
    if (rows.get(id, HASH) !== wantedHash || rows.get(id, LENGTH) !== wantedLength) return false;
    const slab = slabFor(wantedLength);
    const slot = rows.get(id, SLOT);
    const kept = slab.bytesOf(slot);
    const from = slab.offsetOf(slot);
    for (let i = 0; i < wantedLength; i++) if (kept[from + i] !== wanted[wantedFrom + i]) return false;
    return true;
  }

  function find(bytes: Uint8Array, from: number, to: number): number {
    wanted = bytes;
    wantedFrom = from;
    wantedLength = to - from;
    wantedHash = hashOf(bytes, from, to);
    return table.find(wantedHash, is);
  }

  function slabFor(length: number): Rows {
    const units = Math.max(1, Math.ceil(length / UNIT_BYTES));
    const slab = slabs[units] ?? createRows(units * UNIT_FIELDS);
    slabs[units] = slab;
    return slab;
  }

  return {
    find,
    take(bytes, length) {
      const known = find(bytes, 0, length);
      if (known >= 0) return known;
      const slab = slabFor(length);
      const slot = slab.take();
      const kept = slab.bytesOf(slot);
      const from = slab.offsetOf(slot);
      for (let i = 0; i < length; i++) kept[from + i] = bytes[i] as number; // a view for each name costs more
      const id = rows.take();
      rows.set(id, HASH, wantedHash);
      rows.set(id, SLOT, slot);
      rows.set(id, LENGTH, length);
      table.add(wantedHash, id);
      count++;
      return id;
    },
    drop(id) {
      table.remove(rows.get(id, HASH), id);
      slabFor(rows.get(id, LENGTH)).free(rows.get(id, SLOT));
      rows.set(id, LENGTH, NONE);
      rows.free(id);
      count--;
    },
    lengthOf: (id) => rows.get(id, LENGTH),
    view(id) {
      const slab = slabFor(rows.get(id, LENGTH));
      const slot = rows.get(id, SLOT);
      const from = slab.offsetOf(slot);
      return slab.bytesOf(slot).subarray(from, from + rows.get(id, LENGTH));
    },
    lists: rows,
    has: (id) => rows.get(id, LENGTH) !== NONE,
    get limit() {
      return rows.limit;
    },
    get count() {
      return count;
    },
    get bytes() {
      return rows.bytes + table.bytes + slabs.reduce((sum, slab) => sum + slab.bytes, 0);
    },
  };
}
