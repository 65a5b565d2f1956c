// A download at work: sources' lanes fed with pieces, each judged as it arrives, kept by storage, until all are.
// Invariant: a piece counts only when its hash equals the layer's; wrong bytes go back to missing and are blamed.
// Never: dials, opens or renames anything; what it needs is handed to it.

import { HASH_BYTES } from "../content/merkle.ts";
import { type Address, formatAddress } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import type { Clock } from "../transport/clock.ts";
import type { JournalPiece } from "./journal.ts";
import type { Lane, LaneEvent } from "./lane.ts";
import type { OpenLane } from "./lane-threads.ts";
import type { Meter } from "./meter.ts";
import { createScheduler, type LaneId } from "./scheduler.ts";
import type { Source } from "./source.ts";
import type { Storage } from "./storage.ts";

export type FetcherOptions = {
  readonly size: number;
  readonly pieceBytes: number;
  /** The open .part file. */
  readonly fd: number;
  readonly storage: Storage;
  readonly openLane: OpenLane;
  readonly meter: Meter;
  readonly clock: Clock;
  /** The last lane of a source is over, or it sent wrong bytes. */
  readonly onSourceLost: (address: Address, why: Fault) => void;
};

export type Fetcher = {
  /** Pieces that an earlier run kept, with their hashes; to be called before the first source is added. */
  resume(pieces: ReadonlyMap<number, Uint8Array>): void;
  /** What every piece's hash must be. Pieces that came before it are judged now. */
  setLayer(layer: Uint8Array): void;
  addSource(source: Source): void;
  /** What storage calls when pieces are synced and journaled. */
  kept(pieces: readonly JournalPiece[]): void;
  /** The disk refused a write or a sync: nothing more is fetched until it agrees again. */
  pause(why: Fault): void;
  /** Ends every lane and source. */
  stop(): void;
  /** Every piece is kept and judged. */
  readonly whole: Promise<void>;
  readonly keptBytes: number;
  readonly sources: readonly Address[];
  readonly paused: Fault | undefined;
};

/** A source at work. */
type Active = { readonly source: Source; readonly lanes: Map<LaneId, Working>; failures: number };
/** One of its lanes, and how many pieces it may have on order. */
type Working = { readonly lane: Lane; ordered: number; depth: number };

// What a crash would fetch twice stays below 64 MiB: on order, on the way, and waiting for its sync.
const OPEN_BYTES_MAX = 56 * 1024 * 1024;
const DEPTH_FIRST = 2;
const ORDERED_BYTES_MAX = 16 * 1024 * 1024;
const DISK_RETRY_MS = 1000;
const FAILURES_MAX = 3;
/** Beyond this distance one connection cannot fill the link (DESIGN, measured facts). */
const FAR_MS = 10;
const LANES_NEAR = 2;
const LANES_FAR = 4;

