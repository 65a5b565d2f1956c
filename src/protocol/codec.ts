// Lines <-> messages: the grammar of docs/PROTOCOL.md, strict in what it accepts.
// Invariant: decode(encode(m)) equals m, and every accepted line has one spelling only.
// Never: throws, whatever the text; never sees a socket, a clock or a random number.

import { type Address, formatAddress, parseAddress } from "./address.ts";
import { type Fault, fault, isFault, WIRE_CODES, type WireCode } from "./fault.ts";
import {
  FILE_BYTES_MAX,
  GET_BYTES_MAX,
  JOIN_NAMES_MAX,
  JOIN_PAYLOAD_BYTES_MAX,
  LAYER_PAYLOAD_BYTES_MAX,
  LIST_PAYLOAD_BYTES_MAX,
  PIECE_BYTES_MAX,
  PIECE_BYTES_MIN,
} from "./limits.ts";
import type { Grant, Holder, PeerRequest, Reply, Root, ServerRequest, Share } from "./messages.ts";
import { nameFlaw } from "./names.ts";

const bad = (detail: string): Fault => fault("BAD_REQUEST", "theirs", detail);

/** A whole number in decimal without sign or leading zero, 0–`most`. */
function parseCount(text: string | undefined, most: number): number | undefined {
  if (text === undefined || !/^(?:0|[1-9]\d{0,15})$/.test(text)) return undefined;
  const value = Number(text);
  return value <= most ? value : undefined;
}

function parseName(text: string): string | Fault {
  const flaw = nameFlaw(text);
  return flaw === undefined ? text : fault("BAD_NAME", "theirs", flaw);
}

const isRoot = (text: string | undefined): text is Root => text !== undefined && /^[0-9a-f]{64}$/.test(text);

/** `<size> <root|-> <name>`: how JOIN's payload, UPDATE and OFFER spell a share. */
function parseShare(text: string): Share | Fault {
  const first = text.indexOf(" ");
  const second = text.indexOf(" ", first + 1);
  if (first < 0 || second < 0) return bad("expected: size root name");
  const size = parseCount(text.slice(0, first), FILE_BYTES_MAX);
  if (size === undefined) return bad("size is not a whole number of bytes");
  const hex = text.slice(first + 1, second);
  if (hex !== "-" && !isRoot(hex)) return bad("root is neither 64 hex digits nor -");
  const name = parseName(text.slice(second + 1));
  return isFault(name) ? name : { name, size, root: hex === "-" ? undefined : hex };
}

const formatShare = (share: Share): string => `${share.size} ${share.root ?? "-"} ${share.name}`;

function splitVerb(line: string): [verb: string, rest: string] {
  const space = line.indexOf(" ");
  return space < 0 ? [line, ""] : [line.slice(0, space), line.slice(space + 1)];
}

/** A line from a peer, as the server reads it. */
export function decodeServerRequest(line: string): ServerRequest | Fault {
  const [verb, rest] = splitVerb(line);
  switch (verb) {
    case "HELLO":
      return decodeHello(rest);
    case "JOIN": {
      const [where, count, ...more] = rest.split(" ");
      const address = parseAddress(where ?? "");
      if (isFault(address)) return address;
      if (more.length > 0 || parseCount(count, FILE_BYTES_MAX) === undefined) return bad("expected: JOIN ip:port bytes");
      const payloadBytes = parseCount(count, JOIN_PAYLOAD_BYTES_MAX);
      return payloadBytes === undefined
        ? fault("PAYLOAD_TOO_LARGE", "theirs", `at most ${JOIN_PAYLOAD_BYTES_MAX} bytes`)
        : { verb, address, payloadBytes };
    }
    case "SEARCH":
    case "WITHDRAW": {
      const name = parseName(rest);
      return isFault(name) ? name : { verb, name };
    }
    case "UPDATE":
    case "OFFER": {
      const share = parseShare(rest);
      return isFault(share) ? share : { verb, share };
    }
    case "SOURCES":
      return isRoot(rest) ? { verb, root: rest } : bad("expected: SOURCES root");
    case "LEAVE":
    case "PING":
      return rest === "" ? { verb } : bad(`${verb} takes no argument`);
    default:
      return fault("UNKNOWN_VERB", "theirs", "see docs/PROTOCOL.md");
  }
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
      return /^[0-9a-f]{32}$/.test(rest) ? { verb, ticket: rest } : bad("expected: LANE ticket");
    case "GET": {
      const [from, count, ...more] = rest.split(" ");
      const offset = parseCount(from, FILE_BYTES_MAX);
      const length = parseCount(count, GET_BYTES_MAX);
      if (offset === undefined || !length || more.length > 0) return bad("expected: GET offset length");
      return { verb, offset, length };
    }
    case "LAYER":
    case "PIECES":
    case "PING":
      return rest === "" ? { verb } : bad(`${verb} takes no argument`);
    default:
      return fault("UNKNOWN_VERB", "theirs", "see docs/PROTOCOL.md");
  }
}

