// Who sends us this content: the chosen peer, and everyone else who turns out to hold it.
// Invariant: a peer is asked for the content (its root), never for a name, once the root is known; a liar is not asked again.
// Never: touches a piece; it finds sources and hands them to the fetcher.

import { type Address, formatAddress, sameAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { Holder, Root } from "../protocol/messages.ts";
import type { Clock } from "../transport/clock.ts";
import type { Fetcher } from "./fetcher.ts";
import type { Source } from "./source.ts";

export type SwarmOptions = {
  readonly fetcher: Fetcher;
  /** The chosen peer. */
  readonly from: Address;
  readonly clock: Clock;
  readonly random: () => number;
  /** Undefined until it is known. */
  readonly root: () => Root | undefined;
  /** Who holds a content, as far as the server knows; empty when it is away. */
  readonly findHolders: (root: Root) => Promise<readonly Holder[]>;
  /** Asks a holder for the content. */
  readonly open: (address: Address, root: Root) => Promise<Source | Fault>;
  /** Asks the chosen peer again, after it was lost. */
  readonly reopen: () => Promise<Source | Fault>;
  /** Milliseconds since bytes last came, while any are still to come. */
  readonly quietMs: () => number;
  /** The same, whatever we wait for. */
  readonly movedMs: () => number;
  /** No source is to be had, or none that gives anything: why the last one was lost. */
  readonly onStarved: (why: Fault) => void;
  /** Keeps to the chosen peer. */
  readonly only: boolean;
};

export type Swarm = {
  /** A source was lost; it is asked again after a while, unless it lied. */
  lost(address: Address, why: Fault): void;
  stop(): void;
};

const SOURCES_MAX = 8;
const TURN_MS = 250;
/** The server is asked at once a few times, while others may just be starting too, and then every so many turns. */
const HOLDERS_FIRST_TURNS = 4;
const HOLDERS_EVERY_TURNS = 6;
const COOL_MS = 5000;
/** One that was too slow to wait for is asked again later each time, up to so many times as late. */
const COOL_FACTOR_MAX = 64;
/** Without any source for so long the download ends: soon where the peer's program is gone, later where the link is. */
const STARVED_REFUSED_MS = 5000;
const STARVED_MS = 30_000;
/** With sources but without a byte for so long it ends too: they accept us and give nothing. */
const FRUITLESS_MS = 90_000;
/** …or when each of them has been lost so many times since a piece last came: bytes alone are no fruit. */
const LOSSES_MAX = 3;
/** A wrong byte may be the link's fault; so many are the peer's. */
const STRIKES_MAX = 3;

export function createSwarm(options: SwarmOptions): Swarm {
  const { fetcher, clock } = options;
  const coolUntil = new Map<string, number>(); // by ip:port
  const strikes = new Map<string, number>(); // wrong bytes, by ip:port
  const coolFactor = new Map<string, number>(); // for those that were too slow
  const opening = new Set<string>();
  const losses = new Map<string, number>(); // since a piece was last kept
  let keptBytes = 0;
  let keptAt = clock.now();
  let starvedSince: number | undefined;
  let lastLoss: Fault | undefined;
  let refused = false; // nobody listens at the chosen peer's address, or it no longer has the file
  let reopening = false;
  let stopped = false;
  let cancel = () => {};

  async function add(address: Address, opened: Promise<Source | Fault>): Promise<void> {
    const key = formatAddress(address);
    opening.add(key);
    const source = await opened;
    opening.delete(key);
    if (isFault(source)) {
      coolUntil.set(key, clock.now() + COOL_MS);
      return;
    }
    const available = await source.available();
    if (stopped || isFault(available)) source.close();
    else fetcher.addSource(source, available);
  }

  async function findMore(root: Root): Promise<void> {
    const holders = await options.findHolders(root);
    const room = SOURCES_MAX - fetcher.sources.length - opening.size;
    const now = clock.now();
    const fresh = holders.filter(({ address }) => {
      const key = formatAddress(address);
      const busy = opening.has(key) || fetcher.sources.some((source) => sameAddress(source.address, address));
      return !busy && (coolUntil.get(key) ?? 0) <= now;
    });
    // By lot, so that a hundred downloaders do not all turn to the same eight.
    const chosen = fresh.map((holder) => ({ holder, lot: options.random() })).sort((a, b) => a.lot - b.lot);
    for (const { holder } of chosen.slice(0, Math.max(0, room))) {
      void add(holder.address, options.open(holder.address, root));
    }
  }

  /** What partial holders have by now. */
  async function askPieces(source: Source): Promise<void> {
    const available = await source.available();
    if (!isFault(available)) fetcher.setAvailable(source.address, available);
  }

  async function reopen(): Promise<void> {
    reopening = true;
    const source = await options.reopen();
    reopening = false;
    if (isFault(source)) {
      // Why the transfer broke off says more than why it cannot be taken up again, unless the content is another now,
      // or gone: a sharer cuts the connection when it finds its file changed, and then no longer has it.
      if (source.fault === "CHANGED") lastLoss = source;
      if (source.fault === "NOT_SHARED") lastLoss = fault("CHANGED", "theirs", "the file is no longer shared there");
      refused = source.detail.endsWith("ECONNREFUSED") || source.fault === "NOT_SHARED";
      return;
    }
    if (stopped) source.close();
    else fetcher.addSource(source, "all");
  }

  /** For long no piece has come, though every source has been given its chances. */
  function isFruitless(): boolean {
    if (fetcher.keptBytes !== keptBytes || fetcher.paused !== undefined) {
      keptBytes = fetcher.keptBytes;
      keptAt = clock.now();
      losses.clear();
    }
    if (options.quietMs() > FRUITLESS_MS) return true;
    if (clock.now() - keptAt <= FRUITLESS_MS) return false;
    // Other downloaders that have nothing for us wait for the same pieces, perhaps for ours: they are no hope.
    const idle = new Set(fetcher.partialSources.flatMap((partial) => (partial.idle ? [partial.source] : [])));
    return fetcher.sources.every(
      (source) => idle.has(source) || (losses.get(formatAddress(source.address)) ?? 0) >= LOSSES_MAX,
    );
  }

  function starve(): void {
    const fruitless = isFruitless();
    if (fetcher.sources.length > 0 || fetcher.paused !== undefined) {
      starvedSince = undefined;
      refused = false;
      if (lastLoss !== undefined && fruitless && fetcher.paused === undefined) options.onStarved(lastLoss);
      return;
    }
    // Bytes that came meanwhile, between two looks, count: a source that comes and goes is one.
    starvedSince = Math.max(starvedSince ?? clock.now(), clock.now() - options.movedMs());
    const banned = coolUntil.get(formatAddress(options.from)) === Number.POSITIVE_INFINITY;
    const patience = refused || banned ? STARVED_REFUSED_MS : STARVED_MS;
    const starved = fruitless || clock.now() - starvedSince >= patience;
    if (starved && lastLoss !== undefined) return options.onStarved(lastLoss);
    if (!reopening && !banned) void reopen();
  }

  function turn(count: number): void {
    cancel = clock.after(TURN_MS, () => turn(count + 1));
    const root = options.root();
    if (root !== undefined && !options.only) {
      const due = count < HOLDERS_FIRST_TURNS || count % HOLDERS_EVERY_TURNS === 0;
      if (due && fetcher.sources.length + opening.size < SOURCES_MAX) void findMore(root);
      for (const { source } of fetcher.partialSources) void askPieces(source);
    }
    starve();
  }
  cancel = clock.after(0, () => turn(0));

  return {
    lost(address, why) {
      lastLoss = why;
      const key = formatAddress(address);
      losses.set(key, (losses.get(key) ?? 0) + 1);
      const lied = why.fault === "CORRUPT" || why.fault === "BAD_REPLY";
      const count = (strikes.get(key) ?? 0) + Number(lied);
      strikes.set(key, count);
      const factor = why.fault === "STALLED" ? (coolFactor.get(key) ?? 1) : 1;
      if (why.fault === "STALLED") coolFactor.set(key, Math.min(2 * factor, COOL_FACTOR_MAX));
      coolUntil.set(key, count >= STRIKES_MAX ? Number.POSITIVE_INFINITY : clock.now() + COOL_MS * factor);
    },
    stop() {
      stopped = true;
      cancel();
    },
  };
}
