// A catalog that several servers share through Redis: our own peers from memory, everyone else's from there.
// Invariant: our peers are answered for whatever Redis does; what others read of us ends with our lease.
// Never: scans. Redis' own expiry cleans up after a server that is gone.
//
// Keys. SERVER is a name drawn anew each time a server comes to Redis; SHARD is 0–63, from a hash of what is looked up.
//   napster:servers            sorted set: SERVER, scored with the time (ms, Redis' clock) at which its lease ends
//   napster:SERVER:n:SHARD     sorted set, all scores 0: "<name> NUL <ip:port[ ID]>" for each whole file of each of its peers
//   napster:SERVER:r:SHARD     sorted set, all scores 0: "<root> NUL <ip:port[ ID]> complete|partial"
// The last two expire LEASE_SECONDS after their last renewal; each server renews its own once a second. A SEARCH is
// one script: for each live server but the asker, the range of members that begin with "<name> NUL".

import { type Address, formatAddress, parsePeer } from "../protocol/address.ts";
import { isFault } from "../protocol/fault.ts";
import { SEARCH_PEERS_MAX } from "../protocol/limits.ts";
import type { Holder, Root } from "../protocol/messages.ts";
import { after, type Catalog, type MaybePromise } from "./contract.ts";
import type { Budget } from "./members.ts";
import { createMemoryCatalog, type MemoryCatalog, type Watch } from "./memory.ts";
import { createRedisLink, LEASE_SECONDS, type LinkOptions } from "./redis-link.ts";
import { createMirror } from "./redis-mirror.ts";
import { runInSlices } from "./time-slices.ts";

export type { RedisEvent, RedisTrouble } from "./redis-link.ts";
export { LEASE_SECONDS };

export type RedisCatalog = Catalog &
  Pick<MemoryCatalog, "peers" | "entries" | "bytes"> & {
    /** Whether others can find our peers, and we theirs. */
    readonly shared: boolean;
    /** Resolves when everything that our peers have said so far can be read by others, or Redis is away. */
    settled(): Promise<void>;
    close(): Promise<void>;
  };

export type RedisCatalogOptions = Pick<LinkOptions, "url" | "probe" | "onEvent"> & {
  /** As a catalog in memory has it. */
  readonly namesMax?: number;
  readonly budget?: Budget;
};

const PREFIX = "napster";
const SERVERS = `${PREFIX}:servers`;
const SHARDS = 64;
const NUL = "\u0000";
/** How long a peer waits for others to be able to find what it announced; then it is answered all the same. */
const SETTLE_MS_MAX = 1000;

