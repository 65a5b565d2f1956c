// What the server bears of one client, and what it does beyond: it says so where a reply is owed, and harms nobody else.
// Invariant: every limit here is a small one of its own, so that reaching it costs nothing.
// Never: waits for time to pass.

import { heapStats } from "bun:jsc";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { createMemoryCatalog } from "../../src/catalog/memory.ts";
import {
  FIND_WAIT_SECONDS_MAX,
  FINDS_AT_ONCE_PER_ADDRESS_MAX,
  LARGE_JOIN_BYTES_MIN,
  LARGE_JOIN_BYTES_PER_SECOND_MIN,
  LARGE_JOIN_WAIT_SECONDS_MAX,
  LARGE_JOINS_BYTES_MAX,
} from "../../src/protocol/limits.ts";
import { LIMITS, type Limits, limitsFor } from "../../src/protocol/server-limits.ts";
import { createConnectionGate } from "../../src/servidor/client-connection.ts";
import { createFairQueue } from "../../src/servidor/fair-queue.ts";
import { createJoinBudget } from "../../src/servidor/join-budget.ts";
import { createJoinQueue } from "../../src/servidor/join-queue.ts";
import type { ServidorEnv, ServidorOptions } from "../../src/servidor.ts";
import { createTokenBucket, REQUESTS } from "../../src/shared/token-bucket.ts";
import { type Connect, type Connection, DEAF, type Listen } from "../../src/transport/connection.ts";
import { createVirtualClock, turn, type VirtualClock } from "../support/clock.ts";
import { createFarEnd, createNet, type FarEnd } from "../support/net.ts";
import type { Raw } from "../support/raw.ts";
import { dial, enter as enterWith, type Running, startServidor } from "../support/servidor.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const KIB = 1024;

type Limited = Running & { readonly clock: VirtualClock };

/** A server with limits of its own, on a clock of its own; nobody is dialled back. */
function start(limits: Partial<Limits>, options: Partial<ServidorOptions & ServidorEnv> = {}): Limited {
  const clock = createVirtualClock();
  return { ...startServidor({ probe: false, limits, ...options, clock }), clock };
}
const enter = (server: Running, port: number): Promise<Raw> => enterWith(server, port, "a.mp4");

const FOUND = "SEARCH_OK 15\n127.0.0.1:5001\n";
const searched = ({ events }: Running, port: number): number =>
  events.filter((event) => event.type === "searched" && event.address.port === port).length;

