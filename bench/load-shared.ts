// The shared index under load: SEARCH next to GET of the same Redis, with one server and with many, and what kills do to it.
// Invariant: what is compared runs in the same minute, in alternating rounds, by the same loop; every goal is printed with
// its ratio. Never: counts a server's CPU without Redis' and that of all other servers.

import { type Change, createIndexStore } from "../src/catalog/index-store.ts";
import { openNodes } from "../src/catalog/redis-nodes.ts";
import { createHistogram, type Histogram, percentiles } from "./load-histogram.ts";
import { runLoop, type Target } from "./load-loop.ts";
import { nameOf } from "./load-names.ts";
import { type Running, startNapster, startRedis } from "./load-servers.ts";

export type SharedOptions = {
  readonly seconds: number;
  readonly rounds: number;
  readonly program: string | undefined;
  /** Written on as lines of a table, where given. */
  readonly tell: (row: Row) => void;
};
export type Row = { readonly what: string; readonly is: string; readonly goal: string; readonly met: boolean };

const CONNECTIONS = 50;
const WARMUP_MS = 1000;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? 0;
const sum = (list: readonly Running[]): number => list.reduce((cpu, one) => cpu + one.cpu(), 0);

/** A peer that stays, as bytes: what it asks is answered one after another. */
export type Held = { ask(request: string): Promise<string>; close(): void };

export async function hold(server: Running, address: string, names: readonly string[]): Promise<Held> {
  let got = "";
  let wanted: ((reply: string) => void) | undefined;
  const look = (): void => {
    const end = got.indexOf("\n");
    if (end < 0 || wanted === undefined) return;
    const line = got.slice(0, end);
    const length = line.startsWith("SEARCH_OK") ? Number(line.split(" ")[1]) : 0;
    if (got.length < end + 1 + length) return;
    const reply = got.slice(0, end + 1 + length);
    got = got.slice(end + 1 + length);
    const done = wanted;
    wanted = undefined;
    done(reply);
  };
  let queue = new Uint8Array(0);
  const flush = (socket: { write(data: Uint8Array): number }): void => {
    queue = queue.subarray(Math.max(0, socket.write(queue)));
  };
  const socket = await Bun.connect({
    hostname: server.ip,
    port: server.port,
    socket: {
      data(_, chunk) {
        got += chunk.toString();
        look();
      },
      drain: flush,
      close() {
        wanted?.("closed");
      },
    },
  });
  let turn: Promise<unknown> = Promise.resolve();
  const ask = (request: string): Promise<string> => {
    const reply = turn.then(
      () =>
        new Promise<string>((resolve) => {
          wanted = resolve;
          queue = Buffer.concat([queue, bytes(request)]);
          flush(socket);
        }),
    );
    turn = reply; // a PING of the timer's must not take another question's reply
    return reply;
  };
  const payload = names.map((name) => `1000000000 - ${name}\n`).join("");
  const joined = await ask(`JOIN ${address} ${Buffer.byteLength(payload)}\n${payload}`);
  if (!joined.startsWith("JOIN_OK")) throw new Error(joined);
  const timer = setInterval(() => wanted === undefined && void ask("PING\n"), 10_000);
  return {
    ask,
    close() {
      clearInterval(timer);
      socket.terminate();
    },
  };
}

async function until(check: () => Promise<boolean> | boolean, what: string, secondsMax = 120): Promise<number> {
  const from = performance.now();
  while (!(await check())) {
    if (performance.now() - from > secondsMax * 1000) throw new Error(`waited ${secondsMax} s for ${what}`);
    await Bun.sleep(10);
  }
  return (performance.now() - from) / 1000;
}

const HOLDERS = ["127.0.0.11:7001", "127.0.0.12:7001", "127.0.0.13:7001"];
const LIST = HOLDERS.map((holder) => `${holder}\n`).join("");

const searches = (server: Running, names: readonly string[], list: string): Target[] =>
  names.map((name, i) => ({
    ...server,
    greeting: bytes(`JOIN 127.0.0.2:${20_000 + i} 0 -\n`),
    greetingReply: bytes(`JOIN_OK 127.0.0.2:${20_000 + i}\n`),
    request: bytes(`SEARCH ${name}\n`),
    reply: bytes(`SEARCH_OK ${list.length}\n${list}`),
  }));

