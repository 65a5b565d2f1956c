// Which source of a download brings next to nothing while others bring much.
// Invariant: what counts is what a source brought between two looks; before the second it is not compared.
// Never: drops a source; peer-list.ts does.

import { type Address, formatAddress } from "../../protocol/address.ts";
import { type Fault, fault } from "../../protocol/fault.ts";
import type { Brought } from "../requests/active-sources.ts";

/** A source that brings less than this part of what they bring on average is of no use. */
const USEFUL_PART = 0.2;

/** Why such a source is left: nothing is wrong with it. */
export const USELESS: Fault = fault("STALLED", "theirs", "others bring more", true);

/** To be called at even intervals: the source that has brought the least since the last call, if that is next to nothing. */
export function createUsefulness(): (brought: readonly Brought[]) => Address | undefined {
  let before = new Map<string, number>();
  return (brought) => {
    const now = new Map(brought.map(({ address, bytes }) => [formatAddress(address), bytes]));
    const known = brought.flatMap(({ address, bytes }) => {
      const since = before.get(formatAddress(address));
      return since === undefined ? [] : [{ address, bytes: bytes - since }];
    });
    before = now;
    const mean = known.reduce((sum, { bytes }) => sum + bytes, 0) / Math.max(1, known.length);
    const least = known.sort((a, b) => a.bytes - b.bytes)[0];
    return least !== undefined && least.bytes < USEFUL_PART * mean ? least.address : undefined;
  };
}
