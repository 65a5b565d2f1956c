// What the server is told of the folder's files, and how fast.
// Invariant: a virtual clock; the server answers when the test says so.
// Never: waits for time to pass.

import { expect, test } from "bun:test";
import { ANNOUNCED_PER_SECOND_MAX, createAnnouncements, UNANSWERED_MAX } from "../../src/peer/announcements.ts";
import { createVirtualClock, turn } from "../support/clock.ts";

function open() {
  const clock = createVirtualClock();
  const told: string[] = [];
  const answers: (() => void)[] = [];
  const announcements = createAnnouncements(clock, (name) => {
    told.push(name);
    return new Promise((resolve) => answers.push(resolve));
  });
  /** Answers whatever is asked, until nothing is. */
  async function answerAll(): Promise<void> {
    while (answers.length > 0) {
      for (const answer of answers.splice(0)) answer();
      await turn();
    }
  }
  return { clock, told, announcements, answers, answerAll };
}

test("one name is told at once; of many no more are under way than a few, and no more in a second than a thousand", async () => {
  const { clock, told, announcements, answers, answerAll } = open();
  announcements.add("one.mp4");
  expect(told).toEqual(["one.mp4"]);
  for (let i = 0; i < 100_000; i++) announcements.add(`${i}.mp4`);
  expect(answers.length).toBe(UNANSWERED_MAX);
  await answerAll();
  expect(told.length).toBe(ANNOUNCED_PER_SECOND_MAX);
  for (let tenth = 0; tenth < 20; tenth++) {
    await clock.advance(100);
    await answerAll();
  }
  expect(told.length).toBeGreaterThan(2.5 * ANNOUNCED_PER_SECOND_MAX);
  expect(told.length).toBeLessThanOrEqual(3 * ANNOUNCED_PER_SECOND_MAX);
});

test("a name that is news again while it waits is told once, and again when it was under way", async () => {
  const { told, announcements, answerAll } = open();
  for (let i = 0; i < UNANSWERED_MAX; i++) announcements.add(`${i}.mp4`);
  announcements.add("a.mp4");
  announcements.add("a.mp4");
  announcements.add("0.mp4");
  await answerAll();
  expect(told.filter((name) => name === "a.mp4").length).toBe(1);
  expect(told.filter((name) => name === "0.mp4").length).toBe(2);
});

test("closed, nothing more is told, and no timer is left", async () => {
  const { clock, told, announcements, answerAll } = open();
  for (let i = 0; i < 3000; i++) announcements.add(`${i}.mp4`);
  await answerAll();
  announcements.close();
  const before = told.length;
  await clock.advance(10_000);
  expect([told.length, clock.pending]).toEqual([before, 0]);
});
