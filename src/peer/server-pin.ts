// The server's key: the one that it is pinned to, or the one that it showed first, from then on.
// Invariant: after a first connection no other key passes for the server; what was dialled wrongly hears nothing of us.
// Never: stores a key; the main does.

import type { Address } from "../protocol/address.ts";
import { fault, isFault } from "../protocol/fault.ts";
import type { Id } from "../protocol/id.ts";
import type { Connect } from "../transport/connection.ts";

export type ServerMet =
  /** A server that was pinned to no key has shown this one. */
  | { readonly type: "server-met"; readonly id: Id }
  /** Another program is in its place, though we were connected before; told once until the right one is back. */
  | { readonly type: "server-changed"; readonly id: Id };

/** Dials `server` as `connect` does; for another key SERVER_KEY_CHANGED, whose detail is that key's ID. */
export function pinServer(connect: Connect, server: Address, tell: (met: ServerMet) => void): Connect {
  let first: Id | undefined; // the key that was met
  let isMet = false;
  return async (to, open, signal) => {
    const pin = server.id ?? first; // read anew: where no server was there, another one may have been found since
    const connection = await connect({ ...to, id: pin }, open, signal);
    if (!isFault(connection)) {
      isMet = true;
      if (pin === undefined && connection.id !== undefined) {
        first = connection.id;
        tell({ type: "server-met", id: first });
      }
      return connection;
    }
    if (connection.fault !== "WRONG_ID") return connection;
    const id = connection.detail.split(" ").at(-1) ?? "";
    if (isMet) tell({ type: "server-changed", id });
    isMet = false;
    return fault("SERVER_KEY_CHANGED", "network", id);
  };
}
