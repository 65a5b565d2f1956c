// A catalog that several servers share through Redis: our own peers and a replica of everyone else's, all in this memory.
// Invariant: our peers are answered for whatever Redis does; others' for as long as their server's lease lasts.
// Never: asks Redis for an answer.

import type { Catalog } from "./contract.ts";
import { after, type MaybePromise } from "./contract.ts";
import { createIndexLink, type RedisEvent } from "./index-link.ts";
import { LEASE_SECONDS } from "./index-store.ts";
import type { Budget } from "./members.ts";
import { createMemoryCatalog, type MemoryCatalog } from "./memory.ts";
import { createPublisher } from "./publisher.ts";
import type { Probe } from "./redis-nodes.ts";
import { type Arrivals, createReplica } from "./replica.ts";

export type { RedisEvent } from "./index-link.ts";
export type { RedisTrouble } from "./redis-nodes.ts";
export { LEASE_SECONDS };

export type RedisCatalog = Catalog &
  Pick<MemoryCatalog, "peers" | "entries" | "bytes" | "wordsWaiting"> & {
    /** Whether others can find our peers, and we all of theirs. */
    readonly shared: boolean;
    /** Other servers that are in, and what their peers have. */
    readonly otherServers: number;
    readonly otherEntries: number;
    /** Resolves when everything that our peers have said so far can be read by others, or Redis is away. */
    settled(): Promise<void>;
    close(): Promise<void>;
  };

export type RedisCatalogOptions = {
  /** `redis[s]://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/DB]`: one Redis, or nodes of a cluster. */
  readonly url: string;
  readonly probe: Probe;
  readonly onEvent: (event: RedisEvent) => void;
  /** As a catalog in memory has it; what others have counts towards it. */
  readonly namesMax?: number;
  readonly budget?: Budget;
};

/** How long a peer waits for others to be able to find what it announced; then it is answered all the same. */
const SETTLE_MS_MAX = 1000;
const now = (): number => performance.now();
const NO_ARRIVALS: Arrivals = { isWanted: () => false, hear: () => {} };

/** Comes to Redis in the background; until then, and whenever it is away, answers are partial. */
export function createRedisCatalog({ url, probe, onEvent, namesMax, budget }: RedisCatalogOptions): RedisCatalog {
  let arrivals = NO_ARRIVALS;
  const memory = createMemoryCatalog(
    { entry: (serial, name) => publisher.entry(serial, name), peer: (serial) => publisher.peer(serial) },
    namesMax,
    budget,
  );
  const publisher = createPublisher(memory.own);
  const replica = createReplica({
    others: memory.others,
    self: () => link.name,
    now,
    countAgain: () => link.countAgain(),
    arrivals: { isWanted: () => arrivals.isWanted(), hear: (name) => arrivals.hear(name) },
  });
  const link = createIndexLink({ url, probe, publisher, replica, now, onEvent });

  const isPartial = (): boolean => {
    replica.expire(now());
    return link.name === undefined || !replica.isWhole;
  };

  /** An answer without those whose lease is over. */
  const current = <T>(ask: () => T): T => {
    replica.expire(now());
    return ask();
  };

  /** A peer's word is kept when others can read it, unless that takes too long. */
  const kept = <T>(work: MaybePromise<T>): MaybePromise<T> =>
    after(work, async (value) => {
      if (link.name !== undefined) await Promise.race([publisher.settled(), Bun.sleep(SETTLE_MS_MAX)]);
      return value;
    });

  return {
    get isPartial() {
      return isPartial();
    },
    onArrival(listener) {
      arrivals = listener;
    },
    search: (name) => current(() => memory.search(name)),
    sources: (root) => current(() => memory.sources(root)),
    find: (words, offset, count) => current(() => memory.find(words, offset, count)),
    writeHolders: (bytes, from, to, into) => (isPartial() ? -1 : memory.writeHolders(bytes, from, to, into)),
    join: (address, shares, replacing) => kept(memory.join(address, shares, replacing)),
    update: (member, share) => kept(memory.update(member, share)),
    offer: (member, share) => kept(memory.offer(member, share)),
    withdraw: (member, name) => kept(memory.withdraw(member, name)),
    leave: (member) => kept(memory.leave(member)),
    settled: () => publisher.settled(),
    async close() {
      await link.close();
      await memory.close();
    },
    get shared() {
      return !isPartial();
    },
    get otherServers() {
      return replica.servers;
    },
    get otherEntries() {
      return memory.others.entries;
    },
    get peers() {
      return memory.peers;
    },
    get entries() {
      return memory.entries;
    },
    get bytes() {
      return memory.bytes;
    },
    get wordsWaiting() {
      return memory.wordsWaiting;
    },
  };
}
