// The catalog in memory against the contract, against a model, and behind the server's one switch.
// Invariant: what SEARCH and SOURCES say agrees with who is in and what they announced.
// Never: touches a socket.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { answer, type Client, publishedAddress } from "../../src/catalog/answer.ts";
import type { Member } from "../../src/catalog/contract.ts";
import { createMemoryCatalog } from "../../src/catalog/memory.ts";
import { formatAddress, isIn, parseRange } from "../../src/protocol/address.ts";
import { isFault } from "../../src/protocol/fault.ts";
import type { ServerRequest, Share } from "../../src/protocol/messages.ts";
import { decodeAddresses, decodeHolders } from "../../src/protocol/payloads.ts";
import { codeOf, good } from "../support/good.ts";
import { at, describeCatalog, OTHER_ROOT, ROOT, share } from "./catalog-contract.ts";

setDefaultTimeout(60_000);

describeCatalog("memory", createMemoryCatalog);

type Step = {
  readonly do: "join" | "update" | "offer" | "withdraw" | "leave";
  readonly who: number;
  readonly share: Share;
};
type Entry = { readonly share: Share; readonly complete: boolean };

test("after any history the catalog says what a model of it says", async () => {
  const anyShare = fc.record({
    name: fc.constantFrom("a", "b", "c"),
    size: fc.constant(1),
    root: fc.constantFrom(undefined, ROOT, OTHER_ROOT),
  });
  const anyStep: fc.Arbitrary<Step> = fc.record({
    do: fc.constantFrom("join", "update", "offer", "withdraw", "leave"),
    who: fc.integer({ min: 1, max: 3 }),
    share: anyShare,
  });
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 40 }), async (steps) => {
      const catalog = createMemoryCatalog();
      const members = new Map<number, Member>();
      const model = new Map<number, Map<string, Entry>>();
      for (const { do: what, who, share: one } of steps) {
        const member = members.get(who);
        const entries = model.get(who);
        if (what === "join") {
          members.set(who, good(await catalog.join(at(who), [one], member)));
          model.set(who, new Map([[one.name, { share: one, complete: true }]]));
        } else if (member === undefined || entries === undefined) continue;
        else if (what === "update") {
          await catalog.update(member, one);
          entries.set(one.name, { share: one, complete: true });
        } else if (what === "offer") {
          await catalog.offer(member, one);
          if (!entries.get(one.name)?.complete) entries.set(one.name, { share: one, complete: false });
        } else if (what === "withdraw") {
          await catalog.withdraw(member, one.name);
          entries.delete(one.name);
        } else {
          await catalog.leave(member);
          members.delete(who);
          model.delete(who);
        }
      }
      const holds = (who: number) => [...(model.get(who)?.values() ?? [])];
      for (const name of ["a", "b", "c"]) {
        const having = [1, 2, 3].filter((who) => holds(who).some((e) => e.complete && e.share.name === name));
        expect((await catalog.search(name)).map(({ port }) => port).sort()).toEqual(having);
      }
      for (const root of [ROOT, OTHER_ROOT]) {
        const wanted = [1, 2, 3].flatMap((who) => {
          const mine = holds(who).filter((e) => e.share.root === root);
          return mine.length === 0 ? [] : [`${formatAddress(at(who))} ${mine.some((e) => e.complete)}`];
        });
        const said = (await catalog.sources(root)).map((h) => `${formatAddress(h.address)} ${h.complete}`);
        expect(said.sort()).toEqual(wanted);
      }
    }),
    { numRuns: 400 },
  );
});

