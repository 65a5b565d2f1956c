// How each address has treated this download: when it may be asked again, and whether ever.
// Invariant: an address that brings right pieces is asked again soon; one that says no or brings nothing, each time after twice as long.
// Never: asks a peer, or forgives one that sends more wrong pieces than right ones.

import { type Address, formatAddress } from "../../protocol/address.ts";
import { type Fault, isFinal } from "../../protocol/fault.ts";
import type { Clock } from "../../shared/clock.ts";

export type Backoff = {
  /** A source was lost, why, and how many right pieces it had brought since it was taken in; `fruitful`: or much of one. */
  lost(address: Address, why: Fault, pieces: number, fruitful?: boolean): void;
  /** It was asked and did not become a source. */
  vain(address: Address): void;
  /** The chosen peer was asked and said no. */
  rejected(address: Address): void;
  /** Whether a holder may be asked now. */
  isWelcome(address: Address): boolean;
  /** The same of the chosen peer, which is hoped for more than others. */
  isMissed(address: Address): boolean;
  /** It said no for good. */
  refused(address: Address): void;
  /** It will not be asked again. */
  isBanned(address: Address): boolean;
};

const UNKNOWN = { strikes: 0, fruitless: 0, vain: 0, rejected: 0, slow: 0, coolUntil: 0, missedFrom: 0 };
type Record = typeof UNKNOWN;

const COOL_MS = 5000;
/** One that was too slow to wait for, or brought nothing, is asked later each time, up to so many times as late… */
const COOL_FACTOR_MAX = 64;
/** …and one that did not become a source up to so many: it may only have been away. */
const VAIN_FACTOR_MAX = 8;
/** The chosen peer is asked at once when it was lost, then after so long, doubled for each time that it brought nothing. */
const MISSED_MS_MIN = 250;
const MISSED_MS_MAX = 8000;
/** …and after a random part of so long, doubled for each time that it said no: a slot may be free at any moment, and many ask. */
const REJECTED_MS_MIN = 250;
const REJECTED_MS_MAX = 5000;
/** A wrong piece may be the link's fault; so many more than right ones are the peer's. */
const STRIKES_MAX = 3;
/** For each right piece a wrong one is forgiven, and so many beforehand: even a bad link has runs of bad luck. */
const TRUST_MAX = 7;

/** `random` gives 0 ≤ r < 1. */
export function createBackoff(clock: Clock, random: () => number): Backoff {
  const records = new Map<string, Record>(); // by ip:port

  function recordOf(address: Address): Record {
    const key = formatAddress(address);
    const known = records.get(key) ?? { ...UNKNOWN };
    records.set(key, known);
    return known;
  }

  function lost(address: Address, why: Fault, pieces: number, fruitful = pieces > 0): void {
    const record = recordOf(address);
    const lied = why.fault === "CORRUPT" || why.fault === "BAD_REPLY";
    record.strikes = Math.max(-TRUST_MAX, record.strikes - pieces) + Number(lied);
    record.fruitless = fruitful && (pieces > 0 || !lied) ? 0 : record.fruitless + 1;
    record.vain = 0;
    record.rejected = 0;
    const factor = 2 ** Math.max(why.fault === "STALLED" ? record.slow++ : 0, record.fruitless - 1, 0);
    record.coolUntil = clock.now() + COOL_MS * Math.min(factor, COOL_FACTOR_MAX);
    const missedMs = record.fruitless < 2 ? 0 : Math.min(MISSED_MS_MIN * 2 ** (record.fruitless - 2), MISSED_MS_MAX);
    record.missedFrom = clock.now() + missedMs;
    if (record.strikes >= STRIKES_MAX || isFinal(why)) record.coolUntil = Number.POSITIVE_INFINITY;
  }

  const isBanned = (address: Address): boolean => recordOf(address).coolUntil === Number.POSITIVE_INFINITY;
  return {
    lost,
    vain(address) {
      const record = recordOf(address);
      const factor = Math.min(2 ** record.vain++, VAIN_FACTOR_MAX);
      record.coolUntil = Math.max(record.coolUntil, clock.now() + COOL_MS * factor);
    },
    rejected(address) {
      const record = recordOf(address);
      const ms = Math.min(REJECTED_MS_MIN * 2 ** record.rejected++, REJECTED_MS_MAX);
      record.missedFrom = clock.now() + ms * (0.5 + random() / 2);
    },
    refused(address) {
      recordOf(address).coolUntil = Number.POSITIVE_INFINITY;
    },
    isWelcome: (address) => recordOf(address).coolUntil <= clock.now(),
    isMissed: (address) => !isBanned(address) && recordOf(address).missedFrom <= clock.now(),
    isBanned,
  };
}
