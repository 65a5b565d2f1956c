// A download at work: sources' lanes fed with pieces, each judged as it arrives, kept by storage, until all are.
// Invariant: a piece counts only when its hash equals the layer's; wrong bytes go back to missing and are blamed.
// Never: dials, opens or renames anything; what it needs is handed to it.

import { type Address, formatAddress } from "../../protocol/address.ts";
import { type Fault, fault, isFinal } from "../../protocol/fault.ts";
import { BLOCK_BYTES } from "../../protocol/limits.ts";
import type { Clock } from "../../shared/clock.ts";
import type { PartFile } from "../disk/part-file.ts";
import type { LaneEvent } from "../lanes/lane.ts";
import type { OpenLane } from "../lanes/lane-threads.ts";
import type { LaneStart } from "../lanes/lane-worker.ts";
import type { Source } from "../peers/source.ts";
import { type Available, createPiecePicker, type LaneId } from "../pieces/piece-picker.ts";
import { createVerifier, type Verifier } from "../pieces/verifier.ts";
import type { RateMeter } from "../rate-meter.ts";
import { type Active, createActiveSources } from "./active-sources.ts";
import { createClosingLanes } from "./closing-lanes.ts";
import { createRequestWindow, lanesWanted, lanesWithin } from "./request-window.ts";
import { takeOverStragglers } from "./stragglers.ts";

export type RequesterOptions = {
  readonly size: number;
  readonly pieceBytes: number;
  /** The open .part file, and what is to be told of every write to it. */
  readonly part: Pick<LaneStart, "fd" | "watch">;
  readonly storage: PartFile;
  readonly openLane: OpenLane;
  readonly meter: RateMeter;
  readonly clock: Clock;
  readonly random: () => number;
  /** The address under which others know us. */
  readonly self: Address;
  /** Our own limit, in bytes per second. */
  readonly maxDownloadRate?: number | undefined;
  /** These are right and on the disk: others may have them from us. */
  readonly onVerified: (indexes: readonly number[]) => void;
  /** Every piece is kept and right: names those that the disk does not hold all the same. */
  readonly lookAgain: () => Promise<readonly number[]>;
  /**
   * The source's lanes are over, it was too slow to wait for, or it sent wrong bytes (CORRUPT); it had brought so many
   * right `pieces`, and so many `bytes` of whatever worth.
   */
  readonly onSourceLost: (address: Address, why: Fault, pieces: number, bytes: number) => void;
};

export type Requester = {
  /** Where earlier pieces, the layer, and what storage has kept are handed in. */
  readonly judge: Verifier;
  addSource(source: Source, available: Available): void;
  setAvailable(address: Address, available: Available): void;
  /** Everybody else who downloads the same now, by ip:port, as the server told all of them. */
  setPlayers(names: readonly string[]): void;
  /** Leaves a source; onSourceLost is told why. */
  drop(address: Address, why: Fault): void;
  /** The disk refused a write or a sync: nothing more is fetched until it agrees again. */
  pause(why: Fault): void;
  /** Ends every source; resolves when no lane writes any more. */
  stop(): Promise<void>;
  /** Every piece is kept and judged. */
  readonly whole: Promise<void>;
  readonly keptBytes: number;
  /** Of pieces that are not whole. */
  readonly begunBytes: number;
  /** How many pieces were wrong so far. */
  readonly wrongPieces: number;
  readonly sources: readonly Source[];
  /** Those that are still downloading it themselves; `idle` says that nothing we lack is on order there. */
  readonly partialSources: readonly { readonly source: Source; readonly idle: boolean }[];
  readonly paused: Fault | undefined;
};

// What the program's sudden end would fetch twice stays below 64 MiB: this, and what storage has not noted yet.
const ORDERED_BYTES_MAX = 48 * 1024 * 1024;
const DISK_RETRY_MS = 1000;
/** Lanes of a source that end with something on order, one after another, before it is left. */
const FAILURES_MAX = 3;
/** One that has brought so much is no failure: a source may cut whatever lasts for a minute, and a slow link brings no more. */
export const FRUIT_BYTES_MIN = 4 * BLOCK_BYTES;
/** What came of a piece is noted after so long, and so much: a few times for each piece of a slow download, never of a fast one. */
const BEGUN_NOTE_MS = 5000;
const BEGUN_NOTE_BYTES = 4 * BLOCK_BYTES;

