// Which piece is fetched next, and from whom. PURE: no socket, no clock, no file.
// Invariant: a piece is missing, ordered from one source, arrived, or kept; every piece ends kept or missing again.
// Never: orders a piece from a source that does not have it, or from two at once.

import { pieceCount } from "../content/merkle.ts";
import { hasBit } from "./bits.ts";
import type { Order } from "./lane.ts";
import { createParts } from "./parts.ts";

/** A lane, as the scheduler tells one from another. */
export type LaneId = number;

/** Which pieces a source has: all, or those whose bit is set (bits.ts). */
export type Available = "all" | Uint8Array;

/** Somebody who is downloading the same. */
export type PartialHolder = { readonly name: string; readonly pieces: Uint8Array };

const MISSING = 0;
const ORDERED = 1;
const ARRIVED = 2;
const KEPT = 3;

export type Scheduler = {
  /** The next piece for a lane whose source has `available`; undefined when there is none for it now. */
  next(lane: LaneId, available: Available): Order | undefined;
  /**
   * What the partial holders among the sources have now. With any, the rarest piece comes first, ties by lot, so that
   * many who download at once fetch different pieces and trade them; a source of all is asked for our own part
   * (parts.ts) of what none of them has. With none, pieces come in their order, those of a small file by lot: of few
   * pieces, many who begin at once would all fetch the first ones.
   */
  setPartials(partials: readonly PartialHolder[]): void;
  /** Everybody else who downloads the same now, whether a source of ours or not; until then it is the partial holders. */
  setPlayers(names: readonly string[]): void;
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
  /** Bytes that are ordered and have not arrived: what the program's sudden end would fetch twice. */
  readonly orderedBytes: number;
  readonly done: boolean;
  /** Every piece is at least on the disk, synced or not. */
  readonly allArrived: boolean;
};

/** In a larger file, what is fetched twice at the beginning is little, and a disk is written faster in order. */
const SHUFFLED_PIECES_MAX = 1000;

/** The rank of what somebody else is about to fetch from a source of all: after everything else. */
const THEIRS = Number.POSITIVE_INFINITY;

/** `random` gives 0 ≤ r < 1; `self` is the name under which others know us. */
export function createScheduler(size: number, pieceBytes: number, random: () => number, self = ""): Scheduler {
  const pieces = pieceCount(size, pieceBytes);
  const parts = createParts(self);
  let dealt = false; // to players that we were told of
  const states = new Uint8Array(pieces);
  const orderedBy = new Map<number, LaneId>();
  let keptCount = 0;
  let arrivedCount = 0;
  let keptBytes = 0;
  let orderedBytes = 0;
  let lowest = 0; // no piece below it is missing
  let rarity = unknownRarity(); // how many partial holders have each piece; undefined: in their order

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
    orderedBytes += (Number(state === ORDERED) - Number(before === ORDERED)) * length;
    if (before === ORDERED) orderedBy.delete(index);
    if (state === MISSING && index < lowest) lowest = index;
    states[index] = state;
  }

  function unknownRarity(): Uint16Array | undefined {
    return pieces <= SHUFFLED_PIECES_MAX ? new Uint16Array(pieces) : undefined;
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
    let bestRank = 0;
    let ties = 0;
    for (let index = lowest; index < pieces; index++) {
      if (!canOrder(index, available)) continue;
      const count = counts[index] as number;
      const rank = count === 0 && available === "all" && !parts.isOurs(index) ? THEIRS : count;
      if (best !== undefined && rank > bestRank) continue;
      ties = best === undefined || rank < bestRank ? 1 : ties + 1;
      if (random() * ties < 1) best = index; // each of the ties with the same chance
      bestRank = rank;
    }
    return best;
  }

  function setPartials(partials: readonly PartialHolder[]): void {
    if (!dealt) parts.setOthers(partials.map(({ name }) => name));
    rarity = partials.length === 0 ? unknownRarity() : new Uint16Array(pieces);
    if (rarity === undefined) return;
    for (const partial of partials) {
      for (let index = 0; index < pieces; index++)
        if (hasBit(partial.pieces, index)) rarity[index] = (rarity[index] as number) + 1;
    }
  }

  function setPlayers(names: readonly string[]): void {
    dealt = true;
    parts.setOthers(names);
  }

  function abandon(lane: LaneId): number {
    const orphans = [...orderedBy].filter(([, by]) => by === lane).map(([index]) => index);
    for (const index of orphans) set(index, MISSING);
    return orphans.length;
  }

  return {
    next,
    setPartials,
    setPlayers,
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
    get orderedBytes() {
      return orderedBytes;
    },
    get done() {
      return keptCount === pieces;
    },
    get allArrived() {
      return keptCount + arrivedCount === pieces;
    },
  };
}
