// Each member's line, `ip:port` and its ID, as bytes, packed: what SEARCH copies for every holder, beside whether the member is seen.
// Invariant: an unseen member's line is empty.
// Never: holds an object for a line; a list of thousands would be a walk through all of memory.

import type { Address } from "../../protocol/address.ts";
import { encodeAddresses } from "../../protocol/payloads.ts";

/** A byte for the length, and the longest line: 255.255.255.255:65535, an ID of 52 characters, blank and newline. */
const STRIDE = 80;
const PAGE_BITS = 10;
const PAGE_ROWS = 1 << PAGE_BITS;

export type Lines = {
  show(row: number, address: Address): void;
  hide(row: number): void;
  /** Copies the row's line to `at`, if it ends by `end`; where it ends, or -1 when there is no room. */
  copy(row: number, into: Uint8Array, at: number, end: number): number;
  readonly bytes: number;
};

export function createLines(): Lines {
  const pages: Uint8Array[] = [];
  const pageOf = (row: number): Uint8Array => {
    while (row >>> PAGE_BITS >= pages.length) pages.push(new Uint8Array(PAGE_ROWS * STRIDE));
    return pages[row >>> PAGE_BITS] as Uint8Array;
  };
  const placeOf = (row: number): number => (row & (PAGE_ROWS - 1)) * STRIDE;
  return {
    show(row, address) {
      const line = encodeAddresses([address]);
      const page = pageOf(row);
      page[placeOf(row)] = line.length;
      page.set(line, placeOf(row) + 1);
    },
    hide(row) {
      pageOf(row)[placeOf(row)] = 0;
    },
    copy(row, into, at, end) {
      const page = pages[row >>> PAGE_BITS] as Uint8Array;
      const place = placeOf(row);
      const length = page[place] as number;
      if (at + length > end) return -1;
      for (let i = 1; i <= length; i++) into[at + i - 1] = page[place + i] as number;
      return at + length;
    },
    get bytes() {
      return pages.length * PAGE_ROWS * STRIDE;
    },
  };
}
