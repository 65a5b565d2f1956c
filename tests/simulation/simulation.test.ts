// Hundreds of networks in virtual time, each from a seed; the invariants are in checks.ts, the troubles in troubles.ts.
// A seed that fails is played again, word by word, by `bun run soak --seed S`.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { play } from "./scenario.ts";

setDefaultTimeout(240_000);

// SIMULATION_SEEDS="FIRST COUNT" plays others than those of every day.
const [first = 1, count = 240] = (process.env.SIMULATION_SEEDS ?? "").split(" ").filter(Boolean).map(Number);
const PER_TEST = 40;

const sums = { downloads: 0, crashes: 0, pieces: 0, seen: 0 };

describe("a network that fails in every way at once", () => {
  for (let at = first; at < first + count; at += PER_TEST) {
    const last = Math.min(at + PER_TEST, first + count) - 1;
    test(`keeps every promise in seeds ${at} to ${last}`, async () => {
      for (let seed = at; seed <= last; seed++) {
        const outcome = play(seed);
        for (const key of ["downloads", "crashes", "pieces", "seen"] as const) sums[key] += outcome[key];
        const replay = `seed ${seed}: bun run soak --seed ${seed}\n${outcome.story.slice(-30).join("\n")}`;
        expect(outcome.breaches, replay).toEqual([]);
        // Whatever was thrown where nobody looked comes out now.
        await new Promise<void>((turn) => setImmediate(turn));
      }
    });
  }

  test("was worth watching: files arrived, programs died, pieces were journaled, films watched", () => {
    expect(sums.downloads).toBeGreaterThan(count);
    expect(sums.crashes).toBeGreaterThan(count / 2);
    expect(sums.pieces).toBeGreaterThan(count * 5);
    expect(sums.seen).toBeGreaterThan(count * 100_000);
  });
});

describe("a seed", () => {
  test("is played again exactly", () => {
    for (const seed of [first, first + 1, first + 7]) {
      const [once, again] = [play(seed), play(seed)];
      expect(again).toEqual(once);
      expect(again.events).toBeGreaterThan(100);
    }
  });
});
