// What the simulation taught, one story each, told on purpose: each of these went wrong before it was mended.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Waiting } from "../../src/download/progress.ts";
import type { Done } from "../../src/peer.ts";
import { type Fault, isFault } from "../../src/protocol/fault.ts";
import type { Holder } from "../../src/protocol/messages.ts";
import { type Content, contentOf, hash, PIECE } from "./contents.ts";
import type { SimFile } from "./disk.ts";
import type { Weather } from "./network.ts";
import { BOUND_MS, CONTENT, code, expectArrived, type Part, QUICK, tell } from "./story.ts";

setDefaultTimeout(240_000);

const ODD = contentOf(7); // the last piece is not whole

describe("a source that lies", () => {
  test("about the size, with the right root, is left; nobody else is blamed, and what came counts", () => {
    const story = tell({ liar: { lie: "wrong size" }, honest: { has: ODD } }, { content: ODD });
    story.start("liar", "honest", "us");
    const first = story.download("liar");
    expect(code(first)).not.toBe("stuck");
    if (isFault(first)) expect(code(story.download("honest"))).toBe("done");
    expectArrived(story, ODD);
  });

  test("about the root, and gives no layer, does not stand in the way of an honest one", () => {
    const story = tell({ liar: { lie: "wrong root" }, honest: { has: CONTENT } });
    story.start("liar", "honest", "us");
    expect(code(story.download("liar"))).not.toBe("stuck");
    expect(code(story.download("honest"))).toBe("done");
    expectArrived(story);
  });

  test("about the content, under no root of its own, makes us throw away nothing that another's root stands for", () => {
    const story = tell({ liar: { lie: "no root and a wrong layer" }, honest: { has: CONTENT } });
    story.start("liar", "honest", "us");
    story.breakOff("honest", 6);
    for (let round = 0; round < 5; round++) {
      if (round > 0) story.crash(story.us, "kill");
      story.start("us");
      expect(code(story.download("liar", BOUND_MS, { only: true }))).toBe("CORRUPT"); // found in files of its own
    }
    expect(code(story.download("honest"))).toBe("done");
    expectArrived(story);
  });

  test("about the root, and gives the layer of another, is CORRUPT: our .part is not said to be of another content", () => {
    const story = tell({ liar: { lie: "wrong root" }, honest: { has: CONTENT } });
    story.start("liar", "honest", "us");
    story.breakOff("honest", 6);
    story.start("us");
    expect(code(story.download("liar", BOUND_MS, { only: true }))).toBe("CORRUPT");
    expect(code(story.download("honest"))).toBe("done");
    expectArrived(story);
  });

  test("that the file is empty, with the root of one that is not, gets no empty file made", () => {
    const one = contentOf(1);
    for (let seed = 0; seed < 8; seed++) {
      const story = tell({ liar: { lie: "wrong size" } }, { content: one });
      for (let i = 0; i < seed; i++) story.random.next();
      story.start("liar", "us");
      expect(code(story.download("liar"))).not.toBeOneOf(["stuck", "done"]);
      expect(story.us.disk.file(one.name)).toBeUndefined();
    }
  });

  test("that it is still hashing, for ever, is left in the end, and another one goes on", () => {
    for (const seed of [1, 2, 3, 4]) {
      const story = tell({ liar: { lie: "endless not ready" }, honest: { has: CONTENT } });
      for (let i = 0; i < seed; i++) story.random.next();
      story.start("liar", "honest", "us");
      const first = story.download("liar");
      expect(code(first)).toBeOneOf(["done", "NOT_READY"]);
      if (isFault(first)) expect(code(story.download("honest"))).toBe("done");
      expectArrived(story);
    }
  });

  test("about our place in its queue, up and down, does not keep us waiting", () => {
    const story = tell({ liar: { lie: "a dance in the queue" } });
    story.start("liar", "us");
    expect(code(story.download("liar"))).toBe("BUSY");
  });

  test("about our place in its queue, which falls slowly from 2^53, does not keep us waiting", () => {
    const story = tell({ liar: { lie: "an endless queue that moves" } });
    story.start("liar", "us");
    expect(code(story.download("liar"))).toBe("BUSY");
  });

  test("by taking us in and dropping our lanes at once is dialled less and less often, and left", () => {
    const story = tell({ liar: { lie: "no lanes" } });
    story.start("liar", "us");
    let lost = 0;
    Object.assign(story.checks.watch, { lost: () => lost++ });
    expect(code(story.download("liar"))).toBe("PEER_GONE");
    expect(lost).toBeLessThan(20);
  });

  test("in great numbers, by queues that never move, does not keep an honest one from us", () => {
    const parts: Record<string, Part> = { first: { lie: "silence in the middle" } };
    for (let i = 0; i < 12; i++) parts[`queue ${i}`] = { lie: "a place in the queue for ever" };
    const story = tell({ ...parts, honest: { has: CONTENT } });
    story.start(...Object.keys(parts), "honest", "us");
    expect(code(story.download("first", 60_000))).toBe("done");
    expectArrived(story);
  });

  test("by wrong bytes alone is named three times, and left", () => {
    const story = tell({ liar: { lie: "wrong bytes" } });
    story.start("liar", "us");
    let blamed = 0;
    Object.assign(story.checks.watch, {
      lost: (_ip: string, _from: unknown, why: Fault) => (blamed += Number(why.fault === "CORRUPT")),
    });
    expect(code(story.download("liar"))).toBe("CORRUPT");
    expect(blamed).toBe(3);
  });

  test("by sending a part of every piece and falling silent is left for good", () => {
    const story = tell({ liar: { lie: "wrong size" } }, { content: ODD });
    story.start("liar", "us");
    expect(code(story.download("liar"))).not.toBeOneOf(["stuck", "done"]);
  });
});