const SEARCH_SCRIPT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for _, server in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')) do
  if server ~= ARGV[1] then
    local key = '${PREFIX}:' .. server .. ':' .. ARGV[2]
    local range = redis.call('ZRANGEBYLEX', key, '[' .. ARGV[3] .. '\\0', '(' .. ARGV[3] .. '\\1', 'LIMIT', 0, ${SEARCH_PEERS_MAX})
    for _, member in ipairs(range) do found[#found + 1] = member end
  end
end
return found`;

/** Comes to Redis in the background; until then, and whenever it is away, it knows this server's own peers. */
export function createRedisCatalog({ url, probe, onEvent, namesMax, budget }: RedisCatalogOptions): RedisCatalog {
  const watch: Watch = {
    named: (address, name) => mirror.mark(shardOf("n", name), `${name}${NUL}${address}`),
    held: (address, root) => mirror.mark(shardOf("r", root), `${root}${NUL}${address}`),
  };
  const memory = createMemoryCatalog(watch, namesMax, budget);
  const mirror = createMirror({
    send: (command, args) => link.send(command, args),
    keyOf: (shard) => (link.identity === undefined ? undefined : `${PREFIX}:${link.identity}:${shard}`),
    truthOf,
    leaseSeconds: LEASE_SECONDS,
  });
  const link = createRedisLink({
    url,
    probe,
    serversKey: SERVERS,
    script: SEARCH_SCRIPT,
    leasedKeys: function* (identity) {
      for (const kind of ["n", "r"]) for (let i = 0; i < SHARDS; i++) yield `${PREFIX}:${identity}:${kind}:${i}`;
    },
    onJoined() {
      mirror.forget();
      void runInSlices(memory.tellAll());
    },
    onEvent,
  });

  function truthOf(shard: string, pair: string): { add: string[]; remove: string[] } {
    const [text = "", address = ""] = pair.split(NUL);
    if (shard.startsWith("n"))
      return memory.hasWhole(address, text) ? { add: [pair], remove: [] } : { add: [], remove: [pair] };
    const held = memory.holds(address, text);
    const [complete, partial] = [`${pair} complete`, `${pair} partial`];
    if (held === undefined) return { add: [], remove: [complete, partial] };
    return held === "whole" ? { add: [complete], remove: [partial] } : { add: [partial], remove: [complete] };
  }

  /** What the other live servers have written under `text`, behind its NUL. */
  async function ask(kind: "n" | "r", text: string): Promise<string[]> {
    if (link.identity === undefined) return [];
    const found = await link.ask([link.identity, shardOf(kind, text), text]);
    // Whatever else writes under our keys is not believed, and does no harm.
    const texts = Array.isArray(found) ? found.filter((one): one is string => typeof one === "string") : [];
    return texts.map((one) => one.slice(text.length + 1));
  }

  async function search(name: string): Promise<readonly Address[]> {
    const others = await ask("n", name);
    const ours = await memory.search(name);
    if (others.length === 0) return ours;
    return merge(
      ours,
      others.flatMap((text) => parsed(text) ?? []),
      (one) => one,
    );
  }

  async function sources(root: Root): Promise<readonly Holder[]> {
    const others = await ask("r", root);
    const ours = await memory.sources(root);
    const theirs = others.flatMap((text): Holder[] => {
      const end = text.lastIndexOf(" ");
      const address = parsed(text.slice(0, Math.max(0, end)));
      return address === undefined ? [] : [{ address, complete: text.slice(end + 1) === "complete" }];
    });
    return [...merge(ours, theirs, (one) => one.address)].sort((a, b) => Number(b.complete) - Number(a.complete));
  }

  /** A peer's word is kept when others can read it, unless that takes too long. */
  const kept = <T>(work: MaybePromise<T>): MaybePromise<T> =>
    after(work, async (value) => {
      if (link.identity !== undefined) await Promise.race([mirror.settled(), Bun.sleep(SETTLE_MS_MAX)]);
      return value;
    });

  return {
    isShared: true,
    search,
    sources,
    join: (address, shares, replacing) => kept(memory.join(address, shares, replacing)),
    update: (member, share) => kept(memory.update(member, share)),
    offer: (member, share) => kept(memory.offer(member, share)),
    withdraw: (member, name) => kept(memory.withdraw(member, name)),
    leave: (member) => kept(memory.leave(member)),
    settled: () => mirror.settled(),
    close: () => link.close(),
    get shared() {
      return link.identity !== undefined;
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
  };
}

function shardOf(kind: "n" | "r", text: string): string {
  return `${kind}:${Bun.hash.crc32(text) % SHARDS}`;
}

function parsed(text: string): Address | undefined {
  const address = parsePeer(text);
  return isFault(address) ? undefined : address;
}

/** Ours first; an address that two servers name, because it has just moved from one to the other, once. */
function merge<T>(ours: readonly T[], theirs: readonly T[], addressOf: (one: T) => Address): readonly T[] {
  const all = new Map<string, T>();
  for (const one of [...ours, ...theirs]) {
    const key = formatAddress(addressOf(one));
    if (!all.has(key) && all.size < SEARCH_PEERS_MAX) all.set(key, one);
  }
  return [...all.values()];
}
