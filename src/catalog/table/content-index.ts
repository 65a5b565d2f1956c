// Who has how much of which content: root -> a linked list, where each holding is one member's share in it.
// Invariant: a holding counts the member's entries with that root, and is gone with the last of them.
// Never: knows a name; takes time beyond what it adds or removes.

import type { Root } from "../../protocol/messages.ts";
import { createHashIndex } from "./hash-index.ts";
import { createLinkedLists, HEAD, pairHash, writeRoot } from "./linked-lists.ts";
import { createRefcounts } from "./refcounts.ts";
import { createRows, NONE } from "./rows.ts";

/** Fields of a holding. */
const ROOT = 0;
const OWNER = 1;
const BY_ROOT = 2; // next; previous is one further
const WHOLE = 4;
const PARTIAL = 5;

export type ContentIndex = ReturnType<typeof createContentIndex>;

export function createContentIndex() {
  const terms = createRefcounts();
  const { pool: roots, lists: ofRoot } = terms;
  const rows = createRows(6);
  const byRoot = createLinkedLists(ofRoot, rows, BY_ROOT);
  const table = createHashIndex((h) => pairHash(rows.get(h, OWNER), rows.get(h, ROOT)));
  const scratch = new Uint8Array(32);

  const textOf = (root: number): Root => roots.view(root).toHex();

  let wantedMember = 0;
  let wantedRoot = 0;
  const isWanted = (h: number) => rows.get(h, ROOT) === wantedRoot && rows.get(h, OWNER) === wantedMember;
  function find(member: number, root: number): number {
    wantedMember = member;
    wantedRoot = root;
    return table.find(pairHash(member, root), isWanted);
  }

  return {
    /** One more of the member's entries has this content. */
    hold(member: number, rootText: Root, complete: boolean): number {
      const root = terms.take(scratch, writeRoot(scratch, rootText));
      let holding = find(member, root);
      if (holding < 0) {
        holding = rows.take();
        rows.set(holding, ROOT, root);
        rows.set(holding, OWNER, member);
        rows.set(holding, WHOLE, 0);
        rows.set(holding, PARTIAL, 0);
        byRoot.append(root, holding);
        table.add(pairHash(member, root), holding);
      }
      const field = complete ? WHOLE : PARTIAL;
      rows.set(holding, field, rows.get(holding, field) + 1);
      return holding;
    },
    /** One less has it. */
    letGo(holding: number, complete: boolean): void {
      const root = rows.get(holding, ROOT);
      const field = complete ? WHOLE : PARTIAL;
      rows.set(holding, field, rows.get(holding, field) - 1);
      if (rows.get(holding, WHOLE) + rows.get(holding, PARTIAL) === 0) {
        table.remove(pairHash(rows.get(holding, OWNER), root), holding);
        byRoot.unlink(root, holding);
        rows.free(holding);
      }
      terms.release(root);
    },
    /** The first holding of that content, or NONE. */
    firstHolding(root: Root): number {
      const id = roots.find(scratch, 0, writeRoot(scratch, root));
      return id < 0 ? NONE : ofRoot.get(id, HEAD);
    },
    nextHolding: byRoot.next,
    ownerOf: (holding: number): number => rows.get(holding, OWNER),
    isWhole: (holding: number): boolean => rows.get(holding, WHOLE) > 0,
    /** A holding's content, a content's text and its first holding, by ids. */
    contentOf: (holding: number): number => rows.get(holding, ROOT),
    rootText: textOf,
    holdersOf: (root: number): number => ofRoot.get(root, HEAD),
    /** Memory held, in bytes. */
    get bytes() {
      return terms.bytes + rows.bytes + table.bytes;
    },
  };
}
