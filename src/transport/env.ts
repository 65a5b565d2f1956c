// Time, chance and the network: what code that talks to other machines is handed instead of reaching for them.
// Invariant: one type for the three, so that a test or the simulation replaces them in one place.
// Never: holds files or threads; src/peer/env.ts adds those.

import type { Clock } from "../shared/clock.ts";
import type { Connect } from "./connection.ts";

export type Env = {
  readonly clock: Clock;
  /** 0 ≤ r < 1. */
  readonly random: () => number;
  readonly connect: Connect;
};
