// What the catalog in memory promises beyond the contract: short turns, all or nothing, and memory that does not creep.
// Invariant: turns of the event loop are counted, not timed, except where a bound is ten times what is needed.
// Never: touches a socket.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { createMemoryCatalog, type MemoryCatalog } from "../../src/catalog/memory.ts";
import { createEntryTable } from "../../src/catalog/table/entry-table.ts";
import { createStringPool } from "../../src/catalog/table/string-pool.ts";
import { runInSlices } from "../../src/catalog/time-slices.ts";
import { isFault } from "../../src/protocol/fault.ts";
import type { Root, Share } from "../../src/protocol/messages.ts";
import { turn } from "../support/clock.ts";
import { codeOf, good } from "../support/good.ts";
import { until } from "../support/until.ts";
import { at, share } from "./catalog-contract.ts";

setDefaultTimeout(60_000);

const library = (count: number, from = 0): Share[] =>
  Array.from({ length: count }, (_, i) => share(`vídeo ${from + i}.mp4`, (from + i).toString(16).padStart(64, "0")));

/** Turns of the event loop until `done`, and what `look` saw in each. */
async function turnsUntil<T>(done: () => boolean, look: () => T): Promise<T[]> {
  const seen: T[] = [];
  while (!done()) {
    seen.push(look());
    await turn();
  }
  return seen;
}

describe("a library of 100,000", () => {
  test("enters in many turns, in none of which a part of it is seen", async () => {
    const catalog = createMemoryCatalog();
    const joining = Promise.resolve(catalog.join(at(1), library(100_000), undefined));
    let done = false;
    void joining.then(() => {
      done = true;
    });
    const seen = await turnsUntil(
      () => done,
      () => (catalog.search("vídeo 0.mp4") as unknown[]).length,
    );
    expect(seen.length).toBeGreaterThan(10);
    expect(Math.max(...seen)).toBe(0);
    for (const i of [0, 50_000, 99_999]) expect(await catalog.search(`vídeo ${i}.mp4`)).toEqual([at(1)]);
  });

  test("leaves in many turns, and is gone from the first one on", async () => {
    const catalog = createMemoryCatalog();
    const member = good(await catalog.join(at(1), library(100_000), undefined));
    catalog.leave(member);
    expect(await catalog.search("vídeo 99999.mp4")).toEqual([]);
    good(await catalog.join(at(1), [], undefined)); // its address is free at once
    const seen = await turnsUntil(
      () => catalog.entries === 0,
      () => catalog.entries,
    );
    expect(seen.length).toBeGreaterThan(10);
  });

  test("that replaces another is seen whole in the turn in which the other goes", async () => {
    const catalog = createMemoryCatalog();
    const first = good(await catalog.join(at(1), [share("old.mp4"), share("both.mp4")], undefined));
    let done = false;
    void Promise.resolve(catalog.join(at(2), [share("both.mp4"), ...library(20_000)], first)).then(() => {
      done = true;
    });
    const all = () => JSON.stringify(["old.mp4", "both.mp4", "vídeo 19999.mp4"].map((name) => catalog.search(name)));
    const seen = new Set(await turnsUntil(() => done, all));
    expect([...seen, all()].filter((one, i, list) => list.indexOf(one) === i)).toEqual([
      JSON.stringify([[at(1)], [at(1)], []]),
      JSON.stringify([[], [at(2)], [at(2)]]),
    ]);
  });
});

test("several long jobs share each turn, and each gets on", async () => {
  const steps = [0, 0, 0];
  function* job(which: number) {
    for (let i = 0; i < 40; i++) {
      steps[which] = (steps[which] ?? 0) + 1;
      const until = performance.now() + 0.5;
      while (performance.now() < until);
      yield;
    }
  }
  const all = Promise.all([0, 1, 2].map((which) => runInSlices(job(which))));
  const lead: number[] = [];
  let done = false;
  void all.then(() => {
    done = true;
  });
  const turns = await turnsUntil(
    () => done,
    () => lead.push(Math.max(...steps) - Math.min(...steps)),
  );
  expect(turns.length).toBeGreaterThan(5);
  expect(steps).toEqual([40, 40, 40]);
  expect(Math.max(...lead)).toBeLessThan(40);
});

describe("memory", () => {
  const fill = async (catalog: MemoryCatalog, round: number) => {
    const members = [];
    for (let port = 1; port <= 100; port++)
      members.push(good(await catalog.join(at(port), library(100, round * 10_000 + port * 100), undefined)));
    return members;
  };

  test("stays where it was however many come and go, with names never seen before", async () => {
    const catalog = createMemoryCatalog();
    let after = 0;
    for (let round = 0; round < 12; round++) {
      for (const member of await fill(catalog, round)) catalog.leave(member);
      await turnsUntil(
        () => catalog.entries === 0,
        () => undefined,
      );
      if (round === 1) after = catalog.bytes;
    }
    expect(catalog.bytes).toBeLessThanOrEqual(after * 1.3);
  });

  test("of a name that one member puts again and again is taken once", () => {
    const spelled: number[] = [];
    const table = createEntryTable({ spelled: (id) => spelled.push(id) });
    const member = table.addMember();
    for (let size = 1; size <= 1000; size++) table.put(member, { name: "a.mp4", size, root: undefined }, true);
    expect([table.entries, spelled.length, table.sizeOf(table.firstOf("a.mp4"))]).toEqual([1, 1, 1000]);
    table.remove(member, "a.mp4");
    expect([table.entries, spelled.length, table.costOf(member)]).toEqual([0, 2, 0]);
  });

  test("is at most 256 bytes for an entry with a name and a content of its own", async () => {
    const catalog = createMemoryCatalog();
    await fill(catalog, 0);
    for (let port = 101; port <= 1000; port++)
      good(await catalog.join(at(port), library(100, 1_000_000 + port * 100), undefined));
    expect(catalog.entries).toBe(100_000);
    expect(catalog.bytes / catalog.entries).toBeLessThan(256);
  });
});

