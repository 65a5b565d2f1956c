// The lanes to the sources at work: opened, given pieces, heard and closed.
// Invariant: a piece on order at a closed lane goes to no other lane until the closed one has said that it is over.
// Never: adds or drops a source.

import { formatAddress } from "../../protocol/address.ts";
import type { Fault } from "../../protocol/fault.ts";
import type { Clock } from "../../shared/clock.ts";
import type { PartFile } from "../disk/part-file.ts";
import type { Lane, LaneEvent, Moved } from "../lanes/lane.ts";
import type { Order } from "../lanes/piece-writer.ts";
import type { Source } from "../peers/source.ts";
import type { LaneId, PiecePicker } from "../pieces/piece-picker.ts";
import type { RateMeter } from "../rate-meter.ts";
import type { Active, ActiveSources, Working } from "./active-sources.ts";
import type { IncomingPieces } from "./incoming-pieces.ts";
import { fastestFirst, isLeftToFaster } from "./played-pieces.ts";
import { createRequestWindow, lanesWanted, lanesWithin } from "./request-window.ts";

export type SourceLanesOptions = {
  readonly picker: PiecePicker;
  readonly partFile: PartFile;
  readonly openLane: (source: Source, onEvent: (event: LaneEvent) => void) => Lane;
  readonly meter: RateMeter;
  readonly clock: Clock;
  /** Our own limit, in bytes per second; it may change. */
  readonly maxDownloadRate: () => number | undefined;
};

export type SourceLanes = {
  /** Opens as many lanes to a source as are worth it, and orders pieces from them. */
  open(entry: Active): void;
  /** Orders as many pieces from a lane as it may have. */
  fill(entry: Active, id: LaneId): void;
  fillAll(): void;
  close(entry: Active, id: LaneId): void;
  /** Closes every lane, and opens none; false when that is so already. */
  pause(why: Fault): boolean;
  /** Lanes may be opened again; false while a closed one may still be writing. */
  unpause(): boolean;
  readonly paused: Fault | undefined;
  /** Closes every lane; resolves when none of them writes any more. */
  stop(): Promise<void>;
};

export type SourceLanesHandlers = {
  /** A source sent the end of a piece, which is right. */
  arrived(entry: Active, index: number): void;
  /** A source sent all of a wrong piece. */
  wrong(entry: Active, index: number): void;
  /** A lane that was not closed is over, with so many pieces unfinished. */
  over(entry: Active, lane: Working, why: Fault, unfinished: number): void;
};

/** Of all lanes together. What the program's sudden end costs stays below 64 MiB: this, and what the part file has not noted. */
const ORDERED_BYTES_MAX = 48 * 1024 * 1024;

/** What a lane of `entry` is to fetch next; urgent pieces are left to a source that brings them sooner. */
function nextOf(picker: PiecePicker, entry: Active, id: LaneId, sources: readonly Active[]): Order | undefined {
  const { source, available, lanes } = entry;
  const window = lanes.get(id)?.window;
  const part = available === "all" ? source.grant.part : undefined;
  const piece = (index: number) => ({ index, bytes: picker.lengthOf(index) });
  const mayTake = (index: number) => window !== undefined && !isLeftToFaster(entry, window, piece(index), sources);
  return picker.next(id, available, formatAddress(source.address), { mayTake, part });
}

/** How many lanes to a source are worth it now; `isAlone`: we have no other. */
function lanesWorth({ source, lanes }: Active, isAlone: boolean): number {
  let rate = 0;
  for (const { window } of lanes.values()) rate = Math.max(rate, window.rate());
  // Another slot than the first says that others take from it too.
  const isOurs = isAlone && (source.grant.part?.slot ?? 0) === 0;
  return lanesWanted(source.roundTripMs, isOurs, rate);
}

/** Whether a lane is one of more than `most`, of which the first go on. */
function rests({ lanes }: Active, id: LaneId, most: number): boolean {
  return lanes.size > most && [...lanes.keys()].indexOf(id) >= most;
}

