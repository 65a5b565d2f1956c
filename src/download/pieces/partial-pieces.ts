// Pieces that are not whole: how much of each is in the .part, from its beginning on, and which sources sent it. PURE.
// Invariant: a piece that turns out wrong has one culprit, or is fetched again whole from one source before a source is blamed.
// Never: believes a byte; the piece's hash is compared when it is whole.

import { BLOCK_BYTES } from "../../protocol/limits.ts";

/** Stands for the sources of an earlier run. */
export const EARLIER_RUN = "";

export type PartialPieces = {
  /** Pieces of which a source may send the rest, those that were begun first first. */
  usableBy(source: string): IteratorObject<number>;
  /** How many bytes of a piece are there for a source that would send the rest; whole blocks. */
  have(index: number, source: string): number;
  /** A source sent a piece up to `bytes`, going on from the first `from`. */
  came(index: number, bytes: number, source: string, from: number): void;
  /** The piece is whole, or must be fetched from its beginning. */
  forget(index: number): void;
  forgetAll(): void;
  /** The piece is whole and wrong. Whether `source`, which sent it from the byte `from` on, sent all of it. */
  wrong(index: number, source: string, from: number): boolean;
  /** The same as `have`, for a source that would send the rest of any. */
  all(): Iterable<readonly [index: number, bytes: number]>;
  readonly bytes: number;
};

type Beginning = { bytes: number; by: Set<string> };

export function createPartialPieces(): PartialPieces {
  const beginnings = new Map<number, Beginning>();
  // Where two sources' bytes made a wrong piece, either may have lied. From then on each goes on with its own bytes only.
  const suspects = new Set<string>();
  const unmixed = new Set<number>();
  let bytes = 0;

  function forget(index: number): void {
    bytes -= beginnings.get(index)?.bytes ?? 0;
    beginnings.delete(index);
  }

  function isUsable(index: number, { by }: Beginning, source: string): boolean {
    const isOwn = by.size === 1 && by.has(source);
    return isOwn || (!unmixed.has(index) && !suspects.has(source) && ![...by].some((one) => suspects.has(one)));
  }

  return {
    *usableBy(source) {
      for (const [index, beginning] of beginnings) if (isUsable(index, beginning, source)) yield index;
    },
    have(index, source) {
      const beginning = beginnings.get(index);
      return beginning !== undefined && isUsable(index, beginning, source) ? beginning.bytes : 0;
    },
    came(index, upTo, source, from) {
      const whole = upTo - (upTo % BLOCK_BYTES);
      if (whole <= from) return;
      const by = new Set(from > 0 ? beginnings.get(index)?.by : []).add(source);
      bytes += whole - (beginnings.get(index)?.bytes ?? 0);
      beginnings.set(index, { bytes: whole, by });
    },
    forget,
    forgetAll() {
      beginnings.clear();
      bytes = 0;
    },
    wrong(index, source, from) {
      const by = new Set(from > 0 ? beginnings.get(index)?.by : []).add(source);
      forget(index);
      if (by.size === 1) return true;
      for (const one of by) suspects.add(one);
      unmixed.add(index);
      return false;
    },
    *all() {
      for (const [index, { bytes: there }] of beginnings) yield [index, there] as const;
    },
    get bytes() {
      return bytes;
    },
  };
}
