// The server's dial back: whether a peer that joins can be reached where it says, and whether it is that peer.
// Invariant: a probe ends PROBE_SECONDS_MAX after its turn or sooner; at most `most` run, and few to one address, in turn.
// Never: dials an address that was not checked before, or sends anything but one PROBE line.

import type { Address } from "../protocol/address.ts";
import { isFault } from "../protocol/fault.ts";
import type { Id } from "../protocol/id.ts";
import { PROBE_MS_MIN, PROBE_SECONDS_MAX, PROBES_MAX, PROBES_PER_ADDRESS_MAX } from "../protocol/limits.ts";
import { proofOf } from "../protocol/proof.ts";
import { createReader } from "../protocol/reader.ts";
import { decodeReply } from "../protocol/replies.ts";
import { encodeRequest } from "../protocol/requests.ts";
import { type Clock, every } from "../shared/clock.ts";
import type { Connect, Connection, Handlers } from "../transport/connection.ts";
import { createFairQueue } from "./fair-queue.ts";

/** "unknown": this machine could not dial, which says nothing of the peer. */
export type Probed = "reached" | "unreached" | "unknown";

export type Probe = {
  readonly outcome: Promise<Probed>;
  /** The key of the program that was met; undefined where none was, or in the clear. */
  met(): Id | undefined;
  /** It is not waited for any more: it is "unknown" at once. */
  cancel(): void;
};

export type Reachability = {
  /**
   * Asks the program that listens at `address`, which has to have its ID, for the proof of `key`, or for the nonce where
   * there is none.
   */
  probe(address: Address, key: string | undefined): Probe;
};

/** One that has begun. */
type Dialled = Probe & {
  /** It holds no descriptor any more, and the next may be dialled. */
  readonly closed: Promise<void>;
};

type Options = {
  readonly connect: Connect;
  readonly clock: Clock;
  readonly newNonce: () => string;
  /** Dials at once; PROBES_MAX when not given. */
  readonly most?: number;
};
export function createReachability({ connect, clock, newNonce, most = PROBES_MAX }: Options): Reachability {
  const turns = createFairQueue(most, PROBES_PER_ADDRESS_MAX);

  function probe(address: Address, key: string | undefined): Probe {
    const { promise: outcome, resolve } = Promise.withResolvers<Probed>();
    let dialled: Dialled | undefined;
    const giveUp = turns.take(address.ip, () => {
      dialled = dial(address, key);
      void dialled.outcome.then(resolve);
      return dialled.closed;
    });
    const cancel = (): void => {
      if (giveUp()) resolve("unknown");
      else dialled?.cancel();
    };
    return { outcome, cancel, met: () => dialled?.met() };
  }

  function dial(address: Address, key: string | undefined): Dialled {
    const nonce = newNonce();
    const wanted = proofOf(key, nonce);
    const { promise: outcome, resolve } = Promise.withResolvers<Probed>();
    const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
    const reader = createReader();
    const dialling = new AbortController();
    let open: Connection | undefined;
    let isOver = false;
    const hangUp = (): void => {
      if (isOver) return;
      isOver = true;
      stopLooking();
      if (open === undefined) dialling.abort();
      open?.destroy();
      onClosed();
    };
    const tell = (probed: Probed): void => {
      hangUp();
      stopClock();
      resolve(probed);
    };
    const finish = (probed: Probed): void => {
      if (!isOver) tell(probed);
    };
    const stopClock = clock.after(PROBE_SECONDS_MAX * 1000, () => tell("unreached"));
    // A silent one makes way for others of its address. It is told no sooner for that: it would only come back the sooner.
    const stopLooking = every(clock, PROBE_MS_MIN, () => turns.waits(address.ip) && hangUp());
    const handlers: Handlers = {
      data(chunk) {
        if (isOver) return;
        reader.push(chunk);
        const line = reader.line();
        if (line === undefined) return;
        const reply = isFault(line) ? line : decodeReply(line);
        const isProven = !isFault(reply) && reply.verb === "PROBE_OK" && reply.proof === wanted;
        finish(isProven ? "reached" : "unreached");
      },
      drain() {},
      end: () => finish("unreached"),
      close: () => finish("unreached"),
    };
    const opened = (connection: Connection): Handlers => {
      open = connection;
      return handlers;
    };
    void connect(address, opened, dialling.signal).then((connection) => {
      if (isFault(connection)) finish(connection.whose === "ours" ? "unknown" : "unreached");
      else if (isOver) connection.destroy();
      else connection.send(encodeRequest({ verb: "PROBE", nonce }));
    });
    return { outcome, closed, cancel: () => tell("unknown"), met: () => open?.id };
  }

  return { probe };
}
