// A crowd that downloads one file from one source at once, in virtual time, out of one seed.
// The least time that any way of passing it on could take is computed next to it (Kumar and Ross 2006, Mundinger,
// Weber and Weiss 2008): the source sends each byte once, the slowest downlink takes all, all uplinks carry all copies.

import { type Address, formatAddress } from "../../src/protocol/address.ts";
import type { Holder } from "../../src/protocol/messages.ts";
import { type CrowdPeer, type CrowdWorld, createCrowdPeer } from "./crowd-peer.ts";
import { createLinks } from "./links.ts";
import { createRandom } from "./random.ts";
import { createTime } from "./time.ts";

/** In Mbit/s. */
export type Link = { readonly up: number; readonly down: number };

export type CrowdOptions = {
  readonly peers: number;
  readonly size: number;
  readonly seed: number;
  readonly link: Link;
  readonly slow: Link;
  /** The part of the peers whose links are slow. */
  readonly slowPart: number;
  /** The part that leaves before it is done, at any time of the first three quarters of the ideal. */
  readonly leavingPart: number;
  /** Virtual seconds, at most. */
  readonly secondsMax: number;
};

export const REALISTIC: Omit<CrowdOptions, "peers" | "size" | "seed"> = {
  link: { up: 20, down: 100 },
  slow: { up: 4, down: 30 },
  slowPart: 0.1,
  leavingPart: 0.05,
  secondsMax: 36_000,
};

export type CrowdResult = {
  /** Seconds until every peer that stayed had everything; Infinity when one never had. */
  readonly seconds: number;
  readonly ideal: number;
  readonly ratio: number;
  /** How many times the file the source has sent. */
  readonly sourceSent: number;
  /** When peers were done, as parts of the ideal: the first, the median, the last. */
  readonly done: readonly [number, number, number];
  /** Seconds until each had its first piece, at most. */
  readonly firstPieceSeconds: number;
  /** Bytes that came twice or were given up, as a part of all. */
  readonly waste: number;
  /** How much of the uplinks was used until the end. */
  readonly used: number;
  /** Of one peer: requests to the server in a minute (mean and most), lines to others in a second. */
  readonly serverPerMinute: number;
  readonly serverPerMinuteMost: number;
  readonly linesPerSecond: number;
  readonly waits: number;
  readonly events: number;
};

/** Of progress. */
const LOOK_MS = 20_000;
const LATENCY_MS = 15;
const PORT = 8776;
const toBytes = (mbits: number): number => (mbits * 1e6) / 8;

export function runCrowd(options: CrowdOptions, say: (text: string) => void = () => {}): CrowdResult {
  const { peers: count, size, seed, link, slow, slowPart, leavingPart, secondsMax } = options;
  const random = createRandom(seed);
  const time = createTime();
  const links = createLinks(time, LATENCY_MS);
  const byAddress = new Map<string, CrowdPeer>();
  const complete = new Map<CrowdPeer, Holder>();
  const partial = new Map<CrowdPeer, Holder>();
  let toDo = 0;
  const world: CrowdWorld = {
    clock: { now: () => time.now, after: (ms, then) => time.after(ms, then) },
    random: random.next,
    links,
    size,
    at(address) {
      const peer = byAddress.get(formatAddress(address));
      return peer?.host.alive ? peer : undefined;
    },
    holders: (asker) => [...complete.values(), ...partial.values()].filter(({ address }) => address !== asker.address),
    announce(peer, isComplete) {
      partial.delete(peer);
      (isComplete ? complete : partial).set(peer, { address: peer.address, complete: isComplete });
    },
    onDone(peer) {
      if (leaving.has(peer)) return;
      toDo--;
    },
  };
  const leaving = new Set<CrowdPeer>();

  function create(i: number, { up, down }: Link, isSource: boolean): CrowdPeer {
    const address: Address = { ip: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, port: PORT };
    const peer = createCrowdPeer(world, address, links.host(toBytes(up), toBytes(down)), isSource);
    byAddress.set(formatAddress(address), peer);
    return peer;
  }

  const source = create(0, link, true);
  world.announce(source, true);
  const crowd = Array.from({ length: count }, (_, i) => create(i + 1, i < slowPart * count ? slow : link, false));
  const shuffled = random.shuffle(crowd);
  for (const peer of shuffled.slice(0, Math.floor(leavingPart * count))) leaving.add(peer);
  const staying = crowd.filter((peer) => !leaving.has(peer));
  // Leaving is planned by what all could do together; the bound then counts their uplinks for as long as they stay.
  const planned = idealSeconds(size, source, staying, crowd, () => Number.POSITIVE_INFINITY);
  const leaveAt = new Map([...leaving].map((peer) => [peer, (0.02 + random.next() * 0.73) * planned]));
  const ideal = idealSeconds(size, source, staying, crowd, (peer) => leaveAt.get(peer) ?? Number.POSITIVE_INFINITY);
  toDo = staying.length;
  // All within two seconds: a teacher says "now".
  for (const peer of shuffled) time.after(random.next() * 2000, () => peer.download(source));
  for (const [peer, seconds] of leaveAt)
    time.after(seconds * 1000, () => {
      partial.delete(peer);
      complete.delete(peer);
      peer.leave();
    });
  const first = watchFirst(time, crowd);
  every(time, LOOK_MS, () => {
    const kept = crowd.map((peer) => peer.keptBytes / size).sort((x, y) => x - y);
    const at = (part: number) => `${(100 * (kept[Math.floor(part * (kept.length - 1))] ?? 0)).toFixed(0)} %`;
    const { sent } = source.host;
    say(`${time.now / 1000} s: least ${at(0)}, median ${at(0.5)}, most ${at(1)}; source ${(sent / size).toFixed(2)} ×`);
  });
  const isDone = time.run(secondsMax * 1000, () => toDo === 0);
  const seconds = time.now / 1000;
  const measured = measure({ source, crowd, staying, size, ideal, seconds });
  const ended = isDone ? seconds : Number.POSITIVE_INFINITY;
  return { ...measured, seconds: ended, ratio: ended / ideal, firstPieceSeconds: first() / 1000, events: time.events };
}

