// The fields that lines are made of: counts, names, roots, shares, and text out of bytes.
// Invariant: a field has one spelling only, so that what is decoded and encoded again gives the same bytes.
// Never: throws, whatever the text.

import { type Fault, fault, isFault } from "./fault.ts";
import { FILE_BYTES_MAX, NAME_BYTES_MAX } from "./limits.ts";
import type { Root, Share } from "./messages.ts";
import { nameFlaw } from "./names.ts";

export const bad = (detail: string): Fault => fault("BAD_REQUEST", "theirs", detail);

/** A whole number in decimal without sign or leading zero, 0–`most`. */
export function parseCount(text: string | undefined, most: number): number | undefined {
  if (text === undefined || !/^(?:0|[1-9]\d{0,15})$/.test(text)) return undefined;
  const value = Number(text);
  return value <= most ? value : undefined;
}

export function parseName(text: string): string | Fault {
  const flaw = nameFlaw(text);
  return flaw === undefined ? text : fault("BAD_NAME", "theirs", flaw);
}

/** Words to find: any text without controls, as long as a name may be, that has a letter or a digit. */
export function parseWords(text: string): string | Fault {
  if (new TextEncoder().encode(text).length > NAME_BYTES_MAX) return bad("the words are too long");
  if (/\p{Cc}|\p{Surrogate}/u.test(text)) return bad("the words have control characters");
  return /[\p{L}\p{N}]/u.test(text) ? text : bad("no word has a letter or a digit");
}

export const isRoot = (text: string | undefined): text is Root => text !== undefined && /^[0-9a-f]{64}$/.test(text);

/** `<size> <root|-> <name>`: how JOIN's payload, UPDATE and OFFER spell a share. */
export function parseShare(text: string): Share | Fault {
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

export const formatShare = (share: Share): string => `${share.size} ${share.root ?? "-"} ${share.name}`;

export function splitVerb(line: string): [verb: string, rest: string] {
  const space = line.indexOf(" ");
  return space < 0 ? [line, ""] : [line.slice(0, space), line.slice(space + 1)];
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
