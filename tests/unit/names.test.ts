// Which names are safe on every system, and how the others are shown.
// Invariant: each case is one row of the list of hostile names.
// Never: asks a disk; the verdict is the same everywhere.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { tablesOfDatabase, tablesOfEngine } from "../../docs/tools/unicode.ts";
import { NAME_BYTES_MAX } from "../../src/protocol/limits.ts";
import { nameFlaw, showName } from "../../src/protocol/names.ts";
import * as tables from "../../src/protocol/unicode-table.ts";

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
  [
    "invisible",
    "a\u034f",
    "a\u17b4",
    "a\u180b",
    "a\ufe00",
    "a\ufe0f",
    "1\ufe0f.mp4",
    "a\u{e0100}",
    "a\u{1bca0}",
    "a\u{1d173}",
  ],
  [
    "invisible",
    "a\u{13430}",
    "a\u{e0080}",
    "a\u115f",
    "a\u3164b",
    "a\uffa0",
    "\u200dx",
    "x\u200c",
    "🎬\u200d.mp4",
    "a\u200d🎬",
  ],
  // Joiners where no script asks for them: between letters that are never joined, and after one that joins nothing.
  [
    "invisible",
    "a\u200cb",
    "\u0627\u200c\u0628",
    "\u0628\u200c.mp4",
    "\u0628\u200d\u0628",
    "\u0915\u200d\u0937",
    "\u094d\u200d",
  ],
  ["unassigned", "a\u0378", "a\ufdd0", "a\uffff", "a\u{1ffff}", "a\u{50000}", "\u{10ffff}"],
  [
    "blank-run",
    "Aula.mp4   .exe",
    "a\u00a0\u00a0\u00a0b",
    "a \u2003 b",
    "a\u2800 \u{1d159}b",
    `Aula.mp4${" ".repeat(100)}.exe`,
  ],
  ["trailing-dot-or-space", "\u00a0", "\u00a0.mp4", "x.mp4\u3000", "\u2800", "\u2800a", "\u1680", "\u{1d159}.mp4"],
  ["trailing-dot-or-space", "x.", "x ", " x", "...", "a.mp4 .", "x. "],
  ["reserved-device", "CON", "con.air.1997.mp4", "NUL.tar.gz", "COM1", "com9.mp4", "LPT1.mp4", "COM¹", "lpt³.avi"],
  ["reserved-device", "AUX", "PRN.mp4", "CONIN$", "conout$.mp4", "nul .mp4"],
  ["not-utf8", "a\ud800.mp4", "\udc00", "a\ufffd.mp4"],
  ["ours", "x.part", "x.PART", "x.mp4.part.journal", "x.mp4.part.lock"],
  ["too-long", "x".repeat(256), "é".repeat(128), "𝕏".repeat(64), "€".repeat(86)],
];

const fine = [
  "Aula.mp4",
  "aula 1 (parte 2).mp4",
  "ção — ñ 日本語 🎬.mkv",
  "❤️ 👩‍💻 👨🏽‍🚀 🏳️‍🌈 1️⃣ 🇧🇷.mp4",
  "می‌خواهم.mp4",
  "کتاب‌ها",
  "क्‍ष.mp4",
  "क्‌ष",
  "ക്‍",
  "aula  2.mp4",
  "Captura 10.00.00\u202fAM.png",
  "\u0601\u0661.mp4",
  "$(calc).mp4",
  "a & calc",
  "%COMSPEC%",
  "'; rm -rf ~",
  "-rf",
  ".hidden",
  "..x",
  "x".repeat(255),
  "€".repeat(85),
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
        expect(name).not.toMatch(
          /\p{Cn}|^[\p{White_Space}\u2800]|[\p{White_Space}\u2800]{3}|[\p{White_Space}\u2800]$/u,
        );
      }),
      { numRuns: 2000 },
    );
  });
});

describe("the Unicode tables", () => {
  const flat = (tables: Record<string, string[]>) =>
    Object.entries(tables).map(([name, ranges]) => [name, ranges.join(" ")]);
  const written: Readonly<Record<string, string>> = { ...tables };
  const ours = (names: readonly string[]) => names.map((name) => [name, written[name]?.trim().replaceAll("\n", " ")]);

  test("are what the engine's own properties say", () => {
    const engine = tablesOfEngine();
    expect(ours(Object.keys(engine))).toEqual(flat(engine));
  });

  const database = tablesOfDatabase();
  test.skipIf(database === undefined && process.env.CI !== "true")(
    "are what the Unicode Character Database says (needs the package unicode-data)",
    () => {
      expect(database, "the package unicode-data is missing").toBeDefined();
      expect(ours(Object.keys(database ?? {}))).toEqual(flat(database ?? {}));
    },
  );
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