describe("searches of one connection", () => {
  test("beyond its rate are answered later, all of them and in order, and nobody else waits", async () => {
    const server = start({ searchesPerSecond: 100 });
    const hasty = await enter(server, 5001);
    const other = await enter(server, 5002);
    hasty.send(`${"SEARCH a.mp4\n".repeat(250)}PING\n`);
    await until("a second's worth", () => searched(server, 5001) === 100);
    for (let i = 0; i < 50; i++) {
      other.send("SEARCH b.mp4\n");
      expect(await other.line()).toBe("SEARCH_OK 0");
    }
    expect(searched(server, 5001)).toBe(100);
    await server.clock.advance(500);
    expect(Math.abs(searched(server, 5001) - 150)).toBeLessThan(3);
    await server.clock.advance(1500);
    const found = "SEARCH_OK 30\n127.0.0.1:5001\n127.0.0.1:5002\n";
    const all = Buffer.from(await hasty.bytes(250 * found.length + 5)).toString();
    expect(all).toBe(`${found.repeat(250)}PONG\n`);
  });

  test("in the quick way and in the long one draw on the same bucket", async () => {
    const server = start({ searchesPerSecond: 10 });
    const raw = await enter(server, 5001);
    for (let i = 0; i < 5; i++) {
      raw.send("SEARCH a.mp4\n");
      expect(Buffer.from(await raw.bytes(FOUND.length)).toString()).toBe(FOUND);
      raw.send("SEARCH nobody.mp4\n");
      expect(await raw.line()).toBe("SEARCH_OK 0");
    }
    raw.send(`SEARCH a.mp4\nSOURCES ${"ab".repeat(32)}\n`);
    await until("it to be read", async () => searched(server, 5001) === 10);
    await server.clock.advance(50);
    expect(searched(server, 5001)).toBe(10);
    await server.clock.advance(1000);
    expect(Buffer.from(await raw.bytes(FOUND.length)).toString()).toBe(FOUND);
    expect(await raw.line()).toBe("SOURCES_OK 0");
  });

  test("by words have a smaller one of their own", async () => {
    const server = start({ findsPerSecond: 2 });
    const raw = await enter(server, 5001);
    raw.send("FIND 0 1 a\n".repeat(3));
    const found = "FIND_OK 0 12\n1 1 - a.mp4\n";
    for (let i = 0; i < 2; i++) expect(Buffer.from(await raw.bytes(found.length)).toString()).toBe(found);
    const rest = raw.received;
    await server.clock.advance(1000);
    await until("the third answer", () => raw.received > rest);
  });

  test("that wait for us do not make who asks silent, and are refused for now when they wait too long", async () => {
    const answers: (() => void)[] = [];
    const find = () =>
      new Promise<{ found: []; next: 0 }>((resolve) => void answers.push(() => resolve({ found: [], next: 0 })));
    const server = start({}, { catalog: { ...createMemoryCatalog(), find } });
    const all = await Promise.all(
      Array.from({ length: FINDS_AT_ONCE_PER_ADDRESS_MAX + 1 }, (_, i) => enter(server, 5001 + i)),
    );
    for (const raw of all) raw.send("FIND 0 1 a\n");
    await until("the first to be at work", () => answers.length === FINDS_AT_ONCE_PER_ADDRESS_MAX);
    await server.clock.advance(FIND_WAIT_SECONDS_MAX * 1000);
    expect(await all.at(-1)?.line()).toBe("ERROR TOO_MANY retry FINDs that wait");
    await server.clock.advance(60_000);
    for (const done of answers) done();
    for (const raw of all.slice(0, -1)) expect(await raw.line()).toBe("FIND_OK 0 0");
    await server.clock.advance(LIMITS.idleSeconds * 1000 + 1000);
    for (const raw of all.slice(0, -1)) expect(await raw.line()).toStartWith("ERROR TIMEOUT");
  });

  test("are as many as the rate says, over any time", () => {
    let now = 0;
    const bucket = createTokenBucket(1000, { now: () => now }, REQUESTS);
    let passed = 0;
    for (; now <= 3000; now += 7) passed += bucket.take(256);
    expect(passed).toBeGreaterThanOrEqual(3990);
    expect(passed).toBeLessThanOrEqual(4000);
    now = 1_000_000;
    expect(bucket.take(2000)).toBe(1000);
    expect(bucket.take(1)).toBe(0);
  });
});