function decodeHello(rest: string): { verb: "HELLO"; version: number } | Fault {
  const version = parseCount(rest, 1_000_000);
  if (version === undefined) return bad("expected: HELLO version");
  return version === 0 ? fault("UNSUPPORTED_VERSION", "theirs", "versions start at 1") : { verb: "HELLO", version };
}

/** A reply's line, as the side that asked reads it. A fault here is BAD_REPLY: the other side broke the protocol. */
export function decodeReply(line: string): Reply | Fault {
  const reply = parseReply(line);
  return reply ?? fault("BAD_REPLY", "theirs", `not a reply: ${line.slice(0, 40)}`);
}

const PAYLOAD_LIMITS = {
  SEARCH_OK: LIST_PAYLOAD_BYTES_MAX,
  SOURCES_OK: LIST_PAYLOAD_BYTES_MAX,
  LAYER_OK: LAYER_PAYLOAD_BYTES_MAX,
  PIECES_OK: LAYER_PAYLOAD_BYTES_MAX,
} as const;

function parseReply(line: string): Reply | undefined {
  const [verb, rest] = splitVerb(line);
  switch (verb) {
    case "HELLO": {
      const version = parseCount(rest, 1_000_000);
      return version ? { verb, version } : undefined;
    }
    case "JOIN_OK": {
      const address = parseAddress(rest);
      return isFault(address) ? undefined : { verb, address };
    }
    case "SEARCH_OK":
    case "SOURCES_OK":
    case "LAYER_OK":
    case "PIECES_OK": {
      const payloadBytes = parseCount(rest, PAYLOAD_LIMITS[verb]);
      return payloadBytes === undefined ? undefined : { verb, payloadBytes };
    }
    case "UPDATE_OK":
    case "OFFER_OK":
    case "WITHDRAW_OK":
    case "LEAVE_OK":
    case "LANE_OK":
    case "PONG":
      return rest === "" ? { verb } : undefined;
    case "WAIT": {
      const position = parseCount(rest, FILE_BYTES_MAX);
      return position ? { verb, position } : undefined;
    }
    case "DATA": {
      const [from, count, ...more] = rest.split(" ");
      const offset = parseCount(from, FILE_BYTES_MAX);
      const payloadBytes = parseCount(count, GET_BYTES_MAX);
      return offset === undefined || !payloadBytes || more.length > 0 ? undefined : { verb, offset, payloadBytes };
    }
    case "ACCEPT":
      return parseAccept(rest);
    case "REJECT":
    case "ERROR": {
      const [code, again, ...words] = rest.split(" ");
      if (!(WIRE_CODES as readonly string[]).includes(code ?? "") || (again !== "retry" && again !== "final")) return undefined;
      return { verb, code: code as WireCode, retry: again === "retry", text: words.join(" ") };
    }
    default:
      return undefined;
  }
}

function parseAccept(rest: string): Reply | undefined {
  const [ticket, bytes, piece, root, ...more] = rest.split(" ");
  const size = parseCount(bytes, FILE_BYTES_MAX);
  const pieceBytes = parseCount(piece, PIECE_BYTES_MAX);
  if (more.length > 0 || !/^[0-9a-f]{32}$/.test(ticket ?? "") || size === undefined) return undefined;
  if (pieceBytes === undefined || pieceBytes < PIECE_BYTES_MIN || (pieceBytes & (pieceBytes - 1)) !== 0) return undefined;
  if (root !== "-" && !isRoot(root)) return undefined;
  const grant: Grant = { ticket: ticket as string, size, pieceBytes, root: root === "-" ? undefined : root };
  return { verb: "ACCEPT", grant };
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
      return `JOIN ${formatAddress(request.address)} ${request.payloadBytes}`;
    case "SEARCH":
    case "WITHDRAW":
    case "DOWNLOAD":
      return `${request.verb} ${request.name}`;
    case "UPDATE":
    case "OFFER":
      return `${request.verb} ${formatShare(request.share)}`;
    case "SOURCES":
    case "FETCH":
      return `${request.verb} ${request.root}`;
    case "LANE":
      return `LANE ${request.ticket}`;
    case "GET":
      return `GET ${request.offset} ${request.length}`;
    default:
      return request.verb;
  }
}

