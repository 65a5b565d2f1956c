// The turns of one connection: its requests answered one after another, as fast as it reads the replies.
// Invariant: nothing of it is answered while something of it is being answered; `busy` says so.
// Never: knows what a request means.

import type { Fault } from "../protocol/fault.ts";
import { READ_AHEAD_BYTES_MAX } from "../protocol/limits.ts";
import type { Order } from "../protocol/orders.ts";
import { type ClientConnection, setPaused } from "./client-connection.ts";
import type { ReplyBuffer } from "./reply-buffer.ts";

/** Requests that are answered before others have their turn. */
export const TURN_ORDERS = 256;

/** `serve` answers one order; a promise when that takes a while. */
export function createRequestLoop(
  serve: (client: ClientConnection, order: Order | Fault) => Promise<void> | undefined,
  replies: ReplyBuffer,
): (client: ClientConnection) => void {
  return function answerNext(client) {
    if (client.busy) return;
    client.busy = true;
    const goOn = (): void => {
      client.busy = false;
      client.work = undefined;
      answerNext(client);
    };
    // Back-pressure: a client that does not read its replies gets no further ones computed.
    for (let served = 1; client.connection.queued === 0; served++) {
      const order = client.state === "left" ? undefined : client.orders.next();
      if (order === undefined) break;
      const work = serve(client, order);
      if (work === undefined && served < TURN_ORDERS) continue;
      client.work = work;
      replies.flush();
      // One that asks a great deal at once must not keep the others from their turn.
      if (work === undefined) setImmediate(goOn);
      else void work.then(goOn);
      return;
    }
    replies.flush();
    client.busy = false;
    const { connection, reader, orders } = client;
    if (client.ended && connection.queued === 0) connection.end();
    // One that sends without reading is read no further: only a JOIN's payload may pile up here.
    else if (!client.waits)
      setPaused(client, connection.queued > 0 && !orders.joining && reader.size > READ_AHEAD_BYTES_MAX);
  };
}
