// Who may upload from us now, and who comes next. PURE.
// Invariant: at most `slots` are in; those who wait get in by turns of their peers, and each peer's own in their order.
// Never: knows what is being uploaded, or how long it takes.

export type Seat = {
  /** Gives the slot back, or leaves the queue. Once. */
  leave(): void;
  /** 0 when in; otherwise how many get in before it, plus one. */
  position(): number;
};

export type Slots = {
  /**
   * Asks for a slot on behalf of `peer`. `onIn` is called when it is granted, at once where one is free.
   * Undefined when even the queue is full.
   */
  enter(peer: string, onIn: () => void): Seat | undefined;
  readonly taken: number;
  /** Those who wait, in the order in which they will get in. */
  readonly waiting: readonly Seat[];
};

type Waiting = { readonly seat: Seat; readonly onIn: () => void };

export function createSlots(slots: number, waitingMax: number): Slots {
  // A Map keeps the order of insertion: the first peer is the next in turn, and goes to the end after it.
  const queues = new Map<string, Waiting[]>();
  let taken = 0;
  let waitingCount = 0;

  /** The queue as it will be served: one of each peer, round after round. */
  function order(): Seat[] {
    const lists = [...queues.values()];
    const longest = Math.max(0, ...lists.map((list) => list.length));
    const seats: Seat[] = [];
    for (let round = 0; round < longest; round++) {
      for (const list of lists) {
        const waiting = list[round];
        if (waiting !== undefined) seats.push(waiting.seat);
      }
    }
    return seats;
  }

  function admit(): void {
    while (taken < slots) {
      const next = queues.entries().next().value;
      if (next === undefined) return;
      const [peer, list] = next;
      const first = list.shift() as Waiting;
      queues.delete(peer);
      if (list.length > 0) queues.set(peer, list);
      waitingCount--;
      taken++;
      first.onIn();
    }
  }

  function enter(peer: string, onIn: () => void): Seat | undefined {
    // Without a single slot nobody's turn ever comes.
    if (slots === 0 || (taken >= slots && waitingCount >= waitingMax)) return undefined;
    let state: "waiting" | "in" | "out" = "waiting";
    const seat: Seat = {
      leave() {
        const before = state;
        state = "out";
        if (before === "waiting") {
          const rest = (queues.get(peer) ?? []).filter((one) => one.seat !== seat);
          if (rest.length > 0) queues.set(peer, rest);
          else queues.delete(peer);
          waitingCount--;
        } else if (before === "in") {
          taken--;
          admit();
        }
      },
      position: () => (state === "waiting" ? order().indexOf(seat) + 1 : 0),
    };
    const waiting: Waiting = {
      seat,
      onIn() {
        state = "in";
        onIn();
      },
    };
    queues.set(peer, [...(queues.get(peer) ?? []), waiting]);
    waitingCount++;
    admit();
    return seat;
  }

  return {
    enter,
    get taken() {
      return taken;
    },
    get waiting() {
      return order();
    },
  };
}