const flagsOf = (redis: Running): string[] => [
  "--quiet",
  "--no-probe",
  "--catalog",
  `redis://${redis.ip}:${redis.port}`,
];

/** SEARCH at one server in memory, at the first of one and of `many` with a shared index, and GET. */
export async function rates({ seconds, rounds, program, tell }: SharedOptions, many: number): Promise<void> {
  const redis = await startRedis();
  const other = await startRedis();
  const flags = flagsOf(redis);
  const memory = await startNapster({ program, flags: ["--quiet", "--no-probe"] });
  const lone = await startNapster({ program, flags: flagsOf(other) });
  const servers = await Promise.all(Array.from({ length: many }, () => startNapster({ program, flags })));
  const names = Array.from({ length: CONNECTIONS }, (_, i) => nameOf(i));
  const held: Held[] = [];
  for (const [i, holder] of HOLDERS.entries())
    for (const server of [memory, lone, servers[(i * 5) % many] as Running])
      held.push(await hold(server, holder, names));
  const lists = new Map<Running, string>();
  for (const server of [memory, lone, servers[0] as Running]) {
    const asker = await hold(server, "127.0.0.3:1", []);
    await until(async () => {
      const [head = "", ...lines] = (await asker.ask(`SEARCH ${names[0]}\n`)).split("\n");
      lists.set(server, lines.join("\n"));
      return !head.includes("partial") && lines.length === 4;
    }, "all three to be found");
    held.push(asker);
  }
  const client = new Bun.RedisClient(`redis://${redis.ip}:${redis.port}`);
  for (const name of names) await client.set(name, LIST);
  client.close();
  const first = servers[0] as Running;
  const sides = [
    {
      name: "GET",
      of: [redis],
      targets: names.map((name) => ({
        ...redis,
        request: bytes(`*2\r\n$3\r\nGET\r\n$${Buffer.byteLength(name)}\r\n${name}\r\n`),
        reply: bytes(`$${LIST.length}\r\n${LIST}\r\n`),
      })),
    },
    { name: "memory", of: [memory], targets: searches(memory, names, lists.get(memory) ?? "") },
    { name: "one", of: [lone, other], targets: searches(lone, names, lists.get(lone) ?? "") },
    { name: "many", of: [...servers, redis], targets: searches(first, names, lists.get(first) ?? "") },
  ];
  for (const depth of [1, 16]) {
    const all = sides.map(() => ({ rates: [] as number[], cpus: [] as number[] }));
    for (let round = 0; round < rounds; round++)
      for (const [i, { of, targets }] of sides.entries()) {
        const before = sum(of);
        const { answered, seconds: took } = await runLoop(targets, depth, 0.5, seconds);
        const rate = answered / took;
        all[i]?.rates.push(rate);
        all[i]?.cpus.push(((sum(of) - before) / (took + 0.5) / rate) * 1e6);
      }
    const ratio = (a: number, b: number, of: "rates" | "cpus"): number =>
      median((all[a]?.[of] ?? []).map((value, i) => value / (all[b]?.[of][i] ?? 1)));
    const shown = sides
      .map(
        ({ name }, i) =>
          `${name} ${Math.round(median(all[i]?.rates ?? []))}/s ${median(all[i]?.cpus ?? []).toFixed(2)} us`,
      )
      .join(", ");
    console.log(`${depth} in flight: ${shown}`);
    const row = (what: string, value: number, goal: string, met: boolean): void =>
      tell({ what: `${what}, ${depth} in flight`, is: value.toFixed(2), goal, met });
    row(`SEARCH with ${many} servers / GET of their Redis`, ratio(3, 0, "rates"), "≥ 0.5", ratio(3, 0, "rates") >= 0.5);
    row(`SEARCH with ${many} servers / with one`, ratio(3, 2, "rates"), "≥ 0.9", ratio(3, 2, "rates") >= 0.9);
    row("CPU a SEARCH, all processes / in memory", ratio(3, 1, "cpus"), "≤ 3", ratio(3, 1, "cpus") <= 3);
    if (depth === 16) continue;
    const rate = median(all[3]?.rates ?? []) / 2;
    for (const i of [0, 3]) {
      const latency = await half(i === 0 ? redis : first, sides[i]?.targets ?? [], rate, 3 * seconds);
      const what = `p50/p99/p99.9 of ${i === 0 ? "GET" : "SEARCH"} at ${Math.round(rate)}/s, half of SEARCH's peak, in ms`;
      tell({ what, is: percentiles(latency), goal: "p99 ≤ 5", met: latency.at(0.99) <= 5 });
    }
  }
  for (const one of held) one.close();
  for (const one of [memory, lone, ...servers, redis, other]) await one.stop();
}

