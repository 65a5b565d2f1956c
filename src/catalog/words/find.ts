// Names that have the words, gathered by content: a file that lies under many names is found once.
// Invariant: a content's sources are its members that are seen and have it whole, each counted once.
// Never: walks further than ENTRIES_MAX entries for one question.

import { FIND_OFFSET_MAX } from "../../protocol/limits.ts";
import type { Found } from "../../protocol/messages.ts";
import type { Page } from "../contract.ts";
import type { EntryTable } from "../table/entry-table.ts";
import { NONE } from "../table/rows.ts";
import type { Job } from "../time-slices.ts";

/** What one question may cost, about 5 ms; popular names have thousands of entries each, and no list is left in mid-way. */
const ENTRIES_MAX = 100_000;

/** One page of what these names stand for. `seen` tells whether a member's row counts. */
export function* gather(
  store: EntryTable,
  seen: (row: number) => boolean,
  names: readonly number[],
  { offset, count }: { readonly offset: number; readonly count: number },
): Job<Page> {
  const { contents } = store;
  const found: Found[] = [];
  const counted = new Set<number>(); // roots
  let walked = 0;
  for (const name of names) {
    yield;
    if (walked > ENTRIES_MAX) break;
    const text = store.nameText(name);
    if (text === undefined) continue;
    const sizes = new Map<number, number>(); // of what has no root yet: sources by size
    for (let entry = store.firstById(name); entry !== NONE; entry = store.nextOf(entry)) {
      if (++walked > ENTRIES_MAX) break;
      if (!seen(store.memberOf(entry))) continue;
      const root = store.rootOf(entry);
      const size = store.sizeOf(entry);
      if (root === NONE) sizes.set(size, (sizes.get(size) ?? 0) + 1);
      if (root === NONE || counted.has(root)) continue;
      counted.add(root);
      let sources = 0;
      for (let holding = contents.holdersOf(root); holding !== NONE; holding = contents.nextHolding(holding)) {
        if (++walked > ENTRIES_MAX) break;
        if (contents.isWhole(holding) && seen(contents.ownerOf(holding))) sources++;
      }
      if (sources > 0) found.push({ name: text, size, root: contents.rootText(root), sources });
    }
    for (const [size, sources] of sizes) found.push({ name: text, size, root: undefined, sources });
  }
  found.sort((a, b) => b.sources - a.sources || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const after = offset + count;
  const next = after < found.length && after <= FIND_OFFSET_MAX ? after : 0;
  return { found: found.slice(offset, offset + count), next };
}
