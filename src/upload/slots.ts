// Who may upload from us now, who comes next, and who gives way. PURE.
// Invariant: at most `slots` are in; addresses share slots and queue by turns, and each one's own keep their order.
// Never: knows what is being uploaded, or how fast.

import { TURN_SECONDS_MAX, TURN_SECONDS_MIN } from "../protocol/limits.ts";

export type Seat = {
  /** Gives the slot back, or leaves the queue. Once. */
  leave(): void;
  /** 0 when in; otherwise how many get in before it, plus one. */
  position(): number;
};

/** What a seat's owner is told: once that it is in, or once that it has lost its place in the queue. */
export type SeatEvents = { readonly onIn: () => void; readonly onOut: () => void };

export type Slots = {
  /**
   * Asks for a slot on behalf of `peer`. `onIn` comes when it is granted, at once where one is
   * free. Undefined when the queue is full and no peer has more places in it than this one would have.
   */
  enter(peer: string, events: SeatEvents): Seat | undefined;
  /** The seat whose turn is over, because another peer waits that has fewer slots. */
  overdue(): Seat | undefined;
  readonly taken: number;
  /** Those who wait, in the order in which they will get in. */
  readonly waiting: readonly Seat[];
};

type Sitting = { readonly seat: Seat; readonly peer: string; readonly events: SeatEvents; inSince: number };

type Sittings = Map<string, Sitting[]>;

/** At most `slots` in, and `waitingMax` in the queue beside the first of each peer. `now` tells milliseconds. */
export function createSlots(slots: number, waitingMax: number, now: () => number): Slots {
  // A Map keeps the order of insertion: the first peer is the next in turn, and goes to the end after it.
  const queues = new Map<string, Sitting[]>();
  const holders = new Map<string, Sitting[]>();
  let taken = 0;
  let waitingCount = 0;
  let order: readonly Seat[] | undefined;

  /** The queue as it will be served: one of each peer, round after round. */
  const inOrder = (): readonly Seat[] => {
    order ??= byTurns([...queues].map(([peer, list]) => ({ held: holders.get(peer)?.length ?? 0, list })));
    return order;
  };

  function change(sittings: Sittings, peer: string, list: Sitting[]): void {
    order = undefined;
    if (list.length > 0) sittings.set(peer, list);
    else sittings.delete(peer);
  }

  /** Who has had a turn lets the others go first. */
  function toTheEnd(peer: string): void {
    const list = queues.get(peer) ?? [];
    queues.delete(peer);
    change(queues, peer, list);
  }

  function admit(): void {
    while (taken < slots) {
      const next = nextPeer();
      if (next === undefined) return;
      const [first, ...rest] = queues.get(next) as [Sitting, ...Sitting[]];
      queues.delete(next);
      change(queues, next, rest);
      waitingCount--;
      taken++;
      first.inSince = now();
      holders.set(next, [...(holders.get(next) ?? []), first]);
      first.events.onIn();
    }
  }

  /** Of those who wait, the first of those that hold the fewest slots. */
  function nextPeer(): string | undefined {
    let best: string | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const peer of queues.keys()) {
      const held = holders.get(peer)?.length ?? 0;
      if (held < fewest) [best, fewest] = [peer, held];
    }
    return best;
  }

  /** Makes room for one more of `peer`: the last of the peer with the most places gives way, if it has more. */
  function makeRoom(peer: string): boolean {
    const mine = queues.get(peer)?.length ?? 0;
    if (waitingCount < waitingMax || taken < slots) return true;
    let longest: Sitting[] = [];
    for (const list of queues.values()) if (list.length > longest.length) longest = list;
    if (longest.length > Math.max(1, mine + 1)) {
      const last = longest.at(-1) as Sitting;
      last.seat.leave();
      last.events.onOut();
      return true;
    }
    return mine === 0;
  }

  function enter(peer: string, events: SeatEvents): Seat | undefined {
    // Without a single slot nobody's turn ever comes.
    if (slots === 0 || !makeRoom(peer)) return undefined;
    let isOut = false;
    const without = (sittings: Sittings): boolean => {
      const before = sittings.get(peer) ?? [];
      const rest = before.filter((one) => one !== sitting);
      change(sittings, peer, rest);
      return rest.length < before.length;
    };
    const seat: Seat = {
      leave() {
        if (isOut) return;
        isOut = true;
        if (without(queues)) waitingCount--;
        else if (without(holders)) {
          taken--;
          toTheEnd(peer);
        }
        admit();
      },
      position: () => inOrder().indexOf(seat) + 1,
    };
    const sitting: Sitting = { seat, peer, events, inSince: now() };
    change(queues, peer, [...(queues.get(peer) ?? []), sitting]);
    waitingCount++;
    admit();
    return seat;
  }

  return {
    enter,
    overdue() {
      const next = nextPeer();
      return next === undefined ? undefined : overdueFor(next, queues, holders, now());
    },
    get taken() {
      return taken;
    },
    get waiting() {
      return inOrder();
    },
  };
}

type Line = { readonly held: number; readonly list: readonly Sitting[] };

/** By how many slots their peer will have before it; the peers in their order. */
function byTurns(lines: readonly Line[]): readonly Seat[] {
  const all = lines.flatMap(({ held, list }) => list.map(({ seat }, place) => ({ seat, before: held + place })));
  return all.sort((a, b) => a.before - b.before).map(({ seat }) => seat);
}

/** The seat that `next`, which waits, may have at `now`: the oldest of the peer with the most, once its turn is over. */
function overdueFor(next: string, queues: Sittings, holders: Sittings, now: number): Seat | undefined {
  const mine = holders.get(next)?.length ?? 0;
  let most: readonly Sitting[] = [];
  for (const list of holders.values()) if (list.length > most.length) most = list;
  const more = most.length - mine;
  if (more < 1) return undefined;
  const oldest = most.reduce((a, b) => (b.inSince < a.inSince ? b : a));
  // Whose address wants several slots at once goes on by turns; one download alone keeps its slot for long.
  const isGreedy = more >= 2 || queues.has(oldest.peer);
  const seconds = isGreedy ? TURN_SECONDS_MIN : TURN_SECONDS_MAX;
  return now - oldest.inSince >= seconds * 1000 ? oldest.seat : undefined;
}
