// Numbers of several rounds, summed up: medians, spreads, ratios, and how they are written.
// Invariant: a ratio is the median of the ratios within each round, because the rounds are interleaved.
// Never: drops a round.

export const MIB = 1024 * 1024;
export const GIB = 1024 * MIB;

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(middle)] as number)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/** `part` from 0 to 1: 0.99 is the value that one in a hundred exceeds. */
export function quantile(numbers: readonly number[], part: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** The median of ours / theirs, round by round. */
export function ratioOf(ours: readonly number[], theirs: readonly number[]): number {
  return median(
    ours.flatMap((value, round) => (theirs[round] === undefined ? [] : [value / (theirs[round] as number)])),
  );
}

const digits = (value: number): number => (value >= 100 ? 0 : value >= 10 ? 1 : 2);

/** `1.93 (1.90–2.11)`, or the value alone where there was one round. */
export function spread(numbers: readonly number[], unit = ""): string {
  if (numbers.length === 0) return "–";
  const middle = median(numbers);
  const text = (value: number) => value.toFixed(digits(middle));
  const range = numbers.length === 1 ? "" : ` (${text(Math.min(...numbers))}–${text(Math.max(...numbers))})`;
  return `${text(middle)}${unit}${range}`;
}

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;

/** `2 GiB`, `200 MiB`. */
export function sizeText(bytes: number): string {
  return bytes >= GIB ? `${Number((bytes / GIB).toFixed(2))} GiB` : `${Number((bytes / MIB).toFixed(0))} MiB`;
}
