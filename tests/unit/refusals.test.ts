// Files that the server did not take: when each is told again.

import { expect, test } from "bun:test";
import { createRefusals, REFUSED_SECONDS_MAX, REFUSED_SECONDS_MIN } from "../../src/peer/refusals.ts";
import { createVirtualClock } from "../support/clock.ts";

function start() {
  const clock = createVirtualClock();
  return { clock, refusals: createRefusals(clock) };
}

test("a file that may be taken later is told again after pauses that double up to REFUSED_SECONDS_MAX", async () => {
  const { clock, refusals } = start();
  const at: number[] = [];
  const again = (): void => {
    at.push(clock.now() / 1000);
    expect(refusals.add("a.mp4", true, again)).toBe(false);
  };
  expect(refusals.add("a.mp4", true, again)).toBe(true);
  await clock.advance(1500 * 1000);
  expect(at.slice(0, 3)).toEqual([REFUSED_SECONDS_MIN, REFUSED_SECONDS_MIN * 3, REFUSED_SECONDS_MIN * 7]);
  expect((at.at(-1) as number) - (at.at(-2) as number)).toBe(REFUSED_SECONDS_MAX);
  refusals.forget("a.mp4");
  expect(clock.pending).toBe(0);
  expect(refusals.add("a.mp4", true, again)).toBe(true);
  refusals.close();
  expect(clock.pending).toBe(0);
});

test("a file that was refused for good is told again only when something has changed", async () => {
  const { clock, refusals } = start();
  let told = 0;
  refusals.nudge();
  refusals.add("a.mp4", false, () => told++);
  await clock.advance(1000 * 1000);
  expect(told).toBe(0);
  refusals.nudge();
  expect(told).toBe(1);
});
