// Programs of different people in one folder: the steps of real processes in an order that a seed chose.

import { expect, setDefaultTimeout, test } from "bun:test";
import { playFolder } from "./folder.ts";

setDefaultTimeout(240_000);

test("two contents of one name in one folder never become a mixture, whichever cache their programs have", async () => {
  let published = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const outcome = await playFolder(seed);
    published += outcome.published;
    expect(outcome.breaches, `seed ${seed}\n${outcome.story.join("\n")}`).toEqual([]);
  }
  expect(published).toBeGreaterThan(3);
});

test("a seed of it is played again exactly", async () => {
  expect(await playFolder(3)).toEqual(await playFolder(3));
});
