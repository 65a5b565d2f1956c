// Which of several downloaders fetches a piece from a source that has them all, so that it sends each once. PURE.
// Invariant: downloaders that know the same others agree on the downloader of each piece, without a message between them.
// Never: forbids a piece; it says only which are ours to fetch first.

/** The pieces dealt like cards to the downloaders, in the order of their names. */
export type Partition = {
  /** All others who download the same now, by names on which all of them agree. */
  setOthers(names: readonly string[]): void;
  isOurs(index: number): boolean;
};

export function createPartition(self: string): Partition {
  let count = 1;
  let rank = 0; // of our name among all
  return {
    setOthers(names) {
      count = names.length + 1;
      rank = names.filter((name) => name < self).length;
    },
    isOurs: (index) => index % count === rank,
  };
}
