import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  ANSWERS_PER_ADDRESS_MAX,
  ANSWERS_PER_SECOND_MAX,
  createDiscoveryAnswers,
  type DiscoveryAnswers,
  INTERFACES_MS,
  SAME_QUESTION_MS,
} from "../../src/discovery/discovery-answers.ts";
import type { DiscoveryNet } from "../../src/discovery/discovery-net.ts";
import { FOUND_SERVERS_MAX, OTHERS_MS, searchServers } from "../../src/discovery/discovery-search.ts";
import { locateServer, OWN_SERVER_MS } from "../../src/discovery/locate-server.ts";
import { isIn } from "../../src/protocol/address.ts";
import {
  decodeAnswer,
  decodeQuestion,
  encodeAnswer,
  encodeQuestion,
  isServerName,
  QUESTION_BYTES,
  SERVER_NAME_BYTES_MAX,
} from "../../src/protocol/discovery.ts";
import { fault, isFault } from "../../src/protocol/fault.ts";
import type { Connection } from "../../src/transport/connection.ts";
import { openDatagrams, ownSubnets } from "../../src/transport/datagrams.ts";
import { createVirtualClock, turn } from "../support/clock.ts";
import { closedMachine, createNetworks, type Networks } from "../support/discovery.ts";
import { until } from "../support/until.ts";

const NONCE = "0123456789abcdef";
const ID = `${"ABCDEFGH".repeat(6)}ABCA`;
const QUESTION = { ip: "192.168.0.20", port: 50_000 };

describe("the two datagrams", () => {
  const anyNonce = fc.stringMatching(/^[0-9a-f]{16}$/);
  const anyName = fc.string({ unit: "grapheme", minLength: 1, maxLength: 70 }).filter(isServerName);
  const anyAnswer = fc.record({
    nonce: anyNonce,
    port: fc.integer({ min: 1, max: 65_535 }),
    id: fc.option(fc.constant(ID), { nil: undefined }),
    name: anyName,
  });

  test("come back as they were, and the answer is never longer than the question", () => {
    fc.assert(
      fc.property(anyAnswer, (answer) => {
        const question = encodeQuestion(answer.nonce);
        expect(question.length).toBe(QUESTION_BYTES);
        expect(decodeQuestion(question)).toBe(answer.nonce);
        const bytes = encodeAnswer(answer);
        expect(bytes.length).toBeLessThanOrEqual(question.length);
        expect(decodeAnswer(bytes)).toEqual(answer);
      }),
    );
    const longest = { nonce: NONCE, port: 65_535, id: ID, name: "x".repeat(SERVER_NAME_BYTES_MAX) };
    expect(encodeAnswer(longest).length).toBeLessThanOrEqual(QUESTION_BYTES);
  });

  test("of any bytes are none, and what is one is exactly right", () => {
    const start = fc.constantFrom(encodeQuestion(NONCE), encodeAnswer({ nonce: NONCE, port: 1099, id: ID, name: "a" }));
    const change = fc.tuple(fc.nat(300), fc.nat(255));
    const damaged = fc.tuple(start, fc.array(change, { maxLength: 3 }), fc.nat(600)).map(([bytes, changes, length]) => {
      const copy = new Uint8Array(length);
      copy.set(bytes.subarray(0, length));
      for (const [at, value] of changes) if (at < length) copy[at] = value;
      return copy;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 600 }), damaged), (bytes) => {
        const question = decodeQuestion(bytes);
        if (question !== undefined) expect(question).toMatch(/^[0-9a-f]{16}$/);
        const answer = decodeAnswer(bytes);
        if (answer === undefined) return;
        expect(answer.port).toBeGreaterThan(0);
        expect(isServerName(answer.name)).toBeTrue();
      }),
      { numRuns: 3000 },
    );
  });

  test.each([
    ["without padding", encodeQuestion(NONCE).subarray(0, QUESTION_BYTES - 1)],
    ["longer than any question", new Uint8Array(513).fill(32)],
    ["without an end of line", new Uint8Array(256).fill(65)],
  ])("a question %s is none", (_, bytes) => expect(decodeQuestion(bytes)).toBeUndefined());

  test("of an ID that is none is no answer", () => {
    for (const id of ["a", ID.toLowerCase(), `${ID}A`, `${ID.slice(1)}B`])
      expect(decodeAnswer(encodeAnswer({ nonce: NONCE, port: 1, id, name: "x" })), id).toBeUndefined();
  });

  test.each(["\u001b[31mx", "a\u202eb", "a/b", "x".repeat(64), "CON", ""])("no server is called %j", (name) => {
    expect(decodeAnswer(encodeAnswer({ nonce: NONCE, port: 1, id: undefined, name }))).toBeUndefined();
  });
});