export function createSourceLanes(
  options: SourceLanesOptions,
  active: ActiveSources,
  incoming: IncomingPieces,
  on: SourceLanesHandlers,
): SourceLanes {
  const { picker, partFile, clock, maxDownloadRate } = options;
  const { pieceBytes } = picker;
  const wanted = (entry: Active) => lanesWithin(maxDownloadRate(), lanesWorth(entry, active.size === 1));
  const closing = new Set<LaneId>(); // on another thread they may still be writing
  const allOver = Promise.withResolvers<void>();
  let opened = 0;
  let paused: Fault | undefined;
  let stopped = false;

  function open(entry: Active): void {
    const { source, lanes } = entry;
    const most = Math.min(wanted(entry), entry.lanesMost);
    while (lanes.size < most && paused === undefined && !stopped) {
      const id = opened++;
      const lane = options.openLane(source, (event) => hear(entry, id, event));
      lanes.set(id, { lane, window: createRequestWindow(pieceBytes, source.roundTripMs, clock), bytes: 0 });
      fill(entry, id);
    }
  }

  function fill(entry: Active, id: LaneId): void {
    const working = entry.lanes.get(id);
    if (working === undefined || paused !== undefined || rests(entry, id, wanted(entry))) return;
    const most = Math.min(ORDERED_BYTES_MAX, partFile.roomBytes());
    while (working.window.hasRoom(pieceBytes, picker.isPlayed()) && picker.orderedBytes + pieceBytes <= most) {
      const order = nextOf(picker, entry, id, active.all());
      if (order === undefined) return;
      incoming.ordered(order);
      working.window.order(picker.fetchedOf(order.index));
      working.lane.fetch(order);
    }
  }

  function fillAll(): void {
    for (const entry of fastestFirst(active.all())) for (const id of entry.lanes.keys()) fill(entry, id);
  }

  function hear(entry: Active, id: LaneId, event: LaneEvent): void {
    if (event.type === "moved") takeBytes(entry, id, event);
    else if (event.type === "piece") takePiece(entry, id, event.index, event.hash);
    else if (event.type === "over") laneOver(entry, id, event.fault);
  }

  function takeBytes(entry: Active, id: LaneId, { bytes, index, have = 0 }: Moved): void {
    // A failed sync may have lost whatever was written before it.
    if (index !== undefined && paused === undefined) incoming.blocks(index, have);
    options.meter.add(bytes);
    entry.bytes += bytes;
    const working = entry.lanes.get(id);
    if (working !== undefined) working.bytes += bytes;
    working?.window.moved(bytes);
    fill(entry, id);
  }

  function takePiece(entry: Active, id: LaneId, index: number, hash: Uint8Array): void {
    entry.lanes.get(id)?.window.arrived(picker.fetchedOf(index));
    if (paused !== undefined) return incoming.discard(index);
    const came = incoming.piece(index, hash);
    if (came === "wrong") return on.wrong(entry, index);
    if (came === "right") on.arrived(entry, index);
    fill(entry, id);
    if (came === "right") open(entry); // it may have shown that it is worth another
    if (picker.allArrived) void partFile.flush();
  }

  function laneOver(entry: Active, id: LaneId, why: Fault): void {
    const wasClosed = closing.delete(id);
    const working = entry.lanes.get(id);
    entry.lanes.delete(id);
    const unfinished = picker.abandon(id);
    if (wasClosed) fillAll();
    else if (working !== undefined) on.over(entry, working, why, unfinished);
    if (stopped && closing.size === 0) allOver.resolve();
  }

  function close({ lanes }: Active, id: LaneId): void {
    const working = lanes.get(id);
    if (working === undefined) return;
    lanes.delete(id);
    closing.add(id);
    working.lane.close();
  }

  function closeAll(): void {
    for (const entry of active.all()) for (const id of [...entry.lanes.keys()]) close(entry, id);
  }

  return {
    open,
    fill,
    fillAll,
    close,
    pause(why) {
      if (stopped || paused !== undefined) return false;
      paused = why;
      picker.forgetBegun();
      closeAll();
      return true;
    },
    unpause() {
      if (closing.size === 0) paused = undefined;
      return closing.size === 0;
    },
    get paused() {
      return paused;
    },
    stop() {
      stopped = true;
      closeAll();
      if (closing.size === 0) allOver.resolve();
      return allOver.promise;
    },
  };
}