/** SEARCH at a steady rate, each request sent when it is due and counted from then on. */
async function half(
  { ip, port }: Running,
  targets: readonly Target[],
  rate: number,
  seconds: number,
): Promise<Histogram> {
  const latency = createHistogram();
  let from = Number.POSITIVE_INFINITY;
  const due: number[][] = targets.map(() => []);
  const rest = targets.map(() => 0);
  const sockets = await Promise.all(
    targets.map(async (target, i) => {
      let greeted = 0;
      const ready = Promise.withResolvers<void>();
      const socket = await Bun.connect({
        hostname: ip,
        port,
        socket: {
          data(_, chunk) {
            let length = chunk.length;
            const head = target.greetingReply?.length ?? 0;
            if (greeted < head) {
              const taken = Math.min(length, head - greeted);
              greeted += taken;
              length -= taken;
              if (greeted === head) ready.resolve();
            }
            rest[i] = (rest[i] as number) + length;
            const now = performance.now();
            for (; (rest[i] as number) >= target.reply.length; rest[i] = (rest[i] as number) - target.reply.length) {
              const at = due[i]?.shift() ?? now;
              if (at - from > WARMUP_MS) latency.add(now - at);
            }
          },
        },
      });
      if (target.greeting === undefined) return socket;
      socket.write(target.greeting);
      await ready.promise;
      return socket;
    }),
  );
  from = performance.now();
  for (let sent = 0; performance.now() - from < seconds * 1000; await Bun.sleep(1)) {
    const now = performance.now();
    for (const wanted = ((now - from) / 1000) * rate; sent < wanted; sent++) {
      const i = sent % targets.length;
      due[i]?.push(from + (sent / rate) * 1000);
      sockets[i]?.write(targets[i]?.request ?? "");
    }
  }
  await Bun.sleep(100);
  for (const socket of sockets) socket.terminate();
  return latency;
}

const PEERS_EACH = 10;
const nameAt = (server: number, peer: number, i: number): string => `vídeo ${server} ${peer} ${i}.mp4`;
const addressAt = (server: number, peer: number): string => `127.0.${server}.${peer + 1}:7001`;

/**
 * Entries from `count` servers: how long a new server takes until it answers for all of them. Each of those is a server
 * of its own where `isReal`; else they write to the index from here, and have no replica to fill on the same two cores.
 */
