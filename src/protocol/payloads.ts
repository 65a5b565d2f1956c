// Payloads <-> lists: the shares of a JOIN, the addresses of a SEARCH, the holders of a content.
// Invariant: a list is taken whole or refused whole; nothing of a broken one is used.
// Never: throws, whatever the bytes; never grows past the named limits.

import { type Address, formatPeer, parsePeer } from "./address.ts";
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
    if (done === true) return isFault(value) ? value : [...value];
  }
}

/** What a JOIN announces. `nameBytes` is about what the names take as text, each with one byte between. */
export type ShareList = Iterable<Share> & { readonly length: number; readonly nameBytes: number };

/** So many bytes are read between two yields: well under a millisecond. */
const READ_BYTES = 16 * 1024;

/** Shares that are kept as they are read. A longer list is read again each time: 200,000 objects are a long garbage collection. */
const KEPT_MAX = 4096;

/** The same from the parts in which it arrived, giving way now and then: a library of 100,000 names takes a while. */
export function* readShares(
  parts: readonly Uint8Array[],
  namesMax = JOIN_NAMES_MAX,
): Generator<undefined, ShareList | Fault, undefined> {
  const kept: Share[] = [];
  let length = 0;
  let nameBytes = 0;
  for (const lines of wholeLines(parts)) {
    yield;
    if (isFault(lines)) return lines;
    for (const share of sharesIn(lines)) {
      if (isFault(share)) return share;
      if (length === namesMax) return fault("TOO_MANY", "theirs", `at most ${namesMax} names`);
      length++;
      nameBytes += share.name.length + 1;
      if (length <= KEPT_MAX) kept.push(share);
    }
  }
  if (length <= KEPT_MAX) return Object.assign(kept, { nameBytes });
  return { length, nameBytes, [Symbol.iterator]: () => sharesAgain(parts) };
}

/** The shares of a payload that has been read before, without a flaw. */
function* sharesAgain(parts: readonly Uint8Array[]): Generator<Share, undefined> {
  for (const lines of wholeLines(parts))
    if (!isFault(lines)) for (const share of sharesIn(lines)) if (!isFault(share)) yield share;
}

const NEWLINE = 10;
const EMPTY = new Uint8Array(0);

/** Whole lines, about READ_BYTES at a time, or the fault of one that is none. */
function* wholeLines(parts: readonly Uint8Array[]): Generator<Uint8Array | Fault> {
  let rest: Uint8Array = EMPTY; // the line that the bytes before break off in
  for (const part of parts)
    for (let at = 0; at < part.length; at += READ_BYTES) {
      const bytes = part.subarray(at, at + READ_BYTES);
      const end = bytes.lastIndexOf(NEWLINE) + 1;
      const lines = end === 0 ? EMPTY : concat(rest, bytes.subarray(0, end));
      rest = end === 0 ? concat(rest, bytes) : bytes.subarray(end);
      yield rest.length > LINE_BYTES_MAX ? fault("BAD_NAME", "theirs", "too-long") : lines;
    }
  if (rest.length > 0) yield bad("the last share has no newline");
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function* sharesIn(lines: Uint8Array): Generator<Share | Fault> {
  const text = decodeText(lines);
  if (text === undefined) return yield bad("names are not UTF-8");
  for (let from = 0; from < text.length; ) {
    const to = text.indexOf("\n", from);
    yield parseShare(text.slice(from, to));
    from = to + 1;
  }
}

/** SEARCH_OK's payload. */
export function encodeAddresses(addresses: readonly Address[]): Uint8Array {
  let text = "";
  for (const address of addresses) text += `${formatPeer(address)}\n`;
  return encoder.encode(text);
}

export function decodeAddresses(payload: Uint8Array): Address[] | Fault {
  return decodeList(payload, parsePeer);
}

/** SOURCES_OK's payload: a peer and `complete` or `partial`. */
export function encodeHolders(holders: readonly Holder[]): Uint8Array {
  const lines = holders.map((h) => `${formatPeer(h.address)} ${h.complete ? "complete" : "partial"}\n`);
  return encoder.encode(lines.join(""));
}

export function decodeHolders(payload: Uint8Array): Holder[] | Fault {
  return decodeList(payload, (line) => {
    const end = line.lastIndexOf(" ");
    const address = parsePeer(line.slice(0, Math.max(0, end)));
    const state = line.slice(end + 1);
    if (isFault(address) || (state !== "complete" && state !== "partial")) return bad("expected: ip:port [ID] state");
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
