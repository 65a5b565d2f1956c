// Records of a fixed number of 32-bit fields in pages: what the catalog keeps of a million entries without a million objects.
// Invariant: a row keeps its number until it is freed; a freed number is given out again before the pages grow.
// Never: moves a row or copies a page, so that growing costs the same however much there is; frees memory of rows.

const PAGE_BITS = 12;
const PAGE_ROWS = 1 << PAGE_BITS;
const PAGE_MASK = PAGE_ROWS - 1;

/** No row. */
export const NONE = -1;

export type Rows = {
  /** A row number; its fields are whatever they were. */
  take(): number;
  free(row: number): void;
  /** Row numbers given out so far, freed ones included. */
  readonly count: number;
  /** Makes room for this row number, for an owner whose numbers come from elsewhere and who never calls take. */
  reach(row: number): void;
  get(row: number, field: number): number;
  set(row: number, field: number, value: number): void;
  /** Bytes of all pages. */
  readonly bytes: number;
};

/** `fields` numbers a row, each a signed 32-bit one. */
export function createRows(fields: number): Rows {
  const pages: Int32Array[] = [];
  let count = 0;
  let freed = NONE; // head of a list through the first field of freed rows

  const get = (row: number, field: number): number =>
    (pages[row >>> PAGE_BITS] as Int32Array)[(row & PAGE_MASK) * fields + field] as number;
  const set = (row: number, field: number, value: number): void => {
    (pages[row >>> PAGE_BITS] as Int32Array)[(row & PAGE_MASK) * fields + field] = value;
  };

  return {
    get,
    set,
    take() {
      if (freed !== NONE) {
        const row = freed;
        freed = get(row, 0);
        return row;
      }
      if (count >>> PAGE_BITS === pages.length) pages.push(new Int32Array(PAGE_ROWS * fields));
      return count++;
    },
    reach(row) {
      while (row >>> PAGE_BITS >= pages.length) pages.push(new Int32Array(PAGE_ROWS * fields));
    },
    free(row) {
      set(row, 0, freed);
      freed = row;
    },
    get count() {
      return count;
    },
    get bytes() {
      return pages.length * PAGE_ROWS * fields * 4;
    },
  };
}