type Ended = {
  readonly source: CrowdPeer;
  readonly crowd: readonly CrowdPeer[];
  readonly staying: readonly CrowdPeer[];
  readonly size: number;
  readonly ideal: number;
  readonly seconds: number;
};

function measure({ source, crowd, staying, size, ideal, seconds }: Ended) {
  const ends = staying.flatMap(({ doneAt }) => (doneAt === undefined ? [] : [doneAt / 1000 / ideal]));
  ends.sort((a, b) => a - b);
  const sum = (of: (peer: CrowdPeer) => number): number => crowd.reduce((all, peer) => all + of(peer), 0);
  const hosts = [source, ...crowd].map(({ host }) => host);
  const minutes = seconds / 60;
  const lines = sum(({ counts: { pieces, gets, asks, waits } }) => 2 * pieces + gets + asks + waits);
  return {
    ideal,
    sourceSent: source.host.sent / size,
    done: [ends[0] ?? 0, ends[ends.length >> 1] ?? 0, ends.at(-1) ?? 0] as const,
    waste:
      1 -
      sum(({ keptBytes }) => keptBytes) /
        Math.max(
          1,
          sum(({ host }) => host.received),
        ),
    used: hosts.reduce((all, { sent }) => all + sent, 0) / hosts.reduce((all, { up }) => all + up * seconds, 0),
    serverPerMinute: sum(({ counts }) => counts.server) / crowd.length / minutes + PINGS_PER_MINUTE,
    serverPerMinuteMost: Math.max(...crowd.map(({ counts }) => counts.server)) / minutes + PINGS_PER_MINUTE,
    linesPerSecond: lines / crowd.length / seconds,
    waits: source.counts.waits,
  };
}

const PINGS_PER_MINUTE = 6;

function every(time: ReturnType<typeof createTime>, ms: number, action: () => void): void {
  time.after(ms, () => {
    action();
    every(time, ms, action);
  });
}

/**
 * The least time for fluid: the source sends each byte, the slowest who stays takes each byte, and all uplinks together,
 * of those who leave for as long as they are there, carry a copy for each who stays.
 */
function idealSeconds(
  size: number,
  source: CrowdPeer,
  staying: readonly CrowdPeer[],
  crowd: readonly CrowdPeer[],
  leaveAt: (peer: CrowdPeer) => number,
): number {
  const slowest = Math.min(...staying.map(({ host }) => host.down));
  let copies = staying.length * size;
  let ups = source.host.up;
  for (const peer of crowd) {
    const until = leaveAt(peer);
    if (until === Number.POSITIVE_INFINITY) ups += peer.host.up;
    else copies -= peer.host.up * until;
  }
  return Math.max(size / source.host.up, size / slowest, copies / ups);
}

/** When the last of the crowd had its first bytes. */
function watchFirst(time: ReturnType<typeof createTime>, crowd: readonly CrowdPeer[]): () => number {
  const waiting = new Set(crowd);
  let last = 0;
  const look = (): void => {
    for (const peer of waiting) if (peer.keptBytes > 0 || !peer.host.alive) waiting.delete(peer);
    last = time.now;
    if (waiting.size > 0) time.after(500, look);
  };
  look();
  return () => (waiting.size > 0 ? Number.POSITIVE_INFINITY : last);
}
