// What a peer of a crowd gives others: the program's own slots, queue and least rate; lines and files are modelled.

import { type Fault, fault, isFault } from "../../src/protocol/fault.ts";
import { UPLOAD_IDLE_SECONDS_MAX, UPLOADS_DEFAULT } from "../../src/protocol/limits.ts";
import type { Reply } from "../../src/protocol/messages.ts";
import { type Clock, every } from "../../src/shared/clock.ts";
import { createMinRate } from "../../src/upload/min-rate.ts";
import { createSlotQueue } from "../../src/upload/slot-queue.ts";
import type { Claim } from "../../src/upload/slots.ts";
import type { Flow } from "./links.ts";

/** A download that has a slot. */
export type Granted = {
  readonly claim: Claim;
  readonly flows: Set<Flow>;
  readonly minRate: ReturnType<typeof createMinRate>;
  /** Bytes that were taken, and when something last was asked or taken. */
  taken: number;
  movedAt: number;
  readonly onEnd: (why: Fault) => void;
};

export type Asker = {
  readonly ip: string;
  readonly onWait: (position: number) => void;
  /** The grant, or why not. */
  readonly onAnswer: (granted: Granted | Fault) => void;
  /** A granted download is over. */
  readonly onEnd: (why: Fault) => void;
};

export type Uploads = {
  /** Enters the queue for a slot; how to leave it, or give the slot back. */
  ask(asker: Asker): () => void;
  end(): void;
};

const SWEEP_MS = 1000;
const OVER = fault("TIMEOUT", "theirs", "its slot is over", true);
const GONE = fault("PEER_GONE", "network", "the program has ended", true);

export function createUploads(clock: Clock): Uploads {
  const queue = createSlotQueue(UPLOADS_DEFAULT, clock);
  const granted = new Set<Granted>();
  const asking = new Set<Asker>();

  /** As upload-server.ts and eviction.ts judge once a second. */
  const stopSweep = every(clock, SWEEP_MS, () => {
    const now = clock.now();
    const over = queue.overdue();
    for (const one of [...granted]) {
      const isServed = [...one.flows].some(({ queued, underWay }) => queued + underWay > 0);
      const due = isServed ? "ours" : queue.isWanted ? "theirs" : "free";
      const isSlow = one.minRate.tooSlow(now, one.taken, due, 0);
      const isIdle = !isServed && now - one.movedAt >= UPLOAD_IDLE_SECONDS_MAX * 1000;
      if (isSlow || isIdle || one.claim === over) finish(one, OVER);
    }
  });

  function finish(one: Granted, why: Fault): void {
    if (!granted.delete(one)) return;
    one.onEnd(why);
    one.claim.leave();
  }

  function ask(asker: Asker): () => void {
    let isGone = false;
    let one: Granted | undefined;
    const waiter = {
      transport: { remote: { ip: asker.ip, port: 1 } },
      get gone() {
        return isGone;
      },
      reply: (message: Reply) => void (message.verb === "WAIT" && asker.onWait(message.position)),
    };
    const entered = queue.enter(waiter);
    if (isFault(entered)) {
      asker.onAnswer(entered);
      return () => {};
    }
    const { claim, turn } = entered;
    asking.add(asker);
    void turn.then((refused) => {
      asking.delete(asker);
      if (isGone) return;
      if (refused !== undefined) return asker.onAnswer(refused);
      const now = clock.now();
      const minRate = createMinRate(now, () => Number.POSITIVE_INFINITY);
      one = { claim, flows: new Set(), minRate, taken: 0, movedAt: now, onEnd: asker.onEnd };
      granted.add(one);
      asker.onAnswer(one);
    });
    return () => {
      isGone = true;
      asking.delete(asker);
      if (one !== undefined) granted.delete(one);
      claim.leave();
    };
  }

  return {
    ask,
    end() {
      stopSweep();
      for (const one of [...granted]) finish(one, GONE);
      for (const asker of [...asking]) asker.onAnswer(GONE);
      asking.clear();
    },
  };
}