type Server = {
  readonly net: DiscoveryNet;
  readonly ip?: string;
  readonly port?: number;
  readonly name?: string;
  readonly id?: string;
};

/** A network of machines on one clock. */
function open() {
  const clock = createVirtualClock();
  const networks: Networks = createNetworks();
  async function serve({ net, ip = "0.0.0.0", port = 1099, name = "sala", id }: Server): Promise<DiscoveryAnswers> {
    const answers = await createDiscoveryAnswers({ net, clock, listening: { ip, port }, name, id });
    if (answers === undefined || isFault(answers)) throw new Error(`no answers: ${answers?.fault}`);
    return answers;
  }
  /** What a search comes to, and after how many milliseconds. */
  async function search(net: DiscoveryNet) {
    let found: Awaited<ReturnType<typeof searchServers>> | undefined;
    void searchServers(net, clock).then((result) => {
      found = result;
    });
    const began = clock.now();
    while (found === undefined && clock.now() - began < 2000) await clock.advance(10);
    return { found: found ?? [], ms: clock.now() - began };
  }
  const answersSince = (from: number) => networks.sent.slice(from).filter(({ bytes }) => decodeAnswer(bytes));
  return { clock, networks, serve, search, answersSince };
}

describe("a search", () => {
  test("finds the server of its network within 40 ms of its answer, by one answer to what comes twice", async () => {
    const { networks, serve, search, answersSince } = open();
    await serve({ net: networks.machine("192.168.0.10"), port: 1100, name: "sala 3" });
    const { found, ms } = await search(networks.machine("192.168.0.20"));
    expect(found).toEqual([{ address: { ip: "192.168.0.10", port: 1100 }, name: "sala 3", id: undefined }]);
    expect(ms).toBeLessThanOrEqual(OTHERS_MS + 10);
    expect(answersSince(0)).toHaveLength(1);
  });

  test("finds it by broadcast where multicast is blocked", async () => {
    const { networks, serve, search } = open();
    networks.blocksMulticast = true;
    await serve({ net: networks.machine("192.168.0.10") });
    expect((await search(networks.machine("192.168.0.20"))).found).toHaveLength(1);
  });

  test("finds every server, two of one name by their addresses, through each interface", async () => {
    const { networks, serve, search } = open();
    await serve({ net: networks.machine("192.168.0.10") });
    await serve({ net: networks.machine("192.168.0.11") });
    await serve({ net: networks.machine("10.0.0.1") });
    const { found } = await search(networks.machine("192.168.0.20", "10.0.0.20"));
    expect(found.map(({ address, name }) => `${address.ip} ${name}`)).toEqual([
      "10.0.0.1 sala",
      "192.168.0.10 sala",
      "192.168.0.11 sala",
    ]);
  });

  test("takes one server with two addresses for one, and machines that were copied for two", async () => {
    const { networks, serve, search } = open();
    await serve({ net: networks.machine("192.168.0.10", "10.0.0.1"), id: ID });
    const found = await search(networks.machine("192.168.0.20", "10.0.0.20"));
    expect(found.found.map(({ id }) => id)).toEqual([ID]);
    await serve({ net: networks.machine("192.168.0.11"), id: ID, name: "outra" });
    expect((await search(networks.machine("192.168.0.20", "10.0.0.20"))).found).toHaveLength(2);
  });

  test("finds both servers of one machine", async () => {
    const { networks, serve, search } = open();
    const net = networks.machine("192.168.0.10");
    await serve({ net });
    await serve({ net, port: 1100 });
    expect((await search(networks.machine("192.168.0.20"))).found).toHaveLength(2);
  });

  test("asks three times and is over in 0.7 s where no server answers, and at once where there is no network", async () => {
    const { networks, search } = open();
    const { found, ms } = await search(networks.machine("192.168.0.20"));
    expect(found).toEqual([]);
    expect(ms).toBeLessThanOrEqual(700);
    expect(networks.sent).toHaveLength(6);
    expect((await search(networks.machine())).ms).toBe(10);
    const denied = closedMachine(networks.machine("192.168.0.20"), fault("PORT_DENIED", "ours"));
    expect((await search(denied)).ms).toBe(10);
  });

  test("takes no answer to another question, from another network, or beyond sixteen", async () => {
    const { networks, clock } = open();
    const searching = searchServers(networks.machine("192.168.0.20"), clock);
    await turn();
    const asked = networks.sent[0];
    const nonce = asked === undefined ? "" : (decodeQuestion(asked.bytes) ?? "");
    const say = (ip: string, to: string) =>
      networks.inject(
        encodeAnswer({ nonce: to, port: 1099, id: undefined, name: "x" }),
        { ip, port: 1099 },
        { ip: "192.168.0.20", port: 40_000 },
      );
    say("192.168.0.66", NONCE);
    say("10.9.9.9", nonce);
    for (let last = 100; last < 130; last++) say(`192.168.0.${last}`, nonce);
    await clock.advance(OTHERS_MS);
    const found = await searching;
    expect(found).toHaveLength(FOUND_SERVERS_MAX);
    expect(found.every(({ address }) => /^192\.168\.0\.1\d\d$/.test(address.ip))).toBeTrue();
  });
});

