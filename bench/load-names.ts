// Libraries as people have them: few titles that many have, many that few have.
// Invariant: the same seed gives the same titles; a library holds a title once.
// Never: makes a name that a server refuses.

/** Titles in the world, and how flat the head is: Zipf–Mandelbrot with exponent 1 and shift 50 (fetch-at-most-once flattens the head of what people share). */
export const TITLES = 200_000;
const SHIFT = 50;

const cumulative = new Float64Array(TITLES);
for (let i = 0, sum = 0; i < TITLES; i++) {
  sum += 1 / (i + 1 + SHIFT);
  cumulative[i] = sum;
}

/** A reproducible source of numbers in [0, 1): mulberry32. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A title by its popularity. */
export function pickTitle(random: () => number): number {
  const wanted = random() * (cumulative[TITLES - 1] as number);
  let low = 0;
  for (let high = TITLES - 1; low < high; ) {
    const middle = (low + high) >> 1;
    if ((cumulative[middle] as number) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

const FIRST = ["Aula", "Curso", "Palestra", "Seminário", "Oficina", "Filme", "Documentário", "Episódio"];
const SECOND = ["de redes", "de sistemas", "sobre a memória", "do mar", "da noite", "em São Paulo", "sem fim", "1080p"];

export const nameOf = (title: number): string =>
  `${FIRST[title % 8]} ${SECOND[(title >> 3) % 8]} (${1950 + (title % 76)}) parte ${title}.mp4`;

/** Any 64 digits do, one for each title. */
const rootOf = (title: number): string => (title + 0x10000000).toString(16).repeat(8);

export const shareOf = (title: number): string => `${1_000_000_000 + title * 4096} ${rootOf(title)} ${nameOf(title)}\n`;

/** JOIN's payload with `count` different titles. */
export function libraryOf(count: number, random: () => number): string {
  const titles = new Set<number>();
  while (titles.size < count) titles.add(pickTitle(random));
  let text = "";
  for (const title of titles) text += shareOf(title);
  return text;
}
