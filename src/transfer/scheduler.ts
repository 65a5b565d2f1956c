// Which piece is fetched next, and from whom. PURE: no socket, no clock, no file.
// Invariant: a piece is missing, ordered from one source, arrived, or kept; every piece ends kept or missing again.
// Never: orders a piece from a source that does not have it, or from two at once.

import { pieceCount } from "../content/merkle.ts";
import type { Order } from "./lane.ts";

/** A lane, as the scheduler tells one from another. */
export type LaneId = number;

/** Which pieces a source has: all, or those whose bit is set (piece i is bit 7 - i % 8 of byte i / 8, as in BEP 3). */
export type Available = "all" | Uint8Array;

const MISSING = 0;
const ORDERED = 1;
const ARRIVED = 2;
const KEPT = 3;

export type Scheduler = {
  /** The next piece for a lane whose source has `available`; undefined when there is none for it now. */
  next(lane: LaneId, available: Available): Order | undefined;
  /** Its bytes are on the disk and its hash was right, or cannot be judged yet. */
  arrived(index: number): void;
  /** Wrong bytes: it is missing again. */
  failed(index: number): void;
  /** It is synced and journaled. */
  kept(index: number): void;
  /** A lane is over: what it had ordered is missing again. The indexes. */
  abandon(lane: LaneId): number[];
  lengthOf(index: number): number;
  readonly pieces: number;
  readonly keptBytes: number;
  /** Bytes that are arrived or ordered but not kept: what a crash now would fetch twice. */
  readonly openBytes: number;
  readonly done: boolean;
  /** Every piece is at least on the disk, synced or not. */
  readonly allArrived: boolean;
};

export function createScheduler(size: number, pieceBytes: number): Scheduler {
  const pieces = pieceCount(size, pieceBytes);
  const states = new Uint8Array(pieces);
  const orderedBy = new Map<number, LaneId>();
  let keptCount = 0;
  let arrivedCount = 0;
  let keptBytes = 0;
  let openBytes = 0;
  let lowest = 0; // no piece below it is missing

  const lengthOf = (index: number): number => Math.min(pieceBytes, size - index * pieceBytes);

  function set(index: number, state: number): void {
    const before = states[index] as number;
    if (before === state) return;
    const length = lengthOf(index);
    if (before === KEPT) {
      keptCount--;
      keptBytes -= length;
    }
    if (state === KEPT) {
      keptCount++;
      keptBytes += length;
    }
    arrivedCount += Number(state === ARRIVED) - Number(before === ARRIVED);
    const wasOpen = before === ORDERED || before === ARRIVED;
    const isOpen = state === ORDERED || state === ARRIVED;
    openBytes += (Number(isOpen) - Number(wasOpen)) * length;
    if (before === ORDERED) orderedBy.delete(index);
    if (state === MISSING && index < lowest) lowest = index;
    states[index] = state;
  }

  function next(lane: LaneId, available: Available): Order | undefined {
    while (lowest < pieces && states[lowest] !== MISSING) lowest++;
    for (let index = lowest; index < pieces; index++) {
      if (states[index] !== MISSING || !has(available, index)) continue;
      set(index, ORDERED);
      orderedBy.set(index, lane);
      return { index, offset: index * pieceBytes, length: lengthOf(index) };
    }
    return undefined;
  }

  function abandon(lane: LaneId): number[] {
    const orphans = [...orderedBy].filter(([, by]) => by === lane).map(([index]) => index);
    for (const index of orphans) set(index, MISSING);
    return orphans;
  }

  return {
    next,
    arrived: (index) => set(index, ARRIVED),
    failed: (index) => set(index, MISSING),
    kept: (index) => set(index, KEPT),
    abandon,
    lengthOf,
    pieces,
    get keptBytes() {
      return keptBytes;
    },
    get openBytes() {
      return openBytes;
    },
    get done() {
      return keptCount === pieces;
    },
    get allArrived() {
      return keptCount + arrivedCount === pieces;
    },
  };
}

function has(available: Available, index: number): boolean {
  return available === "all" || ((available[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0;
}
