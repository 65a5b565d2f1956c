// One DOWNLOAD from beginning to end: ask, recover, fetch, verify, publish.
// Invariant: the final name appears only when every byte is verified and on the disk; until then, all is resumable.
// Never: overwrites a file, mixes two contents, or says "done" of anything less.

import { EMPTY_ROOT, type Hashed, pieceBytesFor, rootOfLayer } from "../content/merkle.ts";
import type { Workplace } from "../content/workplace.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { HASH_BYTES, LAYER_PAYLOAD_BYTES_MAX } from "../protocol/limits.ts";
import type { Grant } from "../protocol/messages.ts";
import { createPlace } from "./place.ts";
import { type RunOptions, startRun } from "./run.ts";
import { openSource, type Source } from "./source.ts";

export type DownloadOptions = RunOptions & {
  /** How long to wait in that peer's queue while our place does not change, in seconds. Infinity: as long as it takes. */
  readonly maxWaitSeconds: number;
  readonly openWorkplace: (name: string) => Promise<Workplace | Fault>;
};

export async function download(options: DownloadOptions): Promise<Hashed | Fault> {
  const source = await ask(options);
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

/** Asks the chosen peer, and waits in its queue if it has one. */
async function ask(options: DownloadOptions): Promise<Source | Fault> {
  const { clock, from, signal, onProgress, maxWaitSeconds } = options;
  if (signal?.aborted) return cancelled();
  const gaveUp = Promise.withResolvers<Fault>();
  let leave: (() => void) | undefined;
  const isBetter = createPlace();
  let cancelTimer = () => {};
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
        if (!isBetter(now) || maxWaitSeconds === Number.POSITIVE_INFINITY) return;
        cancelTimer();
        cancelTimer = clock.after(maxWaitSeconds * 1000, () =>
          giveUp(fault("BUSY", "theirs", `place ${now} in the queue for ${maxWaitSeconds} s`, true)),
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
async function openPlace(options: DownloadOptions, { size, pieceBytes, root }: Grant): Promise<Workplace | Fault> {
  if (pieceBytes !== pieceBytesFor(size) || (size / pieceBytes) * HASH_BYTES > LAYER_PAYLOAD_BYTES_MAX) {
    return fault("BAD_REPLY", "theirs", "a grant with an odd piece length, or of a size beyond the limit");
  }
  // Nothing of it would ever be held against its root.
  if (size === 0 && root !== undefined && root !== EMPTY_ROOT) {
    return fault("BAD_REPLY", "theirs", "a grant of no bytes with the root of some");
  }
  const place = await options.openWorkplace(options.name);
  if (isFault(place)) return place;
  const free = await place.freeBytes();
  const wanted = size - place.part.allocatedBytes;
  if (wanted <= free) return place;
  await place.leave(place.part.size === 0);
  return fault("DISK_FULL", "disk", `needs ${wanted} bytes, ${free} are free`);
}
