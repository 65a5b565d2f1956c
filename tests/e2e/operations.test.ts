// The server as its operator has it: flags, pages, logs, signals, and several servers on one index.
// Invariant: run from the source, on port 0, told ready by its own line; redis-server is a real one.
// Never: sleeps; what takes a lease is polled for.

import { describe, expect, test } from "bun:test";
import { createConnection } from "node:net";
import { join } from "node:path";
import { LEASE_SECONDS } from "../../src/catalog/redis.ts";
import { parseAddress } from "../../src/protocol/address.ts";
import { freePorts } from "../support/folders.ts";
import { good } from "../support/good.ts";
import { type Program, startProgram } from "../support/program.ts";
import { openRaw, type Raw } from "../support/raw.ts";
import { hasRedis, startRedis } from "../support/redis.ts";
import { askList, joinOf } from "../support/servidor.ts";
import { until } from "../support/until.ts";

const SERVER = join(import.meta.dir, "../../src/napster-server.ts");
/** Nobody is dialled back: the peers here are sockets that listen nowhere. */
const start = (...flags: string[]): Program =>
  startProgram({
    command: [process.execPath, SERVER, "--host", "127.0.0.1", "--port", "0", "--no-probe", ...flags],
    stdin: "none",
  });

const dial = async (server: Program): Promise<Raw> => openRaw(good(parseAddress(await server.ready())));

async function enter(server: Program, port: number, ...names: string[]): Promise<Raw> {
  const raw = await dial(server);
  raw.send(joinOf(port, names));
  expect(await raw.line()).toBe(`JOIN_OK 127.0.0.1:${port}`);
  return raw;
}

const search = async (raw: Raw, name: string): Promise<string[]> =>
  (await askList(raw, `SEARCH ${name}`)).split("\n").filter(Boolean).sort();

describe("flags", () => {
  test("--quiet leaves stdout empty, --metrics serves its pages, SIGTERM tells the peers and ends well", async () => {
    await using server = start("--quiet", "--metrics", "0");
    using peer = await enter(server, 5001, "a.mp4");
    expect(await search(peer, "a.mp4")).toEqual(["127.0.0.1:5001"]);
    const door = /métricas em (http:\S+)\/metrics/.exec(server.stderr())?.[1] ?? "";
    expect(await (await fetch(`${door}/metrics`)).text()).toContain(
      'napster_requests_total{verb="SEARCH",outcome="ok"} 1',
    );
    expect((await fetch(`${door}/healthz`)).status).toBe(200);
    server.signal("SIGTERM");
    expect(await peer.rest()).toStartWith("ERROR SHUTTING_DOWN retry");
    expect(await server.exit()).toBe(0);
    expect(server.stdout()).toBe("");
  });

  test("--log json writes one object a line on stderr, and stdout stays as dictated", async () => {
    await using server = start(
      "--log",
      "json",
      "--verbose",
      "--metrics",
      "0",
      "--catalog",
      `redis://127.0.0.1:${freePorts(1)[0]}`,
    );
    await server.complains('"event":"ready"');
    const { port } = JSON.parse(
      server
        .stderr()
        .split("\n")
        .find((line) => line.includes('"ready"')) ?? "{}",
    );
    using raw = await openRaw({ ip: "127.0.0.1", port });
    raw.send("JOIN 127.0.0.1:5002 10\n1 - a.mp4\nFROB \u001b[2J\n");
    await raw.lines(2);
    await server.complains("UNKNOWN_VERB");
    await server.complains("INDEX_UNREACHABLE");
    server.signal("SIGINT");
    expect(await server.exit()).toBe(0);
    const events = server
      .stderr()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(new Set(events.map(({ event }) => event))).toEqual(
      new Set(["ready", "metrics", "addresses", "failed", "refused", "stopping"]),
    );
    expect(events.every(({ time, level }) => !Number.isNaN(Date.parse(time)) && typeof level === "string")).toBeTrue();
    expect(server.stdout()).toBe("Peer 127.0.0.1:5002 adicionado com arquivos a.mp4\n");
  });

  test("mistakes are told in one line with a hint, and end with 2", async () => {
    for (const flags of [
      ["--catalog", "http://x:1"],
      ["--catalog", "redis://"],
      ["--catalog", "redis://h:1/x"],
      ["--metrics", "70000"],
      ["--metrics", "1.2.3:9"],
      ["--log", "xml"],
    ]) {
      await using server = start(...flags);
      expect(await server.exit(), flags.join(" ")).toBe(2);
      expect(server.stderr()).toMatch(/^erro: .*pede .*\[USAGE\]\ndica: /);
    }
  });

  test("limits and trusted ranges come into force", async () => {
    await using server = start("--max-peers", "1", "--max-names", "1", "--trust-addresses", "127.0.0.0/8");
    using one = await dial(server);
    one.send("JOIN 203.0.113.9:80 20\n1 - a.mp4\n1 - b.mp4\nJOIN 203.0.113.9:80 10\n1 - a.mp4\n");
    expect(await one.lines(2)).toEqual(["ERROR TOO_MANY final at most 1 names", "JOIN_OK 203.0.113.9:80"]);
    using two = await dial(server);
    two.send("JOIN 127.0.0.1:81 0\n");
    expect(await two.line()).toBe("ERROR TOO_MANY retry peers");
    await using tight = start("--max-join-bytes", "1024", "--max-unjoined-per-address", "1");
    using large = await dial(tight);
    using _late = await dial(tight);
    expect(await _late.rest()).toBe("ERROR TOO_MANY retry connections that have not joined\n");
    large.send("JOIN 127.0.0.1:80 1025\n");
    expect(await large.rest()).toBe("ERROR PAYLOAD_TOO_LARGE final at most 1024 bytes\n");
    await using small = start("--max-connections-per-address", "1");
    using _first = await enter(small, 5001);
    using second = await dial(small);
    expect(await second.rest()).toBe("ERROR TOO_MANY retry connections\n");
  });

  test("a door that is taken is told, and the server does not start", async () => {
    const other = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    await using server = start("--metrics", String(other.port));
    expect(await server.exit()).toBe(1);
    expect(server.stderr()).toContain("[PORT_IN_USE]");
    other.stop(true);
  });
});

