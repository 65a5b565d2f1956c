// The sources of a download: the chosen peer, and every other peer that turns out to hold the content.
// Invariant: a peer is asked for the content (its root), never for a name, once the root is known; a liar is not asked again.
// Never: touches a piece; it finds sources and hands them to the requester.

import { type Address, sameAddress } from "../protocol/address.ts";
import { type Fault, isFault, isFinal } from "../protocol/fault.ts";
import type { Holder, Root } from "../protocol/messages.ts";
import type { Env } from "../transport/env.ts";
import { createBackoff } from "./peers/backoff.ts";
import { createChosenPeer } from "./peers/chosen-peer.ts";
import { createOpenings } from "./peers/openings.ts";
import type { OnWait, Source } from "./peers/source.ts";
import { createUsefulness, USELESS } from "./peers/usefulness.ts";
import { FRUIT_BYTES_MIN, type Requester } from "./requests/requester.ts";
import type { Starvation } from "./starvation.ts";

export type PeerListOptions = {
  readonly env: Pick<Env, "clock" | "random">;
  readonly requester: Requester;
  readonly chosen: Address;
  /** Who holds the content that is wanted, and how they are asked. */
  readonly holders: {
    /** Undefined until it is known. */
    readonly root: () => Root | undefined;
    /** As far as the server knows; empty when it is away. */
    readonly find: (root: Root) => Promise<readonly Holder[]>;
    /** Asks a holder for the content. */
    readonly dial: (address: Address, root: Root, onWait: OnWait) => Promise<Source | Fault>;
    /** Asks the chosen peer again by the file's name. */
    readonly redial: (onWait: OnWait) => Promise<Source | Fault>;
  };
  readonly starvation: Starvation;
  /** The download is to be given up: no source is to be had, or none that gives anything. */
  readonly onStarved: (why: Fault) => void;
  /** Keeps to the chosen peer. */
  readonly only: boolean;
  /** Sources at once, SOURCES_MAX at most. */
  readonly sourcesMax?: () => number;
};

export type PeerList = {
  /**
   * A source was lost that had brought so many right pieces, and so many bytes in all; it is asked again after a while,
   * unless it lies too often.
   */
  lost(address: Address, why: Fault, pieces: number, bytes?: number): void;
  /** The position in the chosen peer's queue, while it was lost and is asked again. */
  readonly position: number | undefined;
  stop(): void;
};

export const SOURCES_MAX = 8;
const TURN_MS = 250;
/** So often the least useful partial holder gives way to another. */
const ROTATE_TURNS = 8;
/** The server is asked at once a few times, while others may just be starting too, and then every so many turns. */
const HOLDERS_FIRST_TURNS = 4;
const HOLDERS_EVERY_TURNS = 6;

export function createPeerList(options: PeerListOptions): PeerList {
  const { requester, chosen, holders, starvation, sourcesMax = () => SOURCES_MAX } = options;
  const { clock, random } = options.env;
  const backoff = createBackoff(clock, random);
  const openings = createOpenings(clock);
  const chosenPeer = createChosenPeer({
    address: chosen,
    backoff,
    redial: holders.redial,
    onSource: (source) => requester.addSource(source, "all"),
    onNearer: starvation.renew,
    onChanged: starvation.blame,
  });
  const leastUseful = createUsefulness();
  let stopped = false;

  const room = (): number => sourcesMax() - requester.sources.length;
  const roomToAsk = (): number => openings.roomToAsk(room(), SOURCES_MAX);

  async function ask(address: Address, root: Root): Promise<void> {
    const source = await holders.dial(address, root, openings.begin(address));
    const available = isFault(source) ? source : await source.available();
    openings.end(address);
    if (!isFault(source) && !isFault(available) && !stopped && room() > 0)
      return requester.addSource(source, available);
    if (!isFault(source)) source.close();
    // Of what the server goes on listing there it may only be too early, or too late.
    if (isFault(available) && isFinal(available) && available.fault !== "NOT_SHARED") backoff.refused(address);
    else backoff.vain(address);
  }

  async function findMore(root: Root): Promise<void> {
    const found = await holders.find(root);
    const fresh = found.filter(
      ({ address }) =>
        !openings.has(address) &&
        !requester.sources.some((source) => sameAddress(source.address, address)) &&
        backoff.isWelcome(address),
    );
    // By lot, so that a hundred downloaders do not all turn to the same eight.
    const drawn = fresh.map((holder) => ({ holder, lot: random() })).sort((a, b) => a.lot - b.lot);
    if (stopped) return;
    for (const { holder } of drawn.slice(0, roomToAsk())) void ask(holder.address, root);
  }

  /** What partial holders have by now. */
  async function askPieces(source: Source): Promise<void> {
    const available = await source.available();
    if (!isFault(available)) requester.setAvailable(source.address, available);
  }

  /** Makes room for another source where all are taken: downloaders that only know each other run out of what is new. */
  function rotate(): void {
    const least = leastUseful(requester.detail().brought);
    const isPartial = requester.partialSources.some(({ source }) => source.address === least);
    if (room() === 0 && least !== undefined && isPartial) requester.drop(least, USELESS);
  }

  function turn(count: number): void {
    cancel = clock.after(TURN_MS, () => turn(count + 1));
    const root = holders.root();
    if (root !== undefined && !options.only) {
      const due = count < HOLDERS_FIRST_TURNS || count % HOLDERS_EVERY_TURNS === 0;
      if (due && roomToAsk() > 0) void findMore(root);
      for (const { source } of requester.partialSources) void askPieces(source);
      if (count % ROTATE_TURNS === 0) rotate();
    }
    const found = starvation.look(chosenPeer.hopeMs());
    if (found === "fed") chosenPeer.forget();
    else if (found === "starving") chosenPeer.ask();
    else options.onStarved(found);
  }
  let cancel = clock.after(0, () => turn(0));

  return {
    lost(address, why, pieces, bytes = 0) {
      if (why === USELESS) return backoff.vain(address);
      starvation.lost(address, why);
      backoff.lost(address, why, pieces, pieces > 0 || bytes >= FRUIT_BYTES_MIN);
    },
    get position() {
      return chosenPeer.position;
    },
    stop() {
      stopped = true;
      cancel();
      chosenPeer.stop();
      openings.stop();
    },
  };
}
