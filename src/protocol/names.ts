// The rules for file names: what may be announced, searched, requested and written to a disk.
// Invariant: the verdict is the same on every system, so a name that one peer may share every peer may store.
// Never: repairs a name. A bad name is refused with the reason, and only ever shown escaped.

import { NAME_BLANKS_MAX, NAME_BYTES_MAX } from "./limits.ts";
import * as tables from "./unicode-table.ts";

export type NameFlaw =
  | "empty"
  | "too-long"
  | "not-utf8"
  | "control"
  | "invisible"
  | "unassigned"
  | "blank-run"
  | "separator"
  | "forbidden-character"
  | "dots"
  | "trailing-dot-or-space"
  | "reserved-device"
  | "ours";

// C0, DEL and C1 controls: terminal escapes, CR and LF start here.
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
const LONE_SURROGATE = /\p{Surrogate}/u;
const SEPARATOR = /[/\\]/;
const FORBIDDEN = /[<>:"|?*]/;
// Windows opens the device whatever the extension is, also with the superscript digits of Latin-1.
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*(?:\.|$)/i;
/** The shortest run of plain blanks that is too long. */
const BLANK_RUN = " ".repeat(NAME_BLANKS_MAX + 1);
const OURS = /\.part(?:\.journal|\.lock)?$/i;

const encoder = new TextEncoder();
const bytesOf = (text: string): number => encoder.encode(text).length;
/** A name of no more UTF-16 units is short enough, whatever they are: each takes three bytes at most. */
const NAME_LENGTH_SURE = Math.floor(NAME_BYTES_MAX / 3);

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
  if (name.includes(BLANK_RUN)) return "blank-run";
  if (DEVICE.test(name)) return "reserved-device";
  if (OURS.test(name)) return "ours";
  return undefined;
}

function characterFlaw(name: string): NameFlaw | undefined {
  if (name.length > NAME_BYTES_MAX || (name.length > NAME_LENGTH_SURE && bytesOf(name) > NAME_BYTES_MAX))
    return "too-long";
  if (!name.isWellFormed() || name.includes("\ufffd")) return "not-utf8";
  if (CONTROL.test(name)) return "control";
  const { found, blanks, isBlankAtEnd } = scan(name);
  if ((found & HIDDEN) !== 0 && hidesSomething(pointsOf(name))) return "invisible";
  if ((found & UNASSIGNED) !== 0) return "unassigned";
  if (SEPARATOR.test(name)) return "separator";
  if (FORBIDDEN.test(name)) return "forbidden-character";
  if (is(name.codePointAt(0), BLANK) || isBlankAtEnd) return "trailing-dot-or-space";
  return blanks > NAME_BLANKS_MAX ? "blank-run" : undefined;
}

const HIDDEN = 1;
const UNASSIGNED = 2;
const BLANK = 4;
const PICTOGRAPH = 8;
const JOINS_NEXT = 16;
const JOINS_PREVIOUS = 32;
const VIRAMA = 64;

let properties: Uint8Array | undefined;

/** The properties of every code point; made when the first name beyond plain ASCII comes. */
function readTables(): Uint8Array {
  const all = new Uint8Array(0x110000);
  const rows = [
    [HIDDEN, tables.HIDDEN],
    [UNASSIGNED, tables.UNASSIGNED],
    [BLANK, tables.BLANK],
    [PICTOGRAPH, tables.PICTOGRAPH],
    [JOINS_NEXT, tables.JOINS_NEXT],
    [JOINS_PREVIOUS, tables.JOINS_PREVIOUS],
    [VIRAMA, tables.VIRAMA],
  ] as const;
  for (const [property, ranges] of rows) {
    for (const range of ranges.trim().split(/\s+/)) {
      const [first = 0, last = first] = range.split("-").map((digits) => Number.parseInt(digits, 16));
      for (let point = first; point <= last; point++) all[point] = (all[point] as number) | property;
    }
  }
  return all;
}

function is(point: number | undefined, property: number): boolean {
  properties ??= readTables();
  return point !== undefined && ((properties[point] as number) & property) !== 0;
}

