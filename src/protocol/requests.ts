// Requests <-> lines: what a peer asks the server, and what one peer asks another (docs/PROTOCOL.md, grammar).
// Invariant: decode(encode(request)) equals the request, and every accepted line has one spelling only.
// Never: throws, whatever the text; never sees a socket, a clock or a random number.

import { formatAddress, parseAddress } from "./address.ts";
import { type Fault, fault, isFault } from "./fault.ts";
import { bad, formatShare, isRoot, parseCount, parseName, parseShare, parseWords, splitVerb } from "./fields.ts";
import { isInviteProof } from "./invite.ts";
import {
  FILE_BYTES_MAX,
  FIND_COUNT_MAX,
  FIND_OFFSET_MAX,
  GET_BYTES_MAX,
  JOIN_PAYLOAD_BYTES_MAX,
  PIECES_MAX,
} from "./limits.ts";
import type { PeerRequest, ServerRequest } from "./messages.ts";
import { isHex128 } from "./proof.ts";

/** A line from a peer, as the server reads it. */
export function decodeServerRequest(line: string): ServerRequest | Fault {
  const [verb, rest] = splitVerb(line);
  switch (verb) {
    case "HELLO":
      return decodeHello(rest);
    case "JOIN": {
      const [where, count, key, invite, ...more] = rest.split(" ");
      const address = parseAddress(where ?? "");
      if (isFault(address)) return address;
      if (more.length > 0 || parseCount(count, FILE_BYTES_MAX) === undefined)
        return bad("expected: JOIN ip:port bytes [key [invite]]");
      if (key !== undefined && key !== "-" && !isHex128(key)) return bad("a key is 32 hex digits or -");
      if (invite !== undefined && !isInviteProof(invite)) return bad("an invite is 64 hex digits");
      const payloadBytes = parseCount(count, JOIN_PAYLOAD_BYTES_MAX);
      return payloadBytes === undefined
        ? fault("PAYLOAD_TOO_LARGE", "theirs", `at most ${JOIN_PAYLOAD_BYTES_MAX} bytes`)
        : { verb, address, payloadBytes, ...(key !== undefined && { key }), ...(invite !== undefined && { invite }) };
    }
    case "SEARCH":
    case "WITHDRAW":
    case "WISH":
    case "UNWISH": {
      const name = parseName(rest);
      return isFault(name) ? name : { verb, name };
    }
    case "UPDATE":
    case "OFFER": {
      const share = parseShare(rest);
      if (isFault(share)) return share;
      return verb === "OFFER" && share.root === undefined ? bad("OFFER needs a root") : { verb, share };
    }
    case "SOURCES":
      return isRoot(rest) ? { verb, root: rest } : bad("expected: SOURCES root");
    case "FIND":
      return parseFind(rest);
    case "LEAVE":
    case "PING":
      return line === verb ? { verb } : bad(`${verb} takes no argument`);
    default:
      return fault("UNKNOWN_VERB", "theirs", "see docs/PROTOCOL.md");
  }
}

function parseFind(rest: string): ServerRequest | Fault {
  const [from, most] = rest.split(" ", 2);
  const offset = parseCount(from, FIND_OFFSET_MAX);
  const count = parseCount(most, FIND_COUNT_MAX);
  if (offset === undefined || !count) return bad("expected: FIND offset count words");
  const words = parseWords(rest.slice(`${from} ${most} `.length));
  return isFault(words) ? words : { verb: "FIND", offset, count, words };
}

/** A line from a downloading peer, as the sharing one reads it. */
export function decodePeerRequest(line: string): PeerRequest | Fault {
  const [verb, rest] = splitVerb(line);
  switch (verb) {
    case "HELLO":
      return decodeHello(rest);
    case "DOWNLOAD": {
      const name = parseName(rest);
      return isFault(name) ? name : { verb, name };
    }
    case "FETCH":
      return isRoot(rest) ? { verb, root: rest } : bad("expected: FETCH root");
    case "LANE":
      return isHex128(rest) ? { verb, ticket: rest } : bad("expected: LANE ticket");
    case "PROBE":
      return isHex128(rest) ? { verb, nonce: rest } : bad("expected: PROBE nonce");
    case "GET": {
      const [from, count, ...more] = rest.split(" ");
      const offset = parseCount(from, FILE_BYTES_MAX);
      const length = parseCount(count, GET_BYTES_MAX);
      if (offset === undefined || !length || more.length > 0) return bad("expected: GET offset length");
      return { verb, offset, length };
    }
    case "DAMAGED": {
      const index = parseCount(rest, PIECES_MAX);
      return index === undefined ? bad("expected: DAMAGED index") : { verb, index };
    }
    case "LAYER":
    case "PIECES":
    case "PING":
      return line === verb ? { verb } : bad(`${verb} takes no argument`);
    default:
      return fault("UNKNOWN_VERB", "theirs", "see docs/PROTOCOL.md");
  }
}

/** Whatever a later version may be called: what both use is the lower one. */
const VERSION_MAX = Number.MAX_SAFE_INTEGER;

function decodeHello(rest: string): { verb: "HELLO"; version: number } | Fault {
  const version = parseCount(rest, VERSION_MAX);
  if (version === undefined) return bad("expected: HELLO version");
  return version === 0 ? fault("UNSUPPORTED_VERSION", "theirs", "versions start at 1") : { verb: "HELLO", version };
}

/** A request's line with its newline; JOIN's payload is encodeShares, whose length the line announces. */
export function encodeRequest(request: ServerRequest | PeerRequest): string {
  return `${requestWords(request)}\n`;
}

function requestWords(request: ServerRequest | PeerRequest): string {
  switch (request.verb) {
    case "HELLO":
      return `HELLO ${request.version}`;
    case "JOIN":
      return ["JOIN", formatAddress(request.address), request.payloadBytes, request.key, request.invite]
        .filter((word) => word !== undefined)
        .join(" ");
    case "SEARCH":
    case "WITHDRAW":
    case "WISH":
    case "UNWISH":
    case "DOWNLOAD":
      return `${request.verb} ${request.name}`;
    case "UPDATE":
    case "OFFER":
      return `${request.verb} ${formatShare(request.share)}`;
    case "FIND":
      return `FIND ${request.offset} ${request.count} ${request.words}`;
    case "SOURCES":
    case "FETCH":
      return `${request.verb} ${request.root}`;
    case "LANE":
      return `LANE ${request.ticket}`;
    case "PROBE":
      return `PROBE ${request.nonce}`;
    case "GET":
      return `GET ${request.offset} ${request.length}`;
    case "DAMAGED":
      return `DAMAGED ${request.index}`;
    default:
      return request.verb;
  }
}
