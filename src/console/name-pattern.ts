// A pattern of file names, with * for any characters and ? for one, and the words by which the server finds candidates.
// Invariant: each name that matches has all of these words, as FIND understands words.
// Never: takes longer than pattern times name; matches a path.

import { isFault } from "../protocol/fault.ts";
import { parseWords } from "../protocol/fields.ts";
import { nameFlaw } from "../protocol/names.ts";
import { type Complaint, nameComplaint } from "./text/complaints.ts";

export type NamePattern = {
  readonly words: string;
  /** Case does not count. */
  matches(name: string): boolean;
};

const WORD = /[\p{L}\p{N}\p{M}\p{Co}]+/gu;

/** The pattern, or why it is none. */
export function parsePattern(text: string): NamePattern | Complaint {
  const pattern = text.normalize("NFC");
  const plain = pattern.replace(/[*?]/g, "x");
  if (pattern === "" || nameFlaw(plain) !== undefined) {
    const flaw = nameComplaint(pattern === "" ? "" : plain);
    return { cause: `--match: ${flaw?.cause}`, code: "USAGE", hint: "por exemplo --match 'aula*.mp4'" };
  }
  const words = wordsOf(pattern);
  if (isFault(parseWords(words)))
    return {
      cause: "--match não diz como começa nenhuma palavra do nome",
      code: "USAGE",
      hint: "escreva o começo de uma palavra, por exemplo --match 'aula*.mp4' ou '*.mp4'",
    };
  const symbols = [...pattern.toLowerCase()];
  return { words, matches: (name) => isMatch(symbols, [...name.normalize("NFC").toLowerCase()]) };
}

/** The literal runs that begin a word whatever the wildcards stand for. */
function wordsOf(pattern: string): string {
  const words: string[] = [];
  let start = 0;
  for (const literal of pattern.split(/[*?]/)) {
    for (const { 0: word, index } of literal.matchAll(WORD)) if (index > 0 || start === 0) words.push(word);
    start += literal.length + 1;
  }
  return words.join(" ");
}

/** Goes back to the last * only: what an earlier one stands for cannot matter any more. */
function isMatch(pattern: readonly string[], name: readonly string[]): boolean {
  let [p, n] = [0, 0];
  let star = -1;
  let from = 0;
  while (n < name.length) {
    if (pattern[p] === "*") {
      star = p++;
      from = n;
    } else if (pattern[p] === "?" || pattern[p] === name[n]) {
      p += 1;
      n += 1;
    } else if (star >= 0) {
      p = star + 1;
      n = ++from;
    } else return false;
  }
  while (pattern[p] === "*") p += 1;
  return p === pattern.length;
}
