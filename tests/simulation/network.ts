// A network of hosts in memory, behind the contract of transport/connection.ts: it is late, it slices, it breaks.
// It keeps to what TCP promises (order, no loss without the end of the connection) unless it is told to corrupt.

import type { Address } from "../../src/protocol/address.ts";
import { fault } from "../../src/protocol/fault.ts";
import { CONNECT_SECONDS_MAX, LINGER_SECONDS_MAX } from "../../src/protocol/limits.ts";
import {
  type Connect,
  type Connection,
  type Handlers,
  type Listen,
  unreachable,
} from "../../src/transport/connection.ts";
import { flipBit } from "./disk.ts";
import type { Random } from "./random.ts";
import type { Process, Time } from "./time.ts";

export type Weather = {
  /** One way, in milliseconds. */
  readonly latency: number;
  /** Of one connection in one direction. */
  readonly bytesPerSecond: number;
  /** What the systems between two programs hold before a sender must wait. */
  readonly windowBytes: number;
  /** The largest slice; the first bytes of a connection may come in tiny ones. */
  readonly sliceBytes: number;
  readonly tiny: boolean;
  /** Of a bad link: the chance that a bit of a long slice is flipped. */
  readonly flips?: number;
};

type Segment = { readonly bytes: Uint8Array | "fin" | "reset"; at: number };

/** One side of a connection. */
type End = {
  readonly ip: string;
  readonly process: Process;
  readonly connection: Connection;
  handlers: Handlers | undefined;
  far: End;
  readonly weather: Weather;
  queue: Uint8Array[];
  queued: number;
  /** Bytes that have left the program and were not taken by the other. */
  inFlight: number;
  /** On their way to the far side, in order. */
  transit: Segment[];
  moving: boolean;
  lastAt: number;
  sent: number;
  /** Arrived while we had paused. */
  inbox: Uint8Array[];
  paused: boolean;
  ending: boolean;
  finished: boolean;
  ended: boolean;
  closed: boolean;
  lingering: () => void;
  /** Flip a bit of the next segment that is at least this long. */
  corruptFrom: number | undefined;
};

export type Network = {
  /** The two functions as a program on this host has them. */
  of(ip: string, process: Process): { listen: Listen; connect: Connect };
  /** The host has no power: nothing answers, nothing is refused. */
  setPower(ip: string, on: boolean): void;
  /** The program is gone; its system says so to the others, unless the power went with it. */
  abandon(process: Process, silently: boolean): void;
  /** Nothing passes between the two for so long; "*" is everyone. */
  part(a: string, b: string, ms: number): void;
  /** A firewall that lets nobody connect to the host, and says nothing; what is open stays, and it may dial. */
  wall(ip: string, up: boolean): void;
  isWalled(ip: string): boolean;
  /** Heals every partition. */
  heal(): void;
  /** Breaks one of the connections of now; which one is left to chance. */
  breakOne(how: "reset" | "fin" | "corrupt" | "stall", among: (a: string, b: string) => boolean): boolean;
  readonly open: number;
  /** The most bytes that each host's programs had queued on one connection. */
  readonly queuedMost: ReadonlyMap<string, number>;
  readonly carried: number;
  /** Told of each corrupted connection's two hosts. */
  readonly corrupted: Set<string>;
};

/** A bad link spoils what it carries most of; lines are short. */
const FLIPPED_FROM_BYTES = 4096;

export const pairOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);

