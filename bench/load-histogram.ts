// Latencies in buckets that grow by 4 %, from a microsecond to minutes: exact enough for a percentile, cheap to add to.
// Invariant: a percentile is at most 4 % above the true one.
// Never: keeps single values.

const STEP = Math.log(1.04);
const BUCKETS = 460;

export type Histogram = {
  /** Milliseconds. */
  add(ms: number): void;
  merge(counts: readonly number[]): void;
  /** Milliseconds below which the part 0–1 of all values lies. */
  at(part: number): number;
  readonly counts: readonly number[];
};

export function createHistogram(): Histogram {
  const counts = new Array<number>(BUCKETS).fill(0);
  return {
    counts,
    add(ms) {
      const bucket = Math.min(BUCKETS - 1, Math.max(0, Math.ceil(Math.log(ms * 1000) / STEP)));
      counts[bucket] = (counts[bucket] as number) + 1;
    },
    merge(others) {
      for (const [i, count] of others.entries()) counts[i] = (counts[i] as number) + count;
    },
    at(part) {
      const total = counts.reduce((sum, count) => sum + count, 0);
      let seen = 0;
      for (const [i, count] of counts.entries()) {
        seen += count;
        if (seen >= part * total && total > 0) return Math.exp(i * STEP) / 1000;
      }
      return 0;
    },
  };
}

/** p50, p99, p99.9 in milliseconds. */
export const percentiles = (h: Histogram): string =>
  [0.5, 0.99, 0.999].map((part) => h.at(part).toFixed(2)).join(" / ");
