// Replies <-> lines: what the asked side answers (docs/PROTOCOL.md, grammar).
// Invariant: decode(encode(reply)) equals the reply; a payload's announced length is checked against its limit here.
// Never: throws, whatever the text; never sees a socket, a clock or a random number.

import { formatAddress, isIp, parseAddress } from "./address.ts";
import { type Fault, fault, isFault, WIRE_CODES, type WireCode } from "./fault.ts";
import { isRoot, parseCount, parseName, splitVerb } from "./fields.ts";
import {
  FILE_BYTES_MAX,
  FIND_PAYLOAD_BYTES_MAX,
  GET_BYTES_MAX,
  LAYER_PAYLOAD_BYTES_MAX,
  LIST_PAYLOAD_BYTES_MAX,
  PIECE_BYTES_MAX,
  PIECE_BYTES_MIN,
  SLOTS_MAX,
} from "./limits.ts";
import type { Reply } from "./messages.ts";
import { isHex128, isProof } from "./proof.ts";

/** What follows the address in JOIN_OK for a peer that the server could not connect to. */
const UNREACHABLE = "unreachable";
/** What follows it, before an IP, for a peer at a loopback address that no other machine can connect to. */
const LOCAL = "local";

/** What ends the line of a list in which peers of other servers may be missing. */
const PARTIAL = " partial";

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
      const version = parseCount(rest, Number.MAX_SAFE_INTEGER);
      return version ? { verb, version } : undefined;
    }
    case "JOIN_OK":
      return parseJoined(rest);
    case "SEARCH_OK":
    case "SOURCES_OK":
    case "FIND_OK":
      return parseList(verb, rest);
    case "LAYER_OK":
    case "PIECES_OK": {
      const payloadBytes = parseCount(rest, PAYLOAD_LIMITS[verb]);
      return payloadBytes === undefined ? undefined : { verb, payloadBytes };
    }
    case "WISH_OK":
      return rest === "all" || rest === "own" ? { verb, scope: rest } : undefined;
    case "ARRIVED": {
      const name = parseName(rest);
      return isFault(name) ? undefined : { verb, name };
    }
    case "UPDATE_OK":
    case "OFFER_OK":
    case "WITHDRAW_OK":
    case "UNWISH_OK":
    case "LEAVE_OK":
    case "LANE_OK":
    case "DAMAGED_OK":
    case "PONG":
      return line === verb ? { verb } : undefined;
    case "PROBE_OK":
      return isProof(rest) ? { verb, proof: rest } : undefined;
    case "WAIT": {
      const [place, root, ...more] = rest.split(" ");
      const position = parseCount(place, FILE_BYTES_MAX);
      if (!position || more.length > 0 || (root !== undefined && !isRoot(root))) return undefined;
      return { verb, position, ...(root !== undefined && { root }) };
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
      if (code === undefined || !CODE.test(code) || (again !== "retry" && again !== "final")) return undefined;
      const text = words.join(" ");
      if (words.length > 0 && text === "") return undefined;
      if (isWireCode(code)) return { verb, code, retry: again === "retry", text };
      // A newer version may know more codes: what they ask of us is not known, so nothing is tried again.
      return { verb, code: "UNKNOWN_CODE", retry: false, text: `${code} ${text}`.trimEnd() };
    }
    default:
      return undefined;
  }
}

/** A list that may be partial. */
function parseList(verb: "SEARCH_OK" | "SOURCES_OK" | "FIND_OK", rest: string): Reply | undefined {
  const isPartial = rest.endsWith(PARTIAL);
  const partial = isPartial && ({ partial: true } as const);
  const words = isPartial ? rest.slice(0, -PARTIAL.length) : rest;
  if (verb !== "FIND_OK") {
    const payloadBytes = parseCount(words, PAYLOAD_LIMITS[verb]);
    return payloadBytes === undefined ? undefined : { verb, payloadBytes, ...partial };
  }
  const [from, count, ...more] = words.split(" ");
  const next = parseCount(from, FILE_BYTES_MAX);
  const payloadBytes = parseCount(count, FIND_PAYLOAD_BYTES_MAX);
  if (next === undefined || payloadBytes === undefined || more.length > 0) return undefined;
  return { verb, next, payloadBytes, ...partial };
}

