// How long a connection may stay, and a download keep its slot.
// Invariant: a slot is earned by bytes of the file that the other side takes; what keeps no one waiting may rest a while.
// Never: ends anything itself; it says which download is to go, and why.

import { UNJOINED_SECONDS_MAX, UPLOAD_IDLE_SECONDS_MAX } from "../protocol/limits.ts";
import type { Due } from "./min-rate.ts";
import type { Upload } from "./responder.ts";
import type { Progress, UploadConnection } from "./upload-connection.ts";

/** What a download has taken, counted over connections that come and go. */
export type Eviction = {
  /** Counts a connection that is over: all that was sent on it. */
  left(connection: UploadConnection): void;
  /** Why the download is to give up its slot now; undefined when it may stay. `isWanted`: another download waits for a slot. */
  verdict(upload: Upload, now: number, isWanted: boolean): string | undefined;
};

const UNUSED = `nothing was fetched for ${UPLOAD_IDLE_SECONDS_MAX} s`;
/** Why one that never asked for anything is to go. */
export const UNASKED = `nothing was asked for ${UNJOINED_SECONDS_MAX} s`;

export function createEviction(): Eviction {
  let past = 0;

  return {
    left(connection) {
      past += useful(connection.progress());
    },
    verdict({ connections, minRate, movedAt }, now, isWanted) {
      const all = [...connections].map((connection) => ({ ...connection.progress(), sending: connection.sending }));
      const heldUp = all.filter(({ isHeldUp }) => isHeldUp);
      const isServed = heldUp.length > 0 || all.some(({ sending }) => sending);
      const due: Due = heldUp.length > 0 || (isWanted && !isServed) ? "theirs" : isServed ? "ours" : "free";
      const taken = all.reduce((sum, progress) => sum + useful(progress), past);
      const step = heldUp.reduce((sum, one) => sum + one.step, 0);
      if (minRate.tooSlow(now, taken, due, step)) return "too slow for a slot";
      return !isServed && now - movedAt >= UPLOAD_IDLE_SECONDS_MAX * 1000 ? UNUSED : undefined;
    },
  };
}

/** Lines and payloads earn no slot. */
const useful = ({ taken, overhead }: Progress): number => Math.max(0, taken - overhead);
