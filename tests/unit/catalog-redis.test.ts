// The catalog that servers share: the contract, seen from another server, on each kind of index, and what goes wrong.
// Invariant: real servers of Redis on free ports; every catalog here is closed.
// Never: waits for time to pass, except for a lease, which ends by Redis' clock.

import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Catalog } from "../../src/catalog/contract.ts";
import { createRedisCatalog, LEASE_SECONDS, type RedisCatalog, type RedisEvent } from "../../src/catalog/redis.ts";
import type { Share } from "../../src/protocol/messages.ts";
import { askFirstLine } from "../../src/transport/first-line.ts";
import { good } from "../support/good.ts";
import {
  ask,
  type Cluster,
  freePort,
  hasRedis,
  hasValkey,
  type Redis,
  startCluster,
  startRedis,
} from "../support/redis.ts";
import { until } from "../support/until.ts";
import { at, describeCatalog, ROOT, share } from "./catalog-contract.ts";

setDefaultTimeout(60_000);

/** As many names of one member as the contract is tried with here; the catalog in memory is tried with all. */
const NAMES_MAX = 2000;

const open: RedisCatalog[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((catalog) => catalog.close()));
});

function make(url: string, events: RedisEvent[] = [], namesMax = NAMES_MAX * 100): RedisCatalog {
  const catalog = createRedisCatalog({ url, namesMax, probe: askFirstLine, onEvent: (event) => events.push(event) });
  open.push(catalog);
  return catalog;
}

/** A catalog that is in the index already. */
async function come(url: string, events: RedisEvent[] = [], namesMax?: number): Promise<RedisCatalog> {
  const catalog = make(url, events, namesMax);
  await until("the catalog to come in", () => catalog.shared);
  return catalog;
}

const found = async (catalog: Catalog, name: string) => (await catalog.search(name)).map(({ port }) => port).sort();

/** What is written at one server and read at another, which follows: a mark is written last, and waited for there. */
function writtenAndRead(url: () => string, namesMax?: number): Catalog {
  const [writer, reader] = [make(url(), [], namesMax), make(url(), [], namesMax)];
  const marker = until("both to come in", () => writer.shared && reader.shared).then(async () =>
    good(await writer.join(at(65_000), [], undefined)),
  );
  let marks = 0;
  async function read<T>(use: () => T): Promise<Awaited<T>> {
    const name = `mark ${++marks}`;
    await writer.update(await marker, share(name));
    await until("the mark", async () => (await reader.search(name)).length === 1);
    return await use();
  }
  return {
    join: async (...args) => {
      await marker;
      return writer.join(...args);
    },
    update: (...args) => writer.update(...args),
    offer: (...args) => writer.offer(...args),
    withdraw: (...args) => writer.withdraw(...args),
    leave: (...args) => writer.leave(...args),
    search: (name) => read(() => reader.search(name)),
    sources: (root) => read(() => reader.sources(root)),
  };
}

describe.skipIf(!hasValkey)("with valkey-server (skipped where it is not installed: Debian bookworm-backports)", () => {
  let valkey: Redis;
  beforeAll(async () => {
    valkey = await startRedis({ program: "valkey-server" });
  });
  afterAll(() => valkey.stop());
  describeCatalog("valkey", () => writtenAndRead(() => valkey.url, NAMES_MAX), NAMES_MAX);
});

describe.skipIf(!hasRedis)("with three redis-servers as a cluster (skipped where it is not installed)", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster();
  });
  afterAll(() => cluster.stop());
  describeCatalog("a cluster", () => writtenAndRead(() => cluster.url, NAMES_MAX), NAMES_MAX);
});

