// A flood of large JOINs, and of JOINs whose port is silent: what the server's memory and an honest JOIN come to.
// Invariant: all traffic is on loopback, and bounded in connections and in time; the attackers are a process of their own.
// Never: looks at another process than the server that it started.
//
//   bun bench/flood.ts join   [--connections 30] [--addresses 30] [--kind half|refused|listed] [--body 64]
//                         [--seconds 20]
//   bun bench/flood.ts silent [--connections 400] [--seconds 20]
// Both take --program FILE, an executable in the place of the source.

import { parseArgs } from "node:util";
import { openDoor } from "./load-door.ts";
import { type Running, startNapster } from "./load-servers.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    connections: { type: "string" },
    addresses: { type: "string" },
    seconds: { type: "string", default: "20" },
    kind: { type: "string", default: "half" },
    program: { type: "string" },
    body: { type: "string", default: "64" },
    port: { type: "string", default: "0" },
  },
});
const [what = "", attacks] = positionals;
const connections = Number(values.connections ?? (what === "join" ? 30 : 400));
const addresses = Number(values.addresses ?? (what === "join" ? connections : 1));
const seconds = Number(values.seconds);
const BODY_BYTES = Number(values.body) * 1024 * 1024;
const answers = new Map<string, number>();

/** `--body` MiB of shares with the longest names, few enough to be taken unless `kind` is "refused". */
function bodyOf(kind: string): Buffer {
  const root = "a".repeat(64);
  const line = (i: number): string =>
    kind === "refused" ? `1 - ${i}.mp4\n` : `1000000000000000 ${root} ${String(i).padStart(251, "n")}.mp4\n`;
  const lines: string[] = [];
  for (let bytes = 0; bytes + 400 < BODY_BYTES; ) bytes += lines[lines.push(line(lines.length)) - 1]?.length ?? 0;
  return Buffer.from(lines.join(""));
}

type Attack = { readonly from: string; readonly to: number; readonly payload: Buffer; readonly bytes: number };

/** One JOIN from one address: `bytes` of its payload as fast as they are read, then nothing until it is closed. */
async function attack(server: number, { from, to, payload, bytes }: Attack): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let sent = 0;
  const goOn = (socket: Bun.Socket): void => {
    for (let took = 1; sent < bytes && took > 0; sent += Math.max(0, took))
      took = socket.write(payload, sent, Math.min(256 * 1024, bytes - sent));
  };
  const options = {
    hostname: "127.0.0.1",
    port: server,
    localAddress: from,
    socket: {
      open(socket: Bun.Socket) {
        socket.write(`JOIN ${from}:${to} ${payload.length}\n`);
        goOn(socket);
      },
      drain: goOn,
      data(socket: Bun.Socket, chunk: Buffer) {
        const text =
          chunk
            .toString()
            .split("\n")[0]
            ?.replace(/[\d.]+:\d+/, "…") ?? "";
        answers.set(text, (answers.get(text) ?? 0) + 1);
        if (what === "silent") socket.write(`JOIN ${from}:${to} 0\n`);
      },
      close: () => resolve(),
    },
  };
  await Bun.connect(options).catch(() => resolve());
  await promise;
}

/** The attackers' process: each of `connections` attacks again as soon as it is closed. */
async function attackers(): Promise<void> {
  const deaf = Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } });
  const payload = what === "join" ? bodyOf(values.kind) : Buffer.alloc(0);
  const bytes = payload.length - (what === "join" && values.kind === "half" ? 1 : 0);
  const to = what === "join" ? openDoor() : deaf.port;
  for (let i = 0; i < connections; i++)
    void (async () => {
      const from = `127.0.1.${(i % Math.min(addresses, 250)) + 1}`;
      for (;;) {
        await attack(Number(values.port), { from, to, payload, bytes });
        await Bun.sleep(50);
      }
    })();
  await Bun.sleep(seconds * 1000);
  for (const [text, count] of answers) console.log(`  attackers heard ${count} × ${text}`);
  process.exit(0);
}

/** How many ms an honest JOIN of 100 names takes, or -1 when it is not taken. */
async function honest(server: number, from: string, to: number): Promise<number> {
  const payload = Array.from({ length: 100 }, (_, i) => `1000 - aula ${i}.mp4\n`).join("");
  const begin = performance.now();
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const options = {
    hostname: "127.0.0.1",
    port: server,
    localAddress: from,
    socket: {
      data: (_socket: Bun.Socket, chunk: Buffer) => resolve(chunk.toString().startsWith("JOIN_OK")),
      close: () => resolve(false),
    },
  };
  const socket = await Bun.connect(options);
  socket.write(`JOIN ${from}:${to} ${payload.length}\n${payload}`);
  const isIn = await promise;
  socket.end();
  return isIn ? performance.now() - begin : -1;
}

/** Honest JOINs one after another while the attackers are at work, and memory meanwhile. */
async function watch(server: Running): Promise<void> {
  const before = server.rss();
  const command = [process.execPath, import.meta.path, what, "attack", ...process.argv.slice(3)];
  const child = Bun.spawn([...command, "--port", String(server.port)], { stdout: "inherit", stderr: "inherit" });
  const door = openDoor();
  const times: number[] = [];
  const memory: number[] = [];
  const look = setInterval(() => memory.push(server.rss()), 50);
  const from = what === "silent" ? "127.0.1.1" : "127.0.2.1";
  while (child.exitCode === null) {
    times.push(await honest(server.port, from, door));
    await Promise.race([child.exited, Bun.sleep(100)]);
  }
  clearInterval(look);
  const taken = times.filter((ms) => ms >= 0).sort((a, b) => a - b);
  const mb = (value: number): string => `${value.toFixed(0)} MB`;
  console.log(
    `resident: ${mb(before)} before, ${mb(Math.max(...memory))} at most, ${mb(server.rss())} at the end\n` +
      `honest JOIN: ${taken.length} of ${times.length} taken, median ${taken[taken.length >> 1]?.toFixed(0)} ms, longest ${taken.at(-1)?.toFixed(0)} ms`,
  );
}

async function run(): Promise<void> {
  const server = await startNapster({ program: values.program, flags: ["--quiet", "--host", "127.0.0.1"] });
  await watch(server);
  await server.stop();
}

if (what !== "join" && what !== "silent") {
  console.error("one of: join, silent");
  process.exit(2);
}
await (attacks === undefined ? run() : attackers());
process.exit(0);
