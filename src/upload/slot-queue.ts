// Waiting for an upload slot: a connection's turn, and telling it how far away that is.
// Invariant: a connection that waits hears of its position when it changes, and often enough to keep its own deadline away.
// Never: decides which claim comes next; slots.ts does.

import type { Address } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import { QUEUE_MAX, WAIT_SECONDS } from "../protocol/limits.ts";
import type { Reply, Root } from "../protocol/messages.ts";
import type { Clock } from "../shared/clock.ts";
import { type Claim, createSlots } from "./slots.ts";

/** What waits for a slot: a connection, or what stands for one. */
export type Waiter = {
  readonly transport: { readonly remote: Address };
  readonly gone: boolean;
  reply(message: Reply): void;
};

export type SlotQueue = {
  /**
   * Enters a claim for the connection, and tells it the `root` that it waits for. BUSY when even the queue is full. `turn`
   * resolves when it is in, or with BUSY when its position in the queue goes to another address.
   */
  enter(connection: Waiter, root?: Root): { readonly claim: Claim; readonly turn: Promise<Fault | undefined> } | Fault;
  /** Another number of slots. */
  resize(maxUploads: number): void;
  /** The claim whose turn is over, because another address waits that has fewer slots. */
  overdue(): Claim | undefined;
  /** Whether anyone waits. */
  readonly isWanted: boolean;
};

type Told = { readonly connection: Waiter; readonly root: Root | undefined; position: number; at: number };

const LOOK_MS = 250;

export function createSlotQueue(slotsAtFirst: number, clock: Clock): SlotQueue {
  let maxUploads = slotsAtFirst;
  const slots = createSlots(maxUploads, QUEUE_MAX, () => clock.now());
  const waiting = new WeakMap<Claim, Told>();
  const full = () => fault("BUSY", "ours", `all ${maxUploads} upload slots and the queue are taken`, maxUploads > 0);

  function tell(told: Told, position: number): void {
    if (position === told.position && clock.now() - told.at <= WAIT_SECONDS * 1000) return;
    const { connection, root } = told;
    connection.reply({ verb: "WAIT", position, ...(root !== undefined && { root }) });
    told.position = position;
    told.at = clock.now();
  }

  let isTelling = false;
  function tellAll(): void {
    isTelling = slots.waiting.length > 0;
    if (!isTelling) return;
    slots.waiting.forEach((claim, index) => {
      const told = waiting.get(claim);
      if (told !== undefined && !told.connection.gone) tell(told, index + 1);
    });
    clock.after(LOOK_MS, tellAll);
  }

  return {
    enter(connection, root) {
      const { promise: turn, resolve } = Promise.withResolvers<Fault | undefined>();
      const claim = slots.enter(connection.transport.remote.ip, {
        onIn: () => resolve(undefined),
        onOut: () => resolve(full()),
      });
      if (claim === undefined) return full();
      const position = claim.position();
      if (position > 0) {
        const told = { connection, root, position: 0, at: 0 };
        waiting.set(claim, told);
        tell(told, position);
        if (!isTelling) tellAll();
      }
      return { claim, turn };
    },
    resize(number) {
      maxUploads = number;
      slots.resize(number);
    },
    overdue: slots.overdue,
    get isWanted() {
      return slots.waiting.length > 0;
    },
  };
}
