// How an address has treated us: who is asked again, when, and who never.
// Invariant: a bad link is no liar, and a liar is left after a bounded number of wrong pieces.
// Never: asks anybody.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createBackoff } from "../../src/download/peers/backoff.ts";
import { fault } from "../../src/protocol/fault.ts";
import { createRandom } from "../simulation/random.ts";
import { createVirtualClock } from "../support/clock.ts";

const PEER = { ip: "127.0.0.1", port: 1 };
/** The longest that chance allows. */
const ALWAYS = () => 1;
const WRONG = fault("CORRUPT", "theirs", "a wrong piece");
const GONE = fault("PEER_GONE", "network", "", true);

/** How many of so many pieces came right before the source was left for good, each wrong with this probability. */
function rightPieces(probability: number, pieces: number, seed: number): number {
  const random = createRandom(seed);
  const reputation = createBackoff(createVirtualClock(), ALWAYS);
  let right = 0;
  for (let since = 0; right < pieces && !reputation.isBanned(PEER); ) {
    if (random.next() >= probability) {
      since++;
      right++;
    } else {
      reputation.lost(PEER, WRONG, since);
      since = 0;
    }
  }
  return right;
}

describe("wrong pieces", () => {
  test("and none that is right end a source at the third", () => {
    const reputation = createBackoff(createVirtualClock(), ALWAYS);
    const banned = [1, 2, 3].map(() => {
      reputation.lost(PEER, WRONG, 0);
      return reputation.isBanned(PEER);
    });
    expect(banned).toEqual([false, false, true]);
  });

  test("of a link that flips a bit in one of 50 chunks do not: 1 GB comes in pieces of 512 KiB", () => {
    const wrong = 1 - (1 - 1 / 50) ** 8; // of eight chunks each
    const whole = Array.from({ length: 100 }, (_, seed) => rightPieces(wrong, 2000, seed + 1) === 2000);
    expect(whole.filter(Boolean).length).toBeGreaterThanOrEqual(97);
  });

  test("that are more than the right ones end it, however many were right before", () => {
    fc.assert(
      fc.property(fc.nat(10_000), (right) => {
        const reputation = createBackoff(createVirtualClock(), ALWAYS);
        reputation.lost(PEER, WRONG, right);
        let wrong = 1;
        for (; !reputation.isBanned(PEER) && wrong < 1000; wrong++) reputation.lost(PEER, WRONG, 0);
        expect(wrong).toBeLessThanOrEqual(10);
        expect(reputation.isMissed(PEER)).toBe(false);
      }),
    );
  });
});

describe("a holder", () => {
  test("that was lost once is asked again as soon as ever, one that brings nothing after twice as long each time", async () => {
    const clock = createVirtualClock();
    const reputation = createBackoff(clock, ALWAYS);
    const waits: number[] = [];
    for (const pieces of [3, 0, 0, 0, 1]) {
      reputation.lost(PEER, GONE, pieces);
      const from = clock.now();
      while (!reputation.isWelcome(PEER)) await clock.advance(1000);
      waits.push((clock.now() - from) / 1000);
    }
    expect(waits).toEqual([5, 5, 10, 20, 5]);
  });

  test("that never answers is asked again later each time, up to 40 s, and sooner once it was a source", async () => {
    const clock = createVirtualClock();
    const reputation = createBackoff(clock, ALWAYS);
    const wait = async () => {
      const from = clock.now();
      while (!reputation.isWelcome(PEER)) await clock.advance(1000);
      return (clock.now() - from) / 1000;
    };
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      reputation.vain(PEER);
      waits.push(await wait());
    }
    expect(waits).toEqual([5, 10, 20, 40, 40]);
    reputation.lost(PEER, GONE, 1);
    expect(await wait()).toBe(5);
  });
});

describe("the chosen peer", () => {
  const pauses = async (random: () => number, times: number): Promise<number[]> => {
    const clock = createVirtualClock();
    const reputation = createBackoff(clock, random);
    const waits: number[] = [];
    for (let i = 0; i < times; i++) {
      reputation.rejected(PEER);
      const from = clock.now();
      while (!reputation.isMissed(PEER)) await clock.advance(25);
      waits.push(clock.now() - from);
      if (i === 6) reputation.lost(PEER, GONE, 1);
    }
    return waits;
  };

  test("that rejects is asked again after twice as long each time, up to 5 s, and soon once it was a source", async () => {
    expect(await pauses(ALWAYS, 8)).toEqual([250, 500, 1000, 2000, 4000, 5000, 5000, 250]);
  });

  test("by chance up to twice as soon, so that not all who wait ask at once", async () => {
    expect(await pauses(() => 0, 4)).toEqual([125, 250, 500, 1000]);
  });
});
