// One DOWNLOAD from beginning to end: ask, resume, fetch, verify, publish.
// Invariant: the final name appears only when every byte is verified and on the disk; until then, all is resumable.
// Never: overwrites a file, mixes two contents, or says "done" of anything less.

import { EMPTY_ROOT, type Hashed, pieceBytesFor } from "../content/hashing/merkle.ts";
import type { PartWorkspace } from "../content/part-workspace.ts";
import { formatAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { HASH_BYTES, LAYER_PAYLOAD_BYTES_MAX } from "../protocol/limits.ts";
import type { Grant } from "../protocol/messages.ts";
import { type Awaited, type Candidate, createCandidates, isOther, LEFT } from "./candidates.ts";
import type { DownloadOptions } from "./options.ts";
import { createQueueProgress } from "./peers/queue-progress.ts";
import { type OnWait, openSource, type Source } from "./peers/source.ts";
import { createStandIns } from "./peers/stand-ins.ts";
import { OTHER_CONTENT } from "./pieces/resume.ts";
import { CANCELLED, createSession, type SessionOptions } from "./session.ts";

/**
 * The file from the chosen peer, or from the others that have one of its name. The last one's fault when none is left;
 * at once what is this machine's own, or the person's wish.
 */
export async function download(options: DownloadOptions): Promise<Hashed | Fault> {
  const { request } = options;
  const candidates = createCandidates(options.from, request.only ? [] : (options.others ?? []));
  const claims = new Map<string, number>();
  const told = new Set<string>();
  for (let candidate = candidates.next() as Candidate; ; ) {
    const from = candidate.address;
    request.onAsk?.(from);
    const patienceMs = (awaited: Awaited) => candidates.patienceMs(candidate, awaited);
    const done = await fetchFrom({ ...options, from, patienceMs }, candidate.apart, claims);
    if (!isFault(done) || endsAll(done)) return done;
    candidates.failed(candidate, done);
    const next = candidates.next();
    if (next === undefined) return done;
    const what = `${formatAddress(from)} ${done.fault}`;
    if (!isOther(done) && !told.has(what)) request.onFailed?.(from, done);
    told.add(what);
    candidate = next;
  }
}

/** Whether a fault is none of the source's: no other source would do better. */
const endsAll = (why: Fault): boolean =>
  (why.whose === "ours" || why.whose === "disk" || why.fault === "BAD_NAME") &&
  why !== OTHER_CONTENT &&
  !NO_ROOM.has(why);

/** DISK_FULL for a size that only one source, or two, have claimed. */
const NO_ROOM = new WeakSet<Fault>();
/** A size that so many sources have granted, with the same root, is believed. */
const CLAIMS_MIN = 3;

async function fetchFrom(
  options: SessionOptions,
  apart: boolean,
  claims: Map<string, number>,
): Promise<Hashed | Fault> {
  const source = await ask(options);
  if (isFault(source)) return source;
  const workspace = await openWorkspace(options, source.grant, apart, claims);
  if (isFault(workspace)) {
    source.close();
    return workspace;
  }
  const session = createSession(options, source, workspace);
  const content = await session.finished;
  await session.stop();
  if (!isFault(content)) return (await workspace.publish(content.size)) ?? content;
  await workspace.leave(session.isWorthless());
  return content;
}

/**
 * Asks one peer, and waits in its queue if it has one: as long as no other could stand in for it, and until another holder
 * of the content that is waited for accepts.
 */
async function ask({ env, from, name, request, network, patienceMs }: SessionOptions): Promise<Source | Fault> {
  const { signal, onProgress, maxWaitSeconds = Number.POSITIVE_INFINITY } = request;
  if (signal?.aborted) return CANCELLED;
  const gaveUp = Promise.withResolvers<Source | Fault>();
  let leave: (() => void) | undefined;
  const isBetter = createQueueProgress();
  const slotMs = Math.min(maxWaitSeconds * 1000, patienceMs("slot"));
  let cancelTimer = giveUpAfter(patienceMs("answer"), LEFT.answer);
  function giveUpAfter(ms: number, why: Fault): () => void {
    return ms === Number.POSITIVE_INFINITY ? () => {} : env.clock.after(ms, () => giveUp(why));
  }
  function giveUp(instead: Source | Fault): void {
    gaveUp.resolve(instead);
    leave?.();
  }
  const abort = () => giveUp(CANCELLED);
  signal?.addEventListener("abort", abort);
  const standIns = createStandIns({
    ...env,
    chosen: from,
    find: network.findHolders,
    dial: (address, root, wait) => openSource(address, { root }, { ...env, ahead: "layer", onWait: wait }),
  });
  const onWait: OnWait = (position, leaveQueue, root) => {
    leave = leaveQueue;
    if (signal?.aborted) return leaveQueue();
    if (root !== undefined && !request.only) standIns.begin(root);
    onProgress?.({ ...AT_REST, waiting: { for: "slot", from, position } });
    // Only a better position than ever is progress: one that goes up and down would keep us waiting for good.
    if (!isBetter(position)) return;
    cancelTimer();
    const detail = `place ${position} in the queue for ${maxWaitSeconds} s`;
    cancelTimer = giveUpAfter(
      slotMs,
      slotMs < maxWaitSeconds * 1000 ? LEFT.slot : fault("BUSY", "theirs", detail, true),
    );
  };
  const asking = openSource(from, { name }, { ...env, ahead: "layer", onWait });
  // An answer that comes after we gave up is declined.
  void gaveUp.promise.then(async () => {
    const late = await asking;
    if (!isFault(late)) late.close();
  });
  void standIns.found.then(giveUp);
  const source = await Promise.race([gaveUp.promise, asking]);
  cancelTimer();
  standIns.stop();
  void standIns.found.then((late) => late !== source && late.close());
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
async function openWorkspace(
  { name, files }: SessionOptions,
  { size, pieceBytes, root }: Grant,
  apart: boolean,
  claims: Map<string, number>,
): Promise<PartWorkspace | Fault> {
  if (pieceBytes !== pieceBytesFor(size) || (size / pieceBytes) * HASH_BYTES > LAYER_PAYLOAD_BYTES_MAX) {
    return fault("BAD_REPLY", "theirs", "a grant with an odd piece length, or of a size beyond the limit");
  }
  // No piece of it would ever be held against its root.
  if (size === 0 && root !== undefined && root !== EMPTY_ROOT) {
    return fault("BAD_REPLY", "theirs", "a grant of no bytes with the root of some");
  }
  const workspace = await files.openPartWorkspace(name, apart ? (root ?? `size-${size}`) : undefined);
  if (isFault(workspace)) return workspace;
  const free = await workspace.freeBytes();
  const wanted = size - workspace.part.allocatedBytes;
  if (!isFault(free) && wanted <= free) return workspace;
  await workspace.leave(workspace.part.size === 0);
  if (isFault(free)) return free;
  const full = fault("DISK_FULL", "disk", `needs ${wanted} bytes, ${free} are free`);
  // So far the size is only a claim: others may grant another one.
  const claim = `${size} ${root}`;
  const times = (claims.get(claim) ?? 0) + 1;
  claims.set(claim, times);
  if (times < CLAIMS_MIN) NO_ROOM.add(full);
  return full;
}
