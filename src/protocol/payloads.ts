// Payloads <-> lists: the shares of a JOIN, the addresses of a SEARCH, the holders of a content.
// Invariant: a list is taken whole or refused whole; nothing of a broken one is used.
// Never: throws, whatever the bytes; never grows past the named limits.

import { type Address, formatAddress, parseAddress } from "./address.ts";
import { type Fault, fault, isFault, limitIn } from "./fault.ts";
import { bad, decodeText, formatShare, parseCount, parseShare } from "./fields.ts";
import { FILE_BYTES_MAX, HASH_BYTES, JOIN_NAMES_MAX, LINE_BYTES_MAX } from "./limits.ts";
import type { Found, Holder, Share } from "./messages.ts";

const encoder = new TextEncoder();

/** JOIN's payload. Throws nothing; names are the caller's already checked ones. */
export function encodeShares(shares: Iterable<Share>): Uint8Array {
  let text = "";
  for (const share of shares) text += `${formatShare(share)}\n`;
  return encoder.encode(text);
}

/** The first of `shares` with which a JOIN stays within the limit that it was refused for; undefined where that is not why. */
export function fitting<S extends Omit<Share, "root">>(shares: readonly S[], why: Fault): readonly S[] | undefined {
  const limit = why.fault === "TOO_MANY" || why.fault === "PAYLOAD_TOO_LARGE" ? limitIn(why) : undefined;
  if (limit === undefined) return undefined;
  if (limit.of === "names") return shares.slice(0, limit.most);
  let bytes = 0;
  let count = 0;
  for (const { name, size } of shares) {
    bytes += encoder.encode(`${formatShare({ name, size, root: SOME_ROOT })}\n`).length;
    if (bytes > limit.most) break;
    count += 1;
  }
  return shares.slice(0, count);
}

/** The longest that a share's root can be, known or not. */
const SOME_ROOT = "0".repeat(2 * HASH_BYTES);

/** JOIN's payload read back: the shares, or the first flaw. Bounded by JOIN_NAMES_MAX. */
export function decodeShares(payload: Uint8Array): Share[] | Fault {
  const job = readShares([payload]);
  for (;;) {
    const { done, value } = job.next();
    if (done === true) return value;
  }
}

/** So many bytes are read between two yields: well under a millisecond. */
const READ_BYTES = 16 * 1024;

/** The same from the parts in which it arrived, giving way now and then: a library of 100,000 names takes a while. */
export function* readShares(
  parts: Iterable<Uint8Array>,
  namesMax = JOIN_NAMES_MAX,
): Generator<undefined, Share[] | Fault, undefined> {
  const shares: Share[] = [];
  let rest: Uint8Array = EMPTY; // the line that the bytes before break off in
  for (const bytes of inPieces(parts)) {
    yield;
    const last = bytes.lastIndexOf(NEWLINE);
    const lines = last < 0 ? EMPTY : concat(rest, bytes.subarray(0, last + 1));
    rest = last < 0 ? concat(rest, bytes) : bytes.subarray(last + 1);
    if (rest.length > LINE_BYTES_MAX) return fault("BAD_NAME", "theirs", "too-long");
    const flaw = takeShares(lines, shares, namesMax);
    if (flaw !== undefined) return flaw;
  }
  return rest.length > 0 ? bad("the last share has no newline") : shares;
}

const NEWLINE = 10;
const EMPTY = new Uint8Array(0);

function* inPieces(parts: Iterable<Uint8Array>): Generator<Uint8Array> {
  for (const part of parts)
    for (let at = 0; at < part.length; at += READ_BYTES) yield part.subarray(at, at + READ_BYTES);
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** Adds the shares of whole lines; the flaw of the first that has one. */
function takeShares(lines: Uint8Array, shares: Share[], namesMax: number): Fault | undefined {
  const text = decodeText(lines);
  if (text === undefined) return bad("names are not UTF-8");
  for (let from = 0; from < text.length; ) {
    const to = text.indexOf("\n", from);
    const share = parseShare(text.slice(from, to));
    if (isFault(share)) return share;
    if (shares.length === namesMax) return fault("TOO_MANY", "theirs", `at most ${namesMax} names`);
    shares.push(share);
    from = to + 1;
  }
  return undefined;
}

/** SEARCH_OK's payload. */
export function encodeAddresses(addresses: readonly Address[]): Uint8Array {
  let text = "";
  for (const { ip, port } of addresses) text += `${ip}:${port}\n`;
  return encoder.encode(text);
}

export function decodeAddresses(payload: Uint8Array): Address[] | Fault {
  return decodeList(payload, parseAddress);
}

/** SOURCES_OK's payload: `ip:port complete|partial`. */
export function encodeHolders(holders: readonly Holder[]): Uint8Array {
  const lines = holders.map((h) => `${formatAddress(h.address)} ${h.complete ? "complete" : "partial"}\n`);
  return encoder.encode(lines.join(""));
}

export function decodeHolders(payload: Uint8Array): Holder[] | Fault {
  return decodeList(payload, (line) => {
    const [where, state, ...more] = line.split(" ");
    const address = parseAddress(where ?? "");
    if (isFault(address) || more.length > 0 || (state !== "complete" && state !== "partial"))
      return bad("expected: ip:port state");
    return { address, complete: state === "complete" };
  });
}

/** FIND_OK's payload: `sources size root name`. */
export function encodeFound(found: readonly Found[]): Uint8Array {
  return encoder.encode(found.map((f) => `${f.sources} ${formatShare(f)}\n`).join(""));
}

export function decodeFound(payload: Uint8Array): Found[] | Fault {
  return decodeList(payload, (line) => {
    const space = line.indexOf(" ");
    const sources = parseCount(line.slice(0, Math.max(0, space)), FILE_BYTES_MAX);
    const share = parseShare(line.slice(space + 1));
    return isFault(share) || sources === undefined ? bad("expected: sources size root name") : { ...share, sources };
  });
}

function decodeList<T>(payload: Uint8Array, parse: (line: string) => T | Fault): T[] | Fault {
  const text = decodeText(payload);
  if (text === undefined || (text !== "" && !text.endsWith("\n")))
    return fault("BAD_REPLY", "theirs", "a list broken off");
  const values: T[] = [];
  for (const line of text.split("\n").slice(0, -1)) {
    const value = parse(line);
    if (isFault(value)) return fault("BAD_REPLY", "theirs", value.detail);
    values.push(value);
  }
  return values;
}
