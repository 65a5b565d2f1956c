// The peer that the person chose: asked again by the file's name after it was lost.
// Invariant: one question at a time, after the pauses that its backoff asks for.
// Never: gives the download up; it says how long to hope.

import type { Address } from "../../protocol/address.ts";
import { type Fault, fault, isFault, isFinal } from "../../protocol/fault.ts";
import type { Backoff } from "./backoff.ts";
import { createQueueProgress } from "./queue-progress.ts";
import type { OnWait, Source } from "./source.ts";

/**
 * Without any source for so long the download ends: soon where the peer will not have us, later where its program is gone,
 * which may be started anew, and latest where the link is.
 */
const STARVED_BANNED_MS = 5000;
const STARVED_REFUSED_MS = 20_000;
const STARVED_MS = 30_000;

export type ChosenPeerOptions = {
  readonly address: Address;
  readonly backoff: Backoff;
  readonly redial: (onWait: OnWait) => Promise<Source | Fault>;
  readonly onSource: (source: Source) => void;
  /** Our position in its queue is better than ever. */
  readonly onNearer: () => void;
  /** The content is another there now, or gone. */
  readonly onChanged: (why: Fault) => void;
};

export type ChosenPeer = {
  /** Asks it again, when it is time and nothing is under way. */
  ask(): void;
  /** A source is there: what the chosen peer answered last counts no more. */
  forget(): void;
  /** How long to go on without any source, in milliseconds. */
  hopeMs(): number;
  /** Our position in its queue. */
  readonly position: number | undefined;
  stop(): void;
};

export function createChosenPeer(options: ChosenPeerOptions): ChosenPeer {
  const { address, backoff, onNearer } = options;
  let refused = false; // no program listens at its address, or it no longer has the file
  let asking = false;
  let leave = () => {};
  let position: number | undefined;
  let stopped = false;

  async function ask(): Promise<void> {
    if (asking || !backoff.isMissed(address)) return;
    asking = true;
    const isBetter = createQueueProgress();
    const source = await options.redial((now, leaveQueue) => {
      if (stopped) return leaveQueue();
      leave = leaveQueue;
      position = now;
      if (isBetter(now)) onNearer();
    });
    asking = false;
    position = undefined;
    leave = () => {};
    if (isFault(source)) fail(source);
    else if (stopped) source.close();
    else options.onSource(source);
  }

  function fail(why: Fault): void {
    // Why the transfer broke off says more than why it cannot be taken up again, unless the content is another now, or
    // gone: a sharer cuts the connection when it finds its file changed, and then no longer has it.
    if (why.fault === "CHANGED") options.onChanged(why);
    if (why.fault === "NOT_SHARED") options.onChanged(fault("CHANGED", "theirs", "the file is no longer shared there"));
    if (isFinal(why)) backoff.refused(address);
    else if (why.whose === "theirs") backoff.rejected(address);
    refused = why.cause === "connection-refused" || why.fault === "NOT_SHARED";
  }

  return {
    ask: () => void ask(),
    forget() {
      refused = false;
    },
    hopeMs: () => (backoff.isBanned(address) ? STARVED_BANNED_MS : refused ? STARVED_REFUSED_MS : STARVED_MS),
    get position() {
      return position;
    },
    stop() {
      stopped = true;
      leave();
    },
  };
}
