// What a peer orders of the server, whole: each request's line, and behind JOIN's its payload.
// Invariant: a payload is waited for only when its announced length is within its limit, and handed on once it is whole.
// Never: answers, reads a payload, or reads on where a request's end cannot be known.

import { type Fault, fault, isFault } from "./fault.ts";
import { JOIN_PAYLOAD_BYTES_MAX } from "./limits.ts";
import type { ServerRequest } from "./messages.ts";
import type { Reader } from "./reader.ts";
import { decodeServerRequest } from "./requests.ts";

/** A request with what came after its line: JOIN's payload, in the parts in which it arrived. */
export type Order = { readonly request: ServerRequest; readonly payload: readonly Uint8Array[] };

export type Orders = {
  /** The next request that has arrived whole, or the fault that stands in its place; undefined when there is none yet. */
  next(): Order | Fault | undefined;
  /** Whether a JOIN's payload is still arriving. */
  readonly joining: boolean;
  /** How many bytes that payload has in all; 0 when none is arriving. */
  readonly announced: number;
  /** A JOIN, or a line that may be one, was not understood: its payload cannot be told from requests; nothing more is read. */
  readonly lost: boolean;
};

type Join = Extract<ServerRequest, { verb: "JOIN" }>;

const NOTHING: readonly never[] = [];

/** `joinBytesMax` bounds a JOIN's payload more tightly than the protocol does. */
export function createOrders(reader: Reader, joinBytesMax = JOIN_PAYLOAD_BYTES_MAX): Orders {
  let joining: Join | undefined;
  let lost = false;

  function next(): Order | Fault | undefined {
    if (lost) return undefined;
    if (joining !== undefined) return takePayload(joining);
    const line = reader.line();
    if (line === undefined) return undefined;
    if (isFault(line)) {
      lost = true; // what is no text may have been a JOIN, whose payload would be taken for requests
      return line;
    }
    const request = decodeServerRequest(line);
    if (isFault(request)) {
      lost = /^JOIN(?: |$)/.test(line);
      return request;
    }
    if (request.verb !== "JOIN") return { request, payload: NOTHING };
    if (request.payloadBytes <= joinBytesMax) return takePayload(request);
    lost = true;
    return fault("PAYLOAD_TOO_LARGE", "theirs", `at most ${joinBytesMax} bytes`);
  }

  function takePayload(request: Join): Order | undefined {
    joining = reader.size < request.payloadBytes ? request : undefined;
    if (joining !== undefined) return undefined;
    const payload: Uint8Array[] = [];
    for (let missing = request.payloadBytes; missing > 0; ) {
      const part = reader.some(missing) as Uint8Array;
      payload.push(part);
      missing -= part.length;
    }
    return { request, payload };
  }

  return {
    next,
    get joining() {
      return joining !== undefined;
    },
    get announced() {
      return joining?.payloadBytes ?? 0;
    },
    get lost() {
      return lost;
    },
  };
}