export async function newcomer(
  { program, tell }: SharedOptions,
  entries: number,
  isReal: boolean,
  count = 20,
): Promise<void> {
  const redis = await startRedis();
  const each = entries / count / PEERS_EACH;
  const from = performance.now();
  const stop = isReal ? await realServers(redis, program, count, each) : await writers(redis, count, each);
  const filled = (performance.now() - from) / 1000;
  const client = new Bun.RedisClient(`redis://${redis.ip}:${redis.port}`);
  const leases = async (): Promise<string[]> =>
    ((await client.send("ZRANGE", ["napster:{index}:servers", "0", "-1"])) as string[]).sort();
  const before = await leases();
  const cpu = redis.cpu();
  const begun = performance.now();
  const late = await startNapster({ program, flags: flagsOf(redis) });
  const started = (performance.now() - begun) / 1000;
  const asker = await hold(late, "127.0.100.1:1", []);
  const replies = createHistogram();
  await until(async () => {
    const asked = performance.now();
    const told = await asker.ask("SEARCH none\n");
    replies.add(performance.now() - asked);
    return !told.includes("partial");
  }, "the new server to have all");
  const took = (performance.now() - begun) / 1000;
  const after = await leases();
  const lost = before.filter((name) => !after.includes(name)).length;
  let missing = 0;
  for (let s = 0; s < count; s++)
    for (let p = 0; p < PEERS_EACH; p++)
      for (let i = 0; i < each; i += 97)
        if (!(await asker.ask(`SEARCH ${nameAt(s, p, i)}\n`)).endsWith(`\n${addressAt(s, p)}\n`)) missing++;
  console.log(
    `${count} ${isReal ? "servers" : "writers"} filled in ${filled.toFixed(1)} s; a new server ready in ${started.toFixed(2)} s, CPU ${late.cpu().toFixed(2)} s, ${late.rss().toFixed(0)} MB, answered meanwhile in ${percentiles(replies)} ms (p50/p99/p99.9); Redis ${redis.rss().toFixed(0)} MB and ${(redis.cpu() - cpu).toFixed(2)} s of CPU; ${missing} samples missing, ${lost} leases lost`,
  );
  const what = `${entries} entries from ${count} ${isReal ? "servers" : "writers"}: start → a new server answers for all`;
  tell({ what, is: `${took.toFixed(1)} s`, goal: "≤ 10 s", met: took <= 10 && missing + lost === 0 });
  asker.close();
  client.close();
  await stop();
  for (const one of [late, redis]) await one.stop();
}

/** Servers, each of which has all by the time that this resolves. */
async function realServers(
  redis: Running,
  program: string | undefined,
  count: number,
  each: number,
): Promise<() => Promise<void>> {
  const servers: Running[] = [];
  for (let s = 0; s < count; s++) servers.push(await startNapster({ program, flags: flagsOf(redis) }));
  const held = await Promise.all(
    servers.map(async (server, s) => {
      const mine: Held[] = [];
      for (let p = 0; p < PEERS_EACH; p++)
        mine.push(
          await hold(
            server,
            addressAt(s, p),
            Array.from({ length: each }, (_, i) => nameAt(s, p, i)),
          ),
        );
      return mine;
    }),
  );
  for (const [first] of held)
    await until(async () => {
      for (let s = 0; s < count; s++) {
        const told = await (first as Held).ask(`SEARCH ${nameAt(s, PEERS_EACH - 1, each - 1)}\n`);
        if (told.includes("partial") || !told.endsWith(`\n${addressAt(s, PEERS_EACH - 1)}\n`)) return false;
      }
      return true;
    }, "each server to have all");
  return async () => {
    for (const one of held.flat()) one.close();
    for (const one of servers) await one.stop();
  };
}

/** What servers write and renew in the index, in the same batches, without the servers. */
async function writers(redis: Running, count: number, each: number): Promise<() => Promise<void>> {
  const url = `redis://${redis.ip}:${redis.port}`;
  const all = await Promise.all(
    Array.from({ length: count }, async (_, s) => {
      const nodes = await openNodes({
        ...{ url, seeds: [`${redis.ip}:${redis.port}`] },
        ...{ probe: async () => "+PONG", onClosed() {} },
      });
      const store = createIndexStore(nodes);
      const server = crypto.randomUUID();
      let number = 0;
      const renew = setInterval(() => void store.renew(server), 1000);
      await store.write(server, ++number, []);
      for (let p = 0; p < PEERS_EACH; p++) {
        for (let at = 0; at < each; at += 256)
          await store.write(
            server,
            ++number,
            Array.from({ length: Math.min(256, each - at) }, (_, i): Change => {
              const share = { name: nameAt(s, p, at + i), size: 1_000_000_000, root: undefined, complete: true };
              return { kind: "entry", serial: p, share };
            }),
          );
        const address = { ip: `127.0.${s}.${p + 1}`, port: 7001 };
        await store.write(server, ++number, [{ kind: "peer", serial: p, address }]);
      }
      await store.come(server, number);
      const stay = setInterval(() => void store.stay(server, number), 1000);
      return () => {
        clearInterval(renew);
        clearInterval(stay);
        nodes.close();
      };
    }),
  );
  return async () => {
    for (const stop of all) stop();
  };
}

