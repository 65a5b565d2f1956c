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

/** Puts `row` at the end of the list of `list`. */
export function append(lists: Rows, list: number, rows: Rows, row: number, link: number): void {
  const tail = lists.get(list, TAIL);
  rows.set(row, link, NONE);
  rows.set(row, link + 1, tail);
  if (tail === NONE) lists.set(list, HEAD, row);
  else rows.set(tail, link, row);
  lists.set(list, TAIL, row);
}
/** Takes it out again. */
export function unlink(lists: Rows, list: number, rows: Rows, row: number, link: number): void {
  const next = rows.get(row, link);
  const previous = rows.get(row, link + 1);
  if (previous === NONE) lists.set(list, HEAD, next);
  else rows.set(previous, link, next);
  if (next === NONE) lists.set(list, TAIL, previous);
  else rows.set(next, link + 1, previous);
}
/** An empty list, used by nobody. */
export function clear(lists: Rows, list: number): void {
  lists.set(list, HEAD, NONE);
  lists.set(list, TAIL, NONE);
  lists.set(list, USES, 0);
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
