// One process of the crowd: peers over raw sockets that join, stay, come back, and ask, as told over IPC.
// Invariant: a peer that loses its connection comes back with the program's own jittered back-off.
// Never: measures anything but what a peer waits for.

import type { Socket } from "bun";
import { openDoor } from "./load-door.ts";
import { createHistogram } from "./load-histogram.ts";
import { createRandom, libraryOf, nameOf, pickTitle, shareOf } from "./load-names.ts";

export type Order =
  | { do: "crowd"; ip: string; port: number; first: number; count: number; names: number; atOnce: number }
  | { do: "churn"; perSecond: number; seconds: number }
  | { do: "search"; ip: string; port: number; connections: number; perSecond: number; seconds: number; first: number }
  | { do: "count" };
export type Report = {
  joined: number;
  failed: number;
  seconds: number;
  answered: number;
  bytes: number;
  counts: readonly number[];
};

type Waiter = { readonly at: number; readonly done: (line: string, payload: string) => void };
type Peer = {
  id: number;
  socket: Socket<Peer> | undefined;
  held: Buffer;
  waiting: Waiter[];
  joined: boolean;
  backoff: number;
  leaving: boolean;
};

const CONNECT_MS_MAX = 7000;
const EMPTY = Buffer.alloc(0);
let where = { ip: "127.0.0.1", port: 0 };
let names = 50;
const peers: Peer[] = [];
let joined = 0;
let joinLatency = createHistogram();

const door = openDoor();

const addressOf = (id: number): string => `127.${1 + (id >> 16)}.${(id >> 8) & 255}.${id & 255}:${door}`;

function ask(peer: Peer, text: string, done: Waiter["done"]): void {
  peer.waiting.push({ at: performance.now(), done });
  peer.socket?.write(text);
}

function read(peer: Peer, chunk: Buffer): void {
  peer.held = peer.held.length === 0 ? chunk : Buffer.concat([peer.held, chunk]);
  for (;;) {
    const end = peer.held.indexOf(10);
    if (end < 0) return;
    const line = peer.held.toString("latin1", 0, end);
    const length = line.startsWith("SEARCH_OK ") ? Number(line.slice(10)) : 0;
    if (peer.held.length < end + 1 + length) return;
    const payload = length === 0 ? "" : peer.held.toString("latin1", end + 1, end + 1 + length);
    peer.held = peer.held.length === end + 1 + length ? EMPTY : peer.held.subarray(end + 1 + length);
    peer.waiting.shift()?.done(line, payload);
  }
}

function lost(peer: Peer): void {
  if (peer.joined) joined--;
  peer.joined = false;
  peer.socket = undefined;
  peer.held = EMPTY;
  peer.waiting = [];
  if (peer.leaving) return;
  setTimeout(() => void enter(peer), peer.backoff * (0.5 + Math.random() / 2));
  peer.backoff = Math.min(8000, peer.backoff * 2);
}

/** Connects and joins; whether it is in. */
async function enter(peer: Peer): Promise<boolean> {
  const over = Promise.withResolvers<boolean>();
  peer.leaving = false;
  let late = false;
  const opened = await Promise.race([
    Bun.connect<Peer>({
      hostname: `127.0.0.${1 + (peer.id % 8)}`, // several addresses, so that the ports of one do not run out
      port: where.port,
      data: peer,
      socket: {
        open(socket) {
          if (late) socket.terminate();
          else peer.socket = socket;
        },
        data: (_, chunk) => read(peer, chunk),
        close(socket) {
          if (peer.socket !== socket) return;
          over.resolve(false);
          lost(peer);
        },
      },
    }).catch(() => undefined),
    Bun.sleep(CONNECT_MS_MAX).then(() => undefined), // as the program does: a lost SYN is not waited for for long
  ]);
  if (opened === undefined) {
    late = true;
    lost(peer);
    return false;
  }
  const payload = names === 0 ? "" : libraryOf(names, createRandom(peer.id));
  const at = performance.now();
  ask(peer, `JOIN ${addressOf(peer.id)} ${Buffer.byteLength(payload)}\n${payload}`, (line) => {
    if (!line.startsWith("JOIN_OK")) return over.resolve(false);
    joinLatency.add(performance.now() - at);
    peer.joined = true;
    peer.backoff = 250;
    joined++;
    over.resolve(true);
  });
  return over.promise;
}

