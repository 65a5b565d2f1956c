// Which piece is fetched next, and from whom. PURE: no socket, no clock, no file.
// Invariant: a piece is missing, ordered from one source, arrived, or kept; every piece ends kept or missing again.
// Never: orders a piece from a source that does not have it, or from two at once.

import { pieceCount } from "../../content/hashing/merkle.ts";
import { createBitfield, hasBit, setBit } from "../../shared/bitfield.ts";
import type { Order } from "../lanes/piece-writer.ts";
import { createPartialPieces, EARLIER_RUN } from "./partial-pieces.ts";
import { createPartition } from "./piece-partition.ts";

/** A lane; no two of a download have the same number. */
export type LaneId = number;

/** Which pieces a source has: all, or those whose bit is set (bitfield.ts). */
export type Available = "all" | Uint8Array;

/** A peer that is downloading the same. */
export type PartialHolder = { readonly name: string; readonly pieces: Uint8Array };

const MISSING = 0;
const ORDERED = 1;
const ARRIVED = 2;
const KEPT = 3;

export type PiecePicker = {
  /**
   * The next piece for a lane whose source has `available`; undefined when there is none for it now. What broke off
   * comes first, and goes on behind its bytes that are on the disk. Urgent pieces that it may not take are left to others.
   */
  next(lane: LaneId, available: Available, source?: string, mayTake?: (urgent: number) => boolean): Order | undefined;
  /** The first `bytes` of a piece that is on order are in the .part. */
  came(index: number, bytes: number): void;
  /** A piece of which so much is there already, as an earlier run said. */
  begun(index: number, bytes: number): void;
  /** What is there of pieces that are not whole is worth nothing: the disk may not hold it. */
  forgetBegun(): void;
  /** How many bytes of a piece on order are fetched. */
  fetchedOf(index: number): number;
  /** A piece on order came with wrong bytes, and is missing again. Whether all of them came from the source that sent its end. */
  wrong(index: number): boolean;
  /** These come before all others, in this order: players wait for them. None: nothing is played. */
  setUrgent(indexes: readonly number[]): void;
  /** Whether something is played. */
  isPlayed(): boolean;
  urgentPieces(): readonly number[];
  /** Urgent pieces on order, and where. */
  urgentOrders(): readonly { readonly index: number; readonly lane: LaneId }[];
  /**
   * What the partial holders among the sources have now. With any, the rarest piece comes first, ties by lot, so that
   * many who download at once fetch different pieces and trade them; a source of all is asked for our own part
   * (piece-partition.ts) of what none of them has. With none, pieces come in their order, those of a small file by lot: of few
   * pieces, many who begin at once would all fetch the first ones.
   */
  setPartials(partials: readonly PartialHolder[]): void;
  /** All others who download the same now, sources of ours or not; until then the partial holders count as all. */
  setDownloaders(names: readonly string[]): void;
  /** Its bytes are on the disk and its hash was right, or there is no layer to compare it with. */
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
  /** Of every piece but the last, which may be shorter. */
  readonly pieceBytes: number;
  readonly keptBytes: number;
  /** The pieces that are kept, as bits. */
  keptPieces(): Uint8Array;
  /** Pieces that are not whole, and how many bytes of each are there, from its beginning on; all of them together. */
  beginnings(): Iterable<readonly [index: number, bytes: number]>;
  readonly begunBytes: number;
  /** Bytes that are ordered and have not arrived: what the program's sudden end would fetch twice. */
  readonly orderedBytes: number;
  readonly done: boolean;
  /** Every piece is at least on the disk, synced or not. */
  readonly allArrived: boolean;
};

function bitsWhere(states: Uint8Array, state: number): Uint8Array {
  const bits = createBitfield(states.length);
  states.forEach((one, index) => {
    if (one === state) setBit(bits, index);
  });
  return bits;
}

/** In a larger file, what is fetched twice at the beginning is little, and a disk is written faster in order. */
const SHUFFLED_PIECES_MAX = 1000;

/** The lane and source that were asked for a piece, from byte `have` of it on. */
type Ordered = { readonly lane: LaneId; readonly source: string; readonly have: number };

/** The rank of a piece that another downloader fetches from a source of all: after everything else. */
const THEIRS = Number.POSITIVE_INFINITY;

const anyPiece = (_: number): boolean => true;