test("one address that takes all it can get leaves room for others, where descriptors are few", async () => {
  await using server = startProgram({
    command: [
      ...["bash", "-c", 'ulimit -n 200; exec "$0" "$@"'],
      ...[process.execPath, SERVER, "--host", "127.0.0.1", "--port", "0"],
    ],
    stdin: "none",
  });
  const { ip, port } = good(parseAddress(await server.ready()));
  const greedy = Array.from({ length: 400 }, () => createConnection({ host: ip, port, localAddress: "127.0.0.2" }));
  const answers: string[] = [];
  for (const socket of greedy) {
    socket.on("error", () => {});
    socket.on("data", (chunk) => answers.push(chunk.toString()));
    socket.write("JOIN 127.0.0.2:9 0 -\n");
  }
  await until("most to be answered", () => answers.length > 80);
  // While those that were told to go are still going, one may be closed without a word.
  await until("another address to be served", async () => {
    using other = await openRaw({ ip, port });
    other.send("PING\n");
    return (await other.line().catch(() => "closed")) === "PONG";
  });
  expect(answers.filter((text) => text.includes("TOO_MANY")).length).toBeGreaterThan(0);
  for (const socket of greedy) socket.destroy();
});

test("a JOIN of many names is one line as dictated, in its place among others", async () => {
  await using server = start();
  using _small = await enter(server, 5001, "a.mp4");
  const names = Array.from({ length: 3000 }, (_, i) => `${i} ${"lorem ipsum ".repeat(5)}.mp4`);
  using large = await enter(server, 5002, ...names, "0 fim.mp4", ...names.slice(0, 10));
  large.send("SEARCH a.mp4\n");
  await server.shows("Peer 127.0.0.1:5002 solicitou arquivo a.mp4\n");
  expect(server.stdout()).toBe(
    `Peer 127.0.0.1:5001 adicionado com arquivos a.mp4
Peer 127.0.0.1:5002 adicionado com arquivos ${names.join(" ")} 0 fim.mp4
Peer 127.0.0.1:5002 solicitou arquivo a.mp4
`,
  );
});

describe("napster-peer find", () => {
  const find = (server: string, ...args: string[]): Program =>
    startProgram({
      command: [
        process.execPath,
        SERVER.replace("napster-server", "napster-peer"),
        "find",
        ...args,
        "--server",
        server,
      ],
      stdin: "none",
    });

  test("finds by words, for people and for programs, and ends with 3 when there is nothing", async () => {
    await using server = start("--quiet");
    const address = await server.ready();
    using peer = await enter(server, 5031, "Ação na aula.mp4", "Aula de redes.mp4");
    await using person = find(address, "aula", "acao");
    expect(await person.exit()).toBe(0);
    expect(person.stdout()).toEndWith("1\t1\tAção na aula.mp4\n");
    await using program = find(address, "AULA", "--json");
    expect(await program.exit()).toBe(0);
    const event = JSON.parse(program.stdout().trimEnd().split("\n").at(-1) ?? "");
    expect(event).toMatchObject({ event: "contents", words: "AULA" });
    expect(event.contents.map(({ name }: { name: string }) => name)).toEqual(["Aula de redes.mp4", "Ação na aula.mp4"]);
    await using nothing = find(address, "nada");
    expect(await nothing.exit()).toBe(3);
    expect(await search(peer, "Aula de redes.mp4")).toEqual(["127.0.0.1:5031"]);
  });

  test("without the shared index is answered with the server's own, and one line says so", async () => {
    await using server = start("--quiet", "--catalog", `redis://127.0.0.1:${freePorts(1)[0]}`);
    using _peer = await enter(server, 5032, "aula.mp4");
    await using asked = find(await server.ready(), "aula");
    expect(await asked.exit()).toBe(0);
    expect(asked.stdout()).toContain("aula.mp4");
    expect(asked.stderr().split("[INDEX_PARTIAL]").length - 1).toBe(1);
  });
});

