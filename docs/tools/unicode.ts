// Writes src/protocol/unicode-table.ts: `bun docs/tools/unicode.ts`. The engine knows most properties; joining types and
// viramas come from the Unicode Character Database, where a system has it (Debian: the package unicode-data).

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const DATABASE = "/usr/share/unicode";
const OUTPUT = join(import.meta.dir, "..", "..", "src", "protocol", "unicode-table.ts");
const LINE_CHARACTERS_MAX = 110;

/** Visible although their category is Format: Prepended_Concatenation_Mark, which ECMAScript's properties lack. */
const VISIBLE_FORMATS = /[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}]/u;

/** The code points for which `is` holds, as "first-last" in hexadecimal. Surrogates are none. */
function rangesOf(is: (codePoint: number) => boolean): string[] {
  const ranges: string[] = [];
  let first = -1;
  for (let codePoint = 0; codePoint <= 0x110000; codePoint++) {
    const isCharacter = codePoint < 0x110000 && (codePoint < 0xd800 || codePoint > 0xdfff);
    const holds = isCharacter && is(codePoint);
    if (holds && first === -1) first = codePoint;
    if (holds || first === -1) continue;
    const [from, to] = [first.toString(16), (codePoint - 1).toString(16)];
    ranges.push(from === to ? from : `${from}-${to}`);
    first = -1;
  }
  return ranges;
}

const matching = (pattern: RegExp, except?: RegExp): string[] =>
  rangesOf((codePoint) => {
    const character = String.fromCodePoint(codePoint);
    return pattern.test(character) && !(except?.test(character) ?? false);
  });

/** The tables that the engine can make by itself. */
export function tablesOfEngine(): Record<string, string[]> {
  return {
    UNASSIGNED: matching(/\p{Cn}/u),
    HIDDEN: matching(/[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Zl}\p{Zp}]/u, VISIBLE_FORMATS),
    BLANK: matching(/[\p{Zs}\u2800\u{1d159}]/u),
    PICTOGRAPH: matching(/\p{Extended_Pictographic}/u),
  };
}

/** The tables that need the database; undefined where there is none. */
export function tablesOfDatabase(): Record<string, string[]> | undefined {
  if (!existsSync(DATABASE)) return undefined;
  const read = (path: string): string => readFileSync(join(DATABASE, path), "utf8");
  const joins = new Map<number, string>();
  for (const [, from = "", to = from, type = ""] of read("extracted/DerivedJoiningType.txt").matchAll(
    /^([0-9A-F]+)(?:\.\.([0-9A-F]+))?\s*;\s*([A-Z])/gm,
  )) {
    for (let c = Number.parseInt(from, 16); c <= Number.parseInt(to, 16); c++) joins.set(c, type);
  }
  const viramas = new Set(
    [...read("UnicodeData.txt").matchAll(/^([0-9A-F]+);[^;]*;[^;]*;9;/gm)].map(([, c = ""]) => Number.parseInt(c, 16)),
  );
  return {
    JOINS_NEXT: rangesOf((c) => /[DL]/.test(joins.get(c) ?? "")),
    JOINS_PREVIOUS: rangesOf((c) => /[DR]/.test(joins.get(c) ?? "")),
    VIRAMA: rangesOf((c) => viramas.has(c)),
  };
}

function constant(name: string, ranges: readonly string[]): string {
  const lines: string[] = [];
  for (const range of ranges) {
    const last = lines.at(-1);
    if (last === undefined || last.length + range.length >= LINE_CHARACTERS_MAX) lines.push(range);
    else lines[lines.length - 1] = `${last} ${range}`;
  }
  return `export const ${name} = \`\n${lines.join("\n")}\n\`;\n`;
}

if (import.meta.main) {
  const database = tablesOfDatabase();
  if (database === undefined) {
    console.error(`no Unicode Character Database in ${DATABASE}: install the package unicode-data`);
    process.exit(1);
  }
  const head = `// Unicode properties that decide what a file name may hold, as ranges of code points in hexadecimal.
// Invariant: written by \`bun docs/tools/unicode.ts\`, Unicode ${process.versions.unicode}; a test holds it to the engine's own properties.
// Never: edited by hand.

`;
  const tables = Object.entries({ ...tablesOfEngine(), ...database });
  writeFileSync(OUTPUT, head + tables.map(([name, ranges]) => constant(name, ranges)).join("\n"));
}