describe("a server", () => {
  test("on 127.0.0.0/8 answers nothing, and opens no port", async () => {
    const { networks, clock } = open();
    const net = closedMachine(networks.machine("192.168.0.10"), fault("PORT_IN_USE", "ours"));
    const options = { net, clock, listening: { ip: "127.0.0.1", port: 1099 }, name: "sala" };
    expect(await createDiscoveryAnswers(options)).toBeUndefined();
    expect(await createDiscoveryAnswers({ ...options, listening: { ip: "192.168.0.10", port: 1099 } })).toMatchObject({
      fault: "PORT_IN_USE",
    });
  });

  test("on one address answers in that network only", async () => {
    const { networks, serve, search } = open();
    await serve({ net: networks.machine("192.168.0.10", "10.0.0.1"), ip: "192.168.0.10" });
    expect((await search(networks.machine("10.0.0.20"))).found).toEqual([]);
    expect((await search(networks.machine("192.168.0.20"))).found).toHaveLength(1);
  });

  test("gives no answer to an address outside its networks, nor to one that means all machines", async () => {
    const { networks, serve, answersSince } = open();
    await serve({ net: networks.machine("192.168.0.10") });
    for (const ip of ["8.8.8.8", "192.168.1.20", "192.168.0.255", "192.168.0.0", "255.255.255.255", "127.0.0.1"])
      networks.inject(encodeQuestion(NONCE), { ip, port: 50_000 }, { ip: "192.168.0.10", port: 1099 });
    await turn();
    expect(answersSince(0)).toEqual([]);
  });

  test("gives twenty answers a second at most, four of them to one address, and each question one", async () => {
    const { networks, serve, answersSince, clock } = open();
    await serve({ net: networks.machine("192.168.0.10") });
    const ask = async (ip: string, nonce: string) => {
      networks.inject(encodeQuestion(nonce), { ip, port: 50_000 }, { ip: "192.168.0.10", port: 1099 });
      await turn();
    };
    for (let i = 0; i < 50; i++) await ask(QUESTION.ip, i.toString(16).padStart(16, "0"));
    expect(answersSince(0)).toHaveLength(ANSWERS_PER_ADDRESS_MAX);
    for (let last = 30; last < 200; last++) await ask(`192.168.0.${last}`, NONCE);
    expect(answersSince(0)).toHaveLength(ANSWERS_PER_SECOND_MAX);
    for (let ms = 0; ms < 10_000; ms += 100) {
      for (let last = 30; last < 200; last++) await ask(`192.168.0.${last}`, ms.toString(16).padStart(16, "0"));
      await clock.advance(100);
    }
    expect(answersSince(0).length).toBeLessThanOrEqual(ANSWERS_PER_SECOND_MAX * 11);
    await clock.advance(1000);
    const before = networks.sent.length;
    for (let i = 0; i < 5; i++) await ask(QUESTION.ip, NONCE);
    expect(answersSince(before)).toHaveLength(1);
    await clock.advance(SAME_QUESTION_MS);
    await ask(QUESTION.ip, NONCE);
    expect(answersSince(before)).toHaveLength(2);
  });

  test("is found through an interface that came later", async () => {
    const { networks, serve, search, clock } = open();
    const ips = ["192.168.0.10"];
    const net = networks.machine("192.168.0.10", "10.0.0.1");
    await serve({ net: { ...net, subnets: () => net.subnets().filter(({ ip }) => ips.includes(ip)) } });
    expect((await search(networks.machine("10.0.0.20"))).found).toEqual([]);
    ips.push("10.0.0.1");
    await clock.advance(INTERFACES_MS);
    expect((await search(networks.machine("10.0.0.20"))).found).toHaveLength(1);
  });
});

