// Names or roots that many entries share: each is kept once, with how many use it, and is the head of a list.
// Invariant: a term is there as long as it is used; its list is empty when it comes.
// Never: knows what stands in a list, or what a term means.

import { clear, USES } from "./linked-lists.ts";
import { createStringPool } from "./string-pool.ts";

export type Refcounts = ReturnType<typeof createRefcounts>;

/** `onTerm` hears that a term has its first use, or has lost its last. */
export function createRefcounts(onTerm?: (id: number) => void) {
  const pool = createStringPool();
  const { lists } = pool;

  return {
    /** Where terms are looked up by their bytes, and bytes by their term. */
    pool,
    lists,
    /** The term of these bytes, used once more. */
    take(bytes: Uint8Array, length: number): number {
      const before = pool.count;
      const id = pool.take(bytes, length);
      if (pool.count > before) {
        onTerm?.(id);
        clear(lists, id);
      }
      lists.set(id, USES, lists.get(id, USES) + 1);
      return id;
    },
    /** Used once less. */
    release(id: number): void {
      const uses = lists.get(id, USES) - 1;
      lists.set(id, USES, uses);
      if (uses > 0) return;
      pool.drop(id);
      onTerm?.(id);
    },
    /** Memory held, in bytes. */
    get bytes() {
      return pool.bytes;
    },
  };
}
