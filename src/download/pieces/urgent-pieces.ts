// Which pieces players need next: those from each stream's position on, the streams by turns.
// Invariant: a piece is named once, and the first piece of every stream comes before the second of any.
// Never: knows which pieces are there.

/** What is fetched ahead of a stream, in bytes, or in seconds at the download's rate where that is less… */
const AHEAD_BYTES_MAX = 8 * 1024 * 1024;
const AHEAD_SECONDS_MAX = 10;
/** …and never less than the piece that it is in, and the next. */
const AHEAD_PIECES_MIN = 2;

/** `positions` in bytes, `rate` in bytes per second. */
export function urgentPieces(
  positions: readonly number[],
  { size, pieceBytes }: { readonly size: number; readonly pieceBytes: number },
  rate: number,
): number[] {
  const ahead = Math.min(AHEAD_BYTES_MAX, AHEAD_SECONDS_MAX * rate);
  const each = Math.max(AHEAD_PIECES_MIN, Math.ceil(ahead / pieceBytes));
  const urgent = new Set<number>();
  for (let next = 0; next < each; next++) {
    for (const position of positions) {
      const index = Math.floor(position / pieceBytes) + next;
      if (index * pieceBytes < size) urgent.add(index);
    }
  }
  return [...urgent];
}
