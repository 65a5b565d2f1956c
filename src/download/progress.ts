// How a download stands, as facts; the console makes sentences of them.
// Invariant: `bytes` are verified and synced, and a reason is given whenever nothing moves.
// Never: smooths or guesses.

import type { Address } from "../protocol/address.ts";
import type { Clock } from "../shared/clock.ts";
import type { PartFile } from "./disk/part-file.ts";
import type { Verifier } from "./pieces/verifier.ts";
import type { RateMeter } from "./rate-meter.ts";
import type { Requester } from "./requests/requester.ts";

/** Why nothing moves just now. */
export type Waiting =
  | { readonly for: "slot"; readonly from: Address; readonly position: number }
  | { readonly for: "data"; readonly from: Address }
  /** It refuses, or it is slow: what has come waits for it, and there is no room for more. */
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
};

const PROGRESS_MS = 250;
/** After so long without a byte, or with the disk at one thing, a person wants to know why. */
export const QUIET_MS = 3000;

export type Standing = {
  readonly from: Address;
  readonly size: number;
  readonly fetcher: Requester;
  readonly verifier: Verifier;
  readonly meter: RateMeter;
  readonly storage: Pick<PartFile, "busyMs">;
  /** In the queue of `from`, where it was lost and asked again. */
  readonly place: () => number | undefined;
  readonly clock: Clock;
};

export type Reports = {
  /** What an earlier run left is counted: from now on all is told, at once and then a few times a second. */
  begin(): void;
  /** Every byte is verified and synced: the last thing that is told. */
  finish(): void;
  stop(): void;
};

/** Tells `onProgress` how it stands; before `begin` only what it has been waiting for, because no bytes are counted yet. */
export function reportProgress(standing: Standing, onProgress: (progress: Progress) => void): Reports {
  let begun = false;
  const report = () => {
    const progress = look(standing);
    if (begun || progress.waiting !== undefined) onProgress(progress);
  };
  const next = () => {
    report();
    cancel = standing.clock.after(PROGRESS_MS, next);
  };
  let cancel = standing.clock.after(PROGRESS_MS, next);
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
  const { size, fetcher, meter } = standing;
  const rate = meter.rate();
  const bytes = fetcher.keptBytes;
  const waiting = whyQuiet(standing);
  return {
    bytes,
    size,
    rate,
    etaSeconds: rate > 0 && waiting === undefined ? (size - bytes) / rate : undefined,
    sources: fetcher.sources.length,
    waiting,
  };
}

function whyQuiet({ from, size, fetcher, verifier, meter, storage, place }: Standing): Waiting | undefined {
  const quiet = meter.quietMs() > QUIET_MS;
  if (fetcher.paused !== undefined) return { for: "disk", full: fetcher.paused.fault === "DISK_FULL" };
  if (quiet && storage.busyMs() > QUIET_MS) return { for: "disk", full: false, slow: true };
  if (verifier.allHere && size > 0) {
    if (verifier.checking) return { for: "check" };
    if (fetcher.keptBytes === size) return { for: "root", from };
    return quiet ? { for: "disk", full: false, slow: true } : undefined; // one sync after another
  }
  const position = fetcher.sources.length === 0 ? place() : undefined;
  if (position !== undefined) return { for: "slot", from, position };
  return quiet ? { for: "data", from: fetcher.sources[0]?.address ?? from } : undefined;
}