describe("the server's switch", () => {
  const client = (observedIp = "127.0.0.1"): Client => ({
    observedIp,
    machineIps: new Set(["10.0.0.9"]),
    member: undefined,
  });
  const JOIN = (port: number): ServerRequest => ({ verb: "JOIN", address: at(port), payloadBytes: 0 });

  test("JOIN answers JOIN_OK with the published address (SPEC 4.b)", async () => {
    const answered = good(await answer(JOIN(5), client(), createMemoryCatalog(), { shares: [share("a.mp4")] }));
    expect(answered.reply).toEqual({ verb: "JOIN_OK", address: at(5), reached: true });
  });

  test("JOIN of a peer that is not to be listed makes a member that no list has, in the place of what it was", async () => {
    const catalog = createMemoryCatalog();
    const from = client();
    for (const [standing, reached] of [
      ["unreached", false],
      ["unlisted", true],
    ] as const) {
      await answer(JOIN(5), from, catalog, { shares: [share("a.mp4")] });
      expect(await catalog.search("a.mp4")).toEqual([at(5)]);
      const answered = good(await answer(JOIN(6), from, catalog, { shares: [share("a.mp4")], standing }));
      expect(answered.reply).toEqual({ verb: "JOIN_OK", address: at(6), reached });
      expect(from.member?.address).toEqual(at(6));
      expect(await catalog.search("a.mp4")).toEqual([]);
      expect(good(await answer({ verb: "UPDATE", share: share("a.mp4") }, from, catalog)).reply.verb).toBe("UPDATE_OK");
      expect(await catalog.search("a.mp4")).toEqual([]);
    }
  });

  test("SEARCH answers a list, empty or with the ip:port of each peer that has it (SPEC 4.c)", async () => {
    const catalog = createMemoryCatalog();
    const one = client();
    good(await answer(JOIN(5), one, catalog, { shares: [share("a.mp4")] }));
    const found = good(await answer({ verb: "SEARCH", name: "a.mp4" }, one, catalog));
    expect(decodeAddresses(found.payload as Uint8Array)).toEqual([at(5)]);
    const none = good(await answer({ verb: "SEARCH", name: "b.mp4" }, one, catalog));
    expect(none.reply).toEqual({ verb: "SEARCH_OK", payloadBytes: 0 });
  });

  test("UPDATE answers UPDATE_OK and the next SEARCH knows (SPEC 4.d)", async () => {
    const catalog = createMemoryCatalog();
    const one = client();
    good(await answer(JOIN(5), one, catalog, { shares: [] }));
    const updated = good(await answer({ verb: "UPDATE", share: share("a.mp4") }, one, catalog));
    expect(updated.reply).toEqual({ verb: "UPDATE_OK" });
    const found = good(await answer({ verb: "SEARCH", name: "a.mp4" }, one, catalog));
    expect(decodeAddresses(found.payload as Uint8Array)).toEqual([at(5)]);
  });

  test("OFFER, SOURCES and WITHDRAW go together", async () => {
    const catalog = createMemoryCatalog();
    const one = client();
    good(await answer(JOIN(5), one, catalog, { shares: [] }));
    good(await answer({ verb: "OFFER", share: share("a.mp4", ROOT) }, one, catalog));
    const sources = good(await answer({ verb: "SOURCES", root: ROOT }, one, catalog));
    expect(decodeHolders(sources.payload as Uint8Array)).toEqual([{ address: at(5), complete: false }]);
    good(await answer({ verb: "WITHDRAW", name: "a.mp4" }, one, catalog));
    expect(good(await answer({ verb: "SOURCES", root: ROOT }, one, catalog)).payload?.length).toBe(0);
  });

  test("without JOIN there is nothing to search, update or withdraw", async () => {
    const requests: ServerRequest[] = [
      { verb: "SEARCH", name: "a" },
      { verb: "UPDATE", share: share("a") },
      { verb: "WITHDRAW", name: "a" },
      { verb: "SOURCES", root: ROOT },
    ];
    for (const request of requests)
      expect(codeOf(await answer(request, client(), createMemoryCatalog()))).toBe("NOT_JOINED");
  });

  test("HELLO agrees on the lower version", async () => {
    for (const version of [1, 2, 1_000_000]) {
      const answered = good(await answer({ verb: "HELLO", version }, client(), createMemoryCatalog()));
      expect(answered.reply).toEqual({ verb: "HELLO", version: 1 });
    }
  });

  const published: readonly (readonly [observed: string, declared: string, said: string])[] = [
    ["203.0.113.7", "203.0.113.7", "203.0.113.7"],
    ["203.0.113.7", "0.0.0.0", "203.0.113.7"],
    ["203.0.113.7", "8.8.8.8", "ADDRESS_MISMATCH"],
    ["203.0.113.7", "127.0.0.1", "ADDRESS_MISMATCH"],
    ["203.0.113.7", "10.0.0.9", "ADDRESS_MISMATCH"],
    ["127.0.0.1", "127.0.0.2", "127.0.0.2"],
    ["127.0.0.1", "10.0.0.9", "10.0.0.9"],
    ["10.0.0.9", "127.0.0.1", "127.0.0.1"],
    ["127.0.0.1", "8.8.8.8", "ADDRESS_MISMATCH"],
  ];
  for (const [observed, declared, said] of published) {
    test(`from ${observed}, a peer that says ${declared} is ${said}`, () => {
      const address = publishedAddress({ ip: declared, port: 80 }, client(observed));
      expect(isFault(address) ? address.fault : address.ip).toBe(said);
    });
  }

  test("from a trusted range, a peer is whoever it says, and 0.0.0.0 is where it comes from", () => {
    const trusted: Client = { ...client("10.1.2.3"), trusted: true };
    expect(publishedAddress({ ip: "8.8.8.8", port: 80 }, trusted)).toEqual({ ip: "8.8.8.8", port: 80 });
    expect(publishedAddress({ ip: "0.0.0.0", port: 80 }, trusted)).toEqual({ ip: "10.1.2.3", port: 80 });
  });
});

test("an address is in a range when its first bits are the range's", () => {
  const isWithin = (ip: string, range: string) => isIn(ip, good(parseRange(range)));
  expect(["10.0.0.0", "10.1.2.3", "10.255.255.255"].map((ip) => isWithin(ip, "10.0.0.0/8"))).toEqual([
    true,
    true,
    true,
  ]);
  expect(["9.255.255.255", "11.0.0.0", "138.0.0.1"].map((ip) => isWithin(ip, "10.0.0.0/8"))).toEqual([
    false,
    false,
    false,
  ]);
  expect([isWithin("255.255.255.255", "0.0.0.0/0"), isWithin("192.168.1.7", "192.168.1.7/32")]).toEqual([true, true]);
  expect([isWithin("192.168.1.8", "192.168.1.7/32"), isWithin("172.32.0.1", "172.16.0.0/12")]).toEqual([false, false]);
  expect([isWithin("172.31.255.255", "172.16.0.0/12"), isWithin("255.0.0.1", "128.0.0.0/1")]).toEqual([true, true]);
});
