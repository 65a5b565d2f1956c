import { describe, expect, test } from "bun:test";
import { createMemoryCatalog } from "../../src/catalog/memory.ts";
import { runAtOnce } from "../../src/catalog/time-slices.ts";
import { readShares } from "../../src/protocol/payloads.ts";
import { LIMITS } from "../../src/protocol/server-limits.ts";
import type { ClientConnection } from "../../src/servidor/client-connection.ts";
import { createWishes } from "../../src/servidor/wishes.ts";
import { good } from "../support/good.ts";
import { dial, enter, joinOf, startServidor } from "../support/servidor.ts";
import { until } from "../support/until.ts";

/** A listed client, and what it has been told. */
function client(ip: string): ClientConnection & { readonly told: string[] } {
  const told: string[] = [];
  const connection = {
    remote: { ip, port: 1 },
    send: (line: Uint8Array) => void told.push(Buffer.from(line).toString()),
  };
  return { connection, standing: { listedAt: "127.0.0.1:1" }, told } as unknown as ClientConnection & {
    readonly told: string[];
  };
}
const update = (name: string) => ({ verb: "UPDATE", share: { name, size: 1, root: undefined } }) as const;
const JOIN = { verb: "JOIN", address: { ip: "127.0.0.1", port: 1 }, payloadBytes: 0 } as const;
const wish = (name: string) => ({ verb: "WISH", name }) as const;
const unwish = (name: string) => ({ verb: "UNWISH", name }) as const;

function open(limits = {}) {
  return createWishes({
    limits: { ...LIMITS, ...limits },
    replies: { flush() {} },
    metrics: { sent() {} },
    hearsAll: () => true,
  });
}

describe("wishes", () => {
  test("are told once, to all that have the name among theirs, and not to the peer that brings it", () => {
    const wishes = open();
    const [one, two, other] = [client("1"), client("2"), client("3")];
    for (const asker of [one, two, other]) wishes.answer(asker, wish("a"));
    wishes.answer(two, wish("b"));
    wishes.hear(other, JOIN, ["x", "a"]);
    wishes.hear(other, update("a"));
    wishes.hear(other, { verb: "PING" });
    expect([one.told, two.told, other.told]).toEqual([["ARRIVED a\n"], ["ARRIVED a\n"], []]);
    expect(wishes.count).toBe(2);
    wishes.forget(two);
    wishes.forget(other);
    expect(wishes.count).toBe(0);
  });

  test("are bounded of a connection, of an address and in all; what goes makes room", () => {
    const wishes = open({ wishes: 5, wishesPerAddress: 3, wishesPerConnection: 2 });
    const [one, two, other, last] = [client("1"), client("1"), client("2"), client("3")];
    const tooMany = { fault: "TOO_MANY", retry: true };
    for (const name of ["a", "b", "b"]) expect(wishes.answer(one, wish(name))).not.toMatchObject(tooMany);
    expect(wishes.answer(one, wish("c"))).toMatchObject(tooMany);
    expect(wishes.answer(two, wish("a"))).not.toMatchObject(tooMany);
    expect(wishes.answer(two, wish("c"))).toMatchObject(tooMany);
    for (const name of ["a", "b"]) expect(wishes.answer(other, wish(name))).not.toMatchObject(tooMany);
    expect(wishes.answer(last, wish("a"))).toMatchObject(tooMany);
    wishes.answer(one, unwish("a"));
    wishes.answer(one, unwish("a"));
    expect(wishes.count).toBe(4);
    expect(wishes.answer(last, wish("a"))).not.toMatchObject(tooMany);
  });

  test("among 100,000 names of a JOIN are found in slices", async () => {
    const wishes = open();
    const one = client("1");
    wishes.answer(one, wish("v99999.mp4"));
    const payload = Buffer.from(Array.from({ length: 100_000 }, (_, i) => `1 - v${i}.mp4\n`).join(""));
    const shares = good(runAtOnce(readShares([payload], 100_000)));
    const names = {
      length: shares.length,
      *[Symbol.iterator]() {
        for (const { name } of shares) yield name;
      },
    };
    wishes.hear(client("2"), JOIN, names);
    expect(one.told).toEqual([]);
    await until("it to be told", () => one.told.length === 1);
  });
});

describe("a server", () => {
  test("tells of a peer once it is listed, and not of one that is in no list", async () => {
    const server = startServidor({ probe: false });
    const asker = await enter(server, 5001);
    asker.send("WISH a.mp4\n");
    expect(await asker.line()).toBe("WISH_OK all");
    const late = await dial(server);
    late.send(joinOf(5002, ["a.mp4"], { key: "-" }));
    expect(await late.line()).toBe("JOIN_OK 127.0.0.1:5002");
    late.send("UPDATE 1 - a.mp4\n");
    expect(await late.line()).toBe("UPDATE_OK");
    asker.send("PING\n");
    expect(await asker.line()).toBe("PONG");
    late.send(joinOf(5002, ["a.mp4"]));
    expect(await asker.line()).toBe("ARRIVED a.mp4");
    asker.send("SEARCH a.mp4\n");
    expect(await asker.lines(2)).toEqual(["SEARCH_OK 15", "127.0.0.1:5002"]);
  });

  test("while the shared index is away says that it tells of its own peers only", async () => {
    const server = startServidor({ probe: false, catalog: { ...createMemoryCatalog(), isPartial: true } });
    const asker = await enter(server, 5001);
    asker.send("WISH a.mp4\n");
    expect(await asker.line()).toBe("WISH_OK own");
  });

  test("forgets the wishes of a connection that is gone, and refuses one too many", async () => {
    const server = startServidor({ probe: false, limits: { wishes: 1 } });
    const first = await enter(server, 5001);
    first.send("WISH a.mp4\nWISH b.mp4\n");
    expect(await first.lines(2)).toEqual(["WISH_OK all", "ERROR TOO_MANY retry wishes"]);
    first.destroy();
    const second = await enter(server, 5002);
    await until("room again", async () => {
      second.send("WISH b.mp4\n");
      return (await second.line()) === "WISH_OK all";
    });
  });
});