/** Under load: a server with `peers` peers killed, and then Redis; what is told is compared with what is true, name by name. */
export async function kills({ program, tell }: SharedOptions, peers = 5000): Promise<void> {
  let redis = await startRedis();
  const flags = flagsOf(redis);
  const [a, b, doomed] = await Promise.all([0, 1, 2].map(() => startNapster({ program, flags })));
  if (a === undefined || b === undefined || doomed === undefined) return;
  const address = (kind: number, i: number): string => `127.${kind}.${i >> 8}.${i & 255 || 254}:${7001 + (i & 255)}`;
  const living: Held[] = [];
  const dying: Held[] = [];
  for (let at = 0; at < peers; at += 100)
    await Promise.all(
      Array.from({ length: 100 }, async (_, j) => {
        dying.push(await hold(doomed, address(1, at + j), [`morto ${at + j}.mp4`, "ambos.mp4"]));
      }),
    );
  for (let i = 0; i < 500; i++) living.push(await hold(b, address(2, i), [`vivo ${i}.mp4`]));
  const asker = await hold(a, "127.0.0.3:1", []);
  const told = async (name: string): Promise<string> => asker.ask(`SEARCH ${name}\n`);
  const has = async (name: string): Promise<boolean> => (await told(name)).includes("\n127.");
  const isWhole = async (): Promise<boolean> => {
    for (let i = 0; i < 500; i++) if (!(await has(`vivo ${i}.mp4`))) return false;
    return !(await told("vivo 0.mp4")).includes("partial");
  };
  await until(async () => (await has(`morto ${peers - 1}.mp4`)) && (await isWhole()), "all to be found");

  const names = Array.from({ length: CONNECTIONS }, (_, i) => `vivo ${i}.mp4`);
  const targets = names.map((name, i) => searches(a, [name], `${address(2, i)}\n`)[0] as Target);
  const load = runLoop(
    targets.map((target, i) => ({
      ...target,
      greeting: bytes(`JOIN 127.0.0.2:${30_000 + i} 0 -\n`),
      greetingReply: bytes(`JOIN_OK 127.0.0.2:${30_000 + i}\n`),
    })),
    1,
    0,
    12,
  );
  await Bun.sleep(1000);
  doomed.kill("SIGKILL");
  const from = performance.now();
  let last = 0;
  let gaps = 0;
  let asked = 0;
  for (; performance.now() - from < 10_000; asked++) {
    if (await has(`morto ${asked % peers}.mp4`)) last = (performance.now() - from) / 1000;
    if (!(await has(`vivo ${asked % 500}.mp4`))) gaps++;
  }
  let wrong = 0;
  for (let i = 0; i < peers; i++) if (await has(`morto ${i}.mp4`)) wrong++;
  const { answered, seconds } = await load;
  console.log(`beside it ${Math.round(answered / seconds)} SEARCH/s; ${asked} questions about each`);
  tell({
    what: `kill -9 of a server with ${peers} peers: the dead told for, the living missing, wrong entries after`,
    is: `${last.toFixed(2)} s, ${gaps}, ${wrong}`,
    goal: "≤ 6 s, 0, 0",
    met: last <= 6.05 && gaps === 0 && wrong === 0,
  });

  redis.kill("SIGKILL");
  await until(async () => (await told("vivo 0.mp4")).includes("partial"), "the loss to be told");
  const late = await hold(b, "127.3.0.1:7001", ["depois.mp4"]);
  redis = await startRedis(redis.port);
  const healed = await until(async () => (await has("depois.mp4")) && (await isWhole()), "the index to heal");
  for (let i = 0; i < peers; i++) if (await has(`morto ${i}.mp4`)) wrong++;
  for (let i = 0; i < 500; i++) if (!(await told(`vivo ${i}.mp4`)).endsWith(`\n${address(2, i)}\n`)) wrong++;
  const what = "kill -9 of Redis: whole again after its return, wrong entries";
  tell({ what, is: `${healed.toFixed(1)} s, ${wrong}`, goal: "≤ 10 s, 0", met: healed <= 10 && wrong === 0 });
  for (const one of [...living, ...dying, asker, late]) one.close();
  for (const one of [a, b, redis]) await one.stop();
}
