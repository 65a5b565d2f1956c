// Where a peer listens, while it moves: the listener that it has, and the one that it tries.
// Invariant: a move that comes to nothing leaves the peer listening where it was, and the tried port free.
// Never: accepts anything itself.

import { type Address, sameAddress } from "../protocol/address.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import type { Listener } from "./connection.ts";

export type MovableListener = {
  /** Listens at `at` besides the listener that it has; the address with the port that was taken. Faults as `listen`'s. */
  take(at: Address): Address | Fault;
  /** The tried listener replaces the other, or is given up. A fault when the other had to close and cannot listen again. */
  settle(keep: boolean): Fault | undefined;
  close(): void;
};

export function createMovableListener(listen: (at: Address) => Listener | Fault): MovableListener {
  let here: Listener | undefined;
  let tried: Listener | undefined;
  let trouble: Fault | undefined; // why the one that had to close cannot listen again
  let left: Address | undefined; // what had to be given up for the tried one: our own port stood in its way

  function giveUp(): void {
    if (tried !== here) tried?.close();
    tried = undefined;
    if (left === undefined) return;
    const again = listen(left);
    left = undefined;
    if (isFault(again)) trouble = again;
    else here = again;
  }

  return {
    take(at) {
      giveUp();
      if (here !== undefined && sameAddress(here.address, at)) {
        tried = here;
        return here.address;
      }
      let made = listen(at);
      // The same port of another of this machine's addresses: 0.0.0.0 and 127.0.0.1 exclude each other.
      if (isFault(made) && made.fault === "PORT_IN_USE" && here?.address.port === at.port) {
        left = here.address;
        here.close();
        here = undefined;
        made = listen(at);
      }
      if (!isFault(made)) {
        tried = made;
        return made.address;
      }
      giveUp();
      return made;
    },
    settle(keep) {
      if (keep && tried !== undefined) {
        if (here !== tried) here?.close();
        here = tried;
        tried = undefined;
        left = undefined;
      } else giveUp();
      const lost = trouble;
      trouble = undefined;
      return lost;
    },
    close() {
      for (const listener of new Set([here, tried])) listener?.close();
    },
  };
}
