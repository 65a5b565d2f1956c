// Payloads <-> lists: the shares of a JOIN, the addresses of a SEARCH, the holders of a content.
// Invariant: a list is taken whole or refused whole; nothing of a broken one is used.
// Never: throws, whatever the bytes; never grows past the named limits.

import { type Address, formatAddress, parseAddress } from "./address.ts";
import { type Fault, fault, isFault } from "./fault.ts";
import { bad, decodeText, formatShare, parseShare } from "./fields.ts";
import { JOIN_NAMES_MAX } from "./limits.ts";
import type { Holder, Share } from "./messages.ts";

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
    if (isFault(address) || more.length > 0 || (state !== "complete" && state !== "partial"))
      return bad("expected: ip:port state");
    return { address, complete: state === "complete" };
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
