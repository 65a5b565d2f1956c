// The peers that a download asks for the file, one after another: the chosen one, then the others that have a file of that name.
// Invariant: each is asked until it fails for good; one that only keeps us waiting comes again after the others, with more patience.
// Never: asks a peer; download.ts does.

import { type Address, formatAddress } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import { OTHER_CONTENT, OTHER_SIZE } from "./pieces/resume.ts";

/** What we wait for from a peer that others could stand in for. */
export type Awaited = "answer" | "slot" | "byte" | "layer";

/** How long a source is waited for, in milliseconds; Infinity when there is none that could stand in for it. */
export type Patience = (awaited: Awaited) => number;

/** How long, in seconds, the first time; twice as long each time after. */
const PATIENCE_SECONDS: Readonly<Record<Awaited, number>> = { answer: 5, slot: 30, byte: 15, layer: 10 };
/** A peer that answers nothing, sends nothing or tells no layer is asked so many times. */
const ROUNDS_MAX = 3;

/** Why a peer was left that may do better later. */
export const LEFT: Readonly<Record<Awaited, Fault>> = {
  answer: fault("TIMEOUT", "theirs", "no answer", true),
  slot: fault("BUSY", "theirs", "no nearer in its queue", true),
  byte: fault("STALLED", "network", "no byte, or next to none", true),
  layer: fault("NOT_READY", "theirs", "every byte is here, and no layer yet", true),
};

export type Candidate = {
  readonly address: Address;
  /** How often it was asked before. */
  readonly round: number;
  /** Its content goes into files of its own, as those of the name hold another one. */
  readonly apart: boolean;
};

export type Candidates = {
  next(): Candidate | undefined;
  failed(candidate: Candidate, why: Fault): void;
  /** How long `candidate` is waited for, in milliseconds; Infinity when no other peer is left. */
  patienceMs(candidate: Candidate, awaited: Awaited): number;
};

/** The .part and journal of this name hold another content. */
export const isOther = (why: Fault): boolean => why === OTHER_CONTENT || why === OTHER_SIZE;

export function createCandidates(chosen: Address, others: readonly Address[]): Candidates {
  const addresses = new Map([chosen, ...others].map((address) => [formatAddress(address), address]));
  const queue: Candidate[] = [...addresses.values()].map((address) => ({ address, round: 0, apart: false }));
  return {
    next: () => queue.shift(),
    failed(candidate, why) {
      const round = candidate.round + 1;
      // A peer whose content is here already goes before one whose content would have to be kept beside it.
      if (isOther(why) && !candidate.apart) queue.push({ ...candidate, apart: true });
      else if (why === LEFT.slot || (Object.values(LEFT).includes(why) && round < ROUNDS_MAX))
        queue.push({ ...candidate, round });
    },
    patienceMs: ({ round }, awaited) =>
      queue.length === 0 ? Number.POSITIVE_INFINITY : PATIENCE_SECONDS[awaited] * 1000 * 2 ** round,
  };
}
