// Everything that happens by chance in a simulation, out of one seed: the same seed, the same chances.

export type Random = {
  /** 0 ≤ r < 1. */
  next(): number;
  /** A whole number, `least` ≤ n ≤ `most`. */
  int(least: number, most: number): number;
  /** A number, `least` ≤ x < `most`, small ones as likely as large ones by order of magnitude. */
  scale(least: number, most: number): number;
  chance(probability: number): boolean;
  pick<T>(among: readonly T[]): T;
  shuffle<T>(among: readonly T[]): T[];
  hex(digits: number): string;
  /** Another source of chance, of its own: what it is asked changes nothing here. */
  fork(): Random;
};

/** mulberry32: small, quick, and good enough for choosing faults. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (least: number, most: number): number => least + Math.floor(next() * (most - least + 1));
  return {
    next,
    int,
    scale: (least, most) => least * (most / least) ** next(),
    chance: (probability) => next() < probability,
    pick: (among) => among[int(0, among.length - 1)] as (typeof among)[number],
    shuffle(among) {
      const all = [...among];
      for (let i = all.length - 1; i > 0; i--) {
        const j = int(0, i);
        [all[i], all[j]] = [all[j] as (typeof all)[number], all[i] as (typeof all)[number]];
      }
      return all;
    },
    hex: (digits) => Array.from({ length: digits }, () => int(0, 15).toString(16)).join(""),
    fork: () => createRandom(Math.floor(next() * 2 ** 32)),
  };
}