test("an interned string keeps its number until it is dropped, and a dropped one's place is used again", () => {
  const interner = createStringPool();
  const bytes = (text: string) => new TextEncoder().encode(text);
  const take = (text: string) => interner.take(bytes(text), bytes(text).length);
  const ids = Array.from({ length: 5000 }, (_, i) => take(`name ${i}`));
  expect(new Set(ids).size).toBe(5000);
  for (const [i, id] of ids.entries()) {
    expect(interner.find(bytes(`xname ${i}`), 1, bytes(`xname ${i}`).length)).toBe(id);
    expect(new TextDecoder().decode(interner.view(id))).toBe(`name ${i}`);
  }
  const held = interner.bytes;
  for (const id of ids) interner.drop(id);
  expect(interner.count).toBe(0);
  expect(interner.find(bytes("name 7"), 0, 6)).toBe(-1);
  for (let i = 0; i < 5000; i++) take(`other${i % 10}${i}`.slice(0, 9));
  expect(interner.bytes).toBeLessThanOrEqual(held * 1.2);
});

describe("the budget", () => {
  const long = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => share(`${from + i} ${"x".repeat(200)}.mp4`));

  test("bounds what one address and all may list, however it comes; what is refused leaves nothing, and room comes back", async () => {
    const catalog = createMemoryCatalog(undefined, undefined, { bytes: 1_000_000, bytesPerAddress: 600_000 });
    const join = (port: number, count: number, ip = "127.0.0.1") =>
      catalog.join({ ip, port }, long(port * 10_000, count), undefined);
    const one = good(await join(1, 1000));
    expect(codeOf(await join(2, 1000))).toBe("TOO_MANY");
    expect(catalog.entries).toBe(1000);
    expect(await catalog.search(long(20_000, 1)[0]?.name ?? "")).toEqual([]);
    // The same peer again: what it gives back counts.
    const again = good(await catalog.join({ ip: "127.0.0.1", port: 1 }, long(0, 1500), one));
    // What is replaced, or left, is given back in slices of time, however few of them a busy machine has for it.
    const enters = (port: number, count: number, ip?: string) =>
      until("room", async () => !isFault(await join(port, count, ip)));
    await enters(3, 1000, "127.0.0.2");
    expect(codeOf(await join(4, 1000, "127.0.0.3"))).toBe("TOO_MANY");
    let refused: unknown;
    for (let i = 0; i < 3000 && refused === undefined; i++)
      refused = await catalog.update(again, share(`outro ${i} ${"y".repeat(200)}`));
    expect(refused).toMatchObject({ fault: "TOO_MANY", retry: true });
    const { entries } = catalog;
    expect(codeOf((await catalog.update(again, share(`mais ${"y".repeat(200)}`))) as never)).toBe("TOO_MANY");
    expect(catalog.entries).toBe(entries);
    await catalog.leave(again);
    await enters(5, 1500);
  });

  test("gives back the memory of what left, though a peer stays that joined before and one that joined meanwhile", async () => {
    const catalog = createMemoryCatalog();
    const roots = (from: number, count: number) =>
      long(from, count).map((one, i) => ({ ...one, root: (from + i).toString(16).padStart(64, "0") as Root }));
    const join = async (port: number, shares: readonly Share[]) =>
      good(await catalog.join({ ip: "127.0.0.1", port }, shares, undefined));
    await join(1, roots(0, 50));
    const small = catalog.bytes;
    for (let round = 0; round < 3; round++) {
      const leaving = [await join(2, roots(1000, 10_000))];
      const staying = await join(3, roots(500, 50));
      leaving.push(await join(4, roots(20_000, 10_000)));
      expect(catalog.bytes - small).toBeGreaterThan(6_000_000);
      for (const member of leaving) await catalog.leave(member);
      expect(catalog.bytes - small).toBeLessThan(1_000_000);
      expect(await catalog.search(long(7, 1)[0]?.name ?? "")).toHaveLength(1);
      expect(await catalog.search(long(507, 1)[0]?.name ?? "")).toHaveLength(1);
      expect(await catalog.search(long(1007, 1)[0]?.name ?? "")).toEqual([]);
      expect(catalog.sources((507).toString(16).padStart(64, "0") as Root)).toHaveLength(1);
      await catalog.leave(staying);
    }
  });
});
