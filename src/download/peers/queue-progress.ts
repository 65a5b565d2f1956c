// Whether we get on in a queue, by the places that its owner tells us.
// Invariant: patience is renewed at most once for each place of a queue as long as they come.
// Never: believes that a place far beyond any queue, however it falls, comes nearer.

import { QUEUE_MAX } from "../../protocol/limits.ts";

/** Told of each place; true for the first one, and for each that is better than ever. */
export function createQueueProgress(): (position: number) => boolean {
  let best = Number.POSITIVE_INFINITY;
  return (position) => {
    if (position >= best) return false;
    best = Math.min(position, QUEUE_MAX + 1);
    return true;
  };
}
