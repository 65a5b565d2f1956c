// A small crowd in virtual time; `bun run bench crowd` runs a large one.

import { expect, test } from "bun:test";
import { REALISTIC, runCrowd } from "./crowd.ts";

const MIB = 1024 * 1024;

test("a crowd of forty that asks one source at once is served whole, far beyond the source's eight slots, and the source sends little twice", () => {
  const { seconds, ratio, sourceSent, firstPieceSeconds, serverPerMinuteMost } = runCrowd({
    ...REALISTIC,
    peers: 40,
    size: 128 * MIB,
    seed: 3,
  });
  expect(seconds).toBeFinite(); // also with slow links and peers that leave
  expect(ratio).toBeLessThan(1.45); // of what no way could do faster; eight after eight would take five times that
  expect(sourceSent).toBeLessThan(1.5);
  expect(firstPieceSeconds).toBeLessThan(15); // none is starved
  expect(serverPerMinuteMost).toBeLessThan(60);
});
