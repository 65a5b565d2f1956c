// Slots and places in the queue are for those who download: who holds them in order to hold them loses them.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { HOGS } from "./hog.ts";
import { CONTENT, code, expectArrived, tell } from "./story.ts";

setDefaultTimeout(240_000);

/** Nobody waits longer for an honest peer than this, whatever others do. */
const PATIENCE_MS = 180_000;

describe("somebody who takes slots and places in order to hold them keeps no other waiting", () => {
  for (const way of HOGS) {
    for (const maxUploads of [1, 8]) {
      test(`by ${way}, at a sharer of ${maxUploads} slots`, () => {
        const story = tell({ honest: { has: CONTENT, maxUploads }, hog: { lie: way } });
        story.start("honest", "hog");
        story.time.run(20_000, () => false); // it has all the slots
        story.start("us");
        expect(code(story.download("honest", PATIENCE_MS, { maxWaitSeconds: Number.POSITIVE_INFINITY }))).toBe("done");
        expectArrived(story);
      });
    }
  }
});
