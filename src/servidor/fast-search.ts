// The request that nearly all requests are, answered from its bytes: SEARCH of a name that somebody has.
// Invariant: what it answers is, byte for byte, what the long way would (catalog/answer.ts); a test compares them.
// Never: judges or refuses anything. At the first request that is anything else it stops, and the long way goes on there.

import { type Client, isLocal } from "../catalog/answer.ts";
import type { Catalog } from "../catalog/contract.ts";
import { decodeText } from "../protocol/fields.ts";
import { NAME_BYTES_MAX } from "../protocol/limits.ts";
import type { Connection } from "../transport/connection.ts";
import type { ServidorOptions } from "./events.ts";
import type { ReplyBuffer } from "./reply-buffer.ts";

const VERB = new TextEncoder().encode("SEARCH ");
const REPLY = new TextEncoder().encode("SEARCH_OK ");
const LOOPBACK = [...new TextEncoder().encode("127.")];
const NEWLINE = 10;
const RETURN = 13;

/** A longer list takes its time anyway. */
const LIST_BYTES_MAX = 64 * 1024;
const DIGITS_MAX = 5;
const HEAD_BYTES_MAX = REPLY.length + DIGITS_MAX + 1;

/** Answers up to `requestsMax` requests from the start of `chunk`; where in it the first unanswered byte stands. */
export type FastSearch = (connection: Connection, asker: Client, chunk: Uint8Array, requestsMax: number) => number;

/** `answered` hears how many there were in a chunk. Undefined when the catalog cannot answer from bytes. */
export function createFastSearch(
  { writeHolders }: Catalog,
  outbox: ReplyBuffer,
  { onEvent, tellSearches }: Pick<ServidorOptions, "onEvent" | "tellSearches">,
  answered: (count: number) => void,
): FastSearch | undefined {
  if (writeHolders === undefined) return undefined;
  let digits = 2; // as many as the length of the last list had: the next one likely has as many
  return (connection, asker, chunk, requestsMax) => {
    const { member } = asker;
    if (member === undefined) return 0;
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
      const buffer = outbox.open(connection, HEAD_BYTES_MAX + LIST_BYTES_MAX);
      const start = outbox.used;
      if (start === 0 && served > 0 && connection.queued > 0) break; // it does not read its replies
      // The list is written first, where it will most likely stand once its length is known.
      const list = start + REPLY.length + digits + 1;
      const written = writeHolders(chunk, from, to, buffer, list, LIST_BYTES_MAX);
      if (written < 0 || (isElsewhere && namesLoopback(buffer, list, list + written))) break;
      digits = written < 10 ? 1 : written < 100 ? 2 : written < 1000 ? 3 : written < 10_000 ? 4 : DIGITS_MAX;
      const after = start + REPLY.length + digits + 1;
      if (after !== list) buffer.copyWithin(after, list, list + written);
      writeHead(buffer, start, written, digits);
      outbox.wrote(after + written - start);
      if (tellSearches !== false) {
        const name = decodeText(chunk.subarray(from, to)) ?? "";
        onEvent({ type: "searched", address: member.address, name });
      }
      at = to + 1;
    }
    if (served > 0) answered(served);
    return at;
  };
}

function startsWithVerb(chunk: Uint8Array, at: number): boolean {
  if (at + VERB.length >= chunk.length) return false;
  for (let i = 0; i < VERB.length; i++) if (chunk[at + i] !== VERB[i]) return false;
  return true;
}

/** Whether an address in a list of lines is in 127.0.0.0/8, which means another machine to whoever reads it there. */
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
