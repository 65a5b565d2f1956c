// Large payloads of JOINs: how many bytes of them may be under way at once; the rest wait in their connections, unread.
// Invariant: what is under way was announced with at most LARGE_JOINS_BYTES_MAX in all, by one address with half of that or as one.
// Never: holds back a JOIN of at most LARGE_JOIN_BYTES_MIN.

import { createUsage } from "../catalog/usage.ts";
import {
  LARGE_JOIN_BYTES_MIN,
  LARGE_JOIN_BYTES_PER_SECOND_MIN,
  LARGE_JOIN_WAIT_SECONDS_MAX,
  LARGE_JOINS_BYTES_MAX,
} from "../protocol/limits.ts";
import type { Clock } from "../shared/clock.ts";

export type JoinQueue<Holder> = {
  /** Whether the JOIN of `holder`, which announced `bytes`, may be read on. `onTurn` tells later where it has to wait. */
  mayRead(holder: Holder, ip: string, bytes: number): boolean;
  /** It is answered, or gone. */
  leave(holder: Holder): void;
  /** Those that have waited for too long, and those that take too long while others wait. */
  overdue(): Holder[];
};

type Large = { readonly ip: string; readonly bytes: number; readonly since: number };

export function createJoinQueue<Holder>(
  clock: Pick<Clock, "now">,
  onTurn: (holder: Holder) => void,
): JoinQueue<Holder> {
  const underWay = new Map<Holder, Large>();
  const waiting = new Map<Holder, Large>();
  const usage = createUsage();

  function begins(holder: Holder, { ip, bytes }: Large): boolean {
    const mostHere = usage.at(ip) === 0 ? LARGE_JOINS_BYTES_MAX : LARGE_JOINS_BYTES_MAX / 2;
    if (usage.total + bytes > LARGE_JOINS_BYTES_MAX || usage.at(ip) + bytes > mostHere) return false;
    usage.add(ip, bytes);
    underWay.set(holder, { ip, bytes, since: clock.now() });
    return true;
  }

  return {
    mayRead(holder, ip, bytes) {
      if (bytes <= LARGE_JOIN_BYTES_MIN || underWay.has(holder)) return true;
      if (waiting.has(holder)) return false;
      const large = { ip, bytes, since: clock.now() };
      if (begins(holder, large)) return true;
      waiting.set(holder, large);
      return false;
    },
    leave(holder) {
      waiting.delete(holder);
      const large = underWay.get(holder);
      if (large === undefined) return;
      underWay.delete(holder);
      usage.add(large.ip, -large.bytes);
      // The smallest goes first: it is done soonest.
      for (const [next, its] of [...waiting].sort(([, a], [, b]) => a.bytes - b.bytes)) {
        if (!begins(next, its)) continue;
        waiting.delete(next);
        onTurn(next);
      }
    },
    overdue() {
      const now = clock.now();
      const waited = [...waiting].filter(([, { since }]) => now - since >= LARGE_JOIN_WAIT_SECONDS_MAX * 1000);
      const isSlow = ({ bytes, since }: Large): boolean =>
        now - since >= (LARGE_JOIN_WAIT_SECONDS_MAX + bytes / LARGE_JOIN_BYTES_PER_SECOND_MIN) * 1000;
      const slow = waiting.size === 0 ? [] : [...underWay].filter(([, large]) => isSlow(large));
      return [...waited, ...slow].map(([holder]) => holder);
    },
  };
}