test("an idle holder takes over from a source that trickles, though it has never sent us a byte", () => {
  const story = tell({ liar: { lie: "a trickle" }, honest: { has: CONTENT } });
  story.start("liar", "us");
  const address = { ip: story.machine("liar").ip, port: 8776 };
  let result: Done | Fault | "stuck" = "stuck";
  void story.us.peer?.download(CONTENT.name, address).then((done) => {
    result = done;
  });
  story.time.run(5000, () => false); // everything that the liar may have on order, it has
  story.start("honest");
  story.time.run(BOUND_MS, () => result !== "stuck");
  expect(code(result)).toBe("done");
  expectArrived(story);
});

test("over a link that flips a bit in one of 50 chunks a file arrives all the same, right", () => {
  const bytes = new Uint8Array(200 * PIECE);
  for (let at = 0; at < bytes.length; at += PIECE) bytes[at] = at / PIECE;
  const long: Content = { name: "longa.mp4", bytes, hashed: hash(bytes) };
  const bad: Weather = {
    latency: 5,
    bytesPerSecond: 5e6,
    windowBytes: 1e6,
    sliceBytes: 65_536,
    tiny: false,
    flips: 0.02,
  };
  const story = tell({ honest: { has: long } }, { content: long, weather: () => bad });
  story.start("honest", "us");
  let blamed = 0;
  Object.assign(story.checks.watch, {
    lost: (_ip: string, _from: unknown, why: Fault) => (blamed += Number(why.fault === "CORRUPT")),
  });
  expect(code(story.download("honest"))).toBe("done");
  expect(blamed).toBeGreaterThan(5);
  expectArrived(story, long);
});

