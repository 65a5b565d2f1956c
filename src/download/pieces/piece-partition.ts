// Who of several downloaders fetches which piece from a source that has them all, so that it sends each one once. PURE.
// Invariant: whoever knows the same downloaders gives each piece to the same one of them, without a word between them.
// Never: forbids a piece; it says only which are ours to fetch first.

/** The pieces dealt like cards to the downloaders, in the order of their names. */
export type Partition = {
  /** The others who download the same now, all of them, by names on which everybody agrees. */
  setOthers(names: readonly string[]): void;
  isOurs(index: number): boolean;
};

export function createPartition(self: string): Partition {
  let count = 1;
  let place = 0;
  return {
    setOthers(names) {
      count = names.length + 1;
      place = names.filter((name) => name < self).length;
    },
    isOurs: (index) => index % count === place,
  };
}