export function createFetcher(options: FetcherOptions): Fetcher {
  const { size, pieceBytes, storage, meter, clock } = options;
  const scheduler = createScheduler(size, pieceBytes);
  const hashes = new Map<number, Uint8Array>(); // of pieces that arrived before there was a layer
  const active = new Map<string, Active>(); // by ip:port
  const { promise: whole, resolve: finish } = Promise.withResolvers<void>();
  let layer: Uint8Array | undefined;
  let paused: Fault | undefined;
  let stopped = false;
  let lanesOpened = 0;

  const isRight = (index: number, hash: Uint8Array): boolean =>
    layer === undefined || Buffer.compare(hash, layer.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)) === 0;

  function resume(pieces: ReadonlyMap<number, Uint8Array>): void {
    for (const [index, hash] of pieces) {
      if (!isRight(index, hash)) continue;
      scheduler.kept(index);
      if (layer === undefined) hashes.set(index, hash);
    }
  }

  function setLayer(known: Uint8Array): void {
    layer = known;
    for (const [index, hash] of hashes) if (!isRight(index, hash)) scheduler.failed(index);
    hashes.clear();
    fillAll();
    finishIfWhole();
  }

  function addSource(source: Source): void {
    const key = formatAddress(source.address);
    if (stopped || active.has(key)) return source.close();
    const entry: Active = { source, lanes: new Map(), failures: 0 };
    active.set(key, entry);
    void source.closed.then((why) => drop(entry, why));
    openLanes(entry);
    finishIfWhole();
  }

  function openLanes(entry: Active): void {
    const wanted = entry.source.roundTripMs > FAR_MS ? LANES_FAR : LANES_NEAR;
    while (entry.lanes.size < wanted && !stopped && paused === undefined) {
      const id = lanesOpened++;
      const { address, grant } = entry.source;
      const start = { source: address, ticket: grant.ticket, size, pieceBytes, fd: options.fd };
      const lane = options.openLane(start, (event) => hear(entry, id, event));
      entry.lanes.set(id, { lane, ordered: 0, depth: DEPTH_FIRST });
      fill(entry, id);
    }
  }

  /** Orders as many pieces from a lane as it may have. */
  function fill(entry: Active, id: LaneId): void {
    const working = entry.lanes.get(id);
    if (working === undefined || stopped || paused !== undefined) return;
    while (working.ordered < working.depth && scheduler.openBytes < OPEN_BYTES_MAX) {
      const order = scheduler.next(id, "all");
      if (order === undefined) return;
      working.ordered++;
      working.lane.fetch(order);
    }
  }

  function fillAll(): void {
    for (const entry of active.values()) for (const id of entry.lanes.keys()) fill(entry, id);
  }

  function hear(entry: Active, id: LaneId, event: LaneEvent): void {
    if (event.type === "moved") meter.add(event.bytes);
    else if (event.type === "piece") takePiece(entry, id, event.index, event.hash);
    else if (event.type === "over") endLane(entry, id, event.fault);
  }

  function takePiece(entry: Active, id: LaneId, index: number, hash: Uint8Array): void {
    const working = entry.lanes.get(id);
    if (working !== undefined) {
      working.ordered--;
      // As TCP opens its window: one more piece on order for each that came, until the link is full.
      if (working.depth * pieceBytes < ORDERED_BYTES_MAX) working.depth++;
    }
    if (!isRight(index, hash)) {
      scheduler.failed(index);
      const liar = fault("CORRUPT", "theirs", `${formatAddress(entry.source.address)} sent a wrong piece ${index}`);
      return drop(entry, liar);
    }
    if (layer === undefined) hashes.set(index, hash);
    scheduler.arrived(index);
    storage.written({ index, hash }, scheduler.lengthOf(index));
    fill(entry, id);
    if (scheduler.allArrived) void storage.flush();
  }

  function kept(pieces: readonly JournalPiece[]): void {
    for (const { index, hash } of pieces) {
      if (isRight(index, hash)) scheduler.kept(index);
      else scheduler.failed(index);
    }
    fillAll();
    finishIfWhole();
  }

  function endLane(entry: Active, id: LaneId, why: Fault): void {
    const orphans = scheduler.abandon(id);
    entry.lanes.delete(id);
    if (why.whose === "disk") pause(why);
    else if (!stopped && orphans.length > 0 && ++entry.failures >= FAILURES_MAX) return drop(entry, why);
    if (entry.lanes.size === 0 && paused === undefined) return drop(entry, why);
    fillAll();
  }

  function drop(entry: Active, why: Fault): void {
    const key = formatAddress(entry.source.address);
    if (active.get(key) !== entry) return;
    active.delete(key);
    const lanes = [...entry.lanes];
    entry.lanes.clear();
    for (const [id, { lane }] of lanes) {
      scheduler.abandon(id);
      lane.close();
    }
    entry.source.close();
    if (stopped) return;
    options.onSourceLost(entry.source.address, why);
    fillAll();
  }

  function pause(why: Fault): void {
    if (stopped || paused !== undefined) return;
    paused = why;
    clock.after(DISK_RETRY_MS, async () => {
      paused = undefined;
      if (stopped) return;
      await storage.flush();
      if (paused !== undefined) return;
      for (const entry of active.values()) openLanes(entry);
      fillAll();
    });
  }

  function finishIfWhole(): void {
    if (layer !== undefined && scheduler.done) finish();
  }

  return {
    resume,
    setLayer,
    addSource,
    kept,
    pause,
    stop() {
      stopped = true;
      for (const entry of [...active.values()]) drop(entry, fault("CANCELLED", "ours", "stopped"));
    },
    whole,
    get keptBytes() {
      return scheduler.keptBytes;
    },
    get sources() {
      return [...active.values()].map(({ source }) => source.address);
    },
    get paused() {
      return paused;
    },
  };
}
