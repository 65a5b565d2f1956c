// The `// SPEC x.y` marks of src/ and tests/: which line serves or tests which item of the assignment.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..", "..");

export type Mark = {
  readonly path: string;
  /** The line that serves the item, from 1: the first line of code after the comment that holds the mark. */
  readonly line: number;
  /** That line, without its indentation. */
  readonly code: string;
  /** What the mark says besides the items; empty in a test's title. */
  readonly why: string;
  readonly items: readonly string[];
};

const letters = (from: string, to: string): string[] =>
  Array.from({ length: to.charCodeAt(0) - from.charCodeAt(0) + 1 }, (_, index) =>
    String.fromCharCode(from.charCodeAt(0) + index),
  );

/** Every item that the base contract names. */
export const ITEMS: readonly string[] = [
  ...letters("a", "e").map((letter) => `4.${letter}`),
  ...letters("a", "i").map((letter) => `5.${letter}`),
  "6",
];

const ONE = "(?:[45]\\.[a-i](?:–(?:[45]\\.)?[a-i])?|6)";
const MARK = new RegExp(`SPEC (${ONE}(?:(?:, | and )${ONE})*)(?::\\s*(.*))?`);
const COMMENT = /^\s*(?:\/\/|\/?\*)/;

/** "4.a–4.e, 6" as single items. */
function spread(text: string): string[] {
  return text.split(/, | and /).flatMap((part) => {
    const [from = "", to] = part.split("–");
    if (to === undefined) return [from];
    return letters(from.slice(-1), to.slice(-1)).map((letter) => from.slice(0, 2) + letter);
  });
}

function marksOf(path: string): Mark[] {
  const lines = readFileSync(join(ROOT, path), "utf8").split("\n");
  const isTest = path.startsWith("tests/");
  return lines.flatMap((text, index) => {
    const match = MARK.exec(text);
    // The three lines that open a file speak of the whole of it.
    if (match === null || (!isTest && (index < 3 || !COMMENT.test(text)))) return [];
    let at = index;
    while (!isTest && at < lines.length - 1 && COMMENT.test(lines[at] ?? "")) at += 1;
    const code = (lines[at] ?? "").trim();
    return [{ path, line: at + 1, code, why: isTest ? "" : (match[2] ?? ""), items: spread(match[1] ?? "") }];
  });
}

const list = (pattern: string): string[] =>
  [...new Bun.Glob(pattern).scanSync({ cwd: ROOT })].map((path) => path.replaceAll("\\", "/")).sort();

/** All marks of src/, or of tests/ (where they stand in titles). */
export const marksIn = (folder: "src" | "tests"): Mark[] =>
  list(`${folder}/**/*.ts`)
    .filter((path) => folder === "src" || path.endsWith(".test.ts"))
    .flatMap(marksOf);
