// Records of a fixed number of 32-bit fields in pages: what the catalog keeps of a million entries without a million objects.
// Invariant: a row keeps its number until it is freed; a freed number is given out again before the pages grow, the lowest
// page first, so that pages become empty. A page without rows is given back, and its rows read as NONE.
// Never: moves a row or copies a page, so that growing costs the same however much there is.

/** No row. */
export const NONE = -1;

/** A page has as many rows, a power of two, as fit into so many bytes. */
const PAGE_BYTES = 128 * 1024;

/** Stands in the place of each page that was given back. */
const GONE = new Int32Array(PAGE_BYTES / 4).fill(NONE);

export type Rows = {
  /** A row number; its fields are whatever they were. */
  take(): number;
  free(row: number): void;
  /** Row numbers lie below this, freed ones included. */
  readonly limit: number;
  get(row: number, field: number): number;
  set(row: number, field: number, value: number): void;
  /** The bytes of the page that a row lies in, and where in them it begins. */
  bytesOf(row: number): Uint8Array;
  offsetOf(row: number): number;
  /** Bytes of all pages. */
  readonly bytes: number;
};

/** `fields` numbers a row, each a signed 32-bit one. */
export function createRows(fields: number): Rows {
  const pageBits = Math.floor(Math.log2(PAGE_BYTES / (fields * 4)));
  const pageRows = 1 << pageBits;
  const mask = pageRows - 1;
  const newPage = () => new Int32Array(pageRows * fields).fill(NONE);
  const pages: Int32Array[] = [];
  const bytesOfPages: Uint8Array[] = [];
  const counts: number[] = []; // rows in use, by page
  const used: number[] = []; // rows ever given out, by page
  const freed: number[] = []; // by page the head of a list through the first field of freed rows
  let first = 0; // no page before it has room
  let held = 0; // pages that are there

  const get = (row: number, field: number): number =>
    (pages[row >>> pageBits] as Int32Array)[(row & mask) * fields + field] as number;
  const set = (row: number, field: number, value: number): void => {
    (pages[row >>> pageBits] as Int32Array)[(row & mask) * fields + field] = value;
  };

  function place(page: number, numbers: Int32Array): void {
    pages[page] = numbers;
    bytesOfPages[page] = new Uint8Array(numbers.buffer);
    counts[page] = 0;
    used[page] = 0;
    freed[page] = NONE;
    held += numbers === GONE ? -1 : 1;
  }

  return {
    get,
    set,
    take() {
      while (first < pages.length && counts[first] === pageRows) first++;
      if (first === pages.length || pages[first] === GONE) place(first, newPage());
      counts[first] = (counts[first] as number) + 1;
      const row = freed[first] as number;
      if (row !== NONE) {
        freed[first] = get(row, 0);
        return row;
      }
      const next = used[first] as number;
      used[first] = next + 1;
      return (first << pageBits) + next;
    },
    free(row) {
      const page = row >>> pageBits;
      set(row, 0, freed[page] as number);
      freed[page] = row;
      counts[page] = (counts[page] as number) - 1;
      first = Math.min(first, page);
      if (counts[page] === 0) place(page, GONE);
    },
    get limit() {
      return pages.length << pageBits;
    },
    bytesOf: (row) => bytesOfPages[row >>> pageBits] as Uint8Array,
    offsetOf: (row) => (row & mask) * fields * 4,
    get bytes() {
      return held * pageRows * fields * 4;
    },
  };
}
