// How a download stands, as facts; the console makes sentences of them.
// Invariant: `bytes` are verified and synced, and a reason is given whenever nothing moves.
// Never: smooths or guesses.

import type { Address } from "../protocol/address.ts";
import type { Clock } from "../transport/clock.ts";
import type { Fetcher } from "./fetcher.ts";
import type { Meter } from "./meter.ts";

/** Why nothing moves just now. */
export type Waiting =
  | { readonly for: "slot"; readonly from: Address; readonly position: number }
  | { readonly for: "data"; readonly from: Address }
  | { readonly for: "disk"; readonly full: boolean }
  /** Every byte is here; the source is still hashing the file. */
  | { readonly for: "root"; readonly from: Address };

export type Progress = {
  readonly bytes: number;
  readonly size: number;
  /** Bytes per second over the last seconds. */
  readonly rate: number;
  /** Undefined while nothing moves. */
  readonly etaSeconds: number | undefined;
  readonly sources: number;
  readonly waiting: Waiting | undefined;
};

const PROGRESS_MS = 250;
const QUIET_MS = 3000;

export type Standing = {
  readonly from: Address;
  readonly size: number;
  readonly fetcher: Fetcher;
  readonly meter: Meter;
  readonly clock: Clock;
};

/** Tells `onProgress` how it stands, a few times a second, until the returned function is called. */
export function reportProgress(standing: Standing, onProgress: (progress: Progress) => void): () => void {
  let cancel = () => {};
  const next = () => {
    onProgress(look(standing));
    cancel = standing.clock.after(PROGRESS_MS, next);
  };
  next();
  return () => cancel();
}

function look({ from, size, fetcher, meter }: Standing): Progress {
  const rate = meter.rate();
  const bytes = fetcher.keptBytes;
  const waiting = whyQuiet(from, size, fetcher, meter);
  return {
    bytes,
    size,
    rate,
    etaSeconds: rate > 0 && waiting === undefined ? (size - bytes) / rate : undefined,
    sources: fetcher.sources.length,
    waiting,
  };
}

function whyQuiet(from: Address, size: number, fetcher: Fetcher, meter: Meter): Waiting | undefined {
  if (fetcher.paused !== undefined) return { for: "disk", full: fetcher.paused.fault === "DISK_FULL" };
  if (fetcher.keptBytes === size && size > 0) return { for: "root", from };
  return meter.quietMs() > QUIET_MS ? { for: "data", from: fetcher.sources[0]?.address ?? from } : undefined;
}
