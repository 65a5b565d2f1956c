// What may stand between a person and a file that an honest peer has, one story each: none of it does for long.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Fault } from "../../src/protocol/fault.ts";
import { UPLOAD_BYTES_PER_SECOND_MIN } from "../../src/protocol/limits.ts";
import { type Content, contentOfBytes, PIECE } from "./contents.ts";
import type { Refusal } from "./disk.ts";
import type { Weather } from "./network.ts";
import { CONTENT, code, expectArrived, QUICK, tell } from "./story.ts";

setDefaultTimeout(240_000);

/** Nobody waits longer for an honest peer than this, whatever others do. */
const PATIENCE_MS = 180_000;

const refusals: readonly Refusal[] = [
  { doing: "open", code: "EMFILE" },
  { doing: "open", code: "ENFILE" },
  { doing: "open", code: "EBUSY" },
  { doing: "open", code: "EACCES" },
  { doing: "read", code: "EBUSY" },
  { doing: "read", code: "EAGAIN" },
];

describe("a sharer whose system refuses for a moment", () => {
  for (const refuses of refusals) {
    test(`to ${refuses.doing} a file, with ${refuses.code}, withdraws nothing, and serves it when that has passed`, () => {
      const story = tell({ honest: { has: CONTENT } });
      story.start("honest", "us");
      const { disk, ip } = story.machine("honest");
      disk.health.refuses = refuses;
      story.time.run(1000, () => false);
      const first = story.download("honest", 20_000);
      if (first !== "stuck") expect(first).toMatchObject({ retry: true }); // it is not said to be gone
      expect(story.checks.named(story.server.catalog, [ip]).length).toBe(2); // by name and by content
      disk.health.refuses = undefined;
      if (story.us.disk.file(CONTENT.name) === undefined) story.download("honest", PATIENCE_MS);
      expectArrived(story);
    });
  }
});

test("a folder that cannot be read for a moment while it is hashed is hashed when it can, and stays listed", () => {
  for (const refuses of refusals) {
    const story = tell({ honest: { has: CONTENT, hashedAtStart: false } });
    const { disk, ip } = story.machine("honest");
    disk.health.refuses = refuses;
    story.start("honest", "us");
    story.time.run(10_000, () => false);
    expect(story.checks.named(story.server.catalog, [ip]).length).toBe(1); // by name
    disk.health.refuses = undefined;
    story.time.run(60_000, () => false);
    expect(story.checks.named(story.server.catalog, [ip]).length).toBe(2); // by its content too
    expect(code(story.download("honest", PATIENCE_MS))).toBe("done");
    expectArrived(story);
  }
});

test("the hash of a file that somebody waits for comes next, whatever else is hashed", () => {
  const large: Content = { ...contentOfBytes(240 * PIECE), name: "a primeira.mp4" };
  const hashSpeed = 500_000;
  const story = tell({ honest: { has: [large, CONTENT], hashSpeed, hashedAtStart: false } });
  story.start("honest", "us");
  const since = story.time.now;
  expect(code(story.download("honest", PATIENCE_MS))).toBe("done");
  expectArrived(story);
  // Its own hash, a task of the large one that is under way, and the transfer; all of the large one takes longer.
  expect(story.time.now - since).toBeLessThan(((CONTENT.bytes.length + 4 * 2 ** 20) / hashSpeed) * 1000 + 10_000);
  expect(story.time.now - since).toBeLessThan((large.bytes.length / hashSpeed / 2) * 1000 - 1000);
});

test("a file that the server does not take is told to the person, with the reason", () => {
  const ours: Content = { ...contentOfBytes(5000), name: "nossa.mp4" };
  const story = tell({ honest: { has: CONTENT } }, { ours, namesMax: 1 });
  const refused: string[] = [];
  Object.assign(story.checks.watch, {
    refused: (ip: string, name: string, why: Fault) => refused.push(`${ip} ${name} ${why.fault}`),
  });
  story.start("honest", "us");
  expect(code(story.download("honest"))).toBe("done");
  story.time.run(5000, () => false);
  expect(refused).toEqual([`${story.us.ip} ${CONTENT.name} TOO_MANY`]);
  expectArrived(story);
});

