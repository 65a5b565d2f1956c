// What `napster-peer hash` prints, as pure functions from a result to one line.
// Invariant: a line of fields ends in the name, which may hold spaces and is shown escaped.
// Never: prints, or touches a file.

import type { HashedFile, Verdict } from "../../content/hashing/verify.ts";
import { showFile } from "./lines.ts";

/** `<root> <size> <pieceBytes> <name>`, one space between, both sizes in bytes. */
export function fileLine({ root, size, pieceBytes, name }: HashedFile): string {
  return `${root} ${size} ${pieceBytes} ${showFile(name)}`;
}

const WORDS = { ok: "ok", changed: "mudou", new: "novo", damaged: "danificado", unread: "ilegível" } as const;
const WORD_COLUMNS = 11;

/** `danificado aula.mp4 (partes 3, 17-19)` */
export function verdictLine(found: Verdict): string {
  const which = found.verdict === "damaged" ? ` (partes ${showRanges(found.pieces)})` : "";
  return `${WORDS[found.verdict].padEnd(WORD_COLUMNS)}${showFile(found.name)}${which}`;
}

/** Rising numbers with each run as first-last. */
export function showRanges(numbers: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const number of numbers) {
    const run = runs.at(-1);
    if (run !== undefined && run[1] === number - 1) run[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(", ");
}
