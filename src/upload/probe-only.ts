// Connections beyond the limit: the server's PROBE is answered here too, all else refused.
// Invariant: each is gone after one line or PROBE_SECONDS_MAX, and there are at most PROBE_ONLY_CONNECTIONS_MAX of them.
// Never: serves a file, or holds up an upload.

import { isFault } from "../protocol/fault.ts";
import { PROBE_ONLY_CONNECTIONS_MAX, PROBE_SECONDS_MAX } from "../protocol/limits.ts";
import type { Reply } from "../protocol/messages.ts";
import { proofOf } from "../protocol/proof.ts";
import { createReader } from "../protocol/reader.ts";
import { encodeReply } from "../protocol/replies.ts";
import { decodePeerRequest } from "../protocol/requests.ts";
import type { Clock } from "../shared/clock.ts";
import { type Connection, DEAF, type Handlers } from "../transport/connection.ts";
import type { FairRate } from "./fair-rate.ts";

const FULL: Reply = { verb: "ERROR", code: "TOO_MANY", retry: true, text: "connections" };

/** `key` as for createUploadServer; what is said here counts against `rates` for its address. */
export function createProbeOnly(
  key: string | undefined,
  clock: Clock,
  rates: FairRate,
): { accept(connection: Connection): Handlers } {
  let present = 0;

  function dismiss(connection: Connection, reply: Reply): void {
    const line = encodeReply(reply);
    connection.send(line);
    rates.payer(connection.remote.ip).spend(Buffer.byteLength(line));
    connection.end();
  }

  function accept(connection: Connection): Handlers {
    if (present === PROBE_ONLY_CONNECTIONS_MAX) {
      dismiss(connection, FULL);
      return DEAF;
    }
    present++;
    let isOver = false;
    const reader = createReader();
    const finish = (reply: Reply): void => {
      if (isOver) return;
      leave();
      dismiss(connection, reply);
    };
    const cancel = clock.after(PROBE_SECONDS_MAX * 1000, () => finish(FULL));
    const leave = (): void => {
      if (!isOver) present--;
      isOver = true;
      cancel();
    };
    return {
      data(chunk) {
        if (isOver) return;
        reader.push(chunk);
        const line = reader.line();
        if (line === undefined) return;
        const request = isFault(line) ? line : decodePeerRequest(line);
        if (!isFault(request) && request.verb === "PROBE")
          finish({ verb: "PROBE_OK", proof: proofOf(key, request.nonce) });
        else finish(FULL);
      },
      drain() {},
      end: () => finish(FULL),
      close: leave,
    };
  }
  return { accept };
}
