// One upload rate for all: shared by address first, then by download, then by connection.
// Invariant: every byte counts once; of those that wait, the one whose address has had the least comes first.
// Never: holds bytes, or makes an address pay for another's.

import type { Clock } from "../shared/clock.ts";
import { createTokenBucket } from "../shared/token-bucket.ts";

/** One connection's part in the rate. */
export type Payer = {
  /** How many of `wanted` bytes may be sent, once it is its turn; they count as sent. */
  take(wanted: number): number | Promise<number>;
  /** Counts bytes that were sent unasked: a line that answers. */
  spend(bytes: number): void;
  /** When what was spent unasked is paid for; undefined when it is. */
  settled(): Promise<void> | undefined;
  /** From now on it sends for this download. */
  joins(download: string): void;
};

export type FairRate = {
  payer(ip: string): Payer;
};

/** What one grant is worth, and how far one that was busy may fall behind and catch up, in seconds of the rate. */
const GRANT_SECONDS = 0.01;
const BEHIND_SECONDS = 0.1;
/** Addresses or downloads that are remembered although they ask for nothing. */
const REMEMBERED_MAX = 256;

type Ask = { readonly wanted: number; readonly grant: (bytes: number) => void };
/** An address or a download: what it had, and what of it waits. */
type Part = { had: number; waiting: number; readonly parts: Level; readonly asks: Ask[] };
/** Parts that share by queue. `time` is what the part that was served last had had. */
type Level = { readonly parts: Map<string, Part>; time: number };

const newLevel = (): Level => ({ parts: new Map(), time: 0 });
const NO_LEVEL = newLevel();

/** `bytesPerSecond` undefined: everything may leave at once. */
export function createFairRate(bytesPerSecond: number | undefined, clock: Clock): FairRate {
  if (bytesPerSecond === undefined) {
    const free: Payer = { take: (wanted) => wanted, spend() {}, settled: () => undefined, joins() {} };
    return { payer: () => free };
  }
  const bucket = createTokenBucket(bytesPerSecond, clock);
  const quantum = Math.max(1, Math.floor(bytesPerSecond * GRANT_SECONDS));
  const behind = bytesPerSecond * BEHIND_SECONDS;
  const addresses = newLevel();
  let waiting = 0;
  let isWaiting = false;

  function partOf(level: Level, key: string, isLast: boolean): Part {
    let part = level.parts.get(key);
    if (part === undefined) {
      if (level.parts.size > REMEMBERED_MAX) forget(level);
      part = { had: level.time, waiting: 0, parts: isLast ? NO_LEVEL : newLevel(), asks: [] };
      level.parts.set(key, part);
    }
    // A part that asked for nothing saves up nothing, but for the moment that it was busy sending.
    if (part.waiting === 0) part.had = Math.max(part.had, level.time - behind);
    return part;
  }

  function forget({ parts, time }: Level): void {
    for (const [key, { waiting, had }] of parts) if (waiting === 0 && had <= time) parts.delete(key);
  }

  /** The part that waits and has had the least, and how much it may have before another has had less. */
  function next(level: Level): { part: Part; ahead: number } {
    let part: Part | undefined;
    let second = Number.POSITIVE_INFINITY;
    for (const one of level.parts.values()) {
      if (one.waiting === 0) continue;
      if (part === undefined || one.had < part.had) {
        second = part?.had ?? second;
        part = one;
      } else second = Math.min(second, one.had);
    }
    return { part: part as Part, ahead: second - (part as Part).had };
  }

  /** Serves the asks that wait, one after another, until nothing may pass. */
  function serve(): void {
    while (!isWaiting && waiting > 0) {
      const { part: address, ahead } = next(addresses);
      const { part: download } = next(address.parts);
      const { wanted, grant } = download.asks[0] as Ask;
      const most = Math.floor(Math.min(wanted, quantum + Math.min(ahead, behind)));
      const bytes = wanted === 0 ? 0 : bucket.take(most);
      if (wanted === 0 ? bucket.spend(0) > 0 : bytes === 0) return later();
      addresses.time = address.had;
      address.parts.time = download.had;
      charge(address, download, bytes);
      download.asks.shift();
      waiting--;
      download.waiting--;
      address.waiting--;
      grant(bytes);
    }
  }

  function later(): void {
    isWaiting = true;
    clock.after(bucket.waitMs(), () => {
      isWaiting = false;
      serve();
    });
  }

  function charge(address: Part, download: Part, bytes: number): void {
    address.had += bytes;
    download.had += bytes;
  }
  let payers = 0;

  return {
    payer(ip) {
      let download = `connection ${payers++}`;
      let owes = false;
      const parts = (): [Part, Part] => {
        const address = partOf(addresses, ip, false);
        return [address, partOf(address.parts, download, true)];
      };
      const ask = (wanted: number): Promise<number> =>
        new Promise((grant) => {
          const [address, of] = parts();
          of.asks.push({ wanted, grant });
          waiting++;
          of.waiting++;
          address.waiting++;
          serve();
        });
      return {
        take: ask,
        spend(bytes) {
          const [address, of] = parts();
          charge(address, of, bytes);
          bucket.spend(bytes);
          owes = true;
        },
        settled() {
          if (!owes) return undefined;
          owes = false;
          return ask(0).then(() => undefined);
        },
        joins(name) {
          download = name;
        },
      };
    },
  };
}
