// What others say is damaged, and when it is looked at.

import { beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { CHECK_SECONDS, CHECKS_MAX, CHECKS_PER_ADDRESS_MAX, createDamage, type Damage } from "../../src/peer/damage.ts";
import { createVirtualClock, type VirtualClock } from "../support/clock.ts";

setDefaultTimeout(60_000);

let clock: VirtualClock;
let damage: Damage;
let rotten: Set<string>;
let checked: string[];
let told: string[];

beforeEach(() => {
  clock = createVirtualClock();
  rotten = new Set();
  checked = [];
  told = [];
  damage = createDamage({
    clock,
    isDamaged: async (name, index) => {
      checked.push(`${name} ${index}`);
      return rotten.has(`${name} ${index}`);
    },
    onDamaged: (name, index) => told.push(`${name} ${index}`),
  });
});

test("a piece that is as it was hashed is no damage, however many peers say so", async () => {
  for (let i = 0; i < 1000; i++) damage.hear("a.mp4", 7, `10.0.0.${i % 9}`);
  await clock.advance(0);
  expect(checked).toEqual(["a.mp4 7"]);
  expect(told).toEqual([]);
});

test("a piece that is another is told, at once", async () => {
  rotten.add("a.mp4 7");
  damage.hear("a.mp4", 7, "10.0.0.1");
  await clock.advance(0);
  expect(told).toEqual(["a.mp4 7"]);
});

test("one piece is read in CHECK_SECONDS, and reports of one address do not crowd out those of others", async () => {
  for (let i = 0; i < 1000; i++) damage.hear("a.mp4", i, "10.0.0.1");
  rotten.add("b.mp4 3");
  damage.hear("b.mp4", 3, "10.0.0.2");
  await clock.advance((CHECKS_PER_ADDRESS_MAX + 2) * CHECK_SECONDS * 1000);
  expect(told).toEqual(["b.mp4 3"]);
  expect(checked.length).toBe(CHECKS_PER_ADDRESS_MAX + 1);
  for (let i = 0; i < 200; i++) damage.hear("a.mp4", i, `10.0.1.${i}`);
  await clock.advance(10 * CHECKS_MAX * CHECK_SECONDS * 1000);
  expect(checked.length).toBe(CHECKS_PER_ADDRESS_MAX + 1 + CHECKS_MAX);
  const asked = clock.now();
  damage.hear("a.mp4", 0, "10.0.0.1");
  await clock.advance(0);
  damage.hear("a.mp4", 1, "10.0.0.1");
  await clock.advance(CHECK_SECONDS * 1000 - 1);
  expect(checked.at(-1)).toBe("a.mp4 0");
  await clock.advance(1);
  expect(checked.at(-1)).toBe("a.mp4 1");
  expect(clock.now() - asked).toBe(CHECK_SECONDS * 1000);
});

test("nothing waits any more once it is closed", async () => {
  damage.hear("a.mp4", 1, "10.0.0.1");
  damage.close();
  await clock.advance(100_000);
  expect(checked).toEqual([]);
  expect(clock.pending).toBe(0);
});
