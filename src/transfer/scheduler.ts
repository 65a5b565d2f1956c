// Which piece is fetched next, and from whom. PURE: no socket, no clock, no file.
// Invariant: a piece is missing, ordered from one source, arrived, or kept; every piece ends kept or missing again.
// Never: orders a piece from a source that does not have it, or from two at once.

import { pieceCount } from "../content/merkle.ts";
import { hasBit } from "./bits.ts";
import type { Order } from "./lane.ts";

/** A lane, as the scheduler tells one from another. */
export type LaneId = number;

/** Which pieces a source has: all, or those whose bit is set (bits.ts). */
export type Available = "all" | Uint8Array;

const MISSING = 0;
const ORDERED = 1;
const ARRIVED = 2;
const KEPT = 3;

export type Scheduler = {
  /** The next piece for a lane whose source has `available`; undefined when there is none for it now. */
  next(lane: LaneId, available: Available): Order | undefined;
  /**
   * What the partial holders among the sources have now. With any, the rarest piece comes first, ties by lot, so that
   * many who download at once fetch different pieces and trade them; with none, pieces come in their order.
   */
  setPartials(partials: readonly Uint8Array[]): void;
  /** Its bytes are on the disk and its hash was right, or cannot be judged yet. */
  arrived(index: number): void;
  /** Wrong bytes: it is missing again. */
  failed(index: number): void;
  /** It is synced and journaled. */
  kept(index: number): void;
  /** A lane is over: what it had ordered is missing again. How many pieces that was. */
  abandon(lane: LaneId): number;
  /** Whether all that a lane has on order is available there. */
  canTakeOver(lane: LaneId, available: Available): boolean;
  lengthOf(index: number): number;
  readonly pieces: number;
  readonly keptBytes: number;
  /** Bytes that are arrived or ordered but not kept: what a crash now would fetch twice. */
  readonly openBytes: number;
  readonly done: boolean;
  /** Every piece is at least on the disk, synced or not. */
  readonly allArrived: boolean;
};

/** `random` gives 0 ≤ r < 1. */
export function createScheduler(size: number, pieceBytes: number, random: () => number): Scheduler {
  const pieces = pieceCount(size, pieceBytes);
  const states = new Uint8Array(pieces);
  const orderedBy = new Map<number, LaneId>();
  let keptCount = 0;
  let arrivedCount = 0;
  let keptBytes = 0;
  let openBytes = 0;
  let lowest = 0; // no piece below it is missing
  let rarity: Uint16Array | undefined; // how many partial holders have each piece; undefined when there are none

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
    const index = rarity === undefined ? first(available) : rarest(available, rarity);
    if (index === undefined) return undefined;
    set(index, ORDERED);
    orderedBy.set(index, lane);
    return { index, offset: index * pieceBytes, length: lengthOf(index) };
  }

  const canOrder = (index: number, available: Available): boolean =>
    states[index] === MISSING && (available === "all" || hasBit(available, index));

  function first(available: Available): number | undefined {
    for (let index = lowest; index < pieces; index++) if (canOrder(index, available)) return index;
    return undefined;
  }

  function rarest(available: Available, counts: Uint16Array): number | undefined {
    let best: number | undefined;
    let ties = 0;
    for (let index = lowest; index < pieces; index++) {
      if (!canOrder(index, available)) continue;
      const difference = best === undefined ? -1 : (counts[index] as number) - (counts[best] as number);
      if (difference > 0) continue;
      ties = difference < 0 ? 1 : ties + 1;
      if (random() * ties < 1) best = index; // each of the ties with the same chance
    }
    return best;
  }

  function setPartials(partials: readonly Uint8Array[]): void {
    rarity = partials.length === 0 ? undefined : new Uint16Array(pieces);
    if (rarity === undefined) return;
    for (const bits of partials) {
      for (let index = 0; index < pieces; index++)
        if (hasBit(bits, index)) rarity[index] = (rarity[index] as number) + 1;
    }
  }

  function abandon(lane: LaneId): number {
    const orphans = [...orderedBy].filter(([, by]) => by === lane).map(([index]) => index);
    for (const index of orphans) set(index, MISSING);
    return orphans.length;
  }

  return {
    next,
    setPartials,
    arrived: (index) => set(index, ARRIVED),
    failed: (index) => set(index, MISSING),
    kept: (index) => set(index, KEPT),
    abandon,
    canTakeOver: (lane, available) =>
      available === "all" || [...orderedBy].every(([index, by]) => by !== lane || hasBit(available, index)),
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