/** The rights that docs/OPERATIONS.md says are all that is needed. */
const rights = (): string[] => {
  const text = readFileSync(join(import.meta.dir, "../../docs/OPERATIONS.md"), "utf8");
  return /ACL SETUSER napster on >PASSWORD ([^`]+)/.exec(text)?.[1]?.split(/\s+/).filter(Boolean) ?? [];
};

describe.skipIf(!hasRedis)("with a user of the least rights (skipped where redis-server is not installed)", () => {
  let redis: Redis;
  beforeAll(async () => {
    const user = ["--user", "napster", "on", ">se:gredo", ...rights(), "--user", "default", "off"];
    redis = await startRedis({ flags: user });
  });
  afterAll(() => redis.stop());
  const url = () => `redis://napster:se%3Agredo@127.0.0.1:${redis.port}`;
  describeCatalog("redis with the rights of docs/OPERATIONS.md", () => writtenAndRead(url, NAMES_MAX), NAMES_MAX);
});

describe.skipIf(!hasRedis)("with redis-server (skipped where it is not installed)", () => {
  let redis: Redis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());
  const comeHere = (events?: RedisEvent[]) => come(redis.url, events);

  describeCatalog("redis", () => make(redis.url));
  describeCatalog("redis, read through another server", () => writtenAndRead(() => redis.url));

  /** What one server says is in the index when it has answered, and with the others as soon as they have read it. */
  const soon = (catalog: Catalog, name: string, ports: readonly number[]) =>
    until(`${name} at ${ports}`, async () => Bun.deepEquals(await found(catalog, name), ports));

  test("what one of three servers is told the others know, names and contents, and that it is no more", async () => {
    const [a, b, c] = [await comeHere(), await comeHere(), await comeHere()];
    const member = good(await a.join(at(1), [share("a.mp4", ROOT)], undefined));
    good(await b.join(at(2), [share("a.mp4")], undefined));
    for (const one of [a, b, c]) await soon(one, "a.mp4", [1, 2]);
    expect(await c.sources(ROOT)).toEqual([{ address: at(1), complete: true }]);
    const page = await c.find?.("a", 0, 10);
    expect(page?.found.map(({ name, root, sources }) => [name, root, sources])).toEqual([
      ["a.mp4", ROOT, 1],
      ["a.mp4", undefined, 1],
    ]);
    await a.leave(member);
    for (const one of [a, b, c]) await soon(one, "a.mp4", [2]);
    expect([a, b, c].map(({ isPartial }) => isPartial)).toEqual([false, false, false]);
  });

  test("a peer is seen at other servers with all of its names or not at all", async () => {
    const [a, b] = [await comeHere(), await comeHere()];
    const names = Array.from({ length: 3000 }, (_, i) => `${i}.mp4`);
    const joining = a.join(
      at(1),
      names.map((name) => share(name)),
      undefined,
    );
    await until("the last name", async () => (await found(b, "2999.mp4")).length === 1);
    for (const name of names) expect(await found(b, name)).toEqual([1]);
    good(await joining);
  });

  test("a peer that has moved to another server is named once, and stays when the first forgets it", async () => {
    const [a, b, c] = [await comeHere(), await comeHere(), await comeHere()];
    const member = good(await a.join(at(1), [share("a.mp4")], undefined));
    await soon(c, "a.mp4", [1]);
    good(await b.join(at(1), [share("a.mp4"), share("b.mp4")], undefined));
    await soon(c, "b.mp4", [1]);
    for (const one of [a, b, c]) expect(await found(one, "a.mp4")).toEqual([1]);
    await a.leave(member);
    good(await a.join(at(9), [share("mark.mp4")], undefined));
    await soon(c, "mark.mp4", [9]);
    for (const one of [b, c]) expect(await found(one, "a.mp4")).toEqual([1]);
  });

  test("names with quotes, accents and magic characters are names like others", async () => {
    const [a, b] = [await comeHere(), await comeHere()];
    const names = ["Ação 'x' $1 {a} [b].mp4", "%s ; -- # & !.mp4", "ἄ.mp4", "🎬.mkv", "__proto__"];
    good(
      await a.join(
        at(1),
        names.map((name) => share(name)),
        undefined,
      ),
    );
    for (const name of names) await soon(b, name, [1]);
    expect(await found(b, "Ação 'x' $1 {a} [b].mp")).toEqual([]);
  });

  test("20,000 names cross over whole, to a server that is in and to one that comes later", async () => {
    const [a, b] = [await comeHere(), await comeHere()];
    const shares = Array.from({ length: 20_000 }, (_, i): Share => share(`vídeo ${i}.mp4`));
    const member = good(await a.join(at(1), shares, undefined));
    await soon(b, "vídeo 19999.mp4", [1]);
    const leases = async () => (await ask(redis, "ZRANGE", "napster:{index}:servers", "0", "-1")) as string[];
    const before = await leases();
    const late = await comeHere();
    // No lease was lost over the reading: a server that comes anew has another name.
    expect(await leases()).toEqual(expect.arrayContaining(before));
    for (const one of [b, late]) {
      expect(one.otherEntries).toBe(20_000);
      for (let i = 0; i < 20_000; i += 499) expect(await found(one, `vídeo ${i}.mp4`)).toEqual([1]);
    }
    await a.leave(member);
    await until("all to be forgotten", () => b.otherEntries + late.otherEntries === 0);
    for (let i = 0; i < 20_000; i += 499) expect(await found(b, `vídeo ${i}.mp4`)).toEqual([]);
  });

  test("a name that a peer of another server comes to have is told once there is a listener", async () => {
    const [a, b] = [await comeHere(), await comeHere()];
    const heard: string[] = [];
    b.onArrival?.({ isWanted: () => true, hear: (name) => heard.push(name) });
    const member = good(await a.join(at(1), [share("a.mp4"), share("b.mp4")], undefined));
    await a.offer(member, share("part.mp4", ROOT));
    await a.update(member, share("c.mp4"));
    await until("the last", () => heard.includes("c.mp4"));
    expect(heard.sort()).toEqual(["a.mp4", "b.mp4", "c.mp4"]);
  });

  test("a server that is killed takes its peers out within its lease, and leaves no key behind", async () => {
    const b = await comeHere();
    const script = `
      import { createRedisCatalog } from ${JSON.stringify(`${import.meta.dir}/../../src/catalog/redis.ts`)};
      const catalog = createRedisCatalog({ url: ${JSON.stringify(redis.url)}, probe: async () => "+PONG", onEvent() {} });
      while (!catalog.shared) await new Promise((turn) => setImmediate(turn));
      await catalog.join({ ip: "127.0.0.1", port: 7 }, [{ name: "doomed.mp4", size: 1, root: ${JSON.stringify(ROOT)} }], undefined);
      console.log("in");
      setInterval(() => {}, 1000);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
    await child.stdout.getReader().read();
    await soon(b, "doomed.mp4", [7]);
    child.kill("SIGKILL");
    await child.exited;
    // By Redis' own clock, however busy this machine is: the lease of the dead ends within LEASE_SECONDS.
    const [seconds, micros] = (await ask(redis, "TIME")) as string[];
    const ends = (await ask(redis, "ZRANGE", "napster:{index}:servers", "0", "-1", "WITHSCORES")) as unknown[];
    const lasts = ends
      .flat()
      .filter((_, i) => i % 2 === 1)
      .map((end) => Number(end) - Number(seconds) * 1000 - Number(micros) / 1000);
    expect(lasts.length).toBeGreaterThan(0);
    for (const ms of lasts) expect(ms).toBeLessThanOrEqual(LEASE_SECONDS * 1000);
    await soon(b, "doomed.mp4", []);
    expect(b.isPartial).toBe(false);
    const keysOfPeers = async () => (await ask(redis, "KEYS", "napster:*:e:*")) as string[];
    await until("its keys to expire", async () => (await keysOfPeers()).length === 0);
  });

  test("redis killed and started again: nothing is lost to askers, the operator hears once of each, and the index heals", async () => {
    const mine = await startRedis();
    const events: RedisEvent[] = [];
    const [a, b] = [await come(mine.url, events), await come(mine.url)];
    good(await a.join(at(1), [share("a.mp4")], undefined));
    good(await b.join(at(2), [share("a.mp4")], undefined));
    await soon(a, "a.mp4", [1, 2]);
    await mine.stop();
    await until("both to notice", () => a.isPartial && b.isPartial);
    expect(await found(a, "a.mp4")).toEqual([1, 2]); // until the lease ends
    const late = good(await a.join(at(3), [share("a.mp4"), share("late.mp4")], undefined));
    await a.update(late, share("more.mp4"));
    await soon(a, "a.mp4", [1, 3]);
    const again = await startRedis({ port: mine.port });
    await until("the index to heal", () => a.shared && b.shared);
    for (const one of [a, b]) await soon(one, "a.mp4", [1, 2, 3]);
    await soon(b, "more.mp4", [3]);
    await until("the operator to be told", () => events.length === 2);
    expect(events).toEqual([{ type: "away", trouble: { why: "unreachable" } }, { type: "back" }]);
    await again.stop();
  });

  test("redis that hangs holds nobody up, and is found out", async () => {
    const mine = await startRedis();
    const a = await come(mine.url);
    good(await a.join(at(1), [share("a.mp4")], undefined));
    mine.signal("SIGSTOP");
    await until("it to be noticed", () => a.isPartial);
    expect(await found(a, "a.mp4")).toEqual([1]);
    good(await a.join(at(2), [share("a.mp4")], undefined));
    mine.signal("SIGCONT");
    await until("it to come back", () => a.shared);
    await mine.stop();
  });

  test("redis that loses all or part of its data is written anew, without a word to the operator", async () => {
    const mine = await startRedis();
    const events: RedisEvent[] = [];
    const [a, b] = [await come(mine.url, events), await come(mine.url, events)];
    good(await a.join(at(1), [share("a.mp4", ROOT)], undefined));
    const servers = async () => (await ask(mine, "ZRANGE", "napster:{index}:servers", "0", "-1")) as string[];
    const losses: (() => Promise<unknown>)[] = [
      () => ask(mine, "FLUSHALL"),
      async () => ask(mine, "DEL", ...((await ask(mine, "KEYS", "napster:*:e:*")) as string[])), // a replica that was behind
      async () => ask(mine, "INCR", `napster:{${(await servers())[0]}}:count`), // another server under that name
      () => ask(mine, "DEL", "napster:{index}:servers"),
    ];
    for (const [i, lose] of losses.entries()) {
      const before = await servers();
      await lose();
      await until("a server to come anew", async () => (await servers()).some((one) => !before.includes(one)));
      await until("all to be well", async () => a.shared && b.shared && (await servers()).length === 2);
      good(await b.join(at(10 + i), [share("a.mp4")], undefined));
      const ports = Array.from({ length: i + 1 }, (_, j) => 10 + j);
      for (const one of [a, b]) await soon(one, "a.mp4", [1, ...ports]);
      expect(await b.sources(ROOT)).toEqual([{ address: at(1), complete: true }]);
    }
    expect(events).toEqual([]);
    await mine.stop();
  });

  test("a log that loses its end is noticed by the numbers of its records", async () => {
    const mine = await startRedis();
    const [a, b] = [await come(mine.url), await come(mine.url)];
    mine.signal("SIGSTOP"); // so that b reads nothing of what follows before it is gone
    const joined = a.join(at(1), [share("a.mp4")], undefined);
    const lost = ask(mine, "DEL", "napster:{index}:log");
    mine.signal("SIGCONT");
    good(await joined);
    await lost;
    await ask(mine, "DEL", "napster:{index}:log");
    await soon(b, "a.mp4", [1]);
    await mine.stop();
  });

  test("a lease that ends far in the future, of a clock that was wrong, ends with the others", async () => {
    const mine = await startRedis();
    const a = await come(mine.url);
    await ask(mine, "ZADD", "napster:{index}:servers", "99999999999999", "of-the-future");
    await until("it to be out", async () => {
      const told = (await ask(mine, "ZRANGE", "napster:{index}:servers", "0", "-1")) as string[];
      return told.length === 1;
    });
    await until("all to be well", () => a.shared);
    await mine.stop();
  });

  const trouble = async (url: string): Promise<RedisEvent | undefined> => {
    const events: RedisEvent[] = [];
    const catalog = make(url, events);
    good(await catalog.join(at(1), [share("a.mp4")], undefined));
    expect(await found(catalog, "a.mp4")).toEqual([1]);
    await until("the operator to be told", () => events.length > 0, 10);
    expect(await found(catalog, "a.mp4")).toEqual([1]);
    expect(catalog.isPartial).toBe(true);
    return events[0];
  };
  const why = (event: RedisEvent | undefined) => (event?.type === "away" ? event.trouble.why : event?.type);

  test("nobody at the address is unreachable; of several addresses one is enough", async () => {
    expect(why(await trouble(`redis://127.0.0.1:${freePort()}`))).toBe("unreachable");
    await come(`redis://127.0.0.1:${freePort()},127.0.0.1:${redis.port}`);
  });

  test("a missing or wrong password is denied, the right one is let in", async () => {
    const mine = await startRedis({ flags: ["--requirepass", "segredo"] });
    expect(why(await trouble(mine.url))).toBe("denied");
    expect(why(await trouble(`redis://:errada@127.0.0.1:${mine.port}`))).toBe("denied");
    const catalog = await come(`redis://:segredo@127.0.0.1:${mine.port}/3`);
    good(await catalog.join(at(1), [], undefined));
    await mine.stop();
  });

  test("something that is not Redis is told, whatever it says", async () => {
    for (const garbage of [
      "HTTP/1.1 400 Bad Request\r\n\r\n",
      "\u0000\u0001\u0002",
      "",
      "+OK\r\n".repeat(50),
      "*-7\r\n",
    ]) {
      const liar = Bun.listen({
        hostname: "127.0.0.1",
        port: 0,
        socket: {
          data(socket) {
            if (garbage !== "") socket.write(garbage);
          },
        },
      });
      expect(["unreachable", "unusable"]).toContain(why(await trouble(`redis://127.0.0.1:${liar.port}`)) ?? "");
      liar.stop(true);
    }
  });

  test("foreign keys under our names are told, harm nothing, and nothing of them is believed", async () => {
    const mine = await startRedis();
    await ask(mine, "SET", "napster:{index}:servers", "foreign");
    expect(why(await trouble(mine.url))).toBe("unusable");
    await ask(mine, "DEL", "napster:{index}:servers");
    const a = await come(mine.url);
    const nonsense = ["", "1", "1 whole", "x a.mp4", "1 a.mp4", "9999999999999999999 a.mp4"];
    await ask(mine, "SET", "napster:{liar}:count", "1");
    await ask(mine, "HSET", "napster:{liar}:peers", "1", "8.8.8.8:99999", "2", "not an address", "x", "8.8.8.8:1");
    for (const field of nonsense)
      for (const value of ["", "whole", "whole 1 -", `part -1 ${ROOT}`, "whole 1 nothing"])
        for (let i = 0; i < 64; i += 9) await ask(mine, "HSET", `napster:{liar}:e:${i}`, field, value);
    await ask(mine, "ZADD", "napster:{index}:servers", "99999999999999", "liar");
    for (const lines of ["@ 1 nowhere\n+ 1 whole 1 - a.mp4\n", "\n\n+\n- \n! x\n", "@ 1"])
      await ask(mine, "XADD", "napster:{index}:log", "*", "i", "liar", "n", "2", "d", lines);
    await ask(mine, "XADD", "napster:{index}:log", "*", "other", "fields");
    good(await (await come(mine.url)).join(at(1), [share("mark.mp4")], undefined));
    await soon(a, "mark.mp4", [1]);
    expect(await found(a, "a.mp4")).toEqual([]);
    await mine.stop();
  });
});

test("what sends a line without end in Redis' place is told, and its line is not kept", async () => {
  let sent = 0;
  const block = Buffer.alloc(64 * 1024, "a");
  const fill = (socket: { write(bytes: Buffer): number }): void => {
    for (let wrote = 1; wrote > 0 && sent < 512 * 1024 * 1024; ) {
      wrote = socket.write(block);
      sent += Math.max(0, wrote);
    }
  };
  const fake = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { open: fill, drain: fill, data() {} } });
  const events: RedisEvent[] = [];
  const url = `redis://127.0.0.1:${fake.port}`;
  const catalog = createRedisCatalog({ url, probe: askFirstLine, onEvent: (event) => events.push(event) });
  await until("the operator to be told", () => events.length > 0);
  expect(events).toMatchObject([{ type: "away", trouble: { why: "unusable" } }]);
  await catalog.close();
  fake.stop(true);
  expect(sent).toBeLessThan(64 * 1024 * 1024);
});
