// Which GETs a lane sends, and how far ahead of what has come.
// Invariant: bytes are asked for once, in the order in which they were added, and come in that order.
// Never: asks a slow source for so much that it takes us for idle before all of it has come.

import { BLOCK_BYTES } from "../../protocol/limits.ts";
import type { Clock } from "../../shared/clock.ts";
import { createRateMeter } from "../rate-meter.ts";

/** Bytes from `offset` on; both change as they are asked for, or come. */
export type Range = { offset: number; length: number };

export type GetPipeline = {
  add(range: Range): void;
  /** Sends as many GETs as what comes is worth. */
  ask(): void;
  /** The next bytes of `first` have come; true when they were its last. */
  came(bytes: number): boolean;
  /** Nothing was on order: the rate before such a break says nothing of the next. */
  restart(): void;
  /** The first GET that was sent, and what is still to come of it. */
  readonly first: Range | undefined;
  /** Something has come since the last restart. */
  readonly tested: boolean;
};

/**
 * The next GET is sent when less than so many seconds' worth is on its way, and is no longer than that. What a slow lane
 * has asked for comes before its source takes it for idle, whatever the systems on both sides hold; a fast one asks for
 * whole pieces.
 */
const PIPELINE_SECONDS = 8;
const PIPELINE_BYTES_MIN = 64 * 1024;
/** The same before anything has come. */
const PIPELINE_BYTES_FIRST = 256 * 1024;
/** The same, in seconds of our own limit. */
const PIPELINE_LIMIT_SECONDS = 4;

/** `rateMax` is our own limit now, in bytes per second, or Infinity. */
export function createGetPipeline(clock: Clock, rateMax: () => number, send: (get: Range) => void): GetPipeline {
  const unsent: Range[] = [];
  const sent: Range[] = [];
  let coming = 0; // bytes of `sent`
  let meter = createRateMeter(clock);
  let tested = false;
  return {
    add: (range) => void unsent.push(range),
    ask() {
      if (unsent.length === 0) return;
      const worth = tested ? Math.max(PIPELINE_BYTES_MIN, meter.rate() * PIPELINE_SECONDS) : PIPELINE_BYTES_FIRST;
      const most = blocksOf(Math.min(worth, rateMax() * PIPELINE_LIMIT_SECONDS));
      for (let range = unsent[0]; range !== undefined && coming < most; range = unsent[0]) {
        const get = { offset: range.offset, length: Math.min(range.length, most) };
        range.offset += get.length;
        range.length -= get.length;
        if (range.length === 0) unsent.shift();
        coming += get.length;
        send(get);
        sent.push(get);
      }
    },
    came(bytes) {
      meter.add(bytes);
      tested = true;
      coming -= bytes;
      const first = sent[0] as Range;
      first.length -= bytes;
      if (first.length > 0) return false;
      sent.shift();
      return true;
    },
    restart() {
      meter = createRateMeter(clock);
      tested = false;
    },
    get first() {
      return sent[0];
    },
    get tested() {
      return tested;
    },
  };
}

/** Whole blocks, one at least. */
const blocksOf = (bytes: number): number => Math.max(BLOCK_BYTES, Math.floor(bytes / BLOCK_BYTES) * BLOCK_BYTES);
