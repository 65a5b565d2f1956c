// Which catalog a server has: its own memory's, or the index that it shares with others through Redis.
// Invariant: its user need not know which of the two it is.
// Never: fails because Redis is away.

import type { Catalog } from "../catalog/contract.ts";
import { createMemoryCatalog, type MemoryCatalog } from "../catalog/memory.ts";
import { createRedisCatalog, type RedisTrouble } from "../catalog/redis.ts";
import type { Limits } from "../protocol/server-limits.ts";
import { askFirstLine } from "../transport/first-line.ts";

import type { Gauges } from "./metrics.ts";

export type { RedisTrouble } from "../catalog/redis.ts";

/** The shared index is away: only our own peers are known until it is back. */
export type IndexEvent =
  | { readonly type: "index-away"; readonly trouble: RedisTrouble }
  | { readonly type: "index-back" };

export type Index = Catalog &
  Pick<MemoryCatalog, "peers" | "entries" | "bytes"> &
  Partial<Pick<MemoryCatalog, "wordsWaiting">> & {
    /** Only for one that is shared: whether it is, now. */
    readonly shared?: boolean;
    readonly otherServers?: number;
    readonly otherEntries?: number;
    close?(): Promise<void>;
  };

/** What an operator reads of it; a catalog that a test hands in need not tell. */
export function gaugesOf(
  index: Partial<Index>,
  counts: Pick<Gauges, "connections" | "unlisted" | "wishes">,
  listening: boolean,
): Gauges {
  const { peers = 0, entries = 0, bytes = 0, wordsWaiting = 0, shared, otherServers = 0, otherEntries = 0 } = index;
  return {
    otherServers,
    otherEntries,
    peers,
    entries,
    catalogBytes: bytes,
    wordsWaiting,
    ...counts,
    listening,
    indexShared: shared,
  };
}

const MIB = 1024 * 1024;

/** `redis` is the URL of a shared index; without it the catalog is in memory. It keeps within `limits`. */
export function openIndex(
  redis: string | undefined,
  { names: namesMax, catalogMebibytes, catalogMebibytesPerAddress }: Limits,
  onEvent: (event: IndexEvent) => void,
): Index {
  const budget = { bytes: catalogMebibytes * MIB, bytesPerAddress: catalogMebibytesPerAddress * MIB };
  if (redis === undefined) return createMemoryCatalog(undefined, namesMax, budget);
  return createRedisCatalog({
    url: redis,
    namesMax,
    budget,
    probe: askFirstLine,
    onEvent: (event) =>
      onEvent(event.type === "away" ? { type: "index-away", trouble: event.trouble } : { type: "index-back" }),
  });
}