export function createNetwork(time: Time, random: Random, weatherOf: (a: string, b: string) => Weather): Network {
  const listeners = new Map<string, { process: Process; accept: (connection: Connection) => Handlers }>();
  const ends = new Set<End>();
  const dark = new Set<string>();
  const walled = new Set<string>();
  const parted = new Map<string, number>(); // pair -> until
  const corrupted = new Set<string>();
  let nextPort = 40_000;
  const queuedMost = new Map<string, number>();
  let carried = 0;

  const openAt = (a: string, b: string): number =>
    Math.max(parted.get(pairOf(a, b)) ?? 0, parted.get(pairOf(a, "*")) ?? 0, parted.get(pairOf(b, "*")) ?? 0);

  function push(end: End, bytes: Segment["bytes"]): void {
    const length = typeof bytes === "string" ? 0 : bytes.length;
    const { latency, bytesPerSecond } = end.weather;
    const jitter = latency * random.next() * 0.2;
    end.lastAt = Math.max(end.lastAt, time.now + latency + jitter) + (length / bytesPerSecond) * 1000;
    end.transit.push({ bytes, at: end.lastAt });
    move(end);
  }

  /** Brings the first segment over when its time has come. */
  function move(end: End): void {
    const first = end.transit[0];
    if (first === undefined || end.moving) return;
    end.moving = true;
    time.after(first.at - time.now, () => {
      end.moving = false;
      const barred = openAt(end.ip, end.far.ip);
      if (dark.has(end.ip) || dark.has(end.far.ip)) return; // lost; nobody is told
      if (barred > time.now) {
        first.at = barred;
        return move(end);
      }
      end.transit.shift();
      arrive(end, first.bytes);
      move(end);
    });
  }

  function arrive(from: End, bytes: Segment["bytes"]): void {
    const to = from.far;
    if (to.closed) return;
    if (!to.process.alive) {
      // The machine is up again and knows nothing of this connection.
      if (bytes !== "reset") push(to, "reset");
      return;
    }
    if (bytes === "reset") return close(to);
    if (bytes === "fin") {
      to.ended = true;
      to.handlers?.end();
      if (!to.closed && to.ending && to.queue.length === 0) close(to);
      return;
    }
    // What waits already goes first.
    if (to.paused || to.inbox.length > 0) to.inbox.push(bytes);
    else take(to, bytes);
  }

  function take(to: End, bytes: Uint8Array): void {
    carried += bytes.length;
    const from = to.far;
    to.handlers?.data(bytes);
    time.after(from.weather.latency, () => {
      from.inFlight -= bytes.length;
      if (!from.closed && from.process.alive) pump(from);
    });
  }

  /** Lets bytes leave as far as the window allows. */
  function pump(end: End): void {
    const before = end.queued;
    while (end.queue.length > 0) {
      const first = end.queue[0] as Uint8Array;
      const left = leave(end, first);
      if (left === 0) break;
      end.queued -= left;
      if (end.ending) linger(end);
      if (left < first.length) {
        end.queue[0] = first.subarray(left);
        break;
      }
      end.queue.shift();
    }
    if (end.queue.length > 0 || before === 0) return;
    if (end.ending) finish(end);
    else end.handlers?.drain();
  }

  /** Bytes are copied as they leave: whoever changes them before that changes what the other side gets. */
  function leave(end: End, bytes: Uint8Array): number {
    let left = 0;
    while (left < bytes.length && end.inFlight < end.weather.windowBytes) {
      const { sliceBytes, tiny } = end.weather;
      const slice =
        tiny && end.sent < 512 ? random.int(1, 24) : random.chance(0.2) ? random.int(1, sliceBytes) : sliceBytes;
      const length = Math.min(bytes.length - left, Math.max(slice, 1), end.weather.windowBytes - end.inFlight);
      const copy = new Uint8Array(bytes.subarray(left, left + length)); // a Buffer.slice would not copy
      if (end.corruptFrom !== undefined && length >= end.corruptFrom) {
        const at = random.int(0, length - 1);
        copy[at] = (copy[at] as number) ^ (1 << random.int(0, 7));
        end.corruptFrom = undefined;
        corrupted.add(pairOf(end.ip, end.far.ip));
      }
      if (length > FLIPPED_FROM_BYTES && end.weather.flips !== undefined && random.chance(end.weather.flips)) {
        flipBit(copy, random);
        corrupted.add(pairOf(end.ip, end.far.ip));
      }
      push(end, copy);
      end.inFlight += length;
      end.sent += length;
      left += length;
    }
    return left;
  }

  function linger(end: End): void {
    end.lingering();
    end.lingering = time.after(LINGER_SECONDS_MAX * 1000, () => end.process.alive && destroy(end));
  }

  function finish(end: End): void {
    if (end.finished || end.closed) return;
    end.finished = true;
    push(end, "fin");
    if (end.ended) close(end);
  }

  function close(end: End): void {
    if (end.closed) return;
    end.closed = true;
    end.lingering();
    end.queue = [];
    end.queued = 0;
    end.inbox = [];
    ends.delete(end);
    if (end.process.alive) end.handlers?.close();
  }

  function destroy(end: End): void {
    if (end.closed) return;
    if (!end.finished || !end.ended) push(end, "reset");
    close(end);
  }

  function createEnd(ip: string, process: Process, local: Address, remote: Address, weather: Weather): End {
    const end: End = {
      ip,
      process,
      handlers: undefined,
      far: undefined as unknown as End,
      weather,
      queue: [],
      queued: 0,
      inFlight: 0,
      transit: [],
      moving: false,
      lastAt: 0,
      sent: 0,
      inbox: [],
      paused: false,
      ending: false,
      finished: false,
      ended: false,
      closed: false,
      lingering: () => {},
      corruptFrom: undefined,
      connection: {
        remote,
        local,
        send(bytes) {
          if (end.ending || end.closed || !process.alive) return;
          const raw = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
          const left = end.queue.length === 0 ? leave(end, raw) : 0;
          if (left === raw.length) return;
          end.queue.push(raw.subarray(left));
          end.queued += raw.length - left;
          if (end.queued > (queuedMost.get(ip) ?? 0)) queuedMost.set(ip, end.queued);
        },
        get queued() {
          return end.queued;
        },
        pause() {
          end.paused = true;
        },
        resume() {
          if (!end.paused) return;
          end.paused = false;
          if (end.inbox.length > 0) time.after(0, () => deliver(end));
        },
        end() {
          if (end.ending || end.closed || !process.alive) return;
          end.ending = true;
          linger(end);
          if (end.queue.length === 0) finish(end);
        },
        destroy: () => process.alive && destroy(end),
      },
    };
    ends.add(end);
    return end;
  }

  function deliver(end: End): void {
    while (end.inbox.length > 0 && !end.paused && !end.closed && end.process.alive)
      take(end, end.inbox.shift() as Uint8Array);
  }

  function connect(ip: string, process: Process): Connect {
    return (to, open) => {
      const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<Connect>>>();
      const answer = (result: Awaited<ReturnType<Connect>>) => process.alive && resolve(result);
      const refuse = (code: string) => answer(unreachable(to, code));
      const weather = weatherOf(ip, to.ip);
      time.after(weather.latency, () => {
        if (!process.alive) return;
        if (dark.has(to.ip) || walled.has(to.ip) || openAt(ip, to.ip) > time.now) {
          time.after(CONNECT_SECONDS_MAX * 1000 - weather.latency, () => refuse("ETIMEDOUT"));
          return;
        }
        const listener = listeners.get(`${to.ip}:${to.port}`);
        if (listener === undefined) {
          time.after(weather.latency, () => refuse("ECONNREFUSED"));
          return;
        }
        const local = { ip, port: nextPort++ };
        const ours = createEnd(ip, process, local, to, weather);
        const theirs = createEnd(to.ip, listener.process, to, local, weather);
        ours.far = theirs;
        theirs.far = ours;
        time.after(weather.latency, () => {
          if (ours.closed || !process.alive) return refuse("ECONNRESET");
          ours.handlers = open(ours.connection);
          answer(ours.connection);
        });
        // What the other side says at once must find us open: its first segment leaves after this event was set.
        theirs.lastAt = time.now + weather.latency;
        theirs.handlers = listener.accept(theirs.connection);
      });
      return promise;
    };
  }

  function listen(ip: string, process: Process): Listen {
    return (at, accept) => {
      const key = `${ip}:${at.port}`;
      if (listeners.has(key)) return fault("PORT_IN_USE", "ours", key);
      const entry = { process, accept };
      listeners.set(key, entry);
      const close = () => {
        if (listeners.get(key) === entry) listeners.delete(key);
      };
      return { address: { ip, port: at.port }, close };
    };
  }

  return {
    of: (ip, process) => ({ listen: listen(ip, process), connect: connect(ip, process) }),
    setPower(ip, on) {
      if (!on) dark.add(ip);
      else dark.delete(ip);
    },
    abandon(process, silently) {
      for (const [key, listener] of [...listeners]) if (listener.process === process) listeners.delete(key);
      for (const end of [...ends]) {
        if (end.process !== process) continue;
        if (!silently) push(end, "reset");
        close(end);
      }
    },
    part(a, b, ms) {
      parted.set(pairOf(a, b), time.now + ms);
    },
    wall(ip, up) {
      if (up) walled.add(ip);
      else walled.delete(ip);
    },
    isWalled: (ip) => walled.has(ip),
    heal: () => parted.clear(),
    breakOne(how, among) {
      const able = [...ends].filter((end) => end.process.alive && !end.finished && among(end.ip, end.far.ip));
      if (able.length === 0) return false;
      const end = random.pick(able);
      if (how === "corrupt") end.corruptFrom = random.pick([1, 40, 2000]);
      else if (how === "fin") end.transit.push({ bytes: "fin", at: end.lastAt });
      else if (how === "stall") for (const each of [end, end.far]) each.lastAt = time.now + 120_000;
      else {
        push(end, "reset");
        close(end);
      }
      if (how === "fin") move(end);
      return true;
    },
    get open() {
      return ends.size;
    },
    queuedMost,
    get carried() {
      return carried;
    },
    corrupted,
  };
}
