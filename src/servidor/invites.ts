// The invitation of a run: whom it admits, how many, until when.
// Invariant: each ID is admitted at most once, and none after the time or beyond the number.
// Never: keeps the code on disk: a restart voids it.

import { type Fault, isFault } from "../protocol/fault.ts";
import type { Id } from "../protocol/id.ts";
import { provesInvite } from "../protocol/invite.ts";

type Options = {
  readonly code: string;
  /** How many IDs it admits. */
  readonly people: number;
  /** Milliseconds on the clock of `now`. */
  readonly until: number;
  readonly now: () => number;
  /** Makes it a member for good. */
  readonly add: (id: Id) => Fault | undefined;
};

/** Whether `proof`, made on a connection whose ends share `channel`, lets that ID in; it is a member from then on. */
export type Admit = (id: Id, proof: string, channel: Uint8Array) => boolean;

export function createInvite({ code, people, until, now, add }: Options): Admit {
  const admitted = new Set<Id>(); // one that the operator has taken out since does not come back by the same code
  return (id, proof, channel) => {
    if (now() >= until || admitted.size >= people || admitted.has(id)) return false;
    if (!provesInvite(proof, code, channel) || isFault(add(id))) return false;
    admitted.add(id);
    return true;
  };
}
