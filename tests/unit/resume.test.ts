// What of an earlier run's journal is believed, and what a source's layer makes of it.
// Invariant: nothing counts that the layer contradicts, and nothing that another root stands for is thrown away.
// Never: touches a disk; the journal is what the test says it is.

import { describe, expect, test } from "bun:test";
import type { PartWorkspace } from "../../src/content/part-workspace.ts";
import type { JournalHead } from "../../src/download/disk/journal.ts";
import type { PartFile } from "../../src/download/disk/part-file.ts";
import { resume } from "../../src/download/pieces/resume.ts";
import { codeOf, good } from "../support/good.ts";
import { contentOf, hashOf } from "../support/sharer.ts";

const PIECE = 2 ** 18;
const hashed = hashOf(contentOf(3 * PIECE));
const { root, layer } = hashed;
const GRANT = { ticket: "0".repeat(32), size: 3 * PIECE, pieceBytes: PIECE, root };
const hashAt = (index: number) => layer.slice(index * 32, (index + 1) * 32);
const OTHER = "b".repeat(64);

type Pieces = Map<number, Uint8Array>;
const NONE: Pieces = new Map();

/** What is resumed of a journal of this root that has these pieces, and whether it was begun anew. */
async function resumed(
  named: string | undefined,
  pieces: Pieces,
  grant = GRANT,
  known = true,
  written: Pieces = NONE,
  lost = new Set<number>(),
) {
  let began: JournalHead | undefined;
  const partFile = {
    resume: async () => ({ head: { size: GRANT.size, pieceBytes: PIECE, root: named }, pieces, written, lost }),
    trim: async () => undefined,
    async begin(head: JournalHead) {
      began = head;
    },
  } as unknown as PartFile;
  const workspace = { part: { size: GRANT.size } } as unknown as PartWorkspace;
  const left = await resume({ partFile, workspace, grant, content: known ? hashed : undefined });
  return { left, began: began !== undefined };
}

describe("an earlier journal of the same content", () => {
  test("an earlier journal of the same content counts as far as the layer agrees; what it contradicts is none of it, whenever its bytes are read again", async () => {
    const wrong = new Uint8Array(32).fill(7);
    const { left, began } = await resumed(
      undefined,
      new Map([
        [0, hashAt(0)],
        [1, wrong],
      ]),
    );
    expect([[...good(left).kept.keys()], began]).toEqual([[0], false]);
  });

  test("an earlier journal of the same content gives what was synced and what was only written, each for what it is, as far as the layer agrees", async () => {
    const written = new Map([
      [1, hashAt(1)],
      [2, new Uint8Array(32).fill(7)],
    ]);
    const { left, began } = await resumed(root, new Map([[0, hashAt(0)]]), GRANT, true, written);
    expect([[...good(left).kept.keys()], [...good(left).written.keys()], began]).toEqual([[0], [1], false]);
  });

  test("an earlier journal of the same content of nothing but what was written is not begun anew", async () => {
    const { left, began } = await resumed(root, NONE, GRANT, true, new Map([[1, hashAt(1)]]));
    expect([[...good(left).written.keys()], began]).toEqual([[1], false]);
  });

  test("an earlier journal of the same content that has only taken pieces back is not begun anew: what a failed sync forgot may still be shown", async () => {
    const { left, began } = await resumed(root, NONE, GRANT, true, NONE, new Set([1]));
    expect([good(left).kept.size + good(left).written.size, began]).toEqual([0, false]);
  });

  test("an earlier journal of the same content that names a root says so, for a source that names none", async () => {
    const { left } = await resumed(root, new Map([[0, hashAt(0)]]), { ...GRANT, root: undefined as never }, false);
    expect(good(left).root).toBe(root);
  });

  test("an earlier journal of the same content without a record is begun anew: it stands for nothing, whatever it names", async () => {
    const { left, began } = await resumed(OTHER, new Map(), { ...GRANT, root: undefined as never }, false);
    expect([good(left).root, began]).toEqual([undefined, true]);
  });
});

test("a journal of another content is in the way, and stays", async () => {
  const { left, began } = await resumed(OTHER, new Map([[0, hashAt(0)]]));
  expect([codeOf(left), began]).toEqual(["OTHER_CONTENT", false]);
});
