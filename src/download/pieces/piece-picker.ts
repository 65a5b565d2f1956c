// Which piece is fetched next, and from whom. PURE: no socket, no clock, no file.
// Invariant: a piece is missing, ordered from one source, arrived, or kept; every piece ends kept or missing again.
// Never: orders a piece from a source that does not have it, or from two at once.

import { pieceCount } from "../../content/hashing/merkle.ts";
import { createBitfield, hasBit, setBit } from "../../shared/bitfield.ts";
import type { Order } from "../lanes/piece-writer.ts";
import { createPartialPieces, EARLIER_RUN } from "./partial-pieces.ts";
import { createRarity, type Part } from "./rarity.ts";

/** A lane; no two of a download have the same number. */
export type LaneId = number;

/** Which pieces a source has: all, or those whose bit is set (bitfield.ts). */
export type Available = "all" | Uint8Array;

const MISSING = 0;
const ORDERED = 1;
const ARRIVED = 2;
const KEPT = 3;

/** What a lane is given: urgent pieces that it may not take are left to others; `part`: ours of a source of all. */
export type Choice = { readonly mayTake?: (urgent: number) => boolean; readonly part?: Part | undefined };

export type PiecePicker = {
  /**
   * The next piece for a lane whose source has `available`; undefined when there is none for it now. What broke off
   * comes first, and goes on behind its bytes that are on the disk.
   */
  next(lane: LaneId, available: Available, source?: string, choice?: Choice): Order | undefined;
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
   * What a partial holder among the sources has now; undefined when it is none. With any, the rarest piece comes first,
   * ties by lot, so that many who download at once fetch different pieces and trade them; a source of all is asked for
   * our own part of what none of them has. With none, pieces come in their order, those of a small file by lot: of few
   * pieces, many who begin at once would all fetch the first ones.
   */
  setPartial(source: string, pieces: Uint8Array | undefined): void;
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
  /** No piece is missing: each has at least been ordered. */
  isAllOrdered(): boolean;
};

function bitsWhere(states: Uint8Array, state: number): Uint8Array {
  const bits = createBitfield(states.length);
  states.forEach((one, index) => {
    if (one === state) setBit(bits, index);
  });
  return bits;
}

/** The lane and source that were asked for a piece, from byte `have` of it on. */
type Ordered = { readonly lane: LaneId; readonly source: string; readonly have: number };

const anyPiece = (_: number): boolean => true;

/** `random` gives 0 ≤ r < 1. */
export function createPiecePicker(size: number, pieceBytes: number, random: () => number): PiecePicker {
  const pieces = pieceCount(size, pieceBytes);
  const states = new Uint8Array(pieces);
  const ordered = new Map<number, Ordered>();
  const begun = createPartialPieces();
  const rarity = createRarity(pieces, random);
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

  function next(lane: LaneId, available: Available, source = "", choice: Choice = {}): Order | undefined {
    const { mayTake = anyPiece, part } = choice;
    while (lowest < pieces && states[lowest] !== MISSING) lowest++;
    const left = new Set(urgent.filter((at) => !mayTake(at)));
    const can = (at: number) => canOrder(at, available) && !left.has(at);
    const index = urgent.find(can) ?? begun.usableBy(source).find(can) ?? rarity.pick(lowest, part, can);
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
    setPartial: rarity.setPartial,
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
    isAllOrdered: () => keptCount + arrivedCount + ordered.size === pieces,
  };
}
