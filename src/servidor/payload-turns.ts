// The payloads of JOINs that are arriving take turns: how many bytes of them all are read in one turn of the event loop.
// Invariant: once PAYLOAD_TURN_BYTES have come in a turn, no payload that has begun is read on in that turn.
// Never: holds back a connection in which no payload arrives.

import { READ_AHEAD_BYTES_MAX } from "../protocol/limits.ts";
import { type ClientConnection, setPaused } from "./client-connection.ts";

/** About what is read of payloads in one turn: reading it costs about a millisecond. */
export const PAYLOAD_TURN_BYTES = 256 * 1024;

export type PayloadTurns = {
  /** So many bytes have come here, of a payload that may be whole by now. */
  came(client: ClientConnection, bytes: number): void;
  /** It is gone. */
  forget(client: ClientConnection): void;
};

export function createPayloadTurns(): PayloadTurns {
  /** Connections that are being read, each with what came last. */
  const open = new Map<ClientConnection, number>();
  /** Connections that wait for their turn, the longest wait first. */
  const waiting = new Map<ClientConnection, number>();
  let came = 0; // bytes in this turn
  let isScheduled = false;

  /** A new turn: those that have waited longest are read, as many as PAYLOAD_TURN_BYTES will have room for. */
  function turn(): void {
    isScheduled = waiting.size > 0;
    came = 0;
    let expected = 0;
    for (const [client, bytes] of waiting) {
      if (expected >= PAYLOAD_TURN_BYTES) break;
      expected += bytes;
      waiting.delete(client);
      open.set(client, bytes);
      client.waits = false;
      setPaused(client, client.busy && client.reader.size > READ_AHEAD_BYTES_MAX);
    }
    if (isScheduled) setImmediate(turn);
  }

  function forget(client: ClientConnection): void {
    open.delete(client);
    waiting.delete(client);
  }

  return {
    came(client, bytes) {
      forget(client);
      if (client.orders.joining) open.set(client, bytes);
      came += bytes;
      if (!isScheduled) setImmediate(turn);
      isScheduled = true;
      if (came < PAYLOAD_TURN_BYTES) return;
      for (const [other, last] of open) {
        other.waits = true;
        setPaused(other, true);
        waiting.set(other, last);
      }
      open.clear();
    },
    forget,
  };
}