describe("bytes of JOINs under way", () => {
  const limits = { joinBytesHeld: 300 * KIB, joinBytesHeldPerAddress: 300 * KIB };
  const part = Buffer.alloc(50 * KIB, "1 - x.mp4\n");
  /** One that has announced much and sent so much of it. */
  async function half(server: Running, port: number, parts: number): Promise<Raw> {
    const raw = await dial(server);
    raw.send(`PING\nJOIN 127.0.0.1:${port} ${10 * 1024 * KIB}\n`);
    await raw.line();
    for (let i = 0; i < parts; i++) raw.send(part);
    return raw;
  }

  test("beyond the budget cost the largest its connection, and small ones get in", async () => {
    const server = start(limits);
    const [small, large] = [await half(server, 5001, 1), await half(server, 5002, 4)];
    const more = await half(server, 5003, 3);
    expect(await large.rest()).toStartWith("ERROR TOO_MANY retry bytes of JOINs");
    await enter(server, 5004);
    for (const raw of [small, more]) expect(raw.isOver).toBe(false);
  });

  test("are no reason to keep small ones out while the large ones are dialled in vain", async () => {
    const silent: Connect = () => new Promise(() => {});
    const server = start(limits, { probe: true, connect: silent });
    const payload = Buffer.alloc(150 * KIB, "1 - x.mp4\n");
    const large = [await dial(server), await dial(server)];
    for (const [i, raw] of large.entries()) {
      raw.send(`PING\nJOIN 127.0.0.1:${5001 + i} ${payload.length}\n`);
      expect(await raw.line()).toBe("PONG");
      raw.send(payload);
    }
    const asks = await dial(server);
    asks.send("PING\n");
    await asks.line();
    asks.send("JOIN 127.0.0.1:5003 10 -\n1 - a.mp4\n");
    expect(await asks.line()).toBe("JOIN_OK 127.0.0.1:5003");
    await until("a large one to be told", () => large.some((raw) => raw.received > "PONG\n".length));
  });

  test("are given back when the JOIN is answered, refused or gone", async () => {
    const server = start(limits);
    const payload = Buffer.alloc(250 * KIB, "1 - x.mp4\n");
    for (let i = 0; i < 5; i++) {
      const raw = await dial(server);
      raw.send(`JOIN 127.0.0.1:${5001 + i} ${payload.length}\n`);
      raw.send(payload);
      expect(await raw.line()).toStartWith(`JOIN_OK 127.0.0.1:${5001 + i}`);
    }
    const broken = await dial(server);
    broken.send(`JOIN 127.0.0.1:6000 ${payload.length}\n`);
    broken.send(payload.subarray(1));
    broken.send("x");
    expect(await broken.line()).toStartWith("ERROR BAD_REQUEST");
    (await half(server, 6001, 5)).destroy();
    const last = await dial(server);
    await until("the one that is gone to be forgotten", async () => {
      last.send(`JOIN 127.0.0.1:6002 ${payload.length}\n`);
      last.send(payload);
      return (await last.line()).startsWith("JOIN_OK");
    });
  });

  test("are counted by address too", () => {
    const held = createJoinBudget<string>({ joinBytesHeld: 1000, joinBytesHeldPerAddress: 100 }, () => true);
    expect(held.set("a", "10.0.0.1", 60)).toBeUndefined();
    expect(held.set("b", "10.0.0.2", 100)).toBeUndefined();
    expect(held.set("c", "10.0.0.1", 41)).toBe("a");
    held.set("a", "10.0.0.1", 0);
    expect(held.set("c", "10.0.0.1", 100)).toBeUndefined();
    expect(held.bytes).toBe(200);
  });

  test("are read one chunk in a turn of the event loop, so that a long JOIN holds up no other request", async () => {
    const net = createNet();
    const told: string[] = [];
    const listen: Listen = (at, accept) =>
      net.listen(at, (connection) =>
        accept(
          Object.assign(Object.create(connection), {
            pause: () => told.push("pause"),
            resume: () => told.push("resume"),
          }),
        ),
      );
    start({}, { listen });
    const far = net.visit({ ip: "127.0.0.1", port: 1 });
    far.say(`JOIN 127.0.0.1:5002 ${1024 * KIB}\n`);
    far.say(new Uint8Array(512 * KIB).fill(65));
    expect(told).toEqual(["pause"]);
    await turn();
    expect(told).toEqual(["pause", "resume"]);
  });

  test("take the memory that they say, in however small chunks they come", () => {
    const net = createNet();
    start({}, { listen: net.listen });
    const payload = 6 * 1024 * KIB;
    const held = (): number => {
      // A collection that is under way keeps what was made since it began; the second one does not.
      Bun.gc(true);
      Bun.gc(true);
      return heapStats().heapSize;
    };
    for (const scrapBytes of [10, 300, 5000]) {
      const far = net.visit({ ip: "127.0.0.1", port: 1 });
      far.say(`JOIN 127.0.0.1:5002 ${payload}\n`);
      const before = held();
      const scrap = new Uint8Array(scrapBytes).fill(65);
      for (let sent = scrapBytes; sent < payload; sent += scrapBytes) far.say(scrap.slice());
      expect((held() - before) / payload, `in chunks of ${scrapBytes} bytes`).toBeLessThan(1.1);
      expect(far.sent).toBe("");
      far.close();
    }
  });
});

