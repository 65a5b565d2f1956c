// What a peer orders of the server, whole: each request's line, and behind JOIN's its payload.
// Invariant: a payload is waited for only when its announced length is within its limit; nothing of a broken one is used.
// Never: answers, or reads on where a request's end cannot be known.

import { type Fault, isFault } from "./fault.ts";
import type { ServerRequest, Share } from "./messages.ts";
import { decodeShares } from "./payloads.ts";
import type { Reader } from "./reader.ts";
import { decodeServerRequest } from "./requests.ts";

/** A request with what came after its line. */
export type Order = { readonly request: ServerRequest; readonly shares: readonly Share[] };

export type Orders = {
  /** The next request that has arrived whole, or the fault that stands in its place; undefined when there is none yet. */
  next(): Order | Fault | undefined;
  /** Whether a JOIN's payload is still arriving. */
  readonly joining: boolean;
  /** A JOIN was not understood: its payload cannot be told from requests, and nothing more is read. */
  readonly lost: boolean;
};

type Join = Extract<ServerRequest, { verb: "JOIN" }>;

const NO_SHARES: readonly never[] = [];

export function createOrders(reader: Reader): Orders {
  let joining: Join | undefined;
  let lost = false;

  function next(): Order | Fault | undefined {
    if (lost) return undefined;
    if (joining !== undefined) return takePayload(joining);
    const line = reader.line();
    if (line === undefined || isFault(line)) return line;
    const request = decodeServerRequest(line);
    if (isFault(request)) {
      lost = line.startsWith("JOIN");
      return request;
    }
    return request.verb === "JOIN" ? takePayload(request) : { request, shares: NO_SHARES };
  }

  function takePayload(request: Join): Order | Fault | undefined {
    const payload = reader.exactly(request.payloadBytes);
    joining = payload === undefined ? request : undefined;
    if (payload === undefined) return undefined;
    const shares = decodeShares(payload);
    return isFault(shares) ? shares : { request, shares };
  }

  return {
    next,
    get joining() {
      return joining !== undefined;
    },
    get lost() {
      return lost;
    },
  };
}
