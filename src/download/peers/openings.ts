// Holders that were asked for the content and are no sources yet: silent ones, and those whose queues we wait in.
// Invariant: a silent holder and a queue keep others from being asked for PROMPT_MS at most, and their number is bounded.
// Never: asks a holder; peer-list.ts does.

import { type Address, formatAddress } from "../../protocol/address.ts";
import type { Clock } from "../../shared/clock.ts";
import type { OnWait } from "./source.ts";

/** A holder silent for so long stops counting against the sources that may be; of those LATE_MAX more are waited for. */
const PROMPT_MS = 1000;
const LATE_MAX = 24;
/** Queues that we wait in. A new one takes the place of one that has not come to us for so long. */
const QUEUES_MAX = 8;
const QUEUE_MS = 60_000;

/** `leave` is there once the holder has said WAIT. */
type Opening = { readonly since: number; leave?: () => void };

export type Openings = {
  has(address: Address): boolean;
  /** A holder is asked: where to tell of each WAIT. */
  begin(address: Address): OnWait;
  end(address: Address): void;
  /** How many more holders may be asked where `room` more sources may be, of `sourcesMax`. */
  roomToAsk(room: number, sourcesMax: number): number;
  /** Leaves all queues, and each that comes later. */
  stop(): void;
};

export function createOpenings(clock: Clock): Openings {
  const openings = new Map<string, Opening>(); // by ip:port, in the order of asking
  let stopped = false;

  function wait(opening: Opening, leave: () => void): void {
    if (stopped) return leave();
    if (opening.leave !== undefined) return;
    const queued = [...openings.values()].filter((other) => other.leave !== undefined);
    const longest = queued[0];
    if (queued.length >= QUEUES_MAX && longest !== undefined) {
      if (clock.now() - longest.since < QUEUE_MS) return leave();
      longest.leave?.();
    }
    opening.leave = leave;
  }

  return {
    has: (address) => openings.has(formatAddress(address)),
    begin(address) {
      const opening: Opening = { since: clock.now() };
      openings.set(formatAddress(address), opening);
      return (_, leave) => wait(opening, leave);
    },
    end: (address) => void openings.delete(formatAddress(address)),
    roomToAsk(room, sourcesMax) {
      const isPrompt = ({ since, leave }: Opening) => leave === undefined && clock.now() - since < PROMPT_MS;
      const prompt = [...openings.values()].filter(isPrompt).length;
      return Math.max(0, Math.min(room - prompt, sourcesMax + QUEUES_MAX + LATE_MAX - openings.size));
    },
    stop() {
      stopped = true;
      for (const { leave } of openings.values()) leave?.();
    },
  };
}
