// FIND: the index of words behind the catalog, the gathering by content, and the pages, down to the peer's side.
// Invariant: what is found agrees with what a plain search through all names would find.
// Never: waits for time to pass.

import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { answer, type Client } from "../../src/catalog/answer.ts";
import { createMemoryCatalog, type MemoryCatalog } from "../../src/catalog/memory.ts";
import { findWords } from "../../src/peer/find.ts";
import { FIND_COUNT_MAX, FIND_NAMES_MAX } from "../../src/protocol/limits.ts";
import type { Found } from "../../src/protocol/messages.ts";
import { decodeFound } from "../../src/protocol/payloads.ts";
import { decodeServerRequest } from "../../src/protocol/requests.ts";
import { codeOf, good } from "../support/good.ts";
import { at, OTHER_ROOT, ROOT, share } from "./catalog-contract.ts";

setDefaultTimeout(60_000);

let catalog: MemoryCatalog;
afterEach(() => catalog.close());

async function filled(...libraries: (readonly ReturnType<typeof share>[])[]): Promise<MemoryCatalog> {
  catalog = createMemoryCatalog();
  for (const [i, shares] of libraries.entries()) good(await catalog.join(at(i + 1), shares, undefined));
  return catalog;
}
const find = async (words: string, offset = 0, count = 100): Promise<readonly Found[]> =>
  (await catalog.find?.(words, offset, count))?.found ?? [];
const names = async (words: string) => (await find(words)).map(({ name }) => name).sort();

describe("words", () => {
  const NAMES = [
    "Ação total.mp4",
    "acao e reacao.mkv",
    "AÇÃO.avi",
    "Redes de computadores (aula 3).mp4",
    "naïve café.mp3",
    "Москва 1980.mp4",
    "a\u0303.mp4",
  ];

  test.each([
    ["acao", ["AÇÃO.avi", "Ação total.mp4", "acao e reacao.mkv"]],
    ["AÇÃO", ["AÇÃO.avi", "Ação total.mp4", "acao e reacao.mkv"]],
    ["ac\u0327a\u0303o", ["AÇÃO.avi", "Ação total.mp4", "acao e reacao.mkv"]],
    ["total acao", ["Ação total.mp4"]],
    ["computador 3 AULA", ["Redes de computadores (aula 3).mp4"]],
    ["redes-aula (mp4)", ["Redes de computadores (aula 3).mp4"]],
    ["NAIVE cafe", ["naïve café.mp3"]],
    ["москва", ["Москва 1980.mp4"]],
    ["dores", []],
    ["acao cafe", []],
    ['" OR *', []],
    ['acao" OR "cafe', []],
    ["NOT acao", []],
    ["name:acao", []],
  ])("%p finds %p", async (words, wanted) => {
    await filled(NAMES.map((name) => share(name)));
    expect(await names(words)).toEqual([...wanted].sort());
  });

  test("are known as peers come, change and go, before the first question and after it", async () => {
    await filled([share("Aula um.mp4")]);
    const two = good(await catalog.join(at(2), [share("Aula dois.mp4")], undefined));
    expect(await names("aula")).toEqual(["Aula dois.mp4", "Aula um.mp4"]);
    await catalog.update(two, share("Aula três.mp4"));
    expect(await names("aula tres")).toEqual(["Aula três.mp4"]);
    await catalog.withdraw(two, "Aula dois.mp4");
    expect(await names("aula")).toEqual(["Aula três.mp4", "Aula um.mp4"]);
    await catalog.leave(two);
    expect(await names("aula")).toEqual(["Aula um.mp4"]);
    good(await catalog.join(at(2), [share("Aula dez.mp4"), share("Outra.mp4")], undefined));
    expect(await names("aula")).toEqual(["Aula dez.mp4", "Aula um.mp4"]);
  });

  test("of a file that is still being downloaded find nothing", async () => {
    catalog = createMemoryCatalog();
    const member = good(await catalog.join(at(1), [], undefined));
    await catalog.offer(member, share("Aula.mp4", ROOT));
    expect(await names("aula")).toEqual([]);
    await catalog.update(member, share("Aula.mp4", ROOT));
    expect(await names("aula")).toEqual(["Aula.mp4"]);
  });
});

describe("the index of words", () => {
  test("has no more to learn than the names that are there, however often a peer joins with others", async () => {
    await filled([share("Aula.mp4")]);
    expect(await names("aula")).toEqual(["Aula.mp4"]);
    let member = good(await catalog.join(at(2), [], undefined));
    let most = 0;
    for (let round = 0; round < 40; round++) {
      const others = Array.from({ length: 2000 }, (_, i) => share(`lista r${round}x ${i}.mp4`));
      member = good(await catalog.join(at(2), others, member));
      most = Math.max(most, catalog.wordsWaiting);
    }
    expect(most).toBeLessThanOrEqual(3 * 2000 + 512);
    expect((await find("lista r39x 1999")).length).toBe(1);
    expect(await find("lista r38x")).toEqual([]);
    expect(catalog.wordsWaiting).toBe(0);
  });

  test("answers a hundred one-letter words with about what a handful costs, and a short question before dear ones", async () => {
    const letters = "abcdefghijklmnopqrstuvwxyz".split("");
    const dear = letters.map((letter) => `${letter}${letter}`).join(" ");
    await filled(Array.from({ length: 30_000 }, (_, i) => share(`${i % 3 ? dear : dear.slice(3)} ${i}.mp4`)));
    expect((await find("mp4 29999")).length).toBe(1);
    const order: string[] = [];
    const ask = async (words: string) => void (await find(words).then(() => order.push(words.slice(0, 5))));
    const flood = Array.from({ length: 12 }, (_, i) =>
      ask(`${letters.join(" ")} ${letters.join(" ")} zz${i} 9 8 7 6 5`),
    );
    await Promise.all([...flood, ask("29999")]);
    expect(order.indexOf("29999")).toBeLessThan(4);
  });

  test("takes the longest of too many words", async () => {
    await filled([share("Uma aula.mp4"), share("Outra aula.mp4")]);
    const many = Array.from({ length: 60 }, (_, i) => String.fromCodePoint(0x4e00 + i)).join(" ");
    expect(await names(`uma ${many}`)).toEqual([]);
    expect(await names("u um uma a au aul aula m mp mp4")).toEqual(["Uma aula.mp4"]);
  });
});

