// When a download is given up for want of sources: none to be had, or none that brings anything.
// Invariant: it is given up only after a source was lost, and for what its last loss was, or to turn to another peer.
// Never: gives up for what our own disk or our own limit holds up.

import { type Address, formatAddress } from "../protocol/address.ts";
import type { Fault } from "../protocol/fault.ts";
import { UPLOAD_BYTES_PER_SECOND_MIN } from "../protocol/limits.ts";
import type { Clock } from "../shared/clock.ts";
import { LEFT, type Patience } from "./candidates.ts";
import type { RateMeter } from "./rate-meter.ts";
import type { Requester } from "./requests/requester.ts";

/** With sources but without a byte for so long it ends too: they accept us and give nothing. */
const FRUITLESS_MS = 90_000;
/** …or when each of them has been lost so many times since the download last got on. */
const LOSSES_MAX = 3;
/** All sources together slower than this, for SLOW_FACTOR times the patience for a first byte, may be meant to keep us. */
const SLOW_BYTES_PER_SECOND = UPLOAD_BYTES_PER_SECOND_MIN / 2;
const SLOW_FACTOR = 4;

export type StarvationOptions = {
  readonly clock: Clock;
  readonly requester: Requester;
  readonly meter: RateMeter;
  readonly size: number;
  readonly patienceMs: Patience;
  /** Our own limit, in bytes per second; it may change. */
  readonly maxDownloadRate: () => number | undefined;
  /** The disk refuses or is slow, or has all that it needs: no source is to blame that nothing comes. */
  readonly waitsForDisk: () => boolean;
  /** Every byte is here, verified or not. */
  readonly isAllHere: () => boolean;
};

export type Starvation = {
  lost(address: Address, why: Fault): void;
  /** What the download ends with, unless a source is lost after it. */
  blame(why: Fault): void;
  /** The time without a source begins anew. */
  renew(): void;
  /**
   * Asked a few times a second: why to give up; or whether there is a source, or need of none ("fed"). `hopeMs`: how
   * long to go on without any.
   */
  look(hopeMs: number): Fault | "fed" | "starving";
};

/**
 * Whether a download has got on since it was last asked: a piece was kept, or more has come of one than ever. What a
 * wrong piece had seemed to bring is counted anew; a source that sends one is asked a few times only.
 */
function createAdvance(requester: Requester): { isOn(): boolean } {
  let [kept, most, wrong] = [0, 0, 0];
  return {
    isOn() {
      const bytes = requester.keptBytes + requester.begunBytes;
      const isOn = requester.keptBytes > kept || bytes > most;
      const isLess = requester.keptBytes < kept || requester.wrongPieces > wrong;
      most = isLess ? bytes : Math.max(most, bytes);
      [kept, wrong] = [requester.keptBytes, requester.wrongPieces];
      return isOn;
    },
  };
}

/** Why to leave all sources, which give nothing or next to nothing, for other peers that have a file of the same name. */
function createImpatience(options: StarvationOptions): () => Fault | undefined {
  const { clock, meter, maxDownloadRate, patienceMs, isAllHere, waitsForDisk } = options;
  const least = (): number => Math.min(SLOW_BYTES_PER_SECOND, (maxDownloadRate() ?? Number.POSITIVE_INFINITY) / 4);
  let since = clock.now();
  let before = meter.total;
  const restart = () => {
    since = clock.now();
    before = meter.total;
  };
  return () => {
    if (isAllHere() || waitsForDisk()) return void restart();
    const ms = patienceMs("byte");
    const waited = clock.now() - since;
    if (meter.total === 0) return waited > ms ? LEFT.byte : undefined;
    if (waited <= SLOW_FACTOR * ms) return undefined;
    const rate = (meter.total - before) / (waited / 1000);
    restart();
    return rate < least() ? LEFT.byte : undefined;
  };
}

export function createStarvation(options: StarvationOptions): Starvation {
  const { clock, requester, meter } = options;
  const impatience = createImpatience(options);
  const losses = new Map<string, number>(); // by ip:port, since the download last got on
  const advance = createAdvance(requester);
  let keptAt = clock.now();
  let starvedSince: number | undefined;
  let lastLoss: Fault | undefined;

  /** For long no piece has come, though every source has been given its chances. */
  function isFruitless(waitsForDisk: boolean): boolean {
    if (advance.isOn() || waitsForDisk) {
      keptAt = clock.now();
      losses.clear();
    }
    if (!waitsForDisk && requester.keptBytes < options.size && meter.quietMs() > FRUITLESS_MS) return true;
    if (clock.now() - keptAt <= FRUITLESS_MS) return false;
    // Other downloaders that have nothing for us wait for the same pieces, perhaps for ours: they are no hope.
    const idle = new Set(requester.partialSources.flatMap((partial) => (partial.idle ? [partial.source] : [])));
    return requester.sources.every(
      (source) => idle.has(source) || (losses.get(formatAddress(source.address)) ?? 0) >= LOSSES_MAX,
    );
  }

  return {
    lost(address, why) {
      lastLoss = why;
      const key = formatAddress(address);
      losses.set(key, (losses.get(key) ?? 0) + 1);
    },
    blame(why) {
      lastLoss = why;
    },
    renew() {
      starvedSince = clock.now();
    },
    look(hopeMs) {
      const left = impatience();
      // A source that sends wrong bytes is not merely slow.
      if (left !== undefined) return lastLoss?.fault === "CORRUPT" ? lastLoss : left;
      const waitsForDisk = options.waitsForDisk();
      const fruitless = isFruitless(waitsForDisk);
      if (requester.sources.length > 0 || waitsForDisk) {
        starvedSince = undefined;
        return fruitless && !waitsForDisk && lastLoss !== undefined ? lastLoss : "fed";
      }
      // Bytes that came meanwhile, between two looks, count: a source that comes and goes is one.
      starvedSince = Math.max(starvedSince ?? clock.now(), clock.now() - meter.quietMs());
      const isStarved = fruitless || clock.now() - starvedSince >= hopeMs;
      return isStarved && lastLoss !== undefined ? lastLoss : "starving";
    },
  };
}