/** `random` gives 0 ≤ r < 1; `self` is the name under which others know us. */
export function createPiecePicker(size: number, pieceBytes: number, random: () => number, self = ""): PiecePicker {
  const pieces = pieceCount(size, pieceBytes);
  const states = new Uint8Array(pieces);
  const ordered = new Map<number, Ordered>();
  const begun = createPartialPieces();
  const rarity = createRarity(pieces, random, self);
  let keptCount = 0;
  let arrivedCount = 0;
  let keptBytes = 0;
  let orderedBytes = 0;
  let urgent: readonly number[] = [];
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
    orderedBytes += (Number(state === ORDERED) - Number(before === ORDERED)) * length;
    if (before === ORDERED) ordered.delete(index);
    if (state === MISSING && index < lowest) lowest = index;
    states[index] = state;
  }

  function next(lane: LaneId, available: Available, source = "", mayTake = anyPiece): Order | undefined {
    while (lowest < pieces && states[lowest] !== MISSING) lowest++;
    const left = new Set(urgent.filter((at) => !mayTake(at)));
    const can = (at: number) => canOrder(at, available) && !left.has(at);
    const index = urgent.find(can) ?? begun.usableBy(source).find(can) ?? rarity.pick(lowest, available, can);
    if (index === undefined) return undefined;
    const have = begun.have(index, source);
    if (have === 0) begun.forget(index);
    set(index, ORDERED);
    ordered.set(index, { lane, source, have });
    return { index, offset: index * pieceBytes, length: lengthOf(index), ...(have > 0 && { have }) };
  }

  const canOrder = (index: number, available: Available): boolean =>
    states[index] === MISSING && (available === "all" || hasBit(available, index));

  function abandon(lane: LaneId): number {
    const orphans = [...ordered].filter(([, order]) => order.lane === lane).map(([index]) => index);
    for (const index of orphans) set(index, MISSING);
    return orphans.length;
  }

  function came(index: number, bytes: number): void {
    const order = ordered.get(index);
    if (order !== undefined && bytes < lengthOf(index)) begun.came(index, bytes, order.source, order.have);
  }

  function wrong(index: number): boolean {
    const { source, have } = ordered.get(index) ?? { source: "", have: 0 };
    const isOnlyOne = begun.wrong(index, source, have);
    set(index, MISSING);
    return isOnlyOne;
  }

  /** Not on its way any more, for better or worse. */
  function settle(index: number, state: number): void {
    begun.forget(index);
    set(index, state);
  }

  return {
    next,
    came,
    begun(index, bytes) {
      if (states[index] === MISSING && bytes < lengthOf(index)) begun.came(index, bytes, EARLIER_RUN, 0);
    },
    forgetBegun: begun.forgetAll,
    fetchedOf: (index) => lengthOf(index) - (ordered.get(index)?.have ?? 0),
    wrong,
    setUrgent(indexes) {
      urgent = indexes;
    },
    isPlayed: () => urgent.length > 0,
    urgentPieces: () => urgent,
    urgentOrders: () =>
      urgent.flatMap((index) => [ordered.get(index) ?? []].flat().map(({ lane }) => ({ index, lane }))),
    setPartials: rarity.setPartials,
    setDownloaders: rarity.setDownloaders,
    arrived: (index) => settle(index, ARRIVED),
    failed: (index) => settle(index, MISSING),
    kept: (index) => settle(index, KEPT),
    abandon,
    canTakeOver: (lane, available) =>
      available === "all" || [...ordered].every(([index, order]) => order.lane !== lane || hasBit(available, index)),
    lengthOf,
    beginnings: begun.all,
    get begunBytes() {
      return begun.bytes;
    },
    pieceBytes,
    keptPieces: () => bitsWhere(states, KEPT),
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

type Rarity = Pick<PiecePicker, "setPartials" | "setDownloaders"> & {
  /** The best of the pieces from `lowest` on that can be ordered. */
  pick(lowest: number, available: Available, canOrder: (index: number) => boolean): number | undefined;
};

/** Which of the missing pieces comes first, by what others have and fetch. */
function createRarity(pieces: number, random: () => number, self: string): Rarity {
  const partition = createPartition(self);
  let dealt = false; // to downloaders that we were told of
  let counts = unknown(); // how many partial holders have each piece; undefined: in their order

  function unknown(): Uint16Array | undefined {
    return pieces <= SHUFFLED_PIECES_MAX ? new Uint16Array(pieces) : undefined;
  }

  function pick(lowest: number, available: Available, canOrder: (index: number) => boolean): number | undefined {
    let best: number | undefined;
    let bestRank = 0;
    let ties = 0;
    for (let index = lowest; index < pieces; index++) {
      if (!canOrder(index)) continue;
      if (counts === undefined) return index;
      const count = counts[index] as number;
      const rank = count === 0 && available === "all" && !partition.isOurs(index) ? THEIRS : count;
      if (best !== undefined && rank > bestRank) continue;
      ties = best === undefined || rank < bestRank ? 1 : ties + 1;
      if (random() * ties < 1) best = index; // each of the ties with the same chance
      bestRank = rank;
    }
    return best;
  }

  return {
    pick,
    setPartials(partials) {
      if (!dealt) partition.setOthers(partials.map(({ name }) => name));
      counts = partials.length === 0 ? unknown() : new Uint16Array(pieces);
      if (counts === undefined) return;
      for (const partial of partials) {
        for (let index = 0; index < pieces; index++)
          if (hasBit(partial.pieces, index)) counts[index] = (counts[index] as number) + 1;
      }
    },
    setDownloaders(names) {
      dealt = true;
      partition.setOthers(names);
    },
  };
}
