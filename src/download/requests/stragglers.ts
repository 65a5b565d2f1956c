// When to take a slow lane's orders away: near the end, when another has nothing to do and would be done much sooner.
// Invariant: an order is taken only when the helper needs a small part of the time that the slow lane would.
// Never: takes from a lane of the helper's own source, or what the helper does not have.

import { type Clock, every } from "../../shared/clock.ts";
import type { Available, LaneId } from "../pieces/piece-picker.ts";
import type { RequestWindow } from "./request-window.ts";

/** A source's lanes, by number, and what it has. */
export type HasLanes = {
  readonly lanes: ReadonlyMap<LaneId, { readonly window: RequestWindow }>;
  readonly available: Available;
};

const LOOK_MS = 500;
/** A lane that needs longer than this for its orders is slow… */
const SLOW_SECONDS = 2;
/** …if an idle one would need less than this part of that time. */
const SLOW_FACTOR = 3;
/** An idle lane that has never brought anything gets its chance when the slow one has brought nothing for so long. */
const UNTESTED_SECONDS = 10;

/**
 * Looks twice a second whether there is a lane to relieve, the slowest first. `canTake` says whether a source that has
 * so much has all that a lane has on order. Returns how to stop.
 */
export function takeOverStragglers<S extends HasLanes>(
  clock: Clock,
  sources: () => Iterable<S>,
  canTake: (lane: LaneId, available: Available) => boolean,
  relieve: (source: S, lane: LaneId) => void,
): () => void {
  return every(clock, LOOK_MS, () => {
    const slow = laneToRelieve(sources(), canTake);
    if (slow !== undefined) relieve(slow.source, slow.lane);
  });
}

/** Undefined when every lane is busy or fast enough. */
function laneToRelieve<S extends HasLanes>(
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
      ? slow.window.secondsLeft() > SLOW_FACTOR * (slow.window.ordered / window.rate())
      : slow.window.waitedSeconds() > UNTESTED_SECONDS;
  return idle.some(helps) ? slow : undefined;
}
