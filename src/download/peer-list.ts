// Who sends us this content: the chosen peer, and everyone else who turns out to hold it.
// Invariant: a peer is asked for the content (its root), never for a name, once the root is known; a liar is not asked again.
// Never: touches a piece; it finds sources and hands them to the fetcher.

import { type Address, formatAddress, sameAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault, isFinal } from "../protocol/fault.ts";
import type { Holder, Root } from "../protocol/messages.ts";
import type { Clock } from "../shared/clock.ts";
import { createBackoff } from "./peers/backoff.ts";
import { createQueueProgress } from "./peers/queue-progress.ts";
import type { Source } from "./peers/source.ts";
import { FRUIT_BYTES_MIN, type Requester } from "./requests/requester.ts";

/** Told of each place in a peer's queue, and how to leave it. */
type OnWait = (position: number, leave: () => void) => void;

export type PeerListOptions = {
  readonly fetcher: Requester;
  /** The chosen peer. */
  readonly from: Address;
  readonly clock: Clock;
  readonly random: () => number;
  /** Undefined until it is known. */
  readonly root: () => Root | undefined;
  /** Who holds a content, as far as the server knows; empty when it is away. */
  readonly findHolders: (root: Root) => Promise<readonly Holder[]>;
  /** Asks a holder for the content. */
  readonly open: (address: Address, root: Root, onWait: OnWait) => Promise<Source | Fault>;
  /** Asks the chosen peer again, after it was lost. */
  readonly reopen: (onWait: OnWait) => Promise<Source | Fault>;
  /** Milliseconds since bytes last came, while any are still to come. */
  readonly quietMs: () => number;
  /** The same, whatever we wait for. */
  readonly movedMs: () => number;
  /** No source is to be had, or none that gives anything: why the last one was lost. */
  readonly onStarved: (why: Fault) => void;
  /** Whether to leave all sources for others, and why; nobody is left when not given. */
  readonly impatience?: () => Fault | undefined;
  /** The disk refuses or is slow: nobody is to blame that nothing comes. */
  readonly waitsForDisk: () => boolean;
  /** Keeps to the chosen peer. */
  readonly only: boolean;
  /** Sources at once, SOURCES_MAX at most. */
  readonly sourcesMax?: number;
};

export type PeerList = {
  /**
   * A source was lost that had brought so many right pieces, and so many bytes in all; it is asked again after a while,
   * unless it lies too often.
   */
  lost(address: Address, why: Fault, pieces: number, bytes?: number): void;
  /** The place in the chosen peer's queue, while it was lost and is asked again. */
  readonly place: number | undefined;
  stop(): void;
};

export const SOURCES_MAX = 8;
const TURN_MS = 250;
/** Who downloads at once agrees on who fetches what (parts.ts): up to so many are looked at even when none is needed. */
const PLAYERS_MAX = 200;
/** The server is asked at once a few times, while others may just be starting too, and then every so many turns. */
const HOLDERS_FIRST_TURNS = 4;
const HOLDERS_EVERY_TURNS = 6;
/** Who has not answered so soon takes nobody's place any more; of those we wait for this many more. */
const PROMPT_MS = 1000;
const LATE_MAX = 24;
/** Queues that we wait in. A new one takes the place of one that has not come to us for so long. */
const QUEUES_MAX = 8;
const QUEUE_MS = 60_000;
/**
 * Without any source for so long the download ends: soon where the peer will not have us, later where its program is gone,
 * which may be started anew, and latest where the link is.
 */
const STARVED_BANNED_MS = 5000;
const STARVED_REFUSED_MS = 20_000;
const STARVED_MS = 30_000;
/** With sources but without a byte for so long it ends too: they accept us and give nothing. */
const FRUITLESS_MS = 90_000;
/** …or when each of them has been lost so many times since the download last got on. */
const LOSSES_MAX = 3;

