// Which source brings what players wait for: the one that is to bring it soonest, and another while that one is slow.
// Invariant: a piece is left to a source that has it; where none has shown its rate, the first that is free brings it.
// Never: orders a piece, or closes a lane.

import { hasBit } from "../../shared/bitfield.ts";
import { type Clock, every } from "../../shared/clock.ts";
import type { LaneId, PiecePicker } from "../pieces/piece-picker.ts";
import type { RequestWindow } from "./request-window.ts";
import type { HasLanes } from "./stragglers.ts";

const LOOK_EVERY_MS = 250;
/** An urgent piece is left to a source that would bring it in this part of the time… */
const SOONER_FACTOR = 2;
/** …and taken from one that has had it for so long, and needs so much longer still, where another needs this part of that. */
const SLOW_SECONDS = 1;
const ANEW_FACTOR = 3;

const hasPiece = ({ available }: HasLanes, index: number): boolean => available === "all" || hasBit(available, index);

/** How soon another source than `own` would bring a piece that it has; Infinity where none has shown its rate. */
function secondsElsewhere(own: HasLanes, index: number, bytes: number, sources: readonly HasLanes[]): number {
  const others = sources.filter((source) => source !== own && hasPiece(source, index));
  return Math.min(...others.flatMap(({ lanes }) => [...lanes.values()].map(({ window }) => window.secondsFor(bytes))));
}

/** Whether a lane of `own` leaves an urgent piece to another source. */
export function isLeftToFaster(
  own: HasLanes,
  window: RequestWindow,
  piece: { readonly index: number; readonly bytes: number },
  sources: readonly HasLanes[],
): boolean {
  return secondsElsewhere(own, piece.index, piece.bytes, sources) * SOONER_FACTOR < window.secondsFor(piece.bytes);
}

const rateOf = ({ lanes }: HasLanes): number => Math.max(0, ...[...lanes.values()].map(({ window }) => window.rate()));

/** The sources, the fastest first: of those that are free it takes the most urgent piece. */
export const fastestFirst = <S extends HasLanes>(sources: readonly S[]): readonly S[] =>
  sources.length < 2 ? sources : [...sources].sort((a, b) => rateOf(b) - rateOf(a));

/** Looks a few times a second for an urgent piece on order at a slow source, and names its lane. Returns how to stop. */
export function dealUrgentAnew<S extends HasLanes>(
  clock: Clock,
  sources: () => readonly S[],
  picker: Pick<PiecePicker, "urgentOrders" | "lengthOf">,
  onSlow: (source: S, lane: LaneId) => void,
): () => void {
  return every(clock, LOOK_EVERY_MS, () => {
    const all = sources();
    for (const { index, lane } of all.length < 2 ? [] : picker.urgentOrders()) {
      const own = all.find(({ lanes }) => lanes.has(lane));
      const window = own?.lanes.get(lane)?.window;
      if (own === undefined || window === undefined || window.waitedSeconds() < SLOW_SECONDS) continue;
      const left = window.secondsExpected();
      const elsewhere = secondsElsewhere(own, index, picker.lengthOf(index), all);
      if (left > SLOW_SECONDS && left > ANEW_FACTOR * elsewhere) return onSlow(own, lane);
    }
  });
}
