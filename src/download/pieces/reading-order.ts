// In which order what an earlier run left is read again: what players wait for first, then what was never synced.
// Invariant: each piece is named once; a run holds either pieces that were synced once, or pieces that were not.
// Never: reads anything.

/** Pieces read in one go. One that becomes urgent waits for so many at most. */
const RUN_PIECES = 16;
/** The same of urgent pieces: the first of them is wanted at once. */
const URGENT_PIECES = 2;

type Pieces = ReadonlyMap<number, Uint8Array>;
export type Run = { readonly pieces: Pieces; readonly isSynced: boolean };

/** `urgent` is asked anew before each run. */
export function* readingOrder(written: Pieces, kept: Pieces, urgent: () => readonly number[]): Generator<Run> {
  const parts = [
    { left: new Map(written), isSynced: false },
    { left: new Map(kept), isSynced: true },
  ];
  while (parts.some(({ left }) => left.size > 0)) {
    const wanted = urgent();
    const isWanted = parts.find(({ left }) => wanted.some((index) => left.has(index)));
    const { left, isSynced } = isWanted ?? (parts.find((part) => part.left.size > 0) as (typeof parts)[number]);
    const indexes = isWanted
      ? wanted.filter((index) => left.has(index)).slice(0, URGENT_PIECES)
      : [...left.keys().take(RUN_PIECES)];
    const pieces = new Map(indexes.map((index) => [index, left.get(index) as Uint8Array]));
    for (const index of indexes) left.delete(index);
    yield { pieces, isSynced };
  }
}
