// When a straggler is closed: near the end, when an idle lane would fetch its pieces much sooner.
// Invariant: a lane is named only when an idle one needs a small part of the time that it would.
// Never: counts on a lane of the same source, or on one whose source lacks a piece.

import { type Clock, every } from "../../shared/clock.ts";
import type { Available, LaneId } from "../pieces/piece-picker.ts";
import type { RequestWindow } from "./request-window.ts";

/** A source's lanes, by number, and what it has. */
export type HasLanes = {
  readonly lanes: ReadonlyMap<LaneId, { readonly window: RequestWindow }>;
  readonly available: Available;
};

const STRAGGLERS_EVERY_MS = 500;
/** A lane that needs longer than this for its orders is slow… */
const SLOW_SECONDS = 2;
/** …if an idle one would need less than this part of that time. */
const SOONER_FACTOR = 3;
/** An idle lane of unknown rate takes over when the slow one has brought nothing for so long. */
const UNTESTED_SECONDS = 10;

/**
 * Looks twice a second for a straggler, and names the slowest. `canTake` says whether a source with those pieces has all
 * that a lane has on order. Returns how to stop.
 */
export function takeOverStragglers<S extends HasLanes>(
  clock: Clock,
  sources: () => Iterable<S>,
  canTake: (lane: LaneId, available: Available) => boolean,
  onStraggler: (source: S, lane: LaneId) => void,
): () => void {
  return every(clock, STRAGGLERS_EVERY_MS, () => {
    const slow = findStraggler(sources(), canTake);
    if (slow !== undefined) onStraggler(slow.source, slow.lane);
  });
}

/** Undefined when every lane is busy or fast enough. */
function findStraggler<S extends HasLanes>(
  sources: Iterable<S>,
  canTake: (lane: LaneId, available: Available) => boolean,
): { source: S; lane: LaneId } | undefined {
  const lanes = [...sources].flatMap((source) =>
    [...source.lanes].map(([lane, { window }]) => ({ source, lane, window })),
  );
  const slow = lanes
    .filter(({ window }) => window.ordered > 0 && window.secondsLeft() > SLOW_SECONDS)
    .sort((a, b) => b.window.secondsLeft() - a.window.secondsLeft())[0];
  if (slow === undefined) return undefined;
  const idle = lanes.filter(
    ({ source, window }) => source !== slow.source && window.ordered === 0 && canTake(slow.lane, source.available),
  );
  const helps = ({ window }: { window: RequestWindow }): boolean =>
    window.tested
      ? slow.window.secondsLeft() > SOONER_FACTOR * (slow.window.ordered / window.rate())
      : slow.window.waitedSeconds() > UNTESTED_SECONDS;
  return idle.some(helps) ? slow : undefined;
}
