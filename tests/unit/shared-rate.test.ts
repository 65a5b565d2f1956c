import { describe, expect, test } from "bun:test";
import { createSharedRate, setSharedRate, sharedBucketOf, sharedRateOf } from "../../src/shared/shared-rate.ts";
import { createVirtualClock, type VirtualClock } from "../support/clock.ts";

const RATE = 1_000_000;

/** Spends slices of `bytes` one after another, each as soon as the one before may have passed; how much has passed. */
function spender(rate: ReturnType<typeof createSharedRate>, clock: VirtualClock, bytes: number, behindMs = 0) {
  const bucket = sharedBucketOf(rate, { now: () => clock.now() - behindMs });
  let passed = 0;
  const spend = (): void => {
    clock.after(bucket.spend(bytes), () => {
      passed += bytes;
      spend();
    });
  };
  spend();
  return () => passed;
}

describe("a rate that threads share", () => {
  test("is kept by all together, after one burst, and each gets what it asks for in turn", async () => {
    const [clock, rate] = [createVirtualClock(), createSharedRate(RATE)];
    const passed = [1, 2, 3].map(() => spender(rate, clock, 20_000));
    await clock.advance(10_000);
    const each = passed.map((bytes) => bytes());
    expect(each.reduce((sum, bytes) => sum + bytes)).toBeWithin(9.9 * RATE, 10.2 * RATE);
    expect(Math.max(...each) / Math.min(...each)).toBeLessThan(1.05);
  });

  test("loses nothing to a thread whose clock is behind, nor to one that asks for little", async () => {
    const [clock, rate] = [createVirtualClock(), createSharedRate(RATE)];
    const passed = [spender(rate, clock, 20_000), spender(rate, clock, 20_000, 80), spender(rate, clock, 1000)];
    await clock.advance(10_000);
    expect(passed.reduce((sum, bytes) => sum + bytes(), 0)).toBeWithin(9.8 * RATE, 10.2 * RATE);
  });

  test("is another one as soon as that is said, and none lets all pass", async () => {
    const [clock, rate] = [createVirtualClock(), createSharedRate(RATE)];
    const bytes = spender(rate, clock, 20_000);
    await clock.advance(2000);
    const before = bytes();
    setSharedRate(rate, RATE / 4);
    await clock.advance(8000);
    expect(bytes() - before).toBeWithin(1.9 * RATE, 2.1 * RATE);
    setSharedRate(rate, undefined);
    const bucket = sharedBucketOf(rate, clock);
    expect([bucket.spend(1e12), bucket.rate, sharedRateOf(rate)]).toEqual([0, Infinity, undefined]);
  });
});
