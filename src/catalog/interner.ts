// Short byte strings kept once each, known by a small number: the names and the roots of every entry.
// Invariant: two ids are the same exactly when their bytes are; an id stays valid until it is dropped.
// Never: keeps a JavaScript string, which would hold the whole payload that it was cut from.

import { createIdTable } from "./id-table.ts";
import { createRows, NONE } from "./rows.ts";

export type Interner = {
  /** The id of the bytes from `from` up to `to`, or -1. */
  find(bytes: Uint8Array, from: number, to: number): number;
  /** The id of these bytes, which are copied when they are new. At most BYTES_MAX. */
  take(bytes: Uint8Array, length: number): number;
  drop(id: number): void;
  /** How many bytes an id has. */
  lengthOf(id: number): number;
  /** A view of an id's bytes, good until the next call of take or drop. */
  view(id: number): Uint8Array;
  readonly count: number;
  /** Ids lie below this; whether one is in use, `has` says. */
  readonly limit: number;
  has(id: number): boolean;
  /** Memory held, in bytes. */
  readonly bytes: number;
};

/** A name has at most 255 bytes. */
const BYTES_MAX = 256;
const UNIT_BITS = 3; // slots are multiples of 8 bytes
const ARENA_BITS = 18;
const ARENA_BYTES = 1 << ARENA_BITS;

/** Fields of a row. */
const HASH = 0;
const SLOT = 1; // where the bytes are, in units
const LENGTH = 2;

export function createInterner(): Interner {
  const rows = createRows(3);
  const table = createIdTable((id) => rows.get(id, HASH));
  const arenas: Uint8Array[] = [];
  let used = ARENA_BYTES; // of the last arena
  const freed: number[][] = Array.from({ length: (BYTES_MAX >> UNIT_BITS) + 1 }, () => []);
  // Whoever chooses names must not be able to choose their places too.
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
    const at = rows.get(id, SLOT) << UNIT_BITS;
    const arena = arenas[at >>> ARENA_BITS] as Uint8Array;
    const from = at & (ARENA_BYTES - 1);
    for (let i = 0; i < wantedLength; i++) if (arena[from + i] !== wanted[wantedFrom + i]) return false;
    return true;
  }

  function find(bytes: Uint8Array, from: number, to: number): number {
    wanted = bytes;
    wantedFrom = from;
    wantedLength = to - from;
    wantedHash = hashOf(bytes, from, to);
    return table.find(wantedHash, is);
  }

  const unitsOf = (length: number): number => (length + (1 << UNIT_BITS) - 1) >> UNIT_BITS;

  function allocate(length: number): number {
    const units = unitsOf(length);
    const again = freed[units]?.pop();
    if (again !== undefined) return again;
    if (used + (units << UNIT_BITS) > ARENA_BYTES) {
      arenas.push(new Uint8Array(ARENA_BYTES));
      used = 0;
    }
    const slot = (((arenas.length - 1) << ARENA_BITS) + used) >>> UNIT_BITS;
    used += units << UNIT_BITS;
    return slot;
  }

  return {
    find,
    take(bytes, length) {
      const known = find(bytes, 0, length);
      if (known >= 0) return known;
      const slot = allocate(length);
      const at = slot << UNIT_BITS;
      const arena = arenas[at >>> ARENA_BITS] as Uint8Array;
      const from = at & (ARENA_BYTES - 1);
      for (let i = 0; i < length; i++) arena[from + i] = bytes[i] as number;
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
      freed[unitsOf(rows.get(id, LENGTH))]?.push(rows.get(id, SLOT));
      rows.set(id, LENGTH, NONE);
      rows.free(id);
      count--;
      if (count > 0) return;
      // Nobody has anything any more: what a crowd filled is given back.
      arenas.length = 0;
      used = ARENA_BYTES;
      for (const slots of freed) slots.length = 0;
    },
    lengthOf: (id) => rows.get(id, LENGTH),
    view(id) {
      const at = rows.get(id, SLOT) << UNIT_BITS;
      const from = at & (ARENA_BYTES - 1);
      return (arenas[at >>> ARENA_BITS] as Uint8Array).subarray(from, from + rows.get(id, LENGTH));
    },
    has: (id) => rows.get(id, LENGTH) !== NONE,
    get limit() {
      return rows.count;
    },
    get count() {
      return count;
    },
    get bytes() {
      return rows.bytes + table.bytes + arenas.length * ARENA_BYTES;
    },
  };
}
