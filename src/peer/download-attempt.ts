// One try of a download in the list: whom to ask, and the asking.
// Invariant: a wish is with the server before SEARCH is asked a last time, so that no peer that comes between is missed.
// Never: tries again, or changes a download's state; downloads.ts does.

import type { Progress } from "../download/progress.ts";
import { type Address, sameAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { DownloadState } from "../shared/download-state.ts";
import type { Env } from "../transport/env.ts";
import type { Done, DownloadRequest } from "./requests.ts";

/** One download as it is now. */
export type DownloadView = {
  readonly name: string;
  readonly state: DownloadState;
  /** What was told last; undefined before the first. */
  readonly progress?: Progress | undefined;
  /** The peer that was asked last. */
  readonly from?: Address | undefined;
  readonly done?: Done | undefined;
  /** failed: of what. waiting: of what the last try failed. */
  readonly fault?: Fault | undefined;
  /** waiting: when it is tried again, in the clock's milliseconds. */
  readonly retryAt?: number | undefined;
  /** The server tells us when a peer has it: one of all peers, or, false, one of its own. Undefined: it was not asked to. */
  readonly isWished?: boolean | undefined;
};

export type DownloadWish = {
  readonly name: string;
  /** The peer to ask first; the first that SEARCH finds when not given. */
  readonly from?: Address | undefined;
  /** Who else has a file of that name, where SEARCH has just said so: it is not asked again. */
  readonly others?: readonly Address[] | undefined;
  readonly only?: boolean | undefined;
  readonly maxWaitSeconds?: number | undefined;
  /**
   * Tried again after growing pauses until it is done, cancelled, or fails of what no other try cures. "found": once a
   * peer is known that has it; it ends at what a source has said with `final`, and after `maxWaitSeconds` without a byte.
   */
  readonly keepsTrying?: boolean | "found" | undefined;
};

export type DownloadsEvent =
  /** Its state, or what belongs to the state, is another. */
  | { readonly type: "changed"; readonly download: DownloadView }
  | { readonly type: "progress"; readonly download: DownloadView; readonly progress: Progress }
  | { readonly type: "found"; readonly name: string; readonly peers: readonly Address[] }
  | { readonly type: "asking"; readonly name: string; readonly address: Address }
  /** A candidate failed, and another is asked. */
  | { readonly type: "left"; readonly name: string; readonly address: Address; readonly why: Fault }
  | { readonly type: "source-lost"; readonly name: string; readonly address: Address; readonly why: Fault }
  | { readonly type: "removed"; readonly name: string };

/** What a try needs of the network. */
export type AttemptOptions = {
  readonly env: Pick<Env, "clock" | "random">;
  /** SEARCH, of which nothing is remembered. */
  readonly locate: (name: string) => Promise<readonly Address[] | Fault>;
  /** One DOWNLOAD from beginning to end. */
  readonly fetch: (from: Address, request: DownloadRequest & { readonly name: string }) => Promise<Done | Fault>;
  /** The address under which others know us. */
  readonly self: () => Address | undefined;
  /** Asks the server to tell when a peer has the file: whether it will tell of every peer; undefined where it refuses. */
  readonly wish: (name: string) => Promise<boolean | undefined>;
  readonly tell: (event: DownloadsEvent) => void;
};

/** What a try reads and notes of its download. */
export type Tried = {
  readonly name: string;
  wish: DownloadWish;
  progress: Progress | undefined;
  from: Address | undefined;
  isWished: boolean | undefined;
  /** A peer that may be asked for it has, or had, it. */
  wasFound: boolean;
  /** When it last got on: a byte more came. In the clock's milliseconds. */
  advancedAt: number;
};

export const CANCELLED_DOWNLOAD: Fault = fault("CANCELLED", "ours", "by the person");
const NO_SOURCE = fault("NO_SOURCE", "theirs", "no other peer has it", true);

/** Whether it is tried again after a failure that another try may cure. */
export const goesOn = ({ wish, wasFound }: Pick<Tried, "wish" | "wasFound">): boolean =>
  wish.keepsTrying === "found" ? wasFound : wish.keepsTrying === true;

/** Whether another try may succeed where this one failed; without `always`, with nothing changed by a person. */
export function isCurable(why: Fault, always: boolean): boolean {
  if (!always && !why.retry) return false;
  if (why.fault === "BAD_NAME" || why.fault === "CANCELLED") return false;
  if (why.fault === "DISK_ERROR") return why.retry; // no descriptor, a file that another program holds for a moment
  return why.whose === "network" || why.whose === "theirs" || why.fault === "DISK_FULL";
}

export async function attempt(
  download: Tried,
  signal: AbortSignal,
  { env, locate, fetch, self, wish, tell }: AttemptOptions,
): Promise<Done | Fault> {
  const { name } = download;
  const { from, others, only, maxWaitSeconds } = download.wish;
  download.wish = { ...download.wish, others: undefined }; // by the next try it is old
  let found = others ?? (await locate(name));
  if (!isFault(found) && found.length === 0 && goesOn(download) && from === undefined) {
    download.isWished = await wish(name);
    found = await locate(name);
  }
  if (signal.aborted) return CANCELLED_DOWNLOAD;
  if (isFault(found)) return found;
  if (others === undefined) tell({ type: "found", name, peers: found });
  const ours = self();
  const theirs = found.filter((peer) => ours === undefined || !sameAddress(peer, ours));
  if (theirs.length > 0 && !only) download.wasFound = true;
  // Where only this peer has it, the asking says so best: the file is here already.
  const first = from ?? theirs[0] ?? found[0];
  if (first === undefined) return NO_SOURCE;
  return fetch(first, {
    name,
    others: theirs,
    only,
    maxWaitSeconds,
    signal,
    onAsk(address) {
      download.from = address;
      tell({ type: "asking", name, address });
    },
    onProgress(progress) {
      download.wasFound = true;
      if (progress.rate > 0) download.advancedAt = env.clock.now();
      // A wait in a queue is told of no bytes: those of an earlier try are counted later.
      const { bytes = 0, size = 0 } = (progress.size === 0 && download.progress) || progress;
      download.progress = { ...progress, bytes, size };
      tell({ type: "progress", download: viewOf(download as DownloadView & Tried), progress });
    },
    onFailed: (address, why) => tell({ type: "left", name, address, why }),
    onSourceLost: (address, why) => tell({ type: "source-lost", name, address, why }),
  });
}

/** What others may keep of it: it changes no more. */
export function viewOf(download: DownloadView): DownloadView {
  const { name, state, progress, from, done, fault, retryAt, isWished } = download;
  return { name, state, progress, from, done, fault, retryAt, isWished };
}
