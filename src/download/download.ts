// One DOWNLOAD from beginning to end: ask, recover, fetch, verify, publish.
// Invariant: the final name appears only when every byte is verified and on the disk; until then, all is resumable.
// Never: overwrites a file, mixes two contents, or says "done" of anything less.

import { EMPTY_ROOT, type Hashed, pieceBytesFor, rootOfLayer } from "../content/hashing/merkle.ts";
import type { PartWorkspace } from "../content/part-workspace.ts";
import { type Address, formatAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { HASH_BYTES, LAYER_PAYLOAD_BYTES_MAX } from "../protocol/limits.ts";
import type { Grant } from "../protocol/messages.ts";
import { type Awaited, type Candidate, createCandidates, isOther, LEFT } from "./candidates.ts";
import { createQueueProgress } from "./peers/queue-progress.ts";
import { openSource, type Source } from "./peers/source.ts";
import { OTHER_CONTENT } from "./pieces/resume.ts";
import { type DownloadSessionOptions, startSession } from "./session.ts";

export type DownloadOptions = DownloadSessionOptions & {
  /** Who else has a file of that name: asked one after another when the chosen peer fails, unless `only`. */
  readonly others?: readonly Address[];
  /** How long to wait in a peer's queue while our place does not change, in seconds. Infinity: as long as it takes. */
  readonly maxWaitSeconds: number;
  /** With `apart`, which stands for a content, files of that content's own: those of the name hold another one. */
  readonly openPartWorkspace: (name: string, apart?: string) => Promise<PartWorkspace | Fault>;
  /** This peer is asked now. */
  readonly onAsk?: ((address: Address) => void) | undefined;
  /** It failed, and somebody else is asked next; told once of each reason. */
  readonly onFailed?: ((address: Address, why: Fault) => void) | undefined;
};

/**
 * The file from the chosen peer, or from the others that have one of its name. The last one's fault when none is left;
 * at once what is this machine's own, or the person's wish.
 */
export async function download(options: DownloadOptions): Promise<Hashed | Fault> {
  const candidates = createCandidates(options.from, options.only ? [] : (options.others ?? []));
  const claims = new Map<string, number>();
  const told = new Set<string>();
  for (let candidate = candidates.next() as Candidate; ; ) {
    const from = candidate.address;
    options.onAsk?.(from);
    const patienceMs = (awaited: Awaited) => candidates.patienceMs(candidate, awaited);
    const done = await fetchFrom({ ...options, from, patienceMs }, candidate.apart, claims);
    if (!isFault(done) || endsAll(done)) return done;
    candidates.failed(candidate, done);
    const next = candidates.next();
    if (next === undefined) return done;
    const what = `${formatAddress(from)} ${done.fault}`;
    if (!isOther(done) && !told.has(what)) options.onFailed?.(from, done);
    told.add(what);
    candidate = next;
  }
}

/** Whether a fault is none of the source's: nobody else would do better. */
const endsAll = (why: Fault): boolean =>
  (why.whose === "ours" || why.whose === "disk" || why.fault === "BAD_NAME") &&
  why !== OTHER_CONTENT &&
  !NO_ROOM.has(why);

/** DISK_FULL for a size that only one source, or two, have claimed. */
const NO_ROOM = new WeakSet<Fault>();
/** From so many on, that say the same size and root, it is believed. */
const CLAIMS_MIN = 3;

async function fetchFrom(
  options: DownloadOptions,
  apart: boolean,
  claims: Map<string, number>,
): Promise<Hashed | Fault> {
  const source = await ask(options);
  if (isFault(source)) return source;
  const place = await openPlace(options, source.grant, apart, claims);
  if (isFault(place)) {
    source.close();
    return place;
  }
  const run = await startSession(options, source, place);
  if (isFault(run)) {
    source.close();
    await place.leave(false);
    return run;
  }
  const layer = await run.finished;
  await run.stop();
  if (isFault(layer)) {
    await place.leave(run.worthBytes() === 0);
    return layer;
  }
  const { size, pieceBytes } = source.grant;
  const unpublished = await place.publish(size);
  if (unpublished !== undefined) return unpublished;
  return { size, pieceBytes, layer, root: rootOfLayer(layer, pieceBytes) };
}

const cancelled = () => fault("CANCELLED", "ours", "cancelled by the person");

/** Asks one peer, and waits in its queue if it has one: as long as nobody else could stand in for it. */
async function ask(options: DownloadOptions): Promise<Source | Fault> {
  const { clock, from, signal, onProgress, maxWaitSeconds, patienceMs } = options;
  if (signal?.aborted) return cancelled();
  const gaveUp = Promise.withResolvers<Fault>();
  let leave: (() => void) | undefined;
  const isBetter = createQueueProgress();
  const slotMs = Math.min(maxWaitSeconds * 1000, patienceMs?.("slot") ?? Number.POSITIVE_INFINITY);
  let cancelTimer = giveUpAfter(patienceMs?.("answer") ?? Number.POSITIVE_INFINITY, () => LEFT.answer);
  function giveUpAfter(ms: number, why: () => Fault): () => void {
    return ms === Number.POSITIVE_INFINITY ? () => {} : clock.after(ms, () => giveUp(why()));
  }
  const giveUp = (why: Fault) => {
    gaveUp.resolve(why);
    leave?.();
  };
  const abort = () => giveUp(cancelled());
  signal?.addEventListener("abort", abort);
  const asking = openSource(
    from,
    { name: options.name },
    {
      ...options,
      ahead: "layer",
      onWait(now, leaveQueue) {
        leave = leaveQueue;
        if (signal?.aborted) return leaveQueue();
        onProgress?.({ ...AT_REST, waiting: { for: "slot", from, position: now } });
        // Only a better place than ever is progress: one that goes up and down would keep us waiting for good.
        if (!isBetter(now)) return;
        cancelTimer();
        cancelTimer = giveUpAfter(slotMs, () =>
          slotMs < maxWaitSeconds * 1000
            ? LEFT.slot
            : fault("BUSY", "theirs", `place ${now} in the queue for ${maxWaitSeconds} s`, true),
        );
      },
    },
  );
  // Whoever gives up does not wait for an answer that may never come; one that comes all the same is declined.
  void gaveUp.promise.then(async () => {
    const late = await asking;
    if (!isFault(late)) late.close();
  });
  const source = await Promise.race([gaveUp.promise, asking]);
  cancelTimer();
  signal?.removeEventListener("abort", abort);
  return isFault(source) ? unanswered(source) : source;
}

/** Nothing was under way that could have broken off or stopped: the peer does not answer, and another one may. */
function unanswered(why: Fault): Fault {
  if (why.fault === "PEER_GONE") return { ...why, fault: "PEER_UNREACHABLE" };
  return why.fault === "STALLED" ? { ...why, fault: "TIMEOUT" } : why;
}

const AT_REST = { bytes: 0, size: 0, rate: 0, etaSeconds: undefined, sources: 0 };

/** The files to work in, once the grant makes sense and the disk has room for what is missing. */
async function openPlace(
  options: DownloadOptions,
  { size, pieceBytes, root }: Grant,
  apart: boolean,
  claims: Map<string, number>,
): Promise<PartWorkspace | Fault> {
  if (pieceBytes !== pieceBytesFor(size) || (size / pieceBytes) * HASH_BYTES > LAYER_PAYLOAD_BYTES_MAX) {
    return fault("BAD_REPLY", "theirs", "a grant with an odd piece length, or of a size beyond the limit");
  }
  // Nothing of it would ever be held against its root.
  if (size === 0 && root !== undefined && root !== EMPTY_ROOT) {
    return fault("BAD_REPLY", "theirs", "a grant of no bytes with the root of some");
  }
  const place = await options.openPartWorkspace(options.name, apart ? (root ?? `size-${size}`) : undefined);
  if (isFault(place)) return place;
  const free = await place.freeBytes();
  const wanted = size - place.part.allocatedBytes;
  if (!isFault(free) && wanted <= free) return place;
  await place.leave(place.part.size === 0);
  if (isFault(free)) return free;
  const full = fault("DISK_FULL", "disk", `needs ${wanted} bytes, ${free} are free`);
  // The size is only said yet: others may say another one.
  const claim = `${size} ${root}`;
  const times = (claims.get(claim) ?? 0) + 1;
  claims.set(claim, times);
  if (times < CLAIMS_MIN) NO_ROOM.add(full);
  return full;
}