describe("what an earlier run left", () => {
  for (const how of ["longer", "rot", "cut"] as const) {
    test(`with its journal gone and the .part ${how} ends as the source's bytes, not one more`, () => {
      const story = tell({ honest: { has: CONTENT } });
      story.start("honest", "us");
      expect(code(story.download("honest", 1200))).toBe("stuck"); // it is on its way
      story.crash(story.us, "kill");
      story.us.disk.damage(`${CONTENT.name}.part`, how);
      story.us.disk.damage(`${CONTENT.name}.part.journal`, "gone");
      // As a longer file of this name would have left it.
      if (how === "longer")
        story.us.disk.write(story.us.disk.file(`${CONTENT.name}.part`) as never, new Uint8Array(9), 3e6);
      story.start("us");
      expect(code(story.download("honest"))).toBe("done");
      expectArrived(story);
    });
  }

  test("damaged, fetched anew and killed again before a sync has no name before its bytes are safe", () => {
    const story = tell({ honest: { has: CONTENT } });
    story.start("honest", "us");
    const whole = () => story.us.disk.file(CONTENT.name) !== undefined;
    story.breakOff("honest", 7);
    story.us.disk.damage(`${CONTENT.name}.part`, "rot");
    story.start("us");
    story.us.disk.health.syncMs = 60_000;
    expect(code(story.download("honest", 20_000))).toBe("stuck"); // every byte is there, no sync has come back
    story.crash(story.us, "kill");
    story.us.disk.health.syncMs = 5;
    story.start("us");
    expect(code(story.download("honest"))).toBe("done");
    expect(whole()).toBe(true);
    expectArrived(story);
  });

  test("damaged, on a disk too full to say so in the journal, is synced before it counts all the same", () => {
    const story = tell({ honest: { has: CONTENT } });
    story.start("honest", "us");
    story.breakOff("honest", 7);
    story.us.disk.damage(`${CONTENT.name}.part`, "rot");
    story.start("us");
    story.us.disk.health.full = true;
    expect(code(story.download("honest", 800))).toBe("stuck");
    story.us.disk.health.full = false;
    story.us.disk.health.syncMs = 60_000;
    story.time.run(20_000, () => false); // every byte is there, no sync has come back
    story.crash(story.us, "kill");
    story.us.disk.health.syncMs = 5;
    story.start("us");
    expect(code(story.download("honest"))).toBe("done");
    expectArrived(story);
  });

  test("and was only noted as written is not fetched again after the program's end, and is after the machine's", () => {
    for (const how of ["kill", "power"] as const) {
      const story = tell({ honest: { has: CONTENT } });
      const ordered: number[] = [];
      Object.assign(story.checks.watch, {
        ordered: (_ip: string, _name: string, index: number) => ordered.push(index),
      });
      story.start("honest", "us");
      story.us.disk.health.syncMs = 1; // the journal's beginning is synced
      expect(code(story.download("honest", 60))).toBe("stuck");
      story.us.disk.health.syncMs = 3600_000;
      story.time.run(60_000, () => false); // every byte is there, no sync has come back
      expect(new Set(ordered).size).toBe(8);
      story.crash(story.us, how);
      story.us.disk.health.syncMs = 5;
      story.start("us");
      ordered.length = 0;
      expect(code(story.download("honest"))).toBe("done");
      if (how === "kill") expect(ordered).toEqual([]);
      else expect(ordered.length).toBeGreaterThan(0);
      expectArrived(story);
    }
  });

  test("and is all here is read again, for minutes, though its source leaves meanwhile: nobody else is needed", () => {
    const story = tell({ honest: { has: CONTENT } });
    const waits = new Set<string | undefined>();
    story.start("honest", "us");
    story.us.disk.health.syncMs = 1; // the journal's beginning is synced
    expect(code(story.download("honest", 60))).toBe("stuck");
    story.us.disk.health.syncMs = 3600_000;
    story.time.run(60_000, () => false); // every byte is there, no sync has come back
    story.crash(story.us, "kill");
    story.us.disk.health.syncMs = 5;
    story.us.slower = 20_000;
    story.start("us");
    Object.assign(story.checks.watch, {
      progress: (_ip: string, _bytes: number, _size: number, waiting: Waiting | undefined) => waits.add(waiting?.for),
    });
    expect(code(story.download("honest", 2000))).toBe("stuck");
    story.crash(story.machine("honest"), "kill");
    expect(story.time.run(20_000, () => story.us.disk.file(CONTENT.name) !== undefined)).toBe(false);
    expect([...waits]).toEqual(["check"]);
    expect(story.time.run(10_000_000, () => story.us.disk.file(CONTENT.name) !== undefined)).toBe(true);
    expectArrived(story);
  });

  test("and was journaled is never fetched again, whichever way the program ended", () => {
    for (const how of ["kill", "power"] as const) {
      const story = tell({ honest: { has: CONTENT } });
      story.start("honest", "us");
      for (let round = 0; round < 6 && code(story.download("honest", 700)) !== "done"; round++) {
        story.crash(story.us, how);
        story.start("us");
      }
      if (story.us.disk.file(CONTENT.name) === undefined) expect(code(story.download("honest"))).toBe("done");
      expectArrived(story);
      expect(story.checks.pieces).toBeGreaterThan(0);
    }
  });
});

describe("a sync that fails", () => {
  for (const sync of ["fails", "forgets"] as const) {
    test(`and ${sync === "fails" ? "leaves the bytes to be synced later" : "forgets the bytes"} costs a second fetch, never a false record`, () => {
      for (const at of [300, 700, 1100, 1500]) {
        const story = tell({ honest: { has: CONTENT } });
        story.start("honest", "us");
        expect(code(story.download("honest", at))).toBe("stuck");
        story.us.disk.health.sync = sync;
        story.time.run(600, () => false);
        story.us.disk.health.sync = "works";
        const whole = () => story.us.disk.file(CONTENT.name) !== undefined;
        expect(story.time.run(BOUND_MS, whole)).toBe(true);
        story.time.run(5000, () => false);
        // The cut may undo the last step, the name; the .part and its journal are there again then.
        story.crash(story.us, "power");
        story.start("us");
        if (!whole()) expect(code(story.download("honest"))).toBe("done");
        expectArrived(story);
      }
    });
  }
});

