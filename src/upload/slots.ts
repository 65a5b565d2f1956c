// Which claims on a slot hold one now, which comes next, and which gives way. PURE.
// Invariant: at most `slots` are in; addresses share slots and queue by turns, and each one's own keep their order.
// Never: knows what is being uploaded, or how fast.

import { TURN_SECONDS_MAX, TURN_SECONDS_MIN } from "../protocol/limits.ts";

/** One download's wish for a slot: it waits, or has one. */
export type Claim = {
  /** Gives the slot back, or leaves the queue. Once. */
  leave(): void;
  /** 0 when in; otherwise how many get in before it, plus one. */
  position(): number;
  /** Which slot it has, the least that was free, from 0 on; undefined while it waits. */
  slot(): number | undefined;
};

/** What a claim's owner is told: once that it is in, or once that it has been put out of the queue. */
export type ClaimEvents = { readonly onIn: () => void; readonly onOut: () => void };

export type Slots = {
  /**
   * Asks for a slot on behalf of `ip`. `onIn` comes when it is granted, at once where one is
   * free. Undefined when the queue is full and no address waits with more claims than this one would have.
   */
  enter(ip: string, events: ClaimEvents): Claim | undefined;
  /** Another number of slots. Claims that are in stay in, also where they are more than that. */
  resize(slots: number): void;
  /** The claim whose turn is over, because another address waits that has fewer slots. */
  overdue(): Claim | undefined;
  readonly taken: number;
  /** The claims that wait, in the order in which they will get in. */
  readonly waiting: readonly Claim[];
};

type ClaimState = {
  readonly claim: Claim;
  readonly ip: string;
  readonly events: ClaimEvents;
  inSince: number;
  slot?: number;
};

type ClaimsByIp = Map<string, ClaimState[]>;

/** At most `slots` in, and `waitingMax` in the queue beside the first of each address. `now` tells milliseconds. */
export function createSlots(slotsAtFirst: number, waitingMax: number, now: () => number): Slots {
  let slots = slotsAtFirst;
  // A Map keeps the order of insertion: the first address is the next in turn, and goes to the end after it.
  const queues = new Map<string, ClaimState[]>();
  const holders = new Map<string, ClaimState[]>();
  let taken = 0;
  let waitingCount = 0;
  let order: readonly Claim[] | undefined;

  /** The queue as it will be served: one of each address, round after round. */
  const inOrder = (): readonly Claim[] => {
    order ??= byTurns([...queues].map(([ip, list]) => ({ held: holders.get(ip)?.length ?? 0, list })));
    return order;
  };

  function change(claims: ClaimsByIp, ip: string, list: ClaimState[]): void {
    order = undefined;
    if (list.length > 0) claims.set(ip, list);
    else claims.delete(ip);
  }

  /** An address that has had a turn lets the others go first. */
  function toTheEnd(ip: string): void {
    const list = queues.get(ip) ?? [];
    queues.delete(ip);
    change(queues, ip, list);
  }

  function admit(): void {
    while (taken < slots) {
      const next = nextIp();
      if (next === undefined) return;
      const [first, ...rest] = queues.get(next) as [ClaimState, ...ClaimState[]];
      queues.delete(next);
      change(queues, next, rest);
      waitingCount--;
      taken++;
      Object.assign(first, { inSince: now(), slot: leastFree(holders) });
      holders.set(next, [...(holders.get(next) ?? []), first]);
      first.events.onIn();
    }
  }

  /** Of the addresses that wait, the first of those that hold the fewest slots. */
  function nextIp(): string | undefined {
    let best: string | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const ip of queues.keys()) {
      const held = holders.get(ip)?.length ?? 0;
      if (held < fewest) [best, fewest] = [ip, held];
    }
    return best;
  }

  /** Makes room for one more of `ip`: the last claim of the address with the most gives way, if it has more. */
  function makeRoom(ip: string): boolean {
    const mine = queues.get(ip)?.length ?? 0;
    if (waitingCount < waitingMax || taken < slots) return true;
    let longest: ClaimState[] = [];
    for (const list of queues.values()) if (list.length > longest.length) longest = list;
    if (longest.length > Math.max(1, mine + 1)) {
      const last = longest.at(-1) as ClaimState;
      last.claim.leave();
      last.events.onOut();
      return true;
    }
    return mine === 0;
  }

  function enter(ip: string, events: ClaimEvents): Claim | undefined {
    // Without a single slot no turn ever comes.
    if (slots === 0 || !makeRoom(ip)) return undefined;
    let isOut = false;
    const without = (claims: ClaimsByIp): boolean => {
      const before = claims.get(ip) ?? [];
      const rest = before.filter((one) => one !== state);
      change(claims, ip, rest);
      return rest.length < before.length;
    };
    const claim: Claim = {
      leave() {
        if (isOut) return;
        isOut = true;
        if (without(queues)) waitingCount--;
        else if (without(holders)) {
          taken--;
          toTheEnd(ip);
        }
        admit();
      },
      position: () => inOrder().indexOf(claim) + 1,
      slot: () => state.slot,
    };
    const state: ClaimState = { claim, ip, events, inSince: now() };
    change(queues, ip, [...(queues.get(ip) ?? []), state]);
    waitingCount++;
    admit();
    return claim;
  }

  return {
    enter,
    resize(number) {
      slots = number;
      admit();
    },
    overdue() {
      const next = nextIp();
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

/** The least number of a slot that no claim has. */
function leastFree(holders: ClaimsByIp): number {
  const used = new Set([...holders.values()].flat().map(({ slot }) => slot));
  let slot = 0;
  while (used.has(slot)) slot++;
  return slot;
}

type Line = { readonly held: number; readonly list: readonly ClaimState[] };

/** By how many slots their address will have before it; the addresses in their order. */
function byTurns(lines: readonly Line[]): readonly Claim[] {
  const all = lines.flatMap(({ held, list }) => list.map(({ claim }, index) => ({ claim, before: held + index })));
  return all.sort((a, b) => a.before - b.before).map(({ claim }) => claim);
}

/** The claim that `next`, which waits, may have at `now`: the oldest of the address with the most, once its turn is over. */
function overdueFor(next: string, queues: ClaimsByIp, holders: ClaimsByIp, now: number): Claim | undefined {
  const mine = holders.get(next)?.length ?? 0;
  let most: readonly ClaimState[] = [];
  for (const list of holders.values()) if (list.length > most.length) most = list;
  const more = most.length - mine;
  if (more < 1) return undefined;
  const oldest = most.reduce((a, b) => (b.inSince < a.inSince ? b : a));
  // Whose address wants several slots at once goes on by turns; one download alone keeps its slot for long.
  const isGreedy = more >= 2 || queues.has(oldest.ip);
  const seconds = isGreedy ? TURN_SECONDS_MIN : TURN_SECONDS_MAX;
  return now - oldest.inSince >= seconds * 1000 ? oldest.claim : undefined;
}
