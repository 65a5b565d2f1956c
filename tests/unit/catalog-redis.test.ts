// The catalog that servers share through Redis: the contract, alone and seen from another server, and what goes wrong.
// Invariant: a real redis-server on a free port; every catalog here is closed.
// Never: waits for time to pass, except for a lease, which ends by Redis' clock.

import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Catalog } from "../../src/catalog/contract.ts";
import { createRedisCatalog, LEASE_SECONDS, type RedisCatalog, type RedisEvent } from "../../src/catalog/redis.ts";
import type { Share } from "../../src/protocol/messages.ts";
import { askFirstLine } from "../../src/transport/first-line.ts";
import { freePorts } from "../support/folders.ts";
import { good } from "../support/good.ts";
import { hasRedis, type Redis, startRedis } from "../support/redis.ts";
import { until } from "../support/until.ts";
import { at, describeCatalog, ROOT, share } from "./catalog-contract.ts";

setDefaultTimeout(60_000);

describe.skipIf(!hasRedis)("with redis-server (skipped where it is not installed)", () => {
  let redis: Redis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());

  const open: RedisCatalog[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((catalog) => catalog.close()));
  });
  function make(url = redis.url, events: RedisEvent[] = []): RedisCatalog {
    const catalog = createRedisCatalog({ url, probe: askFirstLine, onEvent: (event) => events.push(event) });
    open.push(catalog);
    return catalog;
  }
  /** A catalog that is in Redis already. */
  async function come(url = redis.url, events: RedisEvent[] = []): Promise<RedisCatalog> {
    const catalog = make(url, events);
    await until("the catalog to come to Redis", () => catalog.shared);
    return catalog;
  }
  const found = async (catalog: Catalog, name: string) => (await catalog.search(name)).map(({ port }) => port).sort();

  describeCatalog("redis", () => make());

  describeCatalog("redis, read through another server", () => {
    const [writer, reader] = [make(), make()];
    const both = until("both to come to Redis", () => writer.shared && reader.shared);
    return {
      join: async (...args) => {
        await both;
        const joined = await writer.join(...args);
        await writer.settled();
        return joined;
      },
      update: (...args) => writer.update(...args),
      offer: (...args) => writer.offer(...args),
      withdraw: (...args) => writer.withdraw(...args),
      leave: (...args) => writer.leave(...args),
      search: (name) => reader.search(name),
      sources: (root) => reader.sources(root),
    };
  });

  test("what one of three servers is told, the others know when it answers", async () => {
    const [a, b, c] = [await come(), await come(), await come()];
    const member = good(await a.join(at(1), [share("a.mp4", ROOT)], undefined));
    good(await b.join(at(2), [share("a.mp4")], undefined));
    for (const one of [a, b, c]) expect(await found(one, "a.mp4")).toEqual([1, 2]);
    expect(await c.sources(ROOT)).toEqual([{ address: at(1), complete: true }]);
    await a.leave(member);
    for (const one of [a, b, c]) expect(await found(one, "a.mp4")).toEqual([2]);
  });

  test("a peer that has moved to another server is named once", async () => {
    const [a, b] = [await come(), await come()];
    good(await a.join(at(1), [share("a.mp4")], undefined));
    good(await b.join(at(1), [share("a.mp4")], undefined));
    expect(await found(b, "a.mp4")).toEqual([1]);
  });

  test("names with quotes, accents and magic characters are names like others", async () => {
    const [a, b] = [await come(), await come()];
    const names = ["Ação 'x' $1 {a} [b].mp4", "%s *?.mp4", "a\u0300.mp4", "🎬.mkv"];
    good(
      await a.join(
        at(1),
        names.map((name) => share(name)),
        undefined,
      ),
    );
    for (const name of names) expect(await found(b, name)).toEqual([1]);
    expect(await found(b, "Ação 'x' $1 {a} [b].mp")).toEqual([]);
  });

  test("20,000 names cross over whole", async () => {
    const [a, b] = [await come(), await come()];
    const shares = Array.from({ length: 20_000 }, (_, i): Share => share(`vídeo ${i}.mp4`));
    const member = good(await a.join(at(1), shares, undefined));
    await a.settled();
    for (let i = 0; i < 20_000; i += 499) expect(await found(b, `vídeo ${i}.mp4`)).toEqual([1]);
    await a.leave(member);
    await a.settled();
    for (let i = 0; i < 20_000; i += 499) expect(await found(b, `vídeo ${i}.mp4`)).toEqual([]);
  });

  test("a server that is killed takes its peers out within its lease, and leaves no key behind", async () => {
    const b = await come();
    const script = `
      import { createRedisCatalog } from ${JSON.stringify(`${import.meta.dir}/../../src/catalog/redis.ts`)};
      const catalog = createRedisCatalog({ url: ${JSON.stringify(redis.url)}, probe: async () => "+PONG", onEvent() {} });
      while (!catalog.shared) await new Promise((turn) => setImmediate(turn));
      await catalog.join({ ip: "127.0.0.1", port: 7 }, [{ name: "doomed.mp4", size: 1, root: ${JSON.stringify(ROOT)} }], undefined);
      console.log("in");
      setInterval(() => {}, 1000);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
    await child.stdout.getReader().read();
    expect(await found(b, "doomed.mp4")).toEqual([7]);
    child.kill("SIGKILL");
    await child.exited;
    // By Redis' own clock, however busy this machine is: the lease of the dead ends within LEASE_SECONDS.
    const direct = new Bun.RedisClient(redis.url);
    const [seconds, micros] = (await direct.send("TIME", [])) as string[];
    const ends = (await direct.send("ZRANGE", ["napster:servers", "0", "-1", "WITHSCORES"])) as unknown[];
    const lasts = ends
      .flat()
      .filter((_, i) => i % 2 === 1)
      .map((end) => Number(end) - Number(seconds) * 1000 - Number(micros) / 1000);
    expect(lasts.length).toBeGreaterThan(0);
    for (const ms of lasts) expect(ms).toBeLessThanOrEqual(LEASE_SECONDS * 1000);
    await until("the dead to be forgotten", async () => (await found(b, "doomed.mp4")).length === 0);
    await until("its keys to expire", async () => ((await direct.keys("napster:*:*:*")) as string[]).length === 0);
    direct.close();
  });

  test("redis killed and started again: own peers go on, the operator hears once of each, and the index heals", async () => {
    const mine = await startRedis();
    const events: RedisEvent[] = [];
    const [a, b] = [await come(mine.url, events), await come(mine.url)];
    good(await a.join(at(1), [share("a.mp4")], undefined));
    good(await b.join(at(2), [share("a.mp4")], undefined));
    await mine.stop();
    await until("both to notice", () => !a.shared && !b.shared);
    expect(await found(a, "a.mp4")).toEqual([1]);
    const late = good(await a.join(at(3), [share("a.mp4"), share("late.mp4")], undefined));
    await a.update(late, share("more.mp4"));
    expect(await found(a, "a.mp4")).toEqual([1, 3]);
    const again = await startRedis({ port: mine.port });
    await until("the index to heal", async () => (await found(b, "a.mp4")).length === 3);
    await until("the other way too", async () => (await found(a, "a.mp4")).length === 3);
    expect(await found(b, "more.mp4")).toEqual([3]);
    expect(events).toEqual([{ type: "away", trouble: { why: "unreachable" } }, { type: "back" }]);
    await again.stop();
  });

  test("redis that hangs holds nobody up for long", async () => {
    const mine = await startRedis();
    const a = await come(mine.url);
    good(await a.join(at(1), [share("a.mp4")], undefined));
    mine.signal("SIGSTOP");
    const from = performance.now();
    expect(await found(a, "a.mp4")).toEqual([1]);
    expect(performance.now() - from).toBeLessThan(20_000);
    expect(a.shared).toBe(false); // from here on it is not asked
    const then = performance.now();
    for (let i = 0; i < 100; i++) expect(await found(a, "a.mp4")).toEqual([1]);
    expect(performance.now() - then).toBeLessThan(20_000);
    mine.signal("SIGCONT");
    await until("it to come back", () => a.shared);
    await mine.stop();
  });

  const trouble = async (url: string): Promise<RedisEvent | undefined> => {
    const events: RedisEvent[] = [];
    const catalog = make(url, events);
    good(await catalog.join(at(1), [share("a.mp4")], undefined));
    expect(await found(catalog, "a.mp4")).toEqual([1]);
    await until("the operator to be told", () => events.length > 0, 10);
    expect(await found(catalog, "a.mp4")).toEqual([1]);
    return events[0];
  };
  const why = (event: RedisEvent | undefined) => (event?.type === "away" ? event.trouble.why : event?.type);

  test("nobody at the address is unreachable", async () => {
    expect(why(await trouble(`redis://127.0.0.1:${freePorts(1)[0]}`))).toBe("unreachable");
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
    const direct = new Bun.RedisClient(mine.url);
    await direct.set("napster:servers", "foreign");
    expect(why(await trouble(mine.url))).toBe("unusable");
    await direct.del("napster:servers");
    const a = await come(mine.url);
    await direct.send("ZADD", ["napster:servers", "99999999999999", "liar"]);
    for (let i = 0; i < 64; i++)
      await direct.send("ZADD", [
        `napster:liar:n:${i}`,
        "0",
        "a.mp4\u0000not an address",
        "0",
        "a.mp4\u00008.8.8.8:99999",
      ]);
    expect(await found(a, "a.mp4")).toEqual([]);
    direct.close();
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