describe("a person's own limit is never taken for the source's silence", () => {
  for (const rate of [1024, 2000, 6000, 20_000, 60_000, 1_000_000]) {
    test(`at ${rate} bytes per second a file arrives, within 5 % of that rate`, () => {
      const content = contentOfBytes(Math.max(PIECE + 77, Math.min(8 * PIECE, rate * 100)));
      const fast: Weather = { ...QUICK, bytesPerSecond: 10e6, windowBytes: 4e6, sliceBytes: 512 * 1024 };
      const story = tell({ honest: { has: content } }, { content, weather: () => fast, maxDownloadRate: rate });
      const lost: string[] = [];
      Object.assign(story.checks.watch, { lost: (_ip: string, _from: unknown, why: Fault) => lost.push(why.fault) });
      story.start("honest", "us");
      const since = story.time.now;
      const seconds = content.bytes.length / rate;
      expect(code(story.download("honest", seconds * 1050 + 5000))).toBe("done");
      expect(story.time.now - since).toBeGreaterThan(seconds * 950 - 1000);
      expect(lost).toEqual([]);
      expectArrived(story, content);
    });
  }

  test("nor is the sharer's own limit", () => {
    const content = contentOfBytes(3 * PIECE);
    const story = tell({ honest: { has: content, maxUploadRate: 3000 } }, { content });
    story.start("honest", "us");
    expect(code(story.download("honest", (content.bytes.length / 3000) * 1100 + 20_000))).toBe("done");
    expectArrived(story, content);
  });
});

describe("a steady link, however slow, brings the file in the end", () => {
  for (const rate of [1.1 * UPLOAD_BYTES_PER_SECOND_MIN, 8000, 30_000]) {
    for (const windowBytes of [20_000, 600_000, 4_000_000]) {
      test(`${rate} bytes per second, of which the systems between hold ${windowBytes}`, () => {
        const content = contentOfBytes(3 * PIECE + 5);
        const slow: Weather = { ...QUICK, bytesPerSecond: rate, windowBytes, sliceBytes: 16_384 };
        const story = tell({ honest: { has: content } }, { content, weather: () => slow });
        story.start("honest", "us");
        expect(code(story.download("honest", (content.bytes.length / rate) * 1200 + 30_000))).toBe("done");
        expectArrived(story, content);
      });
    }
  }

  // A piece of 4 MiB, as a file of 50 GB has, takes 17 lives of a minute at this rate; one of 256 KiB as many of 5.5 s.
  for (const [lives, seconds] of [
    ["every minute, in which no piece comes whole", 60],
    ["so often that each piece takes the bytes of about 17 lives, as one of 4 MiB does where a life is a minute", 5.5],
  ] as const)
    test(`though its source is started again ${lives}`, () => {
      const content = contentOfBytes(2 * PIECE + 5);
      const rate = 1.05 * UPLOAD_BYTES_PER_SECOND_MIN;
      const slow: Weather = { ...QUICK, bytesPerSecond: rate, windowBytes: 20_000, sliceBytes: 4096 };
      const story = tell({ honest: { has: content } }, { content, weather: (a, b) => (isServer(a, b) ? QUICK : slow) });
      story.start("honest", "us");
      const source = story.machine("honest");
      const again = (): void => {
        story.crash(source, "kill");
        story.time.after(500, () => story.begin("honest"));
        story.time.after(seconds * 1000, again);
      };
      story.time.after(seconds * 1000, again);
      // Its person asks again when it is told that the source is gone.
      for (let i = 0; i < 40 && story.us.disk.file(content.name) === undefined; i++)
        story.download("honest", 1_000_000);
      expectArrived(story, content);
    });
});

const isServer = (a: string, b: string): boolean => [a, b].includes("192.0.2.1");