describe("connections", () => {
  /** Connections from wherever, and what all of them are told. */
  function farEnds() {
    const ends: FarEnd[] = [];
    const from = (ip: string): Connection => {
      const [connection, far] = createFarEnd({ ip, port: 1 }, () => DEAF);
      ends.push(far);
      return connection;
    };
    return { from, told: () => ends.map(({ sent }) => sent).join("") };
  }

  test("are counted in all and by address, joined or not; a trusted range counts in all only", () => {
    const { from, told } = farEnds();
    const trusted = [{ ip: "10.9.0.0", bits: 16 }];
    const gate = createConnectionGate({ ...LIMITS, connections: 5, connectionsPerAddress: 2 }, trusted);
    const enterFrom = (ip: string) => gate.enter(from(ip), 0);
    const first = enterFrom("10.0.0.1");
    first?.known();
    expect(enterFrom("10.0.0.1")).toBeDefined();
    expect(enterFrom("10.0.0.1")).toBeUndefined();
    expect(told()).toBe("ERROR TOO_MANY retry connections\n");
    for (let i = 0; i < 3; i++) expect(enterFrom("10.9.1.1")).toBeDefined();
    expect(enterFrom("10.0.0.2")).toBeUndefined();
    if (first !== undefined) gate.leave(first);
    expect(enterFrom("10.0.0.2")).toBeDefined();
  });

  test("that have not joined are so many of one address and no more; who joined does not count", () => {
    const { from, told } = farEnds();
    const gate = createConnectionGate(LIMITS);
    const first = gate.enter(from("10.0.0.1"), 0);
    for (let i = 1; i < LIMITS.unjoinedPerAddress; i++) expect(gate.enter(from("10.0.0.1"), 0)).toBeDefined();
    expect(gate.enter(from("10.0.0.1"), 0)).toBeUndefined();
    expect(told()).toBe("ERROR TOO_MANY retry connections that have not joined\n");
    expect(gate.enter(from("10.0.0.2"), 0)).toBeDefined();
    first?.known();
    first?.known();
    expect(gate.enter(from("10.0.0.1"), 0)).toBeDefined();
    expect(gate.enter(from("10.0.0.1"), 0)).toBeUndefined();
  });

  test("may take so long to join, and be silent for so long, as the operator says", async () => {
    const server = start({ unjoinedSeconds: 60, idleSeconds: 120 });
    const [stranger, member] = [await dial(server), await enter(server, 5001)];
    stranger.send("PING\n");
    await stranger.line();
    await server.clock.advance(58_000);
    expect(stranger.isOver).toBe(false);
    await server.clock.advance(3000);
    expect(await stranger.rest()).toStartWith("ERROR TIMEOUT retry no JOIN");
    await server.clock.advance(50_000);
    expect(member.isOver).toBe(false);
    await server.clock.advance(12_000);
    expect(await member.rest()).toStartWith("ERROR TIMEOUT retry silent for 120 s");
  });

  test("may announce as many names as the operator says", async () => {
    const raw = await dial(start({ names: 2 }));
    raw.send("JOIN 127.0.0.1:5001 30\n1 - a.mp4\n1 - b.mp4\n1 - c.mp4\nJOIN 127.0.0.1:5001 20\n1 - a.mp4\n1 - b.mp4\n");
    expect(await raw.lines(2)).toEqual(["ERROR TOO_MANY final at most 2 names", "JOIN_OK 127.0.0.1:5001"]);
    raw.send("UPDATE 1 - b.mp4\nUPDATE 1 - c.mp4\nWITHDRAW a.mp4\nUPDATE 1 - c.mp4\n");
    const refused = "ERROR TOO_MANY final at most 2 names";
    expect(await raw.lines(4)).toEqual(["UPDATE_OK", refused, "WITHDRAW_OK", "UPDATE_OK"]);
  });
});

describe("the limits of a server", () => {
  test("follow what its machine bears, and leave room for other addresses unless the operator says otherwise", () => {
    expect(limitsFor({}, 1000)).toEqual({
      ...LIMITS,
      connections: 1000,
      connectionsPerAddress: 500,
      unjoined: 500,
      unjoinedPerAddress: 250,
    });
    expect(limitsFor({}, 10_000_000)).toEqual(LIMITS);
    expect(limitsFor({ connections: 5000, connectionsPerAddress: 900 }, 1000)).toMatchObject({
      connections: 1000,
      connectionsPerAddress: 900,
    });
    expect(limitsFor({}, 1)).toMatchObject({ connections: 1, connectionsPerAddress: 1, unjoinedPerAddress: 1 });
  });
});

describe("turns", () => {
  test("go from address to address, so many at once, and who gives up in time never has one", async () => {
    const begun: string[] = [];
    const ends: (() => void)[] = [];
    const turns = createFairQueue(3, 2);
    const take = (ip: string, name: string) =>
      turns.take(ip, () => {
        begun.push(name);
        return new Promise<void>((resolve) => void ends.push(resolve));
      });
    for (const name of ["a1", "a2", "a3", "a4"]) take("a", name);
    for (const name of ["b1", "b2"]) take("b", name);
    const giveUp = take("a", "a5");
    expect(begun).toEqual(["a1", "a2", "b1"]);
    expect(giveUp()).toBe(true);
    for (let i = 0; i < 6; i++) {
      ends[i]?.();
      await turn();
    }
    expect(begun.slice(3).sort()).toEqual(["a3", "a4", "b2"]);
    expect(begun.indexOf("b2")).toBeLessThan(5);
    expect(take("c", "c1")()).toBe(false);
  });
});

