// What `napster-peer hash` prints, as pure functions from a result to one line.
// Invariant: a line of fields ends in the name, which may hold spaces and is shown escaped.
// Never: prints, or touches a file.

import type { Fault } from "../../protocol/fault.ts";
import { showFile } from "./lines.ts";

/** Structurally what content/verify.ts finds. */
export type HashedFile = {
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly root: string;
  readonly pieceBytes: number;
};

export type Verdict = {
  readonly name: string;
  readonly verdict: "ok" | "changed" | "new" | "damaged" | "unread";
  readonly root?: string;
  /** Of a damaged file: the pieces that are not what they were, counted from 0. */
  readonly pieces?: readonly number[];
  /** Why an unread file was not read. */
  readonly fault?: Fault;
};

/** `<root> <size> <pieceBytes> <name>`, one space between, both sizes in bytes. */
export function fileLine({ root, size, pieceBytes, name }: HashedFile): string {
  return `${root} ${size} ${pieceBytes} ${showFile(name)}`;
}

const WORDS = { ok: "ok", changed: "mudou", new: "novo", damaged: "danificado", unread: "ilegível" } as const;
const WORD_COLUMNS = 11;

/** `danificado aula.mp4 (partes 3, 17-19)` */
export function verdictLine({ verdict, name, pieces }: Verdict): string {
  const which = pieces === undefined ? "" : ` (partes ${showRanges(pieces)})`;
  return `${WORDS[verdict].padEnd(WORD_COLUMNS)}${showFile(name)}${which}`;
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