test("what a failed sync forgot is never claimed by an earlier run's notes, though the system goes on showing it", () => {
  for (let at = 50; at < 2000; at += 50) {
    const story = tell({ honest: { has: CONTENT } });
    const { us, checks } = story;
    const health = us.disk.health;
    story.start("honest", "us");
    health.syncMs = 1; // the journal's beginning is synced
    expect(code(story.download("honest", 60))).toBe("stuck");
    health.syncMs = 3600_000;
    story.time.run(60_000, () => false); // every byte is there, no sync has come back
    story.crash(us, "kill");
    Object.assign(health, { syncMs: 5, sync: "forgets" });
    story.start("us");
    expect(code(story.download("honest", at))).toBe("stuck");
    story.crash(us, "kill");
    health.sync = "works";
    story.start("us");
    expect(code(story.download("honest"))).toBe("done");
    story.crash(us, "power");
    story.start("us");
    if (us.disk.file(CONTENT.name) === undefined) expect(code(story.download("honest"))).toBe("done");
    expectArrived(story);
    expect(checks.breaches).toEqual([]);
  }
});

test("a disk that never answers a sync is waited for with at most 48 MiB fetched, however long the file", () => {
  const bytes = new Uint8Array(80 * 2 ** 20);
  for (let at = 0; at < bytes.length; at += PIECE) bytes[at] = at / PIECE;
  const long: Content = { name: "longa.mp4", bytes, hashed: hash(bytes) };
  const fast: Weather = { ...QUICK, bytesPerSecond: 50e6, windowBytes: 4e6, sliceBytes: 512 * 1024 };
  const story = tell({ honest: { has: long } }, { content: long, weather: () => fast });
  const ordered = new Set<number>();
  Object.assign(story.checks.watch, { ordered: (_ip: string, _name: string, index: number) => ordered.add(index) });
  story.start("honest", "us");
  story.us.disk.health.syncMs = 1; // the journal's beginning is synced
  expect(code(story.download("honest", 60))).toBe("stuck");
  story.us.disk.health.syncMs = 3600_000;
  story.time.run(60_000, () => false);
  expect(ordered.size * PIECE).toBeLessThanOrEqual(48 * 2 ** 20);
  expect(ordered.size * PIECE).toBeGreaterThan(32 * 2 ** 20);
  expect(story.us.disk.file(long.name)).toBeUndefined();
});

test("a disk that never answers a sync is named as what is waited for, and no source is left for it", () => {
  const story = tell({ honest: { has: CONTENT } });
  const waits = new Set<string>();
  Object.assign(story.checks.watch, {
    progress: (_ip: string, _bytes: number, _size: number, waiting: Waiting | undefined) =>
      waits.add(waiting === undefined ? "" : `${waiting.for}${"slow" in waiting ? " slow" : ""}`),
  });
  story.start("honest", "us");
  story.us.disk.health.syncMs = 1; // the journal's beginning is synced
  expect(code(story.download("honest", 500))).toBe("stuck");
  story.us.disk.health.syncMs = 200_000;
  story.time.run(180_000, () => false);
  expect([...waits].sort()).toEqual(["", "disk slow"]);
  story.us.disk.health.syncMs = 1;
  expect(story.time.run(BOUND_MS, () => story.us.disk.file(CONTENT.name) !== undefined)).toBe(true);
  expectArrived(story);
});

test("a download of another content than the .part holds goes beside it, and what the .part holds is offered to nobody", () => {
  const other: Content = { ...contentOf(5), name: CONTENT.name };
  const story = tell({ honest: { has: CONTENT }, another: { has: other } });
  story.start("honest", "another", "us");
  story.breakOff("honest", 6);
  story.start("us");
  const before = story.us.disk.file(`${CONTENT.name}.part`);
  expect(code(story.download("another", BOUND_MS, { only: true }))).toBe("done");
  story.time.run(20_000, () => false);
  const file = story.us.disk.file(CONTENT.name) as SimFile;
  expect(Buffer.compare(file.bytes.subarray(0, file.size), other.bytes)).toBe(0);
  expect(story.us.disk.file(`${CONTENT.name}.part`)).toBe(before as SimFile);
  const holders = story.server.catalog.sources(CONTENT.hashed.root) as readonly Holder[];
  expect(holders.map(({ address }) => address.ip)).toEqual([story.machine("honest").ip]);
});