/** A reply's line with its newline; its payload, where it has one, is sent right after. */
export function encodeReply(reply: Reply): string {
  return `${replyWords(reply)}\n`;
}

function replyWords(reply: Reply): string {
  switch (reply.verb) {
    case "HELLO":
      return `HELLO ${reply.version}`;
    case "JOIN_OK":
      return `JOIN_OK ${formatAddress(reply.address)}`;
    case "SEARCH_OK":
    case "SOURCES_OK":
    case "LAYER_OK":
    case "PIECES_OK":
      return `${reply.verb} ${reply.payloadBytes}`;
    case "DATA":
      return `DATA ${reply.offset} ${reply.payloadBytes}`;
    case "WAIT":
      return `WAIT ${reply.position}`;
    case "ACCEPT": {
      const { ticket, size, pieceBytes, root } = reply.grant;
      return `ACCEPT ${ticket} ${size} ${pieceBytes} ${root ?? "-"}`;
    }
    case "REJECT":
    case "ERROR":
      return `${reply.verb} ${reply.code} ${reply.retry ? "retry" : "final"} ${reply.text.replace(/[\u0000-\u001f\u007f]/g, " ")}`;
    default:
      return reply.verb;
  }
}

/** JOIN's payload. Throws nothing; names are the caller's already checked ones. */
export function encodeShares(shares: Iterable<Share>): Uint8Array {
  let text = "";
  for (const share of shares) text += `${formatShare(share)}\n`;
  return new TextEncoder().encode(text);
}

/** JOIN's payload read back: the shares, or the first flaw. Bounded by JOIN_NAMES_MAX. */
export function decodeShares(payload: Uint8Array): Share[] | Fault {
  const text = decodeText(payload);
  if (text === undefined) return bad("names are not UTF-8");
  if (text === "") return [];
  if (!text.endsWith("\n")) return bad("the last share has no newline");
  const shares: Share[] = [];
  for (let from = 0; from < text.length; ) {
    const to = text.indexOf("\n", from);
    const share = parseShare(text.slice(from, to));
    if (isFault(share)) return share;
    if (shares.length === JOIN_NAMES_MAX) return fault("TOO_MANY", "theirs", `at most ${JOIN_NAMES_MAX} names`);
    shares.push(share);
    from = to + 1;
  }
  return shares;
}

/** SEARCH_OK's payload. */
export function encodeAddresses(addresses: readonly Address[]): Uint8Array {
  return new TextEncoder().encode(addresses.map((a) => `${formatAddress(a)}\n`).join(""));
}

export function decodeAddresses(payload: Uint8Array): Address[] | Fault {
  return decodeList(payload, parseAddress);
}

/** SOURCES_OK's payload: `ip:port complete|partial`. */
export function encodeHolders(holders: readonly Holder[]): Uint8Array {
  const lines = holders.map((h) => `${formatAddress(h.address)} ${h.complete ? "complete" : "partial"}\n`);
  return new TextEncoder().encode(lines.join(""));
}

export function decodeHolders(payload: Uint8Array): Holder[] | Fault {
  return decodeList(payload, (line) => {
    const [where, state, ...more] = line.split(" ");
    const address = parseAddress(where ?? "");
    if (isFault(address) || more.length > 0 || (state !== "complete" && state !== "partial")) return bad("expected: ip:port state");
    return { address, complete: state === "complete" };
  });
}

function decodeList<T>(payload: Uint8Array, parse: (line: string) => T | Fault): T[] | Fault {
  const text = decodeText(payload);
  if (text === undefined || (text !== "" && !text.endsWith("\n"))) return fault("BAD_REPLY", "theirs", "a list broken off");
  const values: T[] = [];
  for (const line of text.split("\n").slice(0, -1)) {
    const value = parse(line);
    if (isFault(value)) return fault("BAD_REPLY", "theirs", value.detail);
    values.push(value);
  }
  return values;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 text, or undefined where the bytes are not UTF-8. */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
}
