// Numbers that wait, first in, first out, each at most once: the names that the index of words has yet to learn.
// Invariant: a number that waits is marked, and its mark goes when it is taken.
// Never: copies all of it to grow: a set of a million numbers takes a tenth of a second for that.

/** Numbers in a chunk of the queue, and marks in a page. */
const CHUNK = 1024;
const PAGE = 16 * 1024;

export type IdQueue = {
  /** Puts a number at the end, unless it waits already. */
  add(id: number): void;
  /** Takes up to `most` of those that have waited longest. */
  take(most: number): number[];
  clear(): void;
  readonly size: number;
};

export function createIdQueue(): IdQueue {
  let chunks: number[][] = [];
  let marks: Uint8Array[] = [];
  let size = 0;

  /** Whether the number's mark was another one. */
  function mark(id: number, value: 0 | 1): boolean {
    const number = Math.floor(id / PAGE);
    marks[number] ??= new Uint8Array(PAGE);
    const page = marks[number];
    const isNew = page[id % PAGE] !== value;
    page[id % PAGE] = value;
    return isNew;
  }

  return {
    add(id) {
      if (!mark(id, 1)) return;
      size++;
      const last = chunks.at(-1);
      if (last !== undefined && last.length < CHUNK) last.push(id);
      else chunks.push([id]);
    },
    take(most) {
      const [first = []] = chunks;
      const ids = first.splice(0, most);
      if (first.length === 0) chunks.shift();
      for (const id of ids) mark(id, 0);
      size -= ids.length;
      return ids;
    },
    clear() {
      chunks = [];
      marks = [];
      size = 0;
    },
    get size() {
      return size;
    },
  };
}
