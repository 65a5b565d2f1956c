// Which names are safe on every system, and how the others are shown.
// Invariant: each case is one row of the list of hostile names.
// Never: asks a disk; the verdict is the same everywhere.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { NAME_BYTES_MAX } from "../../src/protocol/limits.ts";
import { nameFlaw, showName } from "../../src/protocol/names.ts";

const refused: readonly (readonly [flaw: string, ...names: string[]])[] = [
  ["empty", ""],
  ["dots", ".", ".."],
  ["separator", "../x", "a/../../x", "..\\x", "/etc/passwd", "C:\\x", "\\\\srv\\share\\x", "\\\\?\\C:\\x", "a/"],
  ["forbidden-character", "C:x", "video.mp4:stream", "a<b", "a>b", 'a"b', "a|b", "a?b", "a*b"],
  ["control", "a\u0000", "a\u001b[2Jb", "a\r", "a\nb", "a\u007f", "a\u0085b", "a\u009bm"],
  [
    "invisible",
    "video\u202e4pm.exe",
    "a\u2066b",
    "a\u2069",
    "a\u200bb",
    "a\u200f",
    "a\u2060",
    "\ufeffa",
    "a\u2028b",
    "a\u00adb",
  ],
  ["invisible", "a\u{e0041}b", "a\u061cb", "a\u180eb", "a\ufff9b"],
  ["trailing-dot-or-space", "x.", "x ", " x", "...", "a.mp4 .", "x. "],
  ["reserved-device", "CON", "con.air.1997.mp4", "NUL.tar.gz", "COM1", "com9.mp4", "LPT1.mp4", "COM¹", "lpt³.avi"],
  ["reserved-device", "AUX", "PRN.mp4", "CONIN$", "conout$.mp4", "nul .mp4"],
  ["not-utf8", "a\ud800.mp4", "\udc00", "a\ufffd.mp4"],
  ["ours", "x.part", "x.PART", "x.mp4.part.journal"],
  ["too-long", "x".repeat(256), "é".repeat(128), "𝕏".repeat(64)],
];

const fine = [
  "Aula.mp4",
  "aula 1 (parte 2).mp4",
  "ção — ñ 日本語 🎬.mkv",
  "$(calc).mp4",
  "a & calc",
  "%COMSPEC%",
  "'; rm -rf ~",
  "-rf",
  ".hidden",
  "..x",
  "x".repeat(255),
  `${"é".repeat(127)}x`,
  "console.mp4",
  "COM10.mp4",
  "com.mp4",
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "part",
  "x.part.mp4",
  "null",
];

describe("a name", () => {
  for (const [flaw, ...names] of refused) {
    for (const name of names) {
      test(`${JSON.stringify(name.length > 40 ? `${name.slice(0, 8)}… (${name.length})` : name)} is refused: ${flaw}`, () => {
        expect(nameFlaw(name)).toBe(flaw as ReturnType<typeof nameFlaw>);
      });
    }
  }

  for (const name of fine) {
    test(`${JSON.stringify(name.slice(0, 40))} is accepted`, () => expect(nameFlaw(name)).toBeUndefined());
  }

  test("whatever is accepted fits a disk, a line and a terminal", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), (name) => {
        if (nameFlaw(name) !== undefined) return;
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(NAME_BYTES_MAX);
        expect(Buffer.from(name).toString()).toBe(name);
        expect(name).not.toMatch(/[\u0000-\u001f\u007f-\u009f/\\:*?"<>|]/);
        expect(showName(name, 300)).toBe(name);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a name that is shown", () => {
  test("has its controls and invisibles escaped", () => {
    expect(showName("a\u001b[2J\u202eb\u0000")).toBe("a\\u{1b}[2J\\u{202e}b\\u{0}");
  });

  test("is cut at the limit", () => expect(showName("x".repeat(200), 10)).toBe("xxxxxxxxxx…"));

  test("holds nothing that a terminal would obey, whatever it was", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), (name) => {
        expect(showName(name)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
        expect(showName(name)).not.toMatch(/\p{Surrogate}/u);
      }),
      { numRuns: 2000 },
    );
  });
});