export function createRequester(options: RequesterOptions): Requester {
  const { size, pieceBytes, storage, meter, clock } = options;
  const scheduler = createPiecePicker(size, pieceBytes, options.random, formatAddress(options.self));
  const judge = createVerifier({
    scheduler,
    onSound: (pieces) => {
      for (const piece of pieces) storage.written(piece, scheduler.lengthOf(piece.index));
    },
    onVerified: options.onVerified,
    lookAgain: options.lookAgain,
    onJudged: (isWhole) => (isWhole ? finish() : fillAll()),
  });
  const roster = createActiveSources();
  const { promise: whole, resolve: finish } = Promise.withResolvers<void>();
  const departures = createClosingLanes();
  let paused: Fault | undefined;
  let stopped = false;
  let lanesOpened = 0;
  let wrongPieces = 0;
  const noted = new Map<number, { readonly at: number; readonly bytes: number }>(); // pieces under way, as storage knows them

  function addSource(source: Source, available: Available): void {
    const entry = stopped ? undefined : roster.add(source, available);
    if (entry === undefined) return source.close();
    scheduler.setPartials(roster.holders());
    void source.closed.then((why) => drop(entry, why));
    openLanes(entry);
  }

  function setAvailable(address: Address, available: Available): void {
    const entry = roster.at(address);
    if (entry === undefined) return;
    entry.available = available;
    scheduler.setPartials(roster.holders());
    for (const id of entry.lanes.keys()) fill(entry, id);
  }

  function openLanes(entry: Active): void {
    const rate = Math.max(0, ...[...entry.lanes.values()].map(({ window }) => window.rate()));
    const wanted = lanesWithin(options.maxDownloadRate, lanesWanted(entry.source.roundTripMs, roster.size === 1, rate));
    while (entry.lanes.size < Math.min(wanted, entry.lanesMost) && !stopped && paused === undefined) {
      const id = lanesOpened++;
      const { address, grant } = entry.source;
      const start = { source: address, ticket: grant.ticket, size, pieceBytes, ...options.part };
      const lane = options.openLane(start, (event) => hear(entry, id, event));
      entry.lanes.set(id, { lane, window: createRequestWindow(pieceBytes, entry.source.roundTripMs, clock), bytes: 0 });
      fill(entry, id);
    }
  }

  /** Orders as many pieces from a lane as it may have. */
  function fill(entry: Active, id: LaneId): void {
    const working = entry.lanes.get(id);
    if (working === undefined || stopped || paused !== undefined) return;
    const { lane, window } = working;
    const bytesMost = Math.min(ORDERED_BYTES_MAX, storage.roomBytes());
    while (window.hasRoom(pieceBytes) && scheduler.orderedBytes + pieceBytes <= bytesMost) {
      const order = scheduler.next(id, entry.available, formatAddress(entry.source.address));
      if (order === undefined) return;
      noted.set(order.index, { at: clock.now(), bytes: order.have ?? 0 });
      window.order(scheduler.fetchedOf(order.index));
      lane.fetch(order);
    }
  }

  function fillAll(): void {
    for (const entry of roster.all()) for (const id of entry.lanes.keys()) fill(entry, id);
  }

  function hear(entry: Active, id: LaneId, event: LaneEvent): void {
    if (event.type === "moved") {
      if (event.index !== undefined) takeBlocks(event.index, event.have ?? 0);
      takeBytes(entry, id, event.bytes);
    } else if (event.type === "piece") takePiece(entry, id, event.index, event.hash);
    else if (event.type === "over") departures.over(id) ? confirmClosed(id) : endLane(entry, id, event.fault);
  }

  // A lane on another thread may still be writing when we give it up. Its pieces are nobody else's, and the file stays
  // open, until it has said that it is over.
  function closeLane(entry: Active, id: LaneId): void {
    const working = entry.lanes.get(id);
    if (working === undefined) return;
    entry.lanes.delete(id);
    departures.add(id);
    working.lane.close();
  }

  function confirmClosed(id: LaneId): void {
    scheduler.abandon(id);
    fillAll();
  }

  function takeBytes(entry: Active, id: LaneId, bytes: number): void {
    meter.add(bytes);
    entry.bytes += bytes;
    const working = entry.lanes.get(id);
    if (working !== undefined) working.bytes += bytes;
    working?.window.moved(bytes);
    fill(entry, id);
  }

  /** The first `bytes` of a piece are written: should it break off, it goes on from there. */
  function takeBlocks(index: number, bytes: number): void {
    if (paused !== undefined) return; // begun before the disk refused, as below
    scheduler.came(index, bytes);
    const before = noted.get(index);
    if (before === undefined) return;
    if (clock.now() - before.at < BEGUN_NOTE_MS || bytes - before.bytes < BEGUN_NOTE_BYTES) return;
    noteBegun(index, bytes - (bytes % BLOCK_BYTES));
  }

  function noteBegun(index: number, bytes: number): void {
    noted.set(index, { at: clock.now(), bytes });
    storage.begun(index, bytes);
  }

  function takePiece(entry: Active, id: LaneId, index: number, hash: Uint8Array): void {
    entry.lanes.get(id)?.window.arrived(scheduler.fetchedOf(index));
    noted.delete(index);
    // Begun before the disk refused: a failed sync leaves in doubt whatever was written before it.
    if (paused !== undefined) return scheduler.failed(index);
    if (!judge.isRight(index, hash)) {
      wrongPieces++;
      storage.forgetBegun(index);
      // Of two sources' bytes nobody knows whose are wrong: the piece is fetched whole from one.
      if (!scheduler.wrong(index)) return fill(entry, id);
      entry.source.damaged(index);
      const from = formatAddress(entry.source.address);
      return drop(entry, fault("CORRUPT", "theirs", `${from} sent a wrong piece ${index}`));
    }
    entry.brought++;
    scheduler.arrived(index);
    storage.written({ index, hash }, scheduler.lengthOf(index));
    fill(entry, id);
    if (roster.size === 1) openLanes(entry); // it may have shown that it is worth another
    if (scheduler.allArrived) void storage.flush();
  }

  function endLane(entry: Active, id: LaneId, why: Fault): void {
    const working = entry.lanes.get(id);
    if (working === undefined) return;
    entry.lanes.delete(id);
    const orphans = scheduler.abandon(id);
    if (why.whose === "disk") pause(why);
    else if (working.bytes >= FRUIT_BYTES_MIN) entry.failures = 0;
    else if (orphans > 0 && ++entry.failures >= FAILURES_MAX) return drop(entry, why);
    if (isFinal(why)) entry.lanesMost = entry.lanes.size;
    if (entry.lanes.size === 0 && paused === undefined)
      return isFinal(why) ? void refused(entry, why) : drop(entry, why);
    fillAll();
  }

  /** A source that takes no lane. One that has started anew knows nothing of our ticket, and is not to blame. */
  async function refused(entry: Active, why: Fault): Promise<void> {
    fillAll();
    const isThere = await entry.source.ping();
    drop(entry, isThere ? why : fault("PEER_GONE", "network", "it has forgotten us", true));
  }

  function drop(entry: Active, why: Fault): void {
    if (!roster.remove(entry)) return;
    for (const id of [...entry.lanes.keys()]) closeLane(entry, id);
    entry.source.close();
    if (stopped) return;
    scheduler.setPartials(roster.holders());
    options.onSourceLost(entry.source.address, why, entry.brought, entry.bytes);
    fillAll();
  }

  function pause(why: Fault): void {
    if (stopped || paused !== undefined) return;
    paused = why;
    scheduler.forgetBegun();
    for (const entry of roster.all()) for (const id of [...entry.lanes.keys()]) closeLane(entry, id);
    clock.after(DISK_RETRY_MS, retry);
  }

  async function retry(): Promise<void> {
    if (!departures.none) return void clock.after(DISK_RETRY_MS, retry); // a lane may still be writing
    paused = undefined;
    if (stopped) return;
    await storage.flush();
    if (paused !== undefined) return;
    for (const entry of roster.all()) openLanes(entry);
  }

  // Where our own limit is what holds us up, no lane is slow.
  const isHeldUp = () => meter.rate() > (options.maxDownloadRate ?? Number.POSITIVE_INFINITY) / 2;
  const stopRelieving = takeOverStragglers(
    clock,
    () => (isHeldUp() ? [] : roster.all()),
    scheduler.canTakeOver,
    relieve,
  );

  /** A lane that was relieved is over; its source goes on with the others it has, or is asked again later. */
  function relieve(entry: Active, id: LaneId): void {
    closeLane(entry, id);
    if (entry.lanes.size === 0) drop(entry, fault("STALLED", "theirs", "too slow to wait for", true));
  }

  return {
    judge,
    addSource,
    setAvailable,
    setPlayers: scheduler.setPlayers,
    drop(address, why) {
      const entry = roster.at(address);
      if (entry !== undefined) drop(entry, why);
    },
    pause,
    async stop() {
      stopped = true;
      stopRelieving();
      for (const entry of roster.all()) drop(entry, fault("CANCELLED", "ours", "stopped"));
      await departures.allOver();
      for (const [index, bytes] of scheduler.beginnings()) noteBegun(index, bytes);
    },
    whole,
    get keptBytes() {
      return scheduler.keptBytes;
    },
    get begunBytes() {
      return scheduler.begunBytes;
    },
    get wrongPieces() {
      return wrongPieces;
    },
    get sources() {
      return roster.all().map(({ source }) => source);
    },
    get partialSources() {
      return roster.partials();
    },
    get paused() {
      return paused;
    },
  };
}