describe.skipIf(!hasRedis)("servers on one index (skipped where redis-server is not installed)", () => {
  test("find each other's peers; one that is killed is forgotten within its lease, and comes back empty", async () => {
    const redis = await startRedis();
    const flags = ["--quiet", "--catalog", redis.url];
    await using a = start(...flags);
    await using b = start(...flags);
    await using doomed = start(...flags);
    using one = await enter(a, 5011, "a.mp4");
    using two = await enter(b, 5012, "a.mp4");
    using three = await enter(doomed, 5013, "a.mp4");
    for (const raw of [one, two, three])
      await until("all three to be found", async () => (await search(raw, "a.mp4")).length === 3);
    doomed.signal("SIGKILL");
    await doomed.exit();
    const killed = performance.now();
    const alive = ["127.0.0.1:5011", "127.0.0.1:5012"];
    await until("the dead to be forgotten", async () => (await search(one, "a.mp4")).length === 2);
    expect((performance.now() - killed) / 1000).toBeLessThan(3 * LEASE_SECONDS);
    expect(await search(two, "a.mp4")).toEqual(alive);
    await using again = start(...flags);
    using late = await enter(again, 5014);
    await until("the new one to see the others", async () => (await search(late, "a.mp4")).length === 2);
    expect(await search(one, "a.mp4")).toEqual(alive);
    // A peer of another server is told of as it comes, and FIND knows it.
    await until("the index to be whole", async () => (await askList(one, "SEARCH b.mp4")) === "");
    one.send("WISH b.mp4\n");
    expect(await one.line()).toBe("WISH_OK all");
    using _four = await enter(again, 5015, "b.mp4");
    expect(await one.line()).toBe("ARRIVED b.mp4");
    expect(await search(one, "b.mp4")).toEqual(["127.0.0.1:5015"]);
    one.send("FIND 0 10 b\n");
    expect(await one.line()).toBe("FIND_OK 0 12");
    expect(await one.line()).toBe("1 1 - b.mp4");
    // Stopped well, a server takes its peers along.
    b.signal("SIGTERM");
    expect(await b.exit()).toBe(0);
    await until("its peers to be gone", async () => (await search(one, "a.mp4")).join() === "127.0.0.1:5011");
    await redis.stop();
  }, 40_000);

  test("go on by themselves when redis is killed under load, say so once, and heal", async () => {
    const redis = await startRedis();
    await using a = start("--quiet", "--catalog", redis.url);
    await using b = start("--quiet", "--catalog", redis.url);
    using one = await enter(a, 5021, "a.mp4");
    using two = await enter(b, 5022, "a.mp4");
    await until("both to be found", async () => (await search(one, "a.mp4")).length === 2);
    using asker = await enter(b, 5024); // of its own: answers go to whoever reads first
    let asked = 0;
    let running = true;
    const load = (async () => {
      for (; running; asked++) expect(await search(asker, "a.mp4")).toContain("127.0.0.1:5022");
    })();
    await redis.stop();
    await a.complains("[INDEX_UNREACHABLE]");
    const before = asked;
    await until("searches to be answered meanwhile", async () => asked > before);
    await until("the other's lease to end", async () => (await search(one, "a.mp4")).join() === "127.0.0.1:5021");
    one.send(`SEARCH a.mp4\nSOURCES ${"aa".repeat(32)}\nWISH never.mp4\n`);
    expect(await one.lines(2)).toEqual(["SEARCH_OK 15 partial", "127.0.0.1:5021"]);
    expect(await one.lines(2)).toEqual(["SOURCES_OK 0 partial", "WISH_OK own"]);
    using three = await enter(a, 5023, "a.mp4");
    expect(await search(three, "a.mp4")).toEqual(["127.0.0.1:5021", "127.0.0.1:5023"]);
    const back = await startRedis({ port: redis.port });
    await until("the index to heal", async () => (await search(two, "a.mp4")).length === 3);
    await a.complains("o índice compartilhado voltou");
    expect(a.stderr().split("[INDEX_UNREACHABLE]").length - 1).toBe(1);
    running = false;
    await load;
    await back.stop();
  }, 40_000);
});
