// What rows of numbers are chained and found by: doubly linked lists, the hash of a pair, a root as bytes.
// Invariant: a list's head and tail are NONE exactly when it is empty.
// Never: knows what a row means.

import { NONE, type Rows } from "./rows.ts";

/** Fields of a list's head: a name's, a root's or a member's row. */
export const HEAD = 0;
const TAIL = 1;
/** How many refer to the head's name or root. */
export const USES = 2;
/** Fields of a head. */
export const HEAD_FIELDS = 3;

export type LinkedLists = {
  /** Puts `row` at the end of the list of `head`. */
  append(head: number, row: number): void;
  unlink(head: number, row: number): void;
  /** NONE after the last. */
  next(row: number): number;
};

/** Lists through two fields of `rows`, next at `link` and previous behind it; their heads are rows of `heads`. */
export function createLinkedLists(heads: Rows, rows: Rows, link: number): LinkedLists {
  return {
    append(head, row) {
      const tail = heads.get(head, TAIL);
      rows.set(row, link, NONE);
      rows.set(row, link + 1, tail);
      if (tail === NONE) heads.set(head, HEAD, row);
      else rows.set(tail, link, row);
      heads.set(head, TAIL, row);
    },
    unlink(head, row) {
      const next = rows.get(row, link);
      const previous = rows.get(row, link + 1);
      if (previous === NONE) heads.set(head, HEAD, next);
      else rows.set(previous, link, next);
      if (next === NONE) heads.set(head, TAIL, previous);
      else rows.set(next, link + 1, previous);
    },
    next: (row) => rows.get(row, link),
  };
}

/** An empty list, without a use. */
export function clear(heads: Rows, head: number): void {
  heads.set(head, HEAD, NONE);
  heads.set(head, TAIL, NONE);
  heads.set(head, USES, 0);
}

/** A 32-bit hash of two numbers. */
export const pairHash = (a: number, b: number): number => {
  let hash = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
};

/** A root's 64 digits as 32 bytes at the start of `into`; how many. */
export function writeRoot(into: Uint8Array, root: string): number {
  for (let i = 0; i < 32; i++) into[i] = (digit(root, 2 * i) << 4) | digit(root, 2 * i + 1);
  return 32;
}

function digit(hex: string, at: number): number {
  const code = hex.charCodeAt(at);
  return code <= 57 ? code - 48 : code - 87;
}
