// Waiting for an upload slot: a guest's turn, and telling it how far away that is.
// Invariant: whoever waits hears of its place when it changes, and often enough to keep its own deadline away.
// Never: decides who comes next; slots.ts does.

import { type Fault, fault } from "../protocol/fault.ts";
import { QUEUE_MAX, WAIT_SECONDS } from "../protocol/limits.ts";
import type { Clock } from "../transport/clock.ts";
import type { Guest } from "./guest.ts";
import { createSlots, type Seat } from "./slots.ts";

export type Turns = {
  /** Takes a seat for the guest. BUSY when even the queue is full. `turn` resolves when it is in. */
  enter(guest: Guest): { readonly seat: Seat; readonly turn: Promise<void> } | Fault;
};

const LOOK_MS = 250;

export function createTurns(maxUploads: number, clock: Clock): Turns {
  const slots = createSlots(maxUploads, QUEUE_MAX);

  function tellPlace(guest: Guest, seat: Seat): void {
    let told = 0;
    let toldAt = 0;
    const look = () => {
      const place = guest.gone ? 0 : seat.position();
      if (place === 0) return;
      if (place !== told || clock.now() - toldAt > WAIT_SECONDS * 1000) {
        guest.reply({ verb: "WAIT", position: place });
        told = place;
        toldAt = clock.now();
      }
      clock.after(LOOK_MS, look);
    };
    look();
  }

  return {
    enter(guest) {
      const { promise: turn, resolve } = Promise.withResolvers<void>();
      const seat = slots.enter(guest.connection.remote.ip, resolve);
      if (seat === undefined)
        return fault("BUSY", "ours", `all ${maxUploads} upload slots and the queue are taken`, true);
      tellPlace(guest, seat);
      return { seat, turn };
    },
  };
}
