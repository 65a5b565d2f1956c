// A download at work: sources join and are left, their lanes are fed with pieces, until every piece is kept.
// Invariant: a source is told to onSourceLost once, with its lanes closed and what they had on order given back.
// Never: dials, opens or renames anything; what it needs is handed to it.

import { type Address, formatAddress } from "../../protocol/address.ts";
import { type Fault, fault, isFinal } from "../../protocol/fault.ts";
import { BLOCK_BYTES } from "../../protocol/limits.ts";
import type { Source } from "../peers/source.ts";
import type { Available, LaneId } from "../pieces/piece-picker.ts";
import type { Verifier } from "../pieces/verifier.ts";
import { type Active, type Brought, createActiveSources, type Working } from "./active-sources.ts";
import { createIncomingPieces } from "./incoming-pieces.ts";
import { dealUrgentAnew } from "./played-pieces.ts";
import { createSourceLanes, type SourceLanes, type SourceLanesOptions } from "./source-lanes.ts";
import { takeOverStragglers } from "./stragglers.ts";

export type RequesterOptions = SourceLanesOptions & {
  readonly verifier: Verifier;
  readonly events: RequesterEvents;
};

export type RequesterEvents = {
  /** A piece is in the .part, and right as far as the layer is known. */
  onArrived(index: number): void;
  /** The disk refuses, and why: nothing is fetched; undefined when it is tried again. */
  onPaused(why: Fault | undefined): void;
  /**
   * The source's lanes are over, it was too slow to wait for, or it sent wrong bytes (CORRUPT); it had brought so many
   * right `pieces`, and so many `bytes` of whatever worth.
   */
  onSourceLost(address: Address, why: Fault, pieces: number, bytes: number): void;
};

export type Requester = {
  addSource(source: Source, available: Available): void;
  setAvailable(address: Address, available: Available): void;
  /** Orders what may be ordered now: pieces are missing again, or there is room. */
  fill(): void;
  /** Leaves a source; onSourceLost is told why. */
  drop(address: Address, why: Fault): void;
  /** The disk refused a write or a sync: nothing more is fetched until it agrees again. */
  pause(why: Fault): void;
  /** Leaves every source, without a word to onSourceLost; resolves when no lane writes any more. */
  stop(): Promise<void>;
  readonly keptBytes: number;
  /** How many bytes came from each source at work; which pieces are kept, as bits. */
  detail(): { readonly brought: readonly Brought[]; readonly pieces: Uint8Array };
  /** Of pieces that are not whole. */
  readonly begunBytes: number;
  /** How many pieces were wrong so far. */
  readonly wrongPieces: number;
  readonly sources: readonly Source[];
  /** Those that are still downloading it themselves; `idle` says that nothing we lack is on order there. */
  readonly partialSources: readonly { readonly source: Source; readonly idle: boolean }[];
};

const DISK_RETRY_MS = 1000;
/** Lanes of a source that end with something on order, one after another, before it is left. */
const FAILURES_MAX = 3;
/** A lane that brought so much has not failed: a source may cut whatever lasts for a minute, and a slow link brings no more. */
export const FRUIT_BYTES_MIN = 4 * BLOCK_BYTES;

/** The source goes on with other pieces, over another lane. */
function replaceLane(lanes: SourceLanes, entry: Active, id: LaneId): void {
  lanes.close(entry, id);
  lanes.open(entry);
}

/** What a source has that is still downloading it itself. */
const partialOf = (available: Available): Uint8Array | undefined => (available === "all" ? undefined : available);

