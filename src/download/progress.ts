// How a download stands, as facts; the console makes sentences of them.
// Invariant: `bytes` are verified and synced, and a reason is given whenever nothing moves.
// Never: smooths or guesses.

import { pieceBytesFor, pieceCount } from "../content/hashing/merkle.ts";
import type { Address } from "../protocol/address.ts";
import type { Clock } from "../shared/clock.ts";
import type { PartFile } from "./disk/part-file.ts";
import type { Verifier } from "./pieces/verifier.ts";
import type { RateMeter } from "./rate-meter.ts";
import type { Requester } from "./requests/requester.ts";
import type { SessionProgress } from "./session-state.ts";

/** Why nothing moves just now. */
export type Waiting =
  | { readonly for: "slot"; readonly from: Address; readonly position: number }
  | { readonly for: "data"; readonly from: Address }
  /** The disk refuses, or it is slow: what has come waits for it, and there is no room for more. */
  | { readonly for: "disk"; readonly full: boolean; readonly slow?: boolean }
  /** Every byte is here, and what an earlier run left is still read again. */
  | { readonly for: "check" }
  /** Every byte is here; the source is still hashing the file. */
  | { readonly for: "root"; readonly from: Address };

export type Progress = {
  readonly bytes: number;
  readonly size: number;
  /** Bytes per second over the last seconds. */
  readonly rate: number;
  /** Undefined while nothing moves. */
  readonly etaSeconds?: number | undefined;
  readonly sources: number;
  readonly waiting?: Waiting | undefined;
  /** What a picture of it needs, made when it is called. */
  readonly detail?: () => ProgressDetail;
};

export type ProgressDetail = {
  readonly pieceCount: number;
} & ReturnType<Requester["detail"]>;

const PROGRESS_MS = 250;
/** After so long without a byte, or with the disk at one write, the reason is told. */
export const QUIET_MS = 3000;

export type Standing = {
  readonly from: Address;
  readonly size: number;
  readonly requester: Requester;
  readonly verifier: Verifier;
  readonly meter: RateMeter;
  readonly partFile: Pick<PartFile, "busyMs">;
  /** In the queue of `from`, where it was lost and is asked again. */
  readonly position: () => number | undefined;
  readonly progress: Pick<SessionProgress, "paused">;
};

export type Reports = {
  /** What an earlier run left is counted: from now on all is told, at once and then a few times a second. */
  begin(): void;
  /** Every byte is verified and synced: the last thing that is told. */
  finish(): void;
  stop(): void;
};

/** Tells `onProgress` how it stands; before `begin` only what it has been waiting for, because no bytes are counted yet. */
export function reportProgress(standing: Standing, clock: Clock, onProgress: (progress: Progress) => void): Reports {
  let begun = false;
  const report = () => {
    const progress = look(standing);
    if (begun || progress.waiting !== undefined) onProgress(progress);
  };
  const next = () => {
    report();
    cancel = clock.after(PROGRESS_MS, next);
  };
  let cancel = clock.after(PROGRESS_MS, next);
  return {
    begin() {
      begun = true;
      report();
    },
    finish() {
      cancel();
      onProgress({ ...look(standing), etaSeconds: 0, waiting: undefined });
    },
    stop: () => cancel(),
  };
}

function look(standing: Standing): Progress {
  const { size, requester, meter } = standing;
  const rate = meter.rate();
  const bytes = requester.keptBytes;
  const waiting = whyQuiet(standing);
  return {
    bytes,
    size,
    rate,
    etaSeconds: rate > 0 && waiting === undefined ? (size - bytes) / rate : undefined,
    sources: requester.sources.length,
    waiting,
    detail: () => ({ ...requester.detail(), pieceCount: pieceCount(size, pieceBytesFor(size)) }),
  };
}

function whyQuiet(standing: Standing): Waiting | undefined {
  const { from, size, requester, verifier, meter, partFile, position } = standing;
  const quiet = meter.quietMs() > QUIET_MS;
  const { paused } = standing.progress;
  if (paused !== undefined) return { for: "disk", full: paused.fault === "DISK_FULL" };
  if (quiet && partFile.busyMs() > QUIET_MS) return { for: "disk", full: false, slow: true };
  if (verifier.allHere && size > 0) {
    if (verifier.checking) return { for: "check" };
    if (requester.keptBytes === size) return { for: "root", from };
    return quiet ? { for: "disk", full: false, slow: true } : undefined; // one sync after another
  }
  const queued = requester.sources.length === 0 ? position() : undefined;
  if (queued !== undefined) return { for: "slot", from, position: queued };
  return quiet ? { for: "data", from: requester.sources[0]?.address ?? from } : undefined;
}