/** The properties that some character of `name` has, the longest run of blanks of any kind, and whether one ends it. */
function scan(name: string): { readonly found: number; readonly blanks: number; readonly isBlankAtEnd: boolean } {
  properties ??= readTables();
  let found = 0;
  let run = 0;
  let blanks = 0;
  for (let at = 0; at < name.length; at++) {
    const point = name.codePointAt(at) as number;
    if (point > 0xffff) at++;
    const has = properties[point] as number;
    found |= has;
    run = (has & BLANK) === 0 ? 0 : run + 1;
    if (run > blanks) blanks = run;
  }
  return { found, blanks, isBlankAtEnd: run > 0 };
}

const pointsOf = (text: string): number[] => Array.from(text, (character) => character.codePointAt(0) as number);

const ZERO_WIDTH_NON_JOINER = 0x200c;
const ZERO_WIDTH_JOINER = 0x200d;
const EMOJI_STYLE = 0xfe0f;
const KEYCAP = 0x20e3;
const isLetter = (point: number | undefined): boolean =>
  point !== undefined && /\p{L}/u.test(String.fromCodePoint(point));
const isMark = (point: number | undefined): boolean =>
  point !== undefined && /\p{M}/u.test(String.fromCodePoint(point));
const isSkinTone = (point: number | undefined): boolean => point !== undefined && point >= 0x1f3fb && point <= 0x1f3ff;
const isKeycapBase = (point: number | undefined): boolean =>
  point !== undefined && /[0-9#]/.test(String.fromCodePoint(point));

const hidesSomething = (points: readonly number[]): boolean => points.some((_, at) => isHidden(points, at));

/** Whether a reader cannot see what stands at `at`: an ignorable or format character where no script or emoji needs it. */
function isHidden(points: readonly number[], at: number): boolean {
  const point = points[at];
  if (!is(point, HIDDEN)) return false;
  if (point === EMOJI_STYLE) return !isEmojiStyled(points, at);
  if (point === ZERO_WIDTH_JOINER) return !joinsEmoji(points, at) && !isInConjunct(points, at);
  if (point === ZERO_WIDTH_NON_JOINER) {
    return !breaksJoin(points, at) && !(isInConjunct(points, at) && isLetter(points[at + 1]));
  }
  return true;
}

/** UTS 51: after a pictograph, or in a keycap. */
function isEmojiStyled(points: readonly number[], at: number): boolean {
  const before = points[at - 1];
  return is(before, PICTOGRAPH) || (isKeycapBase(before) && points[at + 1] === KEYCAP);
}

/** UTS 51: between two pictographs, of which the first may have a style or a skin tone. */
function joinsEmoji(points: readonly number[], at: number): boolean {
  const before = points[at - 1];
  const base = before === EMOJI_STYLE || isSkinTone(before) ? points[at - 2] : before;
  return is(base, PICTOGRAPH) && is(points[at + 1], PICTOGRAPH);
}

/** UAX 31, A1: between two letters that would be joined in writing, as in Persian. */
function breaksJoin(points: readonly number[], at: number): boolean {
  let before = at - 1;
  while (isMark(points[before])) before--;
  let after = at + 1;
  while (isMark(points[after])) after++;
  return is(points[before], JOINS_NEXT) && is(points[after], JOINS_PREVIOUS);
}

/** UAX 31, A2 and B: after a letter and its virama, as in Indic scripts. */
function isInConjunct(points: readonly number[], at: number): boolean {
  if (!is(points[at - 1], VIRAMA)) return false;
  let before = at - 2;
  while (isMark(points[before])) before--;
  return isLetter(points[before]);
}

/** A text from outside made harmless for a terminal: what is not seen becomes \u{…}; at most `limit` characters. */
export function showName(text: string, limit = 120): string {
  const cut = text.slice(0, limit);
  if (isPlain(cut)) return cut + (text.length > limit ? "…" : "");
  const points = pointsOf(cut);
  const shown = points.map((point, at) => {
    const character = String.fromCodePoint(point);
    const isUnseen = CONTROL.test(character) || LONE_SURROGATE.test(character) || is(point, UNASSIGNED);
    return isUnseen || isHidden(points, at) ? `\\u{${point.toString(16)}}` : character;
  });
  return shown.join("") + (text.length > limit ? "…" : "");
}
