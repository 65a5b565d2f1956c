// Which of the missing pieces comes first, by how many partial holders have it and by our part of a source of all. PURE.
// Invariant: downloaders that have different slots of one source fetch different pieces there first, without a message.
// Never: forbids a piece; it says only which come first.

/** The slot that a source of all has given us, of how many: the file is dealt out to its slots (ADR 0023). */
export type Part = { readonly slot: number; readonly slots: number };

export type Rarity = {
  /** What a partial holder has now; undefined when it is none any more. */
  setPartial(source: string, pieces: Uint8Array | undefined): void;
  /** The best of the pieces from `lowest` on that can be ordered. `part`: of a source of all. */
  pick(lowest: number, part: Part | undefined, canOrder: (index: number) => boolean): number | undefined;
};

/** In a larger file, what is fetched twice at the beginning is little, and a disk is written faster in order. */
const SHUFFLED_PIECES_MAX = 1000;
/** The rank of a piece that another slot of a source of all fetches: after everything else. */
const THEIRS = Number.POSITIVE_INFINITY;

/** `random` gives 0 ≤ r < 1. */
export function createRarity(pieces: number, random: () => number): Rarity {
  const partials = new Map<string, Uint8Array>();
  const counts = new Uint16Array(pieces); // how many partial holders have each piece

  function setPartial(source: string, bits: Uint8Array | undefined): void {
    const before = partials.get(source);
    const bytes = Math.ceil(pieces / 8);
    for (let at = 0; at < bytes; at++) {
      const [was, is] = [before?.[at] ?? 0, bits?.[at] ?? 0];
      if (was === is) continue;
      for (let bit = 0; bit < 8 && at * 8 + bit < pieces; bit++) {
        const mask = 0x80 >> bit;
        const index = at * 8 + bit;
        counts[index] = (counts[index] as number) + Number((is & mask) !== 0) - Number((was & mask) !== 0);
      }
    }
    if (bits === undefined) partials.delete(source);
    else partials.set(source, bits);
  }

  /** The first that can be ordered, from the beginning of our part on, and from the file's after its end. */
  function inOrder(lowest: number, part: Part | undefined, canOrder: (index: number) => boolean): number | undefined {
    const from = part === undefined ? lowest : Math.max(lowest, Math.ceil((part.slot * pieces) / part.slots));
    for (let index = from; index < pieces; index++) if (canOrder(index)) return index;
    for (let index = lowest; index < from; index++) if (canOrder(index)) return index;
    return undefined;
  }

  function pick(lowest: number, part: Part | undefined, canOrder: (index: number) => boolean): number | undefined {
    if (partials.size === 0 && pieces > SHUFFLED_PIECES_MAX) return inOrder(lowest, part, canOrder);
    let best: number | undefined;
    let bestRank = 0;
    let ties = 0;
    for (let index = lowest; index < pieces; index++) {
      if (!canOrder(index)) continue;
      const count = counts[index] as number;
      const isOurs = part === undefined || Math.floor((index * part.slots) / pieces) === part.slot;
      const rank = count === 0 && !isOurs ? THEIRS : count;
      if (best !== undefined && rank > bestRank) continue;
      ties = best === undefined || rank < bestRank ? 1 : ties + 1;
      if (random() * ties < 1) best = index; // each of the ties with the same chance
      bestRank = rank;
    }
    return best;
  }

  return { setPartial, pick };
}