export function createRequester(options: RequesterOptions): Requester {
  const { picker, verifier, partFile, events, meter, clock, maxDownloadRate } = options;
  const active = createActiveSources();
  const incoming = createIncomingPieces(picker, verifier, partFile, clock);
  const lanes = createSourceLanes(options, active, incoming, { arrived, wrong, over: laneOver });
  // Where our own limit is what holds us up, no lane is slow.
  const compared = () => (meter.rate() > (maxDownloadRate() ?? Number.POSITIVE_INFINITY) / 2 ? [] : active.all());
  // While pieces are missing, a lane is idle because its source lacks them, as in a crowd for most of the time.
  const atTheEnd = () => (picker.isAllOrdered() ? compared() : []);
  const stopTakingOver = takeOverStragglers(clock, atTheEnd, picker.canTakeOver, closeStraggler);
  const stopDealing = dealUrgentAnew(clock, compared, picker, (entry, id) => replaceLane(lanes, entry, id));

  function addSource(source: Source, available: Available): void {
    const entry = active.add(source, available);
    if (entry === undefined) return source.close();
    picker.setPartial(formatAddress(source.address), partialOf(available));
    void source.closed.then((why) => drop(entry, why));
    lanes.open(entry);
  }

  function setAvailable(address: Address, available: Available): void {
    const entry = active.at(address);
    if (entry === undefined) return;
    entry.available = available;
    picker.setPartial(formatAddress(address), partialOf(available));
    for (const id of entry.lanes.keys()) lanes.fill(entry, id);
  }

  function arrived(entry: Active, index: number): void {
    entry.brought++;
    events.onArrived(index);
  }

  function wrong(entry: Active, index: number): void {
    entry.source.damaged(index);
    const from = formatAddress(entry.source.address);
    drop(entry, fault("CORRUPT", "theirs", `${from} sent a wrong piece ${index}`));
  }

  function laneOver(entry: Active, { bytes }: Working, why: Fault, unfinished: number): void {
    if (why.whose === "disk") pause(why);
    else if (bytes >= FRUIT_BYTES_MIN) entry.failures = 0;
    else if (unfinished > 0 && ++entry.failures >= FAILURES_MAX) return drop(entry, why);
    if (isFinal(why)) entry.lanesMost = entry.lanes.size;
    if (entry.lanes.size > 0 || lanes.paused !== undefined) lanes.fillAll();
    else if (isFinal(why)) void refused(entry, why);
    else drop(entry, why);
  }

  /** A source that takes no lane. One that has started anew knows nothing of our ticket, and is not to blame. */
  async function refused(entry: Active, why: Fault): Promise<void> {
    lanes.fillAll();
    const isThere = await entry.source.ping();
    drop(entry, isThere ? why : fault("PEER_GONE", "network", "it has forgotten us", true));
  }

  /** Its source goes on with the other lanes that it has, or is asked again later. */
  function closeStraggler(entry: Active, id: LaneId): void {
    lanes.close(entry, id);
    if (entry.lanes.size === 0) drop(entry, fault("STALLED", "theirs", "too slow to wait for", true));
  }

  function pause(why: Fault): void {
    if (!lanes.pause(why)) return;
    events.onPaused(why);
    clock.after(DISK_RETRY_MS, retry);
  }

  async function retry(): Promise<void> {
    if (!lanes.unpause()) return void clock.after(DISK_RETRY_MS, retry);
    events.onPaused(undefined);
    await partFile.flush();
    if (lanes.paused === undefined) for (const entry of active.all()) lanes.open(entry);
  }

  function drop(entry: Active, why: Fault): void {
    if (!active.remove(entry)) return;
    for (const id of [...entry.lanes.keys()]) lanes.close(entry, id);
    entry.source.close();
    picker.setPartial(formatAddress(entry.source.address), undefined);
    events.onSourceLost(entry.source.address, why, entry.brought, entry.bytes);
    lanes.fillAll();
  }

  return {
    addSource,
    setAvailable,
    fill: lanes.fillAll,
    drop(address, why) {
      const entry = active.at(address);
      if (entry !== undefined) drop(entry, why);
    },
    pause,
    async stop() {
      stopTakingOver();
      stopDealing();
      const over = lanes.stop();
      for (const { source } of active.end()) source.close();
      await over;
      incoming.noteBegun();
    },
    get keptBytes() {
      return picker.keptBytes;
    },
    detail: () => ({ brought: active.brought(), pieces: picker.keptPieces() }),
    get begunBytes() {
      return picker.begunBytes;
    },
    get wrongPieces() {
      return incoming.wrongPieces;
    },
    get sources() {
      return active.all().map(({ source }) => source);
    },
    get partialSources() {
      return active.partials();
    },
  };
}