describe("without a named server", () => {
  const usual = { ip: "127.0.0.1", port: 1099 };
  const other = { address: { ip: "192.168.0.10", port: 1099 }, name: "sala", id: undefined };
  const answering = async (_: unknown, opened: (connection: Connection) => unknown) => {
    const connection = { end() {} } as Connection;
    opened(connection);
    return connection;
  };
  const refusing = async () => fault("PEER_UNREACHABLE", "network");

  test("one of this machine is taken, and no other machine is asked", async () => {
    let searches = 0;
    const search = async () => [other].slice(searches++);
    const clock = createVirtualClock();
    expect(await locateServer({ usual, connect: answering, clock, search })).toBe("usual");
    expect(searches).toBe(0);
    expect(clock.pending).toBe(0);
  });

  test("those of the network are found, and without any the usual place is meant", async () => {
    const clock = createVirtualClock();
    expect(await locateServer({ usual, connect: refusing, clock, search: async () => [other] })).toEqual([other]);
    expect(await locateServer({ usual, connect: refusing, clock, search: async () => [] })).toBe("usual");
  });

  test("a machine that does not refuse a dial at once delays nothing", async () => {
    const clock = createVirtualClock();
    const located = locateServer({ usual, connect: () => new Promise(() => {}), clock, search: async () => [other] });
    await clock.advance(OWN_SERVER_MS);
    expect(await located).toEqual([other]);
  });
});

describe("the system's datagrams", () => {
  test("reach a socket of this machine, and a port that is taken is a fault", async () => {
    const heard: string[] = [];
    const at = { ip: "127.0.0.1", port: 0 };
    const [far] = await Promise.all([Bun.udpSocket({ hostname: "127.0.0.1", port: 0 })]);
    const taken = await openDatagrams({ at: { ip: "127.0.0.1", port: far.port } }, () => {});
    expect(taken).toMatchObject({ fault: "PORT_IN_USE" });
    for (const wrong of [
      { ip: "203.0.113.5", port: 0 },
      { ip: "127.0.0.1", port: 70_000 },
    ])
      expect(await openDatagrams({ at: wrong }, () => {})).toMatchObject({ fault: "HOST_UNAVAILABLE" });
    const datagrams = await openDatagrams({ at }, (bytes, from) => heard.push(`${from.ip} ${Buffer.from(bytes)}`));
    if (isFault(datagrams)) throw new Error(datagrams.detail);
    expect(datagrams.join("239.192.10.99", "203.0.113.9")).toBeFalse(); // no interface of this machine
    const port = Promise.withResolvers<number>();
    const echo = await Bun.udpSocket({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket, data, from, address) {
          port.resolve(from);
          socket.send(data, from, address);
        },
      },
    });
    datagrams.send(new TextEncoder().encode("oi"), { ip: "127.0.0.1", port: echo.port });
    await port.promise;
    await until("the echo", () => heard.length > 0);
    expect(heard).toEqual(["127.0.0.1 oi"]);
    datagrams.close();
    datagrams.close();
    echo.close();
    far.close();
  });

  test("know this machine's networks, without its own loop", () => {
    for (const { ip, range, broadcast } of ownSubnets()) {
      expect(isIn(ip, range)).toBeTrue();
      expect(ip).not.toStartWith("127.");
      if (broadcast !== undefined) expect(isIn(broadcast, range)).toBeTrue();
    }
  });
});