/** A holder that was asked and is no source yet; `leave` is there once it has said WAIT. */
type Opening = { readonly since: number; leave?: () => void };

/**
 * Whether a download has got on since it was last asked: a piece was kept, or more has come of one than ever. What a
 * wrong piece had seemed to bring is counted anew; whoever sends one is asked a few times only.
 */
function createAdvance(fetcher: Requester): { isOn(): boolean } {
  let [kept, most, wrong] = [0, 0, 0];
  return {
    isOn() {
      const bytes = fetcher.keptBytes + fetcher.begunBytes;
      const isOn = fetcher.keptBytes > kept || bytes > most;
      const isLess = fetcher.keptBytes < kept || fetcher.wrongPieces > wrong;
      most = isLess ? bytes : Math.max(most, bytes);
      [kept, wrong] = [fetcher.keptBytes, fetcher.wrongPieces];
      return isOn;
    },
  };
}

export function createPeerList(options: PeerListOptions): PeerList {
  const { fetcher, clock } = options;
  const reputation = createBackoff(clock, options.random);
  const openings = new Map<string, Opening>(); // by ip:port, in the order of asking
  const losses = new Map<string, number>(); // since the download last got on
  const progress = createAdvance(fetcher);
  let keptAt = clock.now();
  let starvedSince: number | undefined;
  let lastLoss: Fault | undefined;
  let crowded = false; // too many download it to look at all of them often
  let refused = false; // nobody listens at the chosen peer's address, or it no longer has the file
  let reopening = false;
  let leaveReopening = () => {};
  let place: number | undefined;
  let stopped = false;
  let cancel = () => {};

  async function ask(address: Address, root: Root): Promise<void> {
    const key = formatAddress(address);
    const opening: Opening = { since: clock.now() };
    openings.set(key, opening);
    const source = await options.open(address, root, (_, leave) => queue(opening, leave));
    const available = isFault(source) ? source : await source.available();
    openings.delete(key);
    if (!isFault(source) && !isFault(available) && !stopped && room() > 0) return fetcher.addSource(source, available);
    if (!isFault(source)) source.close();
    const why = isFault(source) ? source : available;
    // Of what the server goes on listing there it may only be too early, or too late.
    if (isFault(why) && isFinal(why) && why.fault !== "NOT_SHARED") reputation.refused(address);
    else reputation.vain(address);
  }

  /** It says WAIT: it keeps nobody else from being asked, and we do not wait everywhere. */
  function queue(opening: Opening, leave: () => void): void {
    if (stopped) return leave();
    if (opening.leave !== undefined) return;
    const queued = [...openings.values()].filter((other) => other.leave !== undefined);
    const longest = queued[0];
    if (queued.length >= QUEUES_MAX && longest !== undefined) {
      if (clock.now() - longest.since < QUEUE_MS) return leave();
      longest.leave?.();
    }
    opening.leave = leave;
  }

  const { sourcesMax = SOURCES_MAX } = options;
  const room = (): number => sourcesMax - fetcher.sources.length;

  /** How many more may be asked: silence and queues are no answer, but do not stand in the way of one. */
  function roomToAsk(): number {
    const prompt = ({ since, leave }: Opening) => leave === undefined && clock.now() - since < PROMPT_MS;
    const count = [...openings.values()].filter(prompt).length;
    return Math.min(room() - count, SOURCES_MAX + QUEUES_MAX + LATE_MAX - openings.size);
  }

  async function findMore(root: Root): Promise<void> {
    const holders = await options.findHolders(root);
    const players = holders.flatMap(({ address, complete }) => (complete ? [] : [formatAddress(address)]));
    crowded = players.length > PLAYERS_MAX;
    if (holders.length > 0) fetcher.setPlayers(players);
    const fresh = holders.filter(
      ({ address }) =>
        !openings.has(formatAddress(address)) &&
        !fetcher.sources.some((source) => sameAddress(source.address, address)) &&
        reputation.isWelcome(address),
    );
    // By lot, so that a hundred downloaders do not all turn to the same eight.
    const chosen = fresh.map((holder) => ({ holder, lot: options.random() })).sort((a, b) => a.lot - b.lot);
    if (stopped) return;
    for (const { holder } of chosen.slice(0, Math.max(0, roomToAsk()))) void ask(holder.address, root);
  }

  /** What partial holders have by now. */
  async function askPieces(source: Source): Promise<void> {
    const available = await source.available();
    if (!isFault(available)) fetcher.setAvailable(source.address, available);
  }

  async function reopen(): Promise<void> {
    reopening = true;
    const isBetter = createQueueProgress();
    const source = await options.reopen((position, leave) => {
      if (stopped) return leave();
      leaveReopening = leave;
      place = position;
      if (isBetter(position)) starvedSince = clock.now(); // it comes nearer
    });
    reopening = false;
    place = undefined;
    leaveReopening = () => {};
    if (isFault(source)) {
      // Why the transfer broke off says more than why it cannot be taken up again, unless the content is another now,
      // or gone: a sharer cuts the connection when it finds its file changed, and then no longer has it.
      if (source.fault === "CHANGED") lastLoss = source;
      if (source.fault === "NOT_SHARED") lastLoss = fault("CHANGED", "theirs", "the file is no longer shared there");
      if (isFinal(source)) reputation.refused(options.from);
      else if (source.whose === "theirs") reputation.rejected(options.from);
      refused = source.cause === "connection-refused" || source.fault === "NOT_SHARED";
      return;
    }
    if (stopped) source.close();
    else fetcher.addSource(source, "all");
  }

  /** For long no piece has come, though every source has been given its chances. */
  function isFruitless(): boolean {
    if (progress.isOn() || options.waitsForDisk()) {
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
    const left = options.impatience?.();
    // Who sends wrong bytes is not merely slow.
    if (left !== undefined) return options.onStarved(lastLoss?.fault === "CORRUPT" ? lastLoss : left);
    const fruitless = isFruitless();
    const waitsForDisk = options.waitsForDisk();
    if (fetcher.sources.length > 0 || waitsForDisk) {
      starvedSince = undefined;
      refused = false;
      if (lastLoss !== undefined && fruitless && !waitsForDisk) options.onStarved(lastLoss);
      return;
    }
    // Bytes that came meanwhile, between two looks, count: a source that comes and goes is one.
    starvedSince = Math.max(starvedSince ?? clock.now(), clock.now() - options.movedMs());
    const patience = reputation.isBanned(options.from) ? STARVED_BANNED_MS : refused ? STARVED_REFUSED_MS : STARVED_MS;
    const starved = fruitless || clock.now() - starvedSince >= patience;
    if (starved && lastLoss !== undefined) return options.onStarved(lastLoss);
    if (!reopening && reputation.isMissed(options.from)) void reopen();
  }

  function turn(count: number): void {
    cancel = clock.after(TURN_MS, () => turn(count + 1));
    const root = options.root();
    if (root !== undefined && !options.only) {
      const due = count < HOLDERS_FIRST_TURNS || count % HOLDERS_EVERY_TURNS === 0;
      if (due && (roomToAsk() > 0 || !crowded)) void findMore(root);
      for (const { source } of fetcher.partialSources) void askPieces(source);
    }
    starve();
  }
  cancel = clock.after(0, () => turn(0));

  return {
    lost(address, why, pieces, bytes = 0) {
      lastLoss = why;
      const key = formatAddress(address);
      losses.set(key, (losses.get(key) ?? 0) + 1);
      reputation.lost(address, why, pieces, pieces > 0 || bytes >= FRUIT_BYTES_MIN);
    },
    get place() {
      return place;
    },
    stop() {
      stopped = true;
      cancel();
      leaveReopening();
      for (const { leave } of openings.values()) leave?.();
    },
  };
}