test("a download that is cancelled while its source owes it the layer ends at once", () => {
  const story = tell({ liar: { lie: "no layer" } });
  story.start("liar", "us");
  const person = new AbortController();
  let result: Done | Fault | undefined;
  const from = { ip: story.machine("liar").ip, port: 8776 };
  void story.us.peer?.download(CONTENT.name, from, { signal: person.signal }).then((done) => {
    result = done;
  });
  story.time.run(2000, () => false);
  person.abort();
  story.time.run(500, () => result !== undefined);
  expect(result && isFault(result) && result.fault).toBe("CANCELLED");
  expect(story.us.disk.file(CONTENT.name)).toBeUndefined();
});

test("a download that is cancelled, at whatever moment, lets go of its files for good and is taken up again", () => {
  const story = tell({ honest: { has: CONTENT } });
  story.start("honest", "us");
  story.us.disk.health.syncMs = 400;
  const from = { ip: story.machine("honest").ip, port: 8776 };
  for (let ms = 20; story.us.disk.file(CONTENT.name) === undefined; ms += 50) {
    const person = new AbortController();
    let ended = false;
    void story.us.peer?.download(CONTENT.name, from, { signal: person.signal }).finally(() => {
      ended = true;
    });
    story.time.run(ms, () => ended);
    person.abort();
    expect(story.time.run(20_000, () => ended)).toBe(true);
  }
  story.checks.folder(story.us.ip);
  expectArrived(story);
});

test("a download that is cancelled while its source still hashes the file offers nothing afterwards", () => {
  const far: Weather = { ...QUICK, latency: 120 };
  for (let ms = 100; ms < 1500; ms += 40) {
    const story = tell({ honest: { has: CONTENT } }, { weather: () => far });
    story.start("us");
    for (let i = 0; i < ms / 40; i++) story.random.next(); // some have hashed it when they start, some have not
    story.begin("honest");
    story.time.run(1000, () => false);
    const person = new AbortController();
    const from = { ip: story.machine("honest").ip, port: 8776 };
    void story.us.peer?.download(CONTENT.name, from, { signal: person.signal });
    story.time.run(ms, () => false);
    person.abort();
    story.time.run(20_000, () => false);
    const holders = story.server.catalog.sources(CONTENT.hashed.root) as readonly Holder[];
    expect(holders.map(({ address, complete }) => [address.ip, complete])).toEqual([[from.ip, true]]);
    expect(story.checks.breaches).toEqual([]);
  }
});

test("a folder that a program leaves behind holds the file, the .part and its journal, and nothing else", () => {
  const story = tell({ liar: { lie: "wrong bytes" }, honest: { has: CONTENT } });
  story.start("liar", "honest", "us");
  story.download("liar", 900);
  story.crash(story.us, "power");
  for (const name of story.us.disk.names) expect(name).toStartWith(CONTENT.name);
  expect(story.checks.breaches).toEqual([]);
});

describe("a link of 4 KB/s", () => {
  const SLOW: Weather = { latency: 40, bytesPerSecond: 4096, windowBytes: 60_000, sliceBytes: 4096, tiny: false };
  const SERVER_IP = "192.0.2.1";
  const slowly = (a: string, b: string): Weather => (a === SERVER_IP || b === SERVER_IP ? QUICK : SLOW);

  /** Downloads while `who` dies every minute and is back a little later; bytes that the network carried, and the result. */
  function restarting(who: "honest" | "us") {
    const story = tell({ honest: { has: CONTENT } }, { weather: slowly });
    story.start("honest", "us");
    const { time } = story;
    const whole = (CONTENT.bytes.length / 4096) * 1000;
    const carriedBefore = story.network.carried;
    const ask = () => void story.us.peer?.download(CONTENT.name, { ip: story.machine("honest").ip, port: 8776 });
    ask();
    const arrived = () => story.us.disk.file(CONTENT.name) !== undefined;
    for (const begun = time.now; !arrived() && time.now - begun < 3 * whole; ) {
      if (time.run(60_000, arrived)) break;
      story.crash(story.machine(who), "kill");
      time.run(1000, () => false);
      story.begin(who);
      time.run(who === "us" ? 4000 : 1000, () => false);
      if (who === "us") ask();
    }
    return { story, carried: story.network.carried - carriedBefore };
  }

  test("brings a file whose pieces take longer than its source lives: each block comes about once", () => {
    const { story, carried } = restarting("honest");
    expectArrived(story);
    expect(carried).toBeLessThan(1.25 * CONTENT.bytes.length);
  });

  test("brings it to a program that is killed every minute too", () => {
    const { story, carried } = restarting("us");
    expectArrived(story);
    expect(carried).toBeLessThan(2 * CONTENT.bytes.length);
  });
});
