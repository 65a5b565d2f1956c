// One upload rate for all: shared by address first, then by download, then by connection.
// Invariant: every byte counts once; of those that wait, the one whose address has had the least comes first.
// Never: holds bytes, or makes an address pay for another's.

import type { Clock } from "../shared/clock.ts";
import { createTokenBucket } from "../shared/token-bucket.ts";

/** One connection's share of the rate. */
export type Payer = {
  /** How many of `wanted` bytes may be sent, once it is its turn; they count as sent. */
  take(wanted: number): number | Promise<number>;
  /** Counts bytes that were sent unasked: a line that answers. */
  spend(bytes: number): void;
  /** When what was spent unasked is paid for; undefined when it is. */
  settled(): Promise<void> | undefined;
  /** From now on it sends for this download. */
  joins(download: string): void;
  /** What it waits for is granted at once as 0 bytes, and nothing is charged. */
  leave(): void;
};

export type FairRate = {
  payer(ip: string): Payer;
  /** Another rate, for what waits too; undefined for none. */
  setRate(bytesPerSecond: number | undefined): void;
};

/** What one grant is worth, and how far one that was busy may fall behind and catch up, in seconds of the rate. */
const GRANT_SECONDS = 0.01;
const BEHIND_SECONDS = 0.1;
/** Addresses or downloads that are remembered although they ask for nothing. */
const REMEMBERED_MAX = 256;

type Ask = { readonly payer: object; readonly wanted: number; readonly grant: (bytes: number) => void };
/** An address or a download: what it had, and what of it waits. */
type Sharer = { had: number; waiting: number; readonly sharers: Level; readonly asks: Ask[] };
/** Sharers that share by turns. `time` is what the sharer that was served last had had. */
type Level = { readonly sharers: Map<string, Sharer>; time: number };

const newLevel = (): Level => ({ sharers: new Map(), time: 0 });
const NO_LEVEL = newLevel();

/** What follows from a rate: its bucket, what one grant is worth, and how far a sharer may be behind, in bytes. */
function paceOf(rate: number | undefined, clock: Clock) {
  const bucket = createTokenBucket(rate, clock);
  if (rate === undefined) return { isLimited: false, bucket, quantum: Number.MAX_SAFE_INTEGER, behind: 0 };
  const quantum = Math.max(1, Math.floor(rate * GRANT_SECONDS));
  return { isLimited: true, bucket, quantum, behind: rate * BEHIND_SECONDS };
}

function forget({ sharers, time }: Level): void {
  for (const [key, { waiting, had }] of sharers) if (waiting === 0 && had <= time) sharers.delete(key);
}

/** The sharer that waits and has had the least, and how much it may have before another has had less. */
function next(level: Level): { sharer: Sharer; lead: number } {
  let sharer: Sharer | undefined;
  let second = Number.POSITIVE_INFINITY;
  for (const one of level.sharers.values()) {
    if (one.waiting === 0) continue;
    if (sharer === undefined || one.had < sharer.had) {
      second = sharer?.had ?? second;
      sharer = one;
    } else second = Math.min(second, one.had);
  }
  return { sharer: sharer as Sharer, lead: second - (sharer as Sharer).had };
}

function charge(address: Sharer, download: Sharer, bytes: number): void {
  address.had += bytes;
  download.had += bytes;
}

/** `bytesPerSecond` undefined: everything may leave at once. */
export function createFairRate(bytesPerSecond: number | undefined, clock: Clock): FairRate {
  let pace = paceOf(bytesPerSecond, clock);
  const addresses = newLevel();
  let waiting = 0;
  let isWaiting = false;

  function sharerOf(level: Level, key: string, isLast: boolean): Sharer {
    let sharer = level.sharers.get(key);
    if (sharer === undefined) {
      if (level.sharers.size > REMEMBERED_MAX) forget(level);
      sharer = { had: level.time, waiting: 0, sharers: isLast ? NO_LEVEL : newLevel(), asks: [] };
      level.sharers.set(key, sharer);
    }
    // A sharer that asked for nothing saves up nothing, but for the moment that it was busy sending.
    if (sharer.waiting === 0) sharer.had = Math.max(sharer.had, level.time - pace.behind);
    return sharer;
  }

  /** Serves the asks that wait, one after another, until nothing may pass. */
  function serve(): void {
    while (!isWaiting && waiting > 0) {
      const { sharer: address, lead } = next(addresses);
      const { sharer: download } = next(address.sharers);
      const { wanted, grant } = download.asks[0] as Ask;
      const most = Math.floor(Math.min(wanted, pace.quantum + Math.min(lead, pace.behind)));
      const bytes = wanted === 0 ? 0 : pace.bucket.take(most);
      if (wanted === 0 ? pace.bucket.spend(0) > 0 : bytes === 0) return later();
      addresses.time = address.had;
      address.sharers.time = download.had;
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
    clock.after(pace.bucket.waitMs(), () => {
      isWaiting = false;
      serve();
    });
  }

  let payers = 0;

  return {
    setRate(rate) {
      pace = paceOf(rate, clock);
      serve();
    },
    payer(ip) {
      let download = `connection ${payers++}`;
      let owes = false;
      const sharers = (): [Sharer, Sharer] => {
        const address = sharerOf(addresses, ip, false);
        return [address, sharerOf(address.sharers, download, true)];
      };
      const ask = (wanted: number): Promise<number> =>
        new Promise((grant) => {
          const [address, of] = sharers();
          of.asks.push({ payer, wanted, grant });
          waiting++;
          of.waiting++;
          address.waiting++;
          serve();
        });
      const payer: Payer = {
        take: (wanted) => (pace.isLimited ? ask(wanted) : wanted),
        spend(bytes) {
          if (!pace.isLimited) return;
          const [address, of] = sharers();
          charge(address, of, bytes);
          pace.bucket.spend(bytes);
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
        leave() {
          const [address, of] = sharers();
          for (const ask of of.asks.filter((one) => one.payer === payer)) {
            of.asks.splice(of.asks.indexOf(ask), 1);
            waiting--;
            of.waiting--;
            address.waiting--;
            ask.grant(0);
          }
        },
      };
      return payer;
    },
  };
}
