// While the chosen peer keeps us in its queue: other holders of the content that it says we wait for.
// Invariant: few are asked at a time, after growing pauses; one that would have us wait too is left at once.
// Never: takes another content than the one that the chosen peer has named.

import { type Address, formatAddress, sameAddress } from "../../protocol/address.ts";
import { type Fault, isFault } from "../../protocol/fault.ts";
import type { Holder, Root } from "../../protocol/messages.ts";
import type { Clock } from "../../shared/clock.ts";
import type { OnWait, Source } from "./source.ts";

export type StandIns = {
  /** The chosen peer names the content that we wait for: from the first time on other holders of it are asked. */
  begin(root: Root): void;
  /** The first that accepts. */
  readonly found: Promise<Source>;
  stop(): void;
};

export type StandInsOptions = {
  readonly clock: Clock;
  /** 0 ≤ r < 1. */
  readonly random: () => number;
  readonly chosen: Address;
  /** Who holds a content, ourselves left out, as far as the server knows. */
  readonly find: (root: Root) => Promise<readonly Holder[]>;
  readonly dial: (address: Address, root: Root, onWait: OnWait) => Promise<Source | Fault>;
};

/** Holders that are asked at a time. */
const ASKED_MAX = 4;
/** The pause between two turns: from the first to the longest, each doubled, and shortened by lot by up to a half. */
const TURN_MS_MIN = 500;
const TURN_MS_MAX = 4000;

export function createStandIns({ clock, random, chosen, find, dial }: StandInsOptions): StandIns {
  const { promise: found, resolve } = Promise.withResolvers<Source>();
  const asked = new Set<string>(); // and not answered yet, by ip:port
  let isOver = false;
  let hasBegun = false;
  let cancel = (): void => {};

  async function ask(address: Address, root: Root): Promise<void> {
    const key = formatAddress(address);
    asked.add(key);
    const source = await dial(address, root, (_, leave) => leave());
    asked.delete(key);
    if (isFault(source)) return;
    if (isOver) return source.close();
    isOver = true;
    resolve(source);
  }

  async function turn(root: Root, pauseMs: number): Promise<void> {
    const isFree = ({ address }: Holder) => !sameAddress(address, chosen) && !asked.has(formatAddress(address));
    const holders = (await find(root)).filter(isFree);
    // By lot, so that not all who wait turn to the same.
    const drawn = holders.map(({ address }) => ({ address, lot: random() })).sort((a, b) => a.lot - b.lot);
    if (isOver) return;
    for (const { address } of drawn.slice(0, ASKED_MAX - asked.size)) void ask(address, root);
    const next = Math.min(2 * pauseMs, TURN_MS_MAX);
    cancel = clock.after(pauseMs * (1 - random() / 2), () => void turn(root, next));
  }

  return {
    begin(root) {
      if (hasBegun || isOver) return;
      hasBegun = true;
      void turn(root, TURN_MS_MIN);
    },
    found,
    stop() {
      isOver = true;
      cancel();
    },
  };
}
