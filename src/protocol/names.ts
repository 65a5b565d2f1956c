// The one judge of file names: what may be announced, searched, requested and written to a disk.
// Invariant: the verdict is the same on every system, so a name that one peer may share every peer may store.
// Never: repairs a name. A bad name is refused with the reason, and only ever shown escaped.

import { NAME_BYTES_MAX } from "./limits.ts";

export type NameFlaw =
  | "empty"
  | "too-long"
  | "not-utf8"
  | "control"
  | "invisible"
  | "separator"
  | "forbidden-character"
  | "dots"
  | "trailing-dot-or-space"
  | "reserved-device"
  | "ours";

// C0, DEL and C1 controls: terminal escapes, CR and LF start here.
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
// Zero-width, bidi embeddings and overrides, isolates, invisible operators, BOM, line and paragraph separators, soft hyphen, fillers.
const INVISIBLE =
  /[\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/u;
const LONE_SURROGATE = /\p{Surrogate}/u;
const SEPARATOR = /[/\\]/;
const FORBIDDEN = /[<>:"|?*]/;
// Windows opens the device whatever the extension is, also with the superscript digits of Latin-1.
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*(?:\.|$)/i;
const OURS = /\.part(?:\.journal)?$/i;

const encoder = new TextEncoder();

/** ASCII characters that are in no one's way inside a name: most names have no others. */
const PLAIN = new Uint8Array(128);
for (const c of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .-_()[]{}+,;=!#$%&'@^`~")
  PLAIN[c.charCodeAt(0)] = 1;

function isPlain(name: string): boolean {
  for (let i = 0; i < name.length; i++) if (PLAIN[name.charCodeAt(i)] !== 1) return false;
  return name.length <= NAME_BYTES_MAX;
}

/** Why `name` is refused, or undefined when it is safe on every system. */
export function nameFlaw(name: string): NameFlaw | undefined {
  if (name === "") return "empty";
  if (name === "." || name === "..") return "dots";
  const flaw = isPlain(name) ? undefined : characterFlaw(name);
  if (flaw !== undefined) return flaw;
  if (/[. ]$/.test(name) || name.startsWith(" ")) return "trailing-dot-or-space";
  if (DEVICE.test(name)) return "reserved-device";
  if (OURS.test(name)) return "ours";
  return undefined;
}

function characterFlaw(name: string): NameFlaw | undefined {
  if (name.length > NAME_BYTES_MAX || encoder.encode(name).length > NAME_BYTES_MAX) return "too-long";
  if (LONE_SURROGATE.test(name) || name.includes("\ufffd")) return "not-utf8";
  if (CONTROL.test(name)) return "control";
  if (INVISIBLE.test(name)) return "invisible";
  if (SEPARATOR.test(name)) return "separator";
  if (FORBIDDEN.test(name)) return "forbidden-character";
  return undefined;
}

/** A text from outside made harmless for a terminal: controls and invisibles become \u{…}; at most `limit` characters. */
export function showName(text: string, limit = 120): string {
  const shown = [...text.slice(0, limit)].map((c) =>
    CONTROL.test(c) || INVISIBLE.test(c) || LONE_SURROGATE.test(c) ? `\\u{${c.codePointAt(0)?.toString(16)}}` : c,
  );
  return shown.join("") + (text.length > limit ? "…" : "");
}
