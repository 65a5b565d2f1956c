// Whether we get on in a peer's queue, by the positions that it tells us.
// Invariant: patience is renewed at most once for each position of the longest queue there may be.
// Never: takes a falling position beyond QUEUE_MAX for progress.

import { QUEUE_MAX } from "../../protocol/limits.ts";

/** Told of each position; true for the first one, and for each that is better than ever. */
export function createQueueProgress(): (position: number) => boolean {
  let best = Number.POSITIVE_INFINITY;
  return (position) => {
    if (position >= best) return false;
    best = Math.min(position, QUEUE_MAX + 1);
    return true;
  };
}
