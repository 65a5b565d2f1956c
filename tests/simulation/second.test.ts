// A person names one peer; others have the file as well. What the first one does never stands before those.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Content, contentOfBytes, PIECE } from "./contents.ts";
import type { SimFile } from "./disk.ts";
import type { Lie } from "./liar.ts";
import { CONTENT, code, expectArrived, tell } from "./story.ts";

setDefaultTimeout(240_000);

/** Nobody waits longer for an honest peer than this, whatever others do. */
const PATIENCE_MS = 60_000;

describe("a first source that is broken or lies does not stand before a second that is honest", () => {
  const lies: readonly Lie[] = [
    "five terabytes",
    "wrong bytes",
    "wrong layer",
    "rejects with CHANGED",
    "rejects with INTERNAL",
    "rejects with TOO_MANY",
    "rejects with NOT_READY",
    "endless not ready",
    "no layer",
    "wrong root",
    "wrong size",
    "short layer",
    "silence after accept",
    "garbage",
    "a place in the queue for ever",
    "an endless queue that moves",
    "another content and never a byte",
  ];
  for (const lie of lies) {
    test(`a file comes from an honest peer beside one that was chosen and lies by ${lie}`, () => {
      const story = tell({ liar: { lie }, honest: { has: CONTENT } });
      story.start("liar", "honest", "us");
      expect(code(story.download("liar", PATIENCE_MS))).toBe("done");
      expectArrived(story);
    });
  }

  test("though five of them are in the list before it", () => {
    const story = tell({
      first: { lie: "rejects with CHANGED" },
      second: { lie: "five terabytes" },
      third: { lie: "another content and never a byte" },
      fourth: { lie: "wrong bytes" },
      fifth: { lie: "rejects with INTERNAL" },
      honest: { has: CONTENT },
    });
    story.start("first", "second", "third", "fourth", "fifth", "honest", "us");
    expect(code(story.download("first", 2 * PATIENCE_MS))).toBe("done");
    expectArrived(story);
  });

  test("and one that honestly has another content by that name is what the person chose: its content arrives", () => {
    const other: Content = { ...contentOfBytes(3 * PIECE), name: CONTENT.name };
    const story = tell({ other: { has: other }, honest: { has: CONTENT } });
    story.start("other", "honest", "us");
    expect(code(story.download("other", PATIENCE_MS))).toBe("done");
    const file = story.us.disk.file(CONTENT.name) as SimFile;
    expect(Buffer.compare(file.bytes.subarray(0, file.size), other.bytes)).toBe(0);
  });

  for (const ms of [-1, 0, 300, 900, 1500]) {
    test(`one whose file is edited ${ms < 0 ? "before it is asked" : `after ${ms} ms`}`, () => {
      const story = tell({ edited: { has: CONTENT }, honest: { has: CONTENT } });
      story.start("edited", "honest", "us");
      let asked = ms < 0 ? undefined : story.ask("edited");
      story.time.run(ms, () => false);
      const { disk } = story.machine("edited");
      (disk.file(CONTENT.name) as SimFile).changedAt = -1;
      disk.remove(CONTENT.name);
      asked ??= story.ask("edited");
      story.time.run(PATIENCE_MS, () => asked?.result !== "stuck");
      expect(code(asked.result)).toBe("done");
      expectArrived(story);
    });
  }
});