async function crowd(first: number, count: number, atOnce: number): Promise<number> {
  let next = 0;
  let failed = 0;
  const one = async () => {
    while (next < count) {
      const peer: Peer = {
        id: first + next++,
        socket: undefined,
        held: EMPTY,
        waiting: [],
        joined: false,
        backoff: 250,
        leaving: false,
      };
      peers.push(peer);
      if (!(await enter(peer))) failed++;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return failed;
}

/** Every peer says PING every ten seconds, spread evenly. */
let turn = 0;
setInterval(() => {
  for (let i = turn++ % 100; i < peers.length; i += 100) {
    const peer = peers[i] as Peer;
    if (peer.joined) ask(peer, "PING\n", () => {});
  }
}, 100);

/** So many a second leave without a word and come back at once; as many tell of a download. */
async function churn(perSecond: number, seconds: number): Promise<number> {
  let failed = 0;
  const until = performance.now() + seconds * 1000;
  const pending: Promise<void>[] = [];
  while (performance.now() < until) {
    for (let i = 0; i < perSecond / 50; i++) {
      const peer = peers[Math.floor(Math.random() * peers.length)] as Peer;
      if (!peer.joined) continue;
      peer.leaving = true;
      peer.socket?.terminate();
      pending.push(
        new Promise((resolve) => setTimeout(resolve, 5)).then(async () => {
          // The server may not have seen the connection close yet.
          for (let n = 0; n < 20; n++) if (await enter(peer)) return;
          failed++;
        }),
      );
      const other = peers[Math.floor(Math.random() * peers.length)] as Peer;
      if (other.joined) ask(other, `UPDATE ${shareOf(pickTitle(Math.random))}`, () => {});
    }
    await Bun.sleep(20);
  }
  await Promise.all(pending);
  return failed;
}

async function search(order: Extract<Order, { do: "search" }>): Promise<Report> {
  const latency = createHistogram();
  let answered = 0;
  let bytes = 0;
  const askers: Peer[] = [];
  names = 0;
  for (let i = 0; i < order.connections; i++) {
    const peer: Peer = {
      id: order.first + i,
      socket: undefined,
      held: EMPTY,
      waiting: [],
      joined: false,
      backoff: 250,
      leaving: false,
    };
    await enter(peer);
    askers.push(peer);
  }
  const from = performance.now();
  const until = from + order.seconds * 1000;
  for (let due = from, i = 0; performance.now() < until; ) {
    for (; due <= performance.now(); due += 1000 / order.perSecond, i++) {
      const at = due; // from when it should have been sent: a late generator hides nothing
      ask(askers[i % askers.length] as Peer, `SEARCH ${nameOf(pickTitle(Math.random))}\n`, (_, payload) => {
        latency.add(performance.now() - at);
        answered++;
        bytes += payload.length;
      });
    }
    await Bun.sleep(1);
  }
  await Bun.sleep(100);
  return { joined, failed: 0, seconds: order.seconds, answered, bytes, counts: latency.counts };
}

process.on("message", async (order: Order) => {
  const from = performance.now();
  const report = (failed: number): Report => ({
    joined,
    failed,
    seconds: (performance.now() - from) / 1000,
    answered: 0,
    bytes: 0,
    counts: joinLatency.counts,
  });
  if (order.do === "crowd") {
    where = { ip: order.ip, port: order.port };
    names = order.names;
    joinLatency = createHistogram();
    process.send?.(report(await crowd(order.first, order.count, order.atOnce)));
  } else if (order.do === "churn") {
    joinLatency = createHistogram();
    process.send?.(report(await churn(order.perSecond, order.seconds)));
  } else if (order.do === "search") {
    where = { ip: order.ip, port: order.port };
    process.send?.(await search(order));
  } else process.send?.(report(0));
});
process.on("disconnect", () => process.exit(0));
