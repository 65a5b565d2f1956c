// Every sentence that the contract dictates (SPEC 6), as pure functions from values to one line.
// Invariant: no line ends in a space, a full stop or a newline, and a text from outside is shown escaped.
// Never: prints, or words a sentence in another way than SPEC.md does.

import { type Address, formatAddress } from "../../protocol/address.ts";
import { NAME_BYTES_MAX } from "../../protocol/limits.ts";
import type { Found } from "../../protocol/messages.ts";
import { showName } from "../../protocol/names.ts";

/** Longest path shown: Windows' own limit for extended paths. */
const PATH_CHARACTERS_MAX = 32_767;

export const showFile = (name: string): string => showName(name, NAME_BYTES_MAX);
export const showFolder = (folder: string): string => showName(folder, PATH_CHARACTERS_MAX);

/** About a millisecond's work. */
const PART_CHARACTERS = 8 * 1024;

/** An empty list leaves no space behind. */
const listed = (sentence: string, values: readonly string[]): string => [sentence, ...values].join(" ");

// SPEC 6: the peer, on JOIN_OK.
export function joinedLine(address: Address, names: readonly string[]): string {
  return listed(`Sou peer ${formatAddress(address)} com arquivos`, names.map(showFile));
}

// SPEC 6: the peer, on the answer to SEARCH.
export function foundLine(peers: readonly Address[]): string {
  return listed("peers com arquivo solicitado:", peers.map(formatAddress));
}

// SPEC 6: the peer, when the file is whole and under its final name; the folder as the person typed it.
export function downloadedLine(name: string, folder: string): string {
  return `Arquivo ${showFile(name)} baixado com sucesso na pasta ${showFolder(folder)}`;
}

// SPEC 6: the server, on JOIN. A list may name a file twice; the peer has it once.
export function addedLine(address: Address, names: Iterable<string>): string {
  return [...addedLineParts(address, names)].join("");
}

/** The same in parts of about PART_CHARACTERS: a line of 200,000 names takes seconds to make. */
export function* addedLineParts(address: Address, names: Iterable<string>): Generator<string, void> {
  let part = `Peer ${formatAddress(address)} adicionado com arquivos`;
  const isNew = createNewNames();
  for (const name of names) {
    if (!isNew(name)) continue;
    part += ` ${showFile(name)}`;
    if (part.length < PART_CHARACTERS) continue;
    yield part;
    part = "";
  }
  yield part;
}

/** Small sets, a power of two: a set is copied as a whole when it grows, which takes 25 ms at 131,072 names. */
const SETS = 1024;

/** Whether a name comes for the first time. A peer that chooses names cannot choose their sets. */
function createNewNames(): (name: string) => boolean {
  const sets: Set<string>[] = [];
  const [seed = 0] = crypto.getRandomValues(new Uint32Array(1));
  return (name) => {
    const at = Bun.hash.xxHash32(name, seed) & (SETS - 1);
    sets[at] ??= new Set();
    const set = sets[at];
    return set.size < set.add(name).size;
  };
}

// SPEC 6: the server, on SEARCH.
export function searchedLine(address: Address, name: string): string {
  return `Peer ${formatAddress(address)} solicitou arquivo ${showFile(name)}`;
}

/** For scripts that wait until a program listens (stderr, only where stderr is not a terminal). */
export function readyLine(address: Address): string {
  return `pronto ${formatAddress(address)}`;
}

/** One content that FIND has found: sources, size in bytes, name. */
export const contentLine = ({ sources, size, name }: Found): string => `${sources}\t${size}\t${showFile(name)}`;

// What JSON.stringify leaves raw and a terminal may obey or hide: DEL, C1 controls, bidi controls, invisibles.
const STEERING = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** One object as a line of JSON that reads back the same, and that a terminal can be shown. */
export function jsonLine(value: object): string {
  const escaped = (character: string): string =>
    Array.from({ length: character.length }, (_, i) => character.charCodeAt(i))
      .map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`)
      .join("");
  return JSON.stringify(value).replace(STEERING, escaped);
}
