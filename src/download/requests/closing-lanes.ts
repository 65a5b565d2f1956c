// Lanes that were given up and may still be writing on their threads, until each has said that it is over.
// Invariant: `allOver` resolves when none is left, and not before.
// Never: closes a lane.

import type { LaneId } from "../pieces/piece-picker.ts";

export type ClosingLanes = {
  add(lane: LaneId): void;
  /** It has said so. False for a lane that nobody gave up. */
  over(lane: LaneId): boolean;
  readonly none: boolean;
  allOver(): Promise<void>;
};

export function createClosingLanes(): ClosingLanes {
  const leaving = new Set<LaneId>();
  const { promise, resolve } = Promise.withResolvers<void>();
  let awaited = false;
  const settle = () => {
    if (awaited && leaving.size === 0) resolve();
  };
  return {
    add: (lane) => void leaving.add(lane),
    over(lane) {
      const left = leaving.delete(lane);
      settle();
      return left;
    },
    get none() {
      return leaving.size === 0;
    },
    allOver() {
      awaited = true;
      settle();
      return promise;
    },
  };
}