describe("large JOINs", () => {
  const MIB = 1024 * KIB;
  /** The queue alone, on a clock of its own, and whose turn has come. */
  function queue() {
    let now = 0;
    const begun: string[] = [];
    const joins = createJoinQueue<string>({ now: () => now }, (holder) => begun.push(holder));
    return { ...joins, begun, pass: (seconds: number) => (now += seconds * 1000) };
  }

  test("are under way with so many bytes in all; the rest wait, the smallest goes first, and small ones pass by", () => {
    const joins = queue();
    expect(joins.mayRead("a", "10.0.0.1", 64 * MIB)).toBe(true);
    expect(joins.mayRead("b", "10.0.0.2", 64 * MIB)).toBe(false);
    expect(joins.mayRead("c", "10.0.0.3", 40 * MIB)).toBe(false);
    expect(joins.mayRead("d", "10.0.0.4", LARGE_JOINS_BYTES_MAX - 64 * MIB)).toBe(true);
    for (let i = 0; i < 100; i++) expect(joins.mayRead(`small ${i}`, "10.0.0.1", LARGE_JOIN_BYTES_MIN)).toBe(true);
    joins.leave("d");
    expect(joins.begun).toEqual([]);
    joins.leave("a");
    expect(joins.begun).toEqual(["c"]);
    joins.leave("c");
    expect(joins.begun).toEqual(["c", "b"]);
    expect(joins.mayRead("b", "10.0.0.2", 64 * MIB)).toBe(true);
  });

  test("of one address leave half to others, and one that is gone has no turn", () => {
    const joins = queue();
    expect(joins.mayRead("a", "10.0.0.1", 20 * MIB)).toBe(true);
    expect(joins.mayRead("b", "10.0.0.1", 30 * MIB)).toBe(false);
    expect(joins.mayRead("c", "10.0.0.1", 20 * MIB)).toBe(true);
    expect(joins.mayRead("d", "10.0.0.2", LARGE_JOINS_BYTES_MAX / 2)).toBe(true);
    joins.leave("b");
    for (const holder of ["a", "c", "d"]) joins.leave(holder);
    expect(joins.begun).toEqual([]);
  });

  test("are over when they have waited too long, or come slowly while others wait", () => {
    const joins = queue();
    joins.mayRead("slow", "10.0.0.1", 64 * MIB);
    joins.pass(100);
    expect(joins.overdue()).toEqual([]);
    joins.mayRead("waits", "10.0.0.2", 64 * MIB);
    expect(joins.overdue()).toEqual(["slow"]);
    joins.leave("slow");
    expect(joins.begun).toEqual(["waits"]);
    joins.mayRead("another", "10.0.0.3", 64 * MIB);
    joins.pass(LARGE_JOIN_WAIT_SECONDS_MAX);
    expect(joins.overdue()).toEqual(["another"]);
    joins.pass((64 * MIB) / LARGE_JOIN_BYTES_PER_SECOND_MIN);
    expect(joins.overdue()).toEqual(["another", "waits"]);
  });

  test("that wait are not read, are told to come back, and leave the way to a small one of the same address", async () => {
    const server = start({});
    const large = [await dial(server), await dial(server)];
    for (const [i, raw] of large.entries()) {
      raw.send(`PING\nJOIN 127.0.0.1:${5001 + i} ${64 * MIB}\n`);
      await raw.line();
      raw.send("1 - x.mp4\n");
    }
    await enter(server, 5003);
    await server.clock.advance(LARGE_JOIN_WAIT_SECONDS_MAX * 1000 + 1000);
    expect(await large[1]?.rest()).toStartWith("ERROR TOO_MANY retry bytes of JOINs");
    expect(large[0]?.isOver).toBe(false);
  });

  test("are read once their turn has come", async () => {
    const server = start({});
    const first = await dial(server);
    first.send(`PING\nJOIN 127.0.0.1:5001 ${64 * MIB}\n1 - x.mp4\n`);
    await first.line();
    const next = await dial(server);
    const payload = Buffer.alloc(33 * MIB, `1 - ${"x".repeat(250)}\n`);
    const whole = payload.subarray(0, payload.lastIndexOf(10) + 1);
    next.send(`JOIN 127.0.0.1:5002 ${whole.length}\n`);
    next.send(whole);
    first.destroy();
    expect(await next.line()).toBe("JOIN_OK 127.0.0.1:5002");
  });
});
