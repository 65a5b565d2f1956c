// One DOWNLOAD from beginning to end: ask, recover, fetch, verify, publish.
// Invariant: the final name appears only when every byte is verified and on the disk; until then, all is resumable.
// Never: overwrites a file, mixes two contents, or says "done" of anything less.

import { encodeRoot, HASH_BYTES, pieceBytesFor, rootOfLayer } from "../content/merkle.ts";
import type { Workplace } from "../content/workplace.ts";
import { type Address, formatAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { Grant, Holder, Root } from "../protocol/messages.ts";
import type { Clock } from "../transport/clock.ts";
import type { Connect } from "../transport/connection.ts";
import { createFetcher, type Fetcher } from "./fetcher.ts";
import type { JournalContent } from "./journal.ts";
import type { OpenLane } from "./lane-threads.ts";
import { createMeter, type Meter } from "./meter.ts";
import { openSource, type Source } from "./source.ts";
import { createStorage, type Storage } from "./storage.ts";

/** How a download stands. `bytes` are verified and synced; `waiting` says why nothing moves, when nothing does. */
export type Progress = {
  readonly bytes: number;
  readonly size: number;
  /** Bytes per second over the last seconds. */
  readonly rate: number;
  readonly etaSeconds: number | undefined;
  readonly sources: number;
  readonly waiting: string | undefined;
};

export type DownloadOptions = {
  readonly name: string;
  /** The peer that the person chose: it must accept, and its content is the one that is fetched. */
  readonly from: Address;
  readonly openWorkplace: (name: string) => Promise<Workplace | Fault>;
  readonly openLane: OpenLane;
  readonly connect: Connect;
  readonly clock: Clock;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: Progress) => void) | undefined;
};

export type Downloaded = {
  readonly size: number;
  readonly root: Root;
  readonly pieceBytes: number;
  readonly layer: Uint8Array;
};

const PROGRESS_MS = 250;
const LAYER_POLL_MS = 250;
const QUIET_MS = 3000;
/** After the last source is gone: tries to reach the chosen one again, with these waits, before giving up. */
const RETURN_WAITS_MS: readonly number[] = [500, 1000, 2000];

export async function download(options: DownloadOptions): Promise<Downloaded | Fault> {
  const source = await openSource(options.from, { name: options.name }, options);
  if (isFault(source)) return source;
  const place = await openPlace(options, source.grant);
  if (isFault(place)) {
    source.close();
    return place;
  }
  const run = await startRun(options, source, place);
  if (isFault(run)) {
    source.close();
    await place.leave(false);
    return run;
  }
  const failed = await run.finished;
  run.fetcher.stop();
  await run.storage.flush();
  await run.storage.close();
  const layer = run.layer();
  if (failed !== undefined || layer === undefined) {
    await place.leave(run.fetcher.keptBytes === 0);
    return failed ?? fault("CORRUPT", "theirs", "no piece layer");
  }
  const unpublished = await place.publish();
  if (unpublished !== undefined) return unpublished;
  const { size, pieceBytes } = source.grant;
  return { size, pieceBytes, layer, root: rootOfLayer(layer, pieceBytes) };
}

/** The files to work in, once the grant makes sense and the disk has room. */
async function openPlace(options: DownloadOptions, { size, pieceBytes }: Grant): Promise<Workplace | Fault> {
  if (pieceBytes !== pieceBytesFor(size) || size / pieceBytes > 0x40_0000) {
    return fault("BAD_REPLY", "theirs", "a grant with an odd piece length");
  }
  const place = await options.openWorkplace(options.name);
  if (isFault(place)) return place;
  const free = await place.freeBytes();
  const wanted = size - place.part.size;
  if (wanted <= free) return place;
  await place.leave(place.part.size === 0);
  return fault("DISK_FULL", "disk", `needs ${wanted} bytes, ${free} are free`);
}

type Run = {
  readonly fetcher: Fetcher;
  readonly storage: Storage;
  /** Resolves when whole, or with what ended it. */
  readonly finished: Promise<Fault | undefined>;
  layer(): Uint8Array | undefined;
};

