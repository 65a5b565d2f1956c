// Which server a peer means when none was named: the one of this machine, else those of its networks.
// Invariant: a server of this machine at the usual place is taken before any other, and without a question to others.
// Never: waits longer than the search does; a machine that is slow to refuse a dial delays nothing.

import type { Address } from "../protocol/address.ts";
import { isFault } from "../protocol/fault.ts";
import type { Clock } from "../shared/clock.ts";
import { type Connect, DEAF } from "../transport/connection.ts";
import type { FoundServer } from "./discovery-search.ts";

/** A server of this machine has this long before others are asked; Windows takes 2 s to refuse a dial. */
export const OWN_SERVER_MS = 50;

type Locating = {
  /** SPEC 5.i: where the server is unless something else is said. */
  readonly usual: Address;
  readonly connect: Connect;
  readonly clock: Clock;
  readonly search: (signal: AbortSignal) => Promise<readonly FoundServer[]>;
};

/** The servers found in the networks of this machine; "usual" for the one at the usual place, be it there or not. */
export async function locateServer(locating: Locating): Promise<readonly FoundServer[] | "usual"> {
  const { usual, connect, clock, search } = locating;
  const abort = new AbortController();
  const own = connect(usual, (connection) => {
    connection.end();
    return DEAF;
  }).then((connection) => !isFault(connection));
  const late = Promise.withResolvers<false>();
  const cancel = clock.after(OWN_SERVER_MS, () => late.resolve(false));
  const isHere = await Promise.race([own, late.promise]);
  cancel();
  if (isHere) return "usual";
  const searching = search(abort.signal);
  const ownAfterAll = own.then<readonly FoundServer[]>((isThere) => (isThere ? [] : searching));
  const found = await Promise.race([searching, ownAfterAll]);
  abort.abort();
  return found.length === 0 ? "usual" : found;
}