function parseJoined(rest: string): Reply | undefined {
  const [where, state, ...more] = rest.split(" ");
  const address = parseAddress(where ?? "");
  if (isFault(address)) return undefined;
  const verb = "JOIN_OK";
  const [localFor = "", ...others] = more;
  if (state === LOCAL && isIp(localFor) && others.length === 0) return { verb, address, reached: true, localFor };
  if (more.length > 0 || (state !== undefined && state !== UNREACHABLE)) return undefined;
  return { verb, address, reached: state === undefined };
}

const CODE = /^[A-Z_]{1,64}$/;
export const isWireCode = (code: string): code is WireCode => (WIRE_CODES as readonly string[]).includes(code);

function parseAccept(rest: string): Reply | undefined {
  const [ticket, bytes, piece, root, ...more] = rest.split(" ");
  const [slot, slots] = more.map((one) => parseCount(one, SLOTS_MAX));
  const size = parseCount(bytes, FILE_BYTES_MAX);
  const pieceBytes = parseCount(piece, PIECE_BYTES_MAX);
  if (!isHex128(ticket) || size === undefined) return undefined;
  if (more.length > 0 && (more.length !== 2 || slot === undefined || slots === undefined || slot >= slots))
    return undefined;
  if (pieceBytes === undefined || pieceBytes < PIECE_BYTES_MIN || (pieceBytes & (pieceBytes - 1)) !== 0)
    return undefined;
  if (root !== "-" && !isRoot(root)) return undefined;
  const part = slot !== undefined && slots !== undefined && { part: { slot, slots } };
  return { verb: "ACCEPT", grant: { ticket, size, pieceBytes, root: root === "-" ? undefined : root, ...part } };
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
      return `JOIN_OK ${formatAddress(reply.address)}${standingWords(reply)}`;
    case "PROBE_OK":
      return `PROBE_OK ${reply.proof}`;
    case "SEARCH_OK":
    case "SOURCES_OK":
      return `${reply.verb} ${reply.payloadBytes}${reply.partial ? PARTIAL : ""}`;
    case "LAYER_OK":
    case "PIECES_OK":
      return `${reply.verb} ${reply.payloadBytes}`;
    case "WISH_OK":
      return `WISH_OK ${reply.scope}`;
    case "ARRIVED":
      return `ARRIVED ${reply.name}`;
    case "FIND_OK":
      return `FIND_OK ${reply.next} ${reply.payloadBytes}${reply.partial ? PARTIAL : ""}`;
    case "DATA":
      return `DATA ${reply.offset} ${reply.payloadBytes}`;
    case "WAIT":
      return `WAIT ${reply.position}${reply.root === undefined ? "" : ` ${reply.root}`}`;
    case "ACCEPT": {
      const { ticket, size, pieceBytes, root, part } = reply.grant;
      return `ACCEPT ${ticket} ${size} ${pieceBytes} ${root ?? "-"}${part ? ` ${part.slot} ${part.slots}` : ""}`;
    }
    case "REJECT":
    case "ERROR":
      return `${reply.verb} ${reply.code} ${reply.retry ? "retry" : "final"}${shownText(reply.text)}`;
    default:
      return reply.verb;
  }
}

function standingWords({ reached, localFor }: Extract<Reply, { verb: "JOIN_OK" }>): string {
  if (!reached) return ` ${UNREACHABLE}`;
  return localFor === undefined ? "" : ` ${LOCAL} ${localFor}`;
}

/** A fault's text as the rest of its line; without one there is no space either. */
function shownText(text: string): string {
  return text === "" ? "" : ` ${text.replace(/[\u0000-\u001f\u007f]/g, " ")}`;
}
