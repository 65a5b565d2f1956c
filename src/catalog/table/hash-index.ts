// A hash table of small numbers that stand for something kept elsewhere: ids found again by the hash of what they mean.
// Invariant: an id that was added is found under its hash until it is removed.
// Never: grows in one go. There are many shards and each grows by itself, so that no single insertion takes long.

const SHARDS = 1024;
const SHARD_MASK = SHARDS - 1;
const SHARD_BITS = 10;
const FIRST_SLOTS = 4;

export type HashIndex = {
  /** The id with this hash for which `is` says yes, or -1. */
  find(hash: number, is: (id: number) => boolean): number;
  add(hash: number, id: number): void;
  remove(hash: number, id: number): void;
  readonly bytes: number;
};

/** `hashOf` gives an id's hash again, a 32-bit number. */
export function createHashIndex(hashOf: (id: number) => number): HashIndex {
  const shards = Array.from({ length: SHARDS }, () => new Int32Array(FIRST_SLOTS)); // id + 1; 0 is empty
  const counts = new Int32Array(SHARDS);

  const place = (slots: Int32Array, hash: number): number => (hash >>> SHARD_BITS) & (slots.length - 1);

  function insert(slots: Int32Array, hash: number, stored: number): void {
    const mask = slots.length - 1;
    let at = place(slots, hash);
    while (slots[at] !== 0) at = (at + 1) & mask;
    slots[at] = stored;
  }

  function resize(shard: number, length: number): void {
    const old = shards[shard] as Int32Array;
    const slots = new Int32Array(length);
    // Not for…of, which costs a tenth of filling a table.
    for (let i = 0; i < old.length; i++) {
      const stored = old[i] as number;
      if (stored !== 0) insert(slots, hashOf(stored - 1), stored);
    }
    shards[shard] = slots;
  }

  /** Closes the gap at `at`, so that an id that was pushed past it is found again. */
  function close(slots: Int32Array, gap: number): void {
    const mask = slots.length - 1;
    let hole = gap;
    for (let at = (hole + 1) & mask; slots[at] !== 0; at = (at + 1) & mask) {
      const home = place(slots, hashOf((slots[at] as number) - 1));
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      slots[hole] = slots[at] as number;
      hole = at;
    }
    slots[hole] = 0;
  }

  return {
    find(hash, is) {
      const slots = shards[hash & SHARD_MASK] as Int32Array;
      const mask = slots.length - 1;
      for (let at = place(slots, hash); ; at = (at + 1) & mask) {
        const stored = slots[at] as number;
        if (stored === 0) return -1;
        if (is(stored - 1)) return stored - 1;
      }
    },
    add(hash, id) {
      const shard = hash & SHARD_MASK;
      const slots = shards[shard] as Int32Array;
      counts[shard] = (counts[shard] as number) + 1;
      if ((counts[shard] as number) * 4 > slots.length * 3) resize(shard, slots.length * 2);
      insert(shards[shard] as Int32Array, hash, id + 1);
    },
    remove(hash, id) {
      const shard = hash & SHARD_MASK;
      const slots = shards[shard] as Int32Array;
      const mask = slots.length - 1;
      let at = place(slots, hash);
      while (slots[at] !== id + 1) at = (at + 1) & mask;
      close(slots, at);
      counts[shard] = (counts[shard] as number) - 1;
      if (slots.length > FIRST_SLOTS && (counts[shard] as number) * 8 < slots.length) resize(shard, slots.length / 2);
    },
    get bytes() {
      return shards.reduce((sum, slots) => sum + slots.length * 4, 0);
    },
  };
}
