// The load generator: peers by the thousand over raw sockets on loopback, and redis-server next to the server.
// Invariant: what is compared runs in the same minute, on the same sockets and the same loop, in alternating rounds.
// Never: uses the peer's own code, except the words of the protocol.
//
//   bun bench/load.ts compare [--seconds 4] [--rounds 3] [--program dist/…/napster-server]
//   bun bench/load.ts shared [--only rates|newcomer|million|kills]   the shared index: 16 servers, a new one, kills
//   bun bench/load.ts idle [--peers 19500] [--seconds 10]     20,000 peers with 50 names, SEARCH under coming and going, restart
//   bun bench/load.ts join                                    one peer with 100,000 names
//   bun bench/load.ts limit [--peers 40000]                   more and more, until something breaks
// A process may open as many sockets as `ulimit -n` says (Bun raises the soft limit to the hard one by itself). Where the
// hard limit is 20,000, a server has room for 19,500 peers and some who come and go.

import { parseArgs } from "node:util";
import { bigJoin, type CrowdOptions, idle, limit } from "./load-crowd.ts";
import { openDoor } from "./load-door.ts";
import { percentiles } from "./load-histogram.ts";
import { runLoop, type Target } from "./load-loop.ts";
import { type Running, startNapster, startRedis } from "./load-servers.ts";
import { kills, newcomer, type Row, rates } from "./load-shared.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" },
    connections: { type: "string", default: "50" },
    program: { type: "string" },
    lines: { type: "boolean", default: false },
    peers: { type: "string", default: "19500" },
    only: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const connections = Number(values.connections);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const median = (list: number[]): number => list.sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? 0;

const nameOf = (i: number): string => `Aula de redes (2026) parte ${String(i).padStart(3, "0")}.mp4`;
const door = openDoor();
const HOLDERS = [`127.0.0.11:${door}`, `127.0.0.12:${door}`, `127.0.0.13:${door}`];

/**
 * Three peers that stay and have every name, at the first server or spread over several; what each asker of the first
 * one sends and hears. The order of others' peers is Redis'.
 */
async function napsterTargets(...servers: readonly [Running, ...Running[]]): Promise<Target[]> {
  const server = servers[0];
  const names = Array.from({ length: connections }, (_, i) => nameOf(i));
  const payload = names.map((name) => `1000000000 - ${name}\n`).join("");
  for (const [i, holder] of HOLDERS.entries()) {
    const joined = Promise.withResolvers<void>();
    const home = servers[i % servers.length] as Running;
    const socket = await Bun.connect({
      hostname: home.ip,
      port: home.port,
      socket: { data: () => joined.resolve(), close: () => joined.resolve() },
    });
    socket.write(`JOIN ${holder} ${Buffer.byteLength(payload)}\n${payload}`);
    await joined.promise;
    setInterval(() => socket.write("PING\n"), 5000);
  }
  const list = HOLDERS.map((holder) => `${holder}\n`).join("");
  return names.map((name, i) => ({
    ...server,
    greeting: bytes(`JOIN 127.0.0.2:${20_000 + i} 0 -\n`),
    greetingReply: bytes(`JOIN_OK 127.0.0.2:${20_000 + i}\n`),
    request: bytes(`SEARCH ${name}\n`),
    reply: bytes(`SEARCH_OK ${list.length}\n${list}`),
  }));
}

async function redisTargets(server: Running): Promise<Target[]> {
  const redis = new Bun.RedisClient(`redis://${server.ip}:${server.port}`);
  const names = Array.from({ length: connections }, (_, i) => nameOf(i));
  for (const name of names) for (const holder of HOLDERS) await redis.sadd(name, holder);
  const targets: Target[] = [];
  for (const name of names) {
    const members = (await redis.smembers(name)) as string[];
    const list = members.map((one) => `$${one.length}\r\n${one}\r\n`).join("");
    targets.push({
      ...server,
      request: bytes(`*2\r\n$8\r\nSMEMBERS\r\n$${name.length}\r\n${name}\r\n`),
      reply: bytes(`*${members.length}\r\n${list}`),
    });
  }
  redis.close();
  return targets;
}

async function compare(): Promise<void> {
  const flags = values.lines ? [] : ["--quiet"];
  const napster = await startNapster({ program: values.program, flags });
  const redis = await startRedis();
  const sides = [
    { name: "SEARCH", server: napster, targets: await napsterTargets(napster) },
    { name: "SMEMBERS", server: redis, targets: await redisTargets(redis) },
  ].filter(({ name }) => values.only === undefined || name === values.only);
  for (const depth of [1, 16]) {
    const rates = sides.map((): number[] => []);
    const costs = sides.map((): number[] => []);
    for (let round = 0; round < Number(values.rounds); round++)
      for (const [i, { name, server, targets }] of sides.entries()) {
        const cpu = server.cpu();
        const { answered, seconds: took, latency } = await runLoop(targets, depth, 0.5, seconds);
        const busy = (server.cpu() - cpu) / (took + 0.5);
        rates[i]?.push(answered / took);
        costs[i]?.push(busy / (answered / took));
        console.log(
          `${name.padEnd(9)} ${String(depth).padStart(2)} in flight  ${Math.round(answered / took)}/s`.padEnd(42),
          `p50/p99/p99.9 ${percentiles(latency)} ms  server CPU ${((busy / (answered / took)) * 1e6).toFixed(2)} us/request (${Math.round(busy * 100)} %)  RSS ${server.rss().toFixed(0)} MB`,
        );
      }
    const [ours = 0, theirs = 1] = rates.map(median);
    const [our = 1, their = 0] = costs.map(median);
    console.log(
      `${depth} in flight: SEARCH / SMEMBERS = ${(ours / theirs).toFixed(2)} by rate, ${(their / our).toFixed(2)} by requests for each CPU second of the server\n`,
    );
  }
  await napster.stop();
  await redis.stop();
}

/** What the shared index promises, part by part; redis-benchmark's own GET beside it. */
async function shared(): Promise<void> {
  const rows: Row[] = [];
  const tell = (row: Row): void => {
    rows.push(row);
    console.log(`${row.met ? "ok" : "NO"}  ${row.what}: ${row.is} (${row.goal})`);
  };
  const options = { seconds, rounds: Number(values.rounds), program: values.program, tell };
  const parts = {
    rates: () => rates(options, 16),
    newcomer: () => newcomer(options, 100_000, true),
    million: () => newcomer(options, 1_000_000, false),
    kills: () => kills(options),
  };
  for (const [name, part] of Object.entries(parts)) if (values.only === undefined || values.only === name) await part();
  const table = rows.map(({ what, is, goal, met }) => `| ${what} | ${is} | ${goal} | ${met ? "yes" : "NO"} |`);
  console.log(["", "| what | is | goal | met |", "| --- | --- | --- | --- |", ...table].join("\n"));
}

const crowd: CrowdOptions = {
  peers: Number(values.peers),
  seconds,
  program: values.program,
  flags: values.lines ? [] : ["--quiet"],
};
const runs: Record<string, () => Promise<void>> = {
  compare,
  shared,
  idle: () => idle(crowd),
  join: () => bigJoin(crowd),
  limit: () => limit(crowd),
};
const run = runs[positionals[0] ?? ""];
if (run === undefined) console.error(`one of: ${Object.keys(runs).join(", ")}`);
await run?.();
process.exit(run === undefined ? 2 : 0);
