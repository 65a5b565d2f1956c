// Hours of a server's life: comings and goings, searches, UPDATE storms and hostile clients; resident memory over time.
// Invariant: all traffic is on loopback, paced, and from a bounded number of sockets; at most 10 % growth, or exit code 1.
// Never: looks at another process than the server that it started.
//
//   bun run soak:server [--hours 2] [--peers 300] [--rate 100] [--program dist/…/napster-server]
// `--rate`: requests a second of all peers together. A run below half an hour compares with its first third, not with ten minutes.

import { parseArgs } from "node:util";
import { openDoor } from "./load-door.ts";
import { type Running, startNapster } from "./load-servers.ts";
import { median } from "./stats.ts";

const { values } = parseArgs({
  options: {
    hours: { type: "string", default: "2" },
    peers: { type: "string", default: "300" },
    rate: { type: "string", default: "100" },
    program: { type: "string" },
  },
});
const totalMs = Number(values.hours) * 3_600_000;
const wanted = Number(values.peers);
const GROWTH_MAX = 1.1;
/** From here on memory is compared: ten minutes, or a third of a short run. */
const settledMs = Math.min(600_000, totalMs / 3);
/** Memory is the median of so long. */
const windowMs = Math.min(120_000, totalMs / 4);
const TICK_MS = 100;

const random = (below: number): number => Math.floor(Math.random() * below);
const nameOf = (i: number): string => `Aula ${i % 97} de redes ${i}.mp4`;
const NAMES = 20_000;
const door = openDoor();
const deaf = Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } });
deaf.unref();
const counts = { joined: 0, left: 0, asked: 0, storms: 0, hostile: 0, bytes: 0, refused: 0 };

type Peer = { readonly socket: Bun.Socket; readonly diesAt: number };

/** A connection from an address of its own, whose answers are counted and dropped. */
const open = (server: Running, from: string, onClose: () => void = () => {}): Promise<Bun.Socket> => {
  const options = {
    hostname: server.ip,
    port: server.port,
    localAddress: from,
    socket: {
      data(_socket: Bun.Socket, chunk: Buffer) {
        counts.bytes += chunk.length;
        if (chunk.toString("latin1", 0, 5) === "ERROR") counts.refused++;
      },
      close: onClose,
      error: onClose,
    },
  };
  return Bun.connect(options);
};

const peers = new Set<Peer>();
async function come(server: Running): Promise<void> {
  const ip = `127.1.${random(250)}.${1 + random(250)}`;
  const payload = Array.from({ length: 10 + random(90) }, () => `1000000 - ${nameOf(random(NAMES))}\n`).join("");
  let peer: Peer | undefined;
  const socket = await open(server, ip, () => peer && peers.delete(peer));
  peer = { socket, diesAt: performance.now() + 5000 + random(60_000) };
  peers.add(peer);
  socket.write(`JOIN ${ip}:${door} ${Buffer.byteLength(payload)}\n${payload}`);
  counts.joined++;
}

/** With a goodbye or without. */
function go(peer: Peer): void {
  peers.delete(peer);
  counts.left++;
  if (random(2) === 0) peer.socket.write("LEAVE\n");
  else peer.socket.terminate();
}

/** One request, or now and then a hundred names at once that are new. */
function ask({ socket }: Peer): void {
  counts.asked++;
  const name = nameOf(random(NAMES));
  const kind = random(100);
  if (kind < 60) socket.write(`SEARCH ${name}\n`);
  else if (kind < 80) socket.write(`FIND 0 20 aula ${random(97)}\n`);
  else if (kind < 90) socket.write(`UPDATE ${1 + random(1e9)} - ${name}\n`);
  else if (kind < 97) socket.write(`WISH ${name}\nUNWISH ${name}\n`);
  else {
    counts.storms++;
    const updates = Array.from(
      { length: 100 },
      (_, i) => `UPDATE ${1 + random(1e9)} - storm ${random(1e6)} ${i}.mp4\n`,
    );
    socket.write(updates.join(""));
  }
}

const LARGE = Buffer.alloc(4 * 1024 * 1024, "1 - x.mp4\n");
const HOSTILE: readonly ((socket: Bun.Socket, ip: string) => void)[] = [
  (socket) => void socket.write(crypto.getRandomValues(new Uint8Array(4096))),
  (socket, ip) => void socket.write(`JOIN ${ip}:${deaf.port} 0\n`),
  (socket, ip) => {
    socket.write(`JOIN ${ip}:${door} ${64 * 1024 * 1024}\n`);
    socket.write(LARGE);
  },
  (socket, ip) => void socket.write(`JOIN ${ip}:1 0 -\n${"FIND 0 100 a\n".repeat(200)}`),
  (socket, ip) => void socket.write(`JOIN ${ip}:1 0 -\n${"SEARCH nada.mp4\n".repeat(5000)}`),
  (socket) => void socket.write("A".repeat(2000)),
  () => {}, // says nothing at all
];

/** Stays for a while, and is gone without a word. */
async function harass(server: Running): Promise<void> {
  const ip = `127.2.${random(250)}.${1 + random(250)}`;
  const socket = await open(server, ip);
  counts.hostile++;
  HOSTILE[random(HOSTILE.length)]?.(socket, ip);
  setTimeout(() => socket.terminate(), 1000 + random(20_000));
}

function tick(server: Running, count: number): void {
  const now = performance.now();
  for (const peer of peers) if (now > peer.diesAt) go(peer);
  for (let i = peers.size; i < wanted && i < peers.size + 20; i++) void come(server).catch(() => {});
  const all = [...peers];
  for (let i = 0; i < Math.ceil((Number(values.rate) * TICK_MS) / 1000); i++) {
    const peer = all[random(all.length)];
    if (peer !== undefined) ask(peer);
  }
  if (count % 100 === 0) for (const { socket } of all) socket.write("PING\n");
  if (count % 5 === 0) void harass(server).catch(() => {});
}

const server = await startNapster({ program: values.program, flags: ["--host", "127.0.0.1", "--quiet"] });
const start = performance.now();
const samples: { readonly at: number; readonly mb: number }[] = [];
const between = (from: number, to: number): number =>
  median(samples.filter(({ at }) => at >= from && at <= to).map(({ mb }) => mb));
const lineMs = Math.max(10_000, totalMs / 60);
let nextLine = 0;
for (let count = 0; performance.now() - start < totalMs; count++) {
  tick(server, count);
  const at = performance.now() - start;
  if (count % 10 === 0) samples.push({ at, mb: server.rss() });
  if (at >= nextLine) {
    nextLine += lineMs;
    const { joined, left, asked, storms, hostile, refused } = counts;
    console.log(
      `${(at / 60_000).toFixed(1).padStart(6)} min  RSS ${server.rss().toFixed(0).padStart(4)} MB  CPU ${server.cpu().toFixed(0)} s  ${peers.size} peers  ` +
        `${joined} came, ${left} went, ${asked} requests, ${storms} storms, ${hostile} hostile, ${refused} errors`,
    );
  }
  await Bun.sleep(TICK_MS);
}
const [before, after] = [between(settledMs, settledMs + windowMs), between(totalMs - windowMs, totalMs)];
const ratio = after / before;
console.log(
  `resident memory: ${before.toFixed(0)} MB after ${(settledMs / 60_000).toFixed(1)} min, ${after.toFixed(0)} MB at the end: ${ratio.toFixed(2)} × (≤ ${GROWTH_MAX})`,
);
await server.stop();
process.exit(ratio > GROWTH_MAX ? 1 : 0);
