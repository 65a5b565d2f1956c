// Payloads of JOINs that are here and not answered yet: how much memory they take, and which one makes room when it is too much.
// Invariant: what is held stays within both budgets; the largest holder goes first, so that small ones get in.
// Never: refuses anything itself; request-handler.ts does.

import { createUsage } from "../catalog/usage.ts";
import type { Limits } from "../protocol/server-limits.ts";

export type JoinBudget<Holder> = {
  /** `holder` has so many bytes now. The holder that must go, or undefined when all fits. */
  set(holder: Holder, ip: string, bytes: number): Holder | undefined;
  readonly bytes: number;
};

/** `mayGo`: one whose JOIN is being answered already is nearly done, and stays; one that is still dialled is not. */
export function createJoinBudget<Holder>(
  limits: Pick<Limits, "joinBytesHeld" | "joinBytesHeldPerAddress">,
  mayGo: (holder: Holder) => boolean,
): JoinBudget<Holder> {
  const joins = new Map<Holder, { readonly ip: string; bytes: number }>();
  const usage = createUsage();

  function largest(ip: string | undefined): Holder | undefined {
    let found: Holder | undefined;
    let most = 0;
    for (const [holder, join] of joins) {
      if ((ip !== undefined && join.ip !== ip) || join.bytes <= most || !mayGo(holder)) continue;
      found = holder;
      most = join.bytes;
    }
    return found;
  }

  return {
    set(holder, ip, bytes) {
      const before = joins.get(holder)?.bytes ?? 0;
      const grown = bytes - before;
      if (grown === 0) return undefined;
      if (bytes === 0) joins.delete(holder);
      else joins.set(holder, { ip, bytes });
      usage.add(ip, grown);
      if (grown < 0) return undefined;
      if (usage.at(ip) > limits.joinBytesHeldPerAddress) return largest(ip) ?? holder;
      return usage.total > limits.joinBytesHeld ? (largest(undefined) ?? holder) : undefined;
    },
    get bytes() {
      return usage.total;
    },
  };
}
