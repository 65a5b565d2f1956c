// Waiting for an upload slot: a guest's turn, and telling it how far away that is.
// Invariant: whoever waits hears of its place when it changes, and often enough to keep its own deadline away.
// Never: decides who comes next; slots.ts does.

import { type Fault, fault } from "../protocol/fault.ts";
import { QUEUE_MAX, WAIT_SECONDS } from "../protocol/limits.ts";
import type { Clock } from "../shared/clock.ts";
import { createSlots, type Seat } from "./slots.ts";
import type { UploadConnection } from "./upload-connection.ts";

export type SlotQueue = {
  /**
   * Takes a seat for the guest. BUSY when even the queue is full. `turn` resolves when it is in, or with BUSY when its
   * place in the queue goes to another address.
   */
  enter(guest: UploadConnection): { readonly seat: Seat; readonly turn: Promise<Fault | undefined> } | Fault;
  /** The seat whose turn is over, because another address waits that has fewer slots. */
  overdue(): Seat | undefined;
  /** Whether anyone waits. */
  readonly isWanted: boolean;
};

type Told = { readonly guest: UploadConnection; place: number; at: number };

const LOOK_MS = 250;

export function createSlotQueue(maxUploads: number, clock: Clock): SlotQueue {
  const slots = createSlots(maxUploads, QUEUE_MAX, () => clock.now());
  const waiting = new WeakMap<Seat, Told>();
  const full = () => fault("BUSY", "ours", `all ${maxUploads} upload slots and the queue are taken`, true);

  function tell(told: Told, place: number): void {
    if (place === told.place && clock.now() - told.at <= WAIT_SECONDS * 1000) return;
    told.guest.reply({ verb: "WAIT", position: place });
    told.place = place;
    told.at = clock.now();
  }

  let isTelling = false;
  function tellAll(): void {
    isTelling = slots.waiting.length > 0;
    if (!isTelling) return;
    slots.waiting.forEach((seat, index) => {
      const told = waiting.get(seat);
      if (told !== undefined && !told.guest.gone) tell(told, index + 1);
    });
    clock.after(LOOK_MS, tellAll);
  }

  return {
    enter(guest) {
      const { promise: turn, resolve } = Promise.withResolvers<Fault | undefined>();
      const seat = slots.enter(guest.connection.remote.ip, {
        onIn: () => resolve(undefined),
        onOut: () => resolve(full()),
      });
      if (seat === undefined) return full();
      const place = seat.position();
      if (place > 0) {
        const told = { guest, place: 0, at: 0 };
        waiting.set(seat, told);
        tell(told, place);
        if (!isTelling) tellAll();
      }
      return { seat, turn };
    },
    overdue: slots.overdue,
    get isWanted() {
      return slots.waiting.length > 0;
    },
  };
}
