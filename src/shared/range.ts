// The Range header of a player's request (RFC 9110, 14): which bytes of a file it asks for.
// Invariant: a range that comes out lies inside the file and has at least one byte.
// Never: answers several ranges; such a request gets the whole file, which the standard allows.

/** From `start` on, before `end`. */
export type Range = { readonly start: number; readonly end: number };

const ONE_RANGE = /^bytes=(\d{0,16})-(\d{0,16})$/i;

/**
 * What `header` asks of a file of `size` bytes. Undefined for the whole file: no header, several ranges, another unit,
 * or one that makes no sense. "unsatisfiable" for a range with no byte of the file.
 */
export function rangeOf(header: string | undefined, size: number): Range | "unsatisfiable" | undefined {
  const [, first, last] = ONE_RANGE.exec(header?.replaceAll(/[ \t]/g, "") ?? "") ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return undefined;
  const range =
    first === ""
      ? { start: Math.max(0, size - Number(last)), end: size }
      : { start: Number(first), end: last === "" ? size : Math.min(size, Number(last) + 1) };
  // The last byte before the first is no range at all; a first byte beyond the end is one that cannot be had.
  if (first !== "" && last !== "" && Number(last) < Number(first)) return undefined;
  return range.start < range.end ? range : "unsatisfiable";
}