/** Recovers what is there, learns the layer where it is known, and sets the sources to work. */
async function startRun(options: DownloadOptions, source: Source, place: Workplace): Promise<Run | Fault> {
  const { clock } = options;
  const { grant } = source;
  const meter = createMeter(clock);
  const ended = Promise.withResolvers<Fault | undefined>();
  let layer: Uint8Array | undefined;
  const storage = createStorage({
    part: place.part,
    journal: place.journal,
    clock,
    onKept: (pieces) => fetcher.kept(pieces),
    onFault: (why) => fetcher.pause(why),
  });
  const fetcher = createFetcher({
    size: grant.size,
    pieceBytes: grant.pieceBytes,
    fd: place.part.fd,
    storage,
    openLane: options.openLane,
    meter,
    clock,
    onSourceLost: (address, why) => {
      if (fetcher.sources.length === 0) void comeBack(address, why);
    },
  });

  async function learnLayer(from: Source): Promise<Fault | undefined> {
    const known = await from.layer();
    if (isFault(known)) return known;
    layer = known;
    fetcher.setLayer(known);
    return undefined;
  }

  /** The source still hashes the file: what arrives meanwhile is judged when its layer is there. */
  async function pollLayer(from: Source): Promise<void> {
    while (layer === undefined) {
      const failed = await learnLayer(from);
      if (failed === undefined) return;
      if (failed.fault !== "NOT_READY") return; // its connection is over; comeBack takes it from there
      await new Promise<void>((resolve) => clock.after(LAYER_POLL_MS, resolve));
    }
  }

  async function comeBack(address: Address, why: Fault): Promise<void> {
    if (why.fault === "CORRUPT" || why.fault === "CHANGED") return ended.resolve(why);
    for (const wait of RETURN_WAITS_MS) {
      await new Promise<void>((resolve) => clock.after(wait, resolve));
      if (options.signal?.aborted || fetcher.sources.length > 0) return;
      const again = await openSource(address, { name: options.name }, options);
      if (isFault(again)) continue;
      if (!sameContent(again.grant, grant)) {
        again.close();
        return ended.resolve(fault("CHANGED", "theirs", "the source now has another content of this name"));
      }
      fetcher.addSource(again);
      if (layer === undefined) void pollLayer(again);
      return;
    }
    ended.resolve(why);
  }

  const recovered = await recover(storage, place, grant);
  if (isFault(recovered)) return recovered;
  if (grant.root !== undefined || grant.size === 0) {
    const failed = grant.size === 0 ? setEmpty() : await learnLayer(source);
    if (failed !== undefined && failed.fault !== "NOT_READY") return failed;
  }
  fetcher.resume(recovered.pieces);
  fetcher.addSource(source);
  if (layer === undefined) void pollLayer(source);

  function setEmpty(): undefined {
    layer = new Uint8Array(0);
    fetcher.setLayer(layer);
  }

  const stopTelling = tell(options, fetcher, meter, grant.size);
  const cancel = () => ended.resolve(fault("CANCELLED", "ours", "cancelled by the person"));
  if (options.signal?.aborted) cancel();
  options.signal?.addEventListener("abort", cancel);
  void fetcher.whole.then(() => ended.resolve(undefined));
  const finished = ended.promise.finally(() => {
    stopTelling();
    options.signal?.removeEventListener("abort", cancel);
  });
  return { fetcher, storage, finished, layer: () => layer };
}

/** What an earlier run left of this very content, or a new beginning. */
async function recover(
  storage: Storage,
  place: Workplace,
  grant: Grant,
): Promise<Pick<JournalContent, "pieces"> | Fault> {
  const found = await storage.recover();
  if (isFault(found)) return found;
  if (found !== undefined && sameContent(found.head, grant)) {
    const { size, pieceBytes } = grant;
    // A journal that promises more than the .part holds is not believed beyond it.
    const there = [...found.pieces].filter(([index]) => Math.min(size, (index + 1) * pieceBytes) <= place.part.size);
    return { pieces: new Map(there) };
  }
  if (found?.head.root !== undefined && found.pieces.size > 0) {
    return fault("OTHER_CONTENT", "ours", "the .part of this name belongs to another content");
  }
  return (await storage.begin(grant)) ?? { pieces: new Map() };
}

/** Whether two heads can be of one content: a root that is not known yet contradicts nothing. */
function sameContent(a: Pick<Grant, "size" | "pieceBytes" | "root">, b: typeof a): boolean {
  if (a.size !== b.size || a.pieceBytes !== b.pieceBytes) return false;
  return a.root === undefined || b.root === undefined || a.root === b.root;
}

/** Tells the person how it stands, a few times a second. */
function tell(options: DownloadOptions, fetcher: Fetcher, meter: Meter, size: number): () => void {
  const { clock, onProgress } = options;
  if (onProgress === undefined) return () => {};
  let cancel = () => {};
  const next = () => {
    const rate = meter.rate();
    const bytes = fetcher.keptBytes;
    const quiet = meter.quietMs() > QUIET_MS && bytes < size;
    const waiting = fetcher.paused?.fault ?? (quiet ? `sem dados de ${formatAddress(options.from)}` : undefined);
    onProgress({
      bytes,
      size,
      rate,
      etaSeconds: rate > 0 ? (size - bytes) / rate : undefined,
      sources: fetcher.sources.length,
      waiting,
    });
    cancel = clock.after(PROGRESS_MS, next);
  };
  next();
  return () => cancel();
}
