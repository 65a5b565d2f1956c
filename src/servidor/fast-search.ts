// The request that nearly all requests are, answered from its bytes: SEARCH of a name that some peer has.
// Invariant: what it answers is, byte for byte, what the long way would (catalog/answer.ts); a test compares them.
// Never: refuses anything. At the first request that is anything else it stops, and the long way goes on there.

import { isLocal } from "../catalog/answer.ts";
import type { Catalog, Span } from "../catalog/contract.ts";
import { decodeText } from "../protocol/fields.ts";
import { NAME_BYTES_MAX } from "../protocol/limits.ts";
import type { Limits } from "../protocol/server-limits.ts";
import type { Clock } from "../shared/clock.ts";
import { type ClientConnection, searchesOf, stay } from "./client-connection.ts";
import type { ServidorOptions } from "./events.ts";
import type { Metrics } from "./metrics.ts";
import type { ReplyBuffer } from "./reply-buffer.ts";
import { TURN_ORDERS } from "./request-loop.ts";

const VERB = new TextEncoder().encode("SEARCH ");
const REPLY = new TextEncoder().encode("SEARCH_OK ");
const LOOPBACK = [...new TextEncoder().encode("127.")];
const NEWLINE = 10;
const RETURN = 13;

/** A longer list takes its time anyway. */
const LIST_BYTES_MAX = 64 * 1024;
const DIGITS_MAX = 5;
const HEAD_BYTES_MAX = REPLY.length + DIGITS_MAX + 1;

/**
 * Answers requests from the start of `chunk`, which has just arrived at `now`, where nothing of the connection comes before
 * them; where in it the first unanswered byte stands. Their replies wait in the reply buffer.
 */
export type FastSearch = (client: ClientConnection, chunk: Uint8Array, now: number) => number;

type Parts = {
  readonly replies: ReplyBuffer;
  readonly options: Pick<ServidorOptions, "onEvent" | "tellSearches">;
  readonly limits: Limits;
  readonly metrics: Metrics;
  readonly clock: Clock;
};

/** Undefined when the catalog cannot answer from bytes. */
export function createFastSearch(
  { writeHolders }: Catalog,
  { replies, options: { onEvent, tellSearches }, limits, metrics, clock }: Parts,
): FastSearch | undefined {
  if (writeHolders === undefined) return undefined;
  const list: Span = { bytes: VERB, from: 0, to: 0 };
  let digits = 2; // as many as the length of the last list had: the next one likely has as many
  return (client, chunk, now) => {
    const { connection, from: asker, reader, orders } = client;
    const { member } = asker;
    if (member === undefined || client.busy || reader.size > 0 || orders.joining || connection.queued > 0) return 0;
    const searches = searchesOf(client, clock, limits);
    const requestsMax = searches.available(TURN_ORDERS, now);
    const isElsewhere = !isLocal(asker);
    let at = 0;
    let served = 0;
    for (; served < requestsMax; served++) {
      const from = at + VERB.length;
      if (!startsWithVerb(chunk, at)) break;
      let to = from;
      const last = Math.min(chunk.length, from + NAME_BYTES_MAX + 1);
      while (to < last && chunk[to] !== NEWLINE) to++;
      if (to === last || chunk[to - 1] === RETURN) break;
      const buffer = replies.open(connection, HEAD_BYTES_MAX + LIST_BYTES_MAX);
      const start = replies.used;
      if (start === 0 && served > 0 && connection.queued > 0) break; // it does not read its replies
      // The list is written first, where it will most likely stand once its length is known.
      const first = start + REPLY.length + digits + 1;
      if (list.bytes !== buffer) list.bytes = buffer;
      list.from = first;
      list.to = first + LIST_BYTES_MAX;
      const written = writeHolders(chunk, from, to, list);
      if (written < 0 || (isElsewhere && namesLoopback(buffer, first, first + written))) break;
      digits = written < 10 ? 1 : written < 100 ? 2 : written < 1000 ? 3 : written < 10_000 ? 4 : DIGITS_MAX;
      const after = start + REPLY.length + digits + 1;
      if (after !== first) buffer.copyWithin(after, first, first + written);
      writeHead(buffer, start, written, digits);
      replies.wrote(after + written - start);
      if (tellSearches !== false) {
        const text = decodeText(chunk.subarray(from, to)) ?? "";
        onEvent({ type: "searched", address: member.address, name: text });
      }
      at = to + 1;
    }
    if (served === 0) return 0;
    metrics.answered("SEARCH", "ok", clock.now() - now, served);
    searches.spend(served, now);
    stay(client, now, limits);
    return at;
  };
}

function startsWithVerb(chunk: Uint8Array, at: number): boolean {
  if (at + VERB.length >= chunk.length) return false;
  for (let i = 0; i < VERB.length; i++) if (chunk[at + i] !== VERB[i]) return false;
  return true;
}

/** Whether an address in a list of lines is in 127.0.0.0/8, which means another machine to an asker there. */
function namesLoopback(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at = bytes.indexOf(NEWLINE, at) + 1)
    if (LOOPBACK.every((byte, i) => bytes[at + i] === byte)) return true;
  return false;
}

/** Writes the reply's line. */
function writeHead(buffer: Uint8Array, start: number, length: number, digits: number): void {
  let at = start;
  for (let i = 0; i < REPLY.length; i++) buffer[at++] = REPLY[i] as number;
  let rest = length;
  for (let i = digits - 1; i >= 0; i--) {
    buffer[at + i] = 48 + (rest % 10);
    rest = (rest / 10) | 0;
  }
  buffer[at + digits] = NEWLINE;
}