describe("what is found", () => {
  test("is one for each content, with its size and sources, whatever the names; most sources first", async () => {
    await filled(
      [share("Aula A.mp4", ROOT, 5_000_000_000), share("Aula A (cópia).mp4", ROOT, 5_000_000_000)],
      [share("aula a.mp4", ROOT, 5_000_000_000), share("Aula B.mp4", OTHER_ROOT, 7)],
      [share("Aula C.mp4", undefined, 9), share("Aula B.mp4", OTHER_ROOT, 7)],
      [share("Aula C.mp4", undefined, 9), share("outra.mp4", ROOT, 5_000_000_000)],
    );
    const found = await find("aula");
    expect(found.map(({ root, size, sources }) => [root, size, sources])).toEqual([
      [ROOT, 5_000_000_000, 3],
      [OTHER_ROOT, 7, 2],
      [undefined, 9, 2],
    ]);
  });

  test("counts those that have all of it, and nobody who still downloads it", async () => {
    await filled([share("Aula A.mp4", ROOT)], [share("Aula A.mp4", ROOT)]);
    const third = good(await catalog.join(at(3), [share("outra.mp4", OTHER_ROOT)], undefined));
    await catalog.offer(third, share("Aula A.mp4", ROOT));
    expect((await find("aula")).map(({ root, sources }) => [root, sources])).toEqual([[ROOT, 2]]);
  });

  test("comes in pages, none of it twice, and is bounded however much there is", async () => {
    await filled(Array.from({ length: 5000 }, (_, i) => share(`aula ${i}.mp4`, i.toString(16).padStart(64, "0"))));
    const link = {
      async call(request: Parameters<typeof answer>[0]) {
        const client: Client = { observedIp: "127.0.0.1", machineIps: new Set(), member: { address: at(1) } };
        const { reply, payload } = good(await answer(request, client, catalog));
        return { reply, payload: payload ?? new Uint8Array(0) };
      },
    };
    for (const [offset, count] of [
      [991, 10],
      [1000, 1],
      [1000, 100],
      [901, 100],
    ] as const) {
      const { reply } = await link.call({ verb: "FIND", offset, count, words: "aula" });
      expect(reply).toMatchObject({ verb: "FIND_OK", next: 0 });
    }
    const { reply } = await link.call({ verb: "FIND", offset: 990, count: 10, words: "aula" });
    expect(reply).toMatchObject({ next: 1000 });
    const some = good(await findWords(link, "aula", 250));
    expect(some.found.length).toBe(250);
    expect(new Set(some.found.map(({ name }) => name)).size).toBe(250);
    const all = good(await findWords(link, "aula", 100_000));
    expect(all).toEqual({ found: all.found, more: 0, isCut: true });
    expect(all.found.length).toBeLessThanOrEqual(FIND_NAMES_MAX);
    expect(all.found.length).toBeGreaterThan(1000);
    expect([some.more, some.isCut]).toEqual([all.found.length - 250, true]);
    const one = good(await findWords(link, "aula 4321", 10));
    expect(one).toMatchObject({ found: [{ name: "aula 4321.mp4" }], more: 0, isCut: false });
    const exact = good(await findWords(link, "aula 432", 5));
    expect([exact.found.length, exact.more, exact.isCut]).toEqual([5, 6, false]);
  });
});

describe("on the wire", () => {
  test("the longest answer fits its limit", async () => {
    const longest = "é".repeat(125);
    await filled(
      Array.from({ length: 200 }, (_, i) => share(`${longest}${i}`, i.toString(16).padStart(64, "0"), 2 ** 53 - 1)),
    );
    const client: Client = { observedIp: "127.0.0.1", machineIps: new Set(), member: { address: at(1) } };
    const request = good(decodeServerRequest(`FIND 0 ${FIND_COUNT_MAX} ${longest.slice(0, 100)}`));
    const { reply, payload } = good(await answer(request, client, catalog));
    expect(reply).toMatchObject({ verb: "FIND_OK", next: FIND_COUNT_MAX });
    expect(good(decodeFound(payload as Uint8Array)).length).toBe(FIND_COUNT_MAX);
  });

  test("a catalog that cannot tell says so", async () => {
    catalog = createMemoryCatalog();
    const client: Client = { observedIp: "127.0.0.1", machineIps: new Set(), member: { address: at(1) } };
    const without = { ...catalog, find: undefined } as unknown as MemoryCatalog;
    expect(codeOf(await answer({ verb: "FIND", offset: 0, count: 1, words: "a" }, client, without))).toBe(
      "UNAVAILABLE",
    );
  });
});
