// Connections to one Redis, or to the nodes of a cluster of them: a command goes to the node that has its key's slot.
// Invariant: all keys of a command are in one slot; what is answered within the deadline is heard, however busy we are.
// Never: comes back by itself. A connection that fails is told; its user opens new ones.

import { RedisClient } from "bun";

const REDIS_PORT = 6379;
const CONNECT_MS_MAX = 2000;
/** Half of a lease. Only without any reply for so long is a node away. */
const REPLY_MS_MAX = 3000;
/** A reply that came in time is heard within this, however busy we are. */
const LATE_MS = 100;
/** A slot that moves is found after one step; more means that the nodes disagree. */
const REDIRECTS_MAX = 5;
const SLOTS = 16384;

/** Why the index is not shared for now. */
export type RedisTrouble =
  | { readonly why: "unreachable" } // refused, gone, silent
  | { readonly why: "denied" } // a password or a right is missing
  | { readonly why: "unusable"; readonly detail: string }; // not a Redis, or one that refuses our commands

/** The first line of what is answered, "" when nothing is, undefined when there is none. */
export type Probe = (
  at: { readonly ip: string; readonly port: number },
  question: string,
) => Promise<string | undefined>;

export type Nodes = {
  /** One command to the node that has `key`. Rejects when it fails; troubleOf says why. */
  send(key: string, command: string, args: readonly string[]): Promise<unknown>;
  /** The same over a connection of its own, for a command that waits at Redis for up to `ms`. */
  wait(key: string, ms: number, [command, args]: readonly [string, readonly string[]]): Promise<unknown>;
  /** Every node there is, as `host:port`. */
  known(): readonly string[];
  close(): void;
};

export type NodesOptions = {
  /** `redis://` or `rediss://` with user, password and database; its hosts are in `seeds`. */
  readonly url: string;
  /** Asked in this order; the first that answers tells the rest. */
  readonly seeds: readonly string[];
  /** Asks the program there one question outside the client, which does not tell why it is not let in. */
  readonly probe: Probe;
  /** A connection has ended by itself. */
  readonly onClosed: () => void;
};

/** The hosts of `redis://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/DB]`, and the rest with the first of them. */
export function parseIndexUrl(text: string): { readonly url: string; readonly seeds: readonly string[] } | undefined {
  const parts = /^(rediss?)(?:\+cluster)?:\/\/([^/?#]*@)?([^@/?#]+)(\/\d{0,3})?$/.exec(text);
  if (parts === null) return undefined;
  const [, scheme, user = "", hosts = "", database = ""] = parts;
  const seeds = hosts.split(",").map((host) => (/:\d+$/.test(host) ? host : `${host}:${REDIS_PORT}`));
  const isGood = (seed: string) => URL.canParse(`http://${seed}`) && new URL(`http://${seed}`).hostname !== "";
  const url = `${scheme}://${user}${seeds[0]}${database}`;
  return seeds.every(isGood) && URL.canParse(url) ? { url, seeds } : undefined;
}

type Slots = { readonly from: number; readonly to: number; readonly at: string };
type Connection = { readonly client: RedisClient; readonly within: Within };

/** Connections by node, and by node and key for those that wait; each is opened when it is needed. */
function createConnections({ url, probe, onClosed }: NodesOptions) {
  const all = new Map<string, Promise<Connection>>();
  let isClosed = false;

  async function connect(at: string): Promise<Connection> {
    const connection = await dial(url, at, probe);
    if (isClosed) connection.client.close();
    return connection;
  }

  return {
    to(at: string, purpose = ""): Promise<Connection> {
      const name = `${at} ${purpose}`;
      const known = all.get(name);
      if (known !== undefined) return known;
      const fresh = connect(at);
      all.set(name, fresh);
      const forget = (): void => {
        if (all.get(name) === fresh) all.delete(name);
      };
      fresh.then(({ client }) => {
        client.onclose = () => {
          forget();
          if (!isClosed) onClosed();
        };
      }, forget);
      return fresh;
    },
    close() {
      isClosed = true;
      for (const one of all.values()) one.then(({ client }) => client.close()).catch(() => {});
    },
  };
}

/** Comes to the first seed that answers. Rejects with an error that troubleOf understands. */
export async function openNodes(options: NodesOptions): Promise<Nodes> {
  const { seeds } = options;
  const connections = createConnections(options);
  let slots: readonly Slots[] = [];
  let home = "";
  for (const [i, seed] of seeds.entries()) {
    try {
      slots = await slotsAt(seed, await connections.to(seed));
      home = seed;
      break;
    } catch (error) {
      if (i === seeds.length - 1) {
        connections.close();
        throw error;
      }
    }
  }

  function nodeOf(key: string): string {
    if (slots.length === 0) return home;
    const slot = slotOf(key);
    return slots.find(({ from, to }) => from <= slot && slot <= to)?.at ?? home;
  }

  async function run(key: string, purpose: string, use: (on: Connection) => Promise<unknown>): Promise<unknown> {
    let at = nodeOf(key);
    let asking = false;
    for (let tries = 0; ; tries++) {
      const on = await connections.to(at, purpose);
      if (asking) void on.client.send("ASKING", []).catch(() => {});
      try {
        return await use(on);
      } catch (error) {
        const [, kind, slot = "", where = ""] = /^(MOVED|ASK) (\d+) (\S+)$/.exec(messageOf(error)) ?? [];
        if (kind === undefined || tries === REDIRECTS_MAX) throw error;
        at = where.startsWith(":") ? `${at.slice(0, at.lastIndexOf(":"))}${where}` : where;
        asking = kind === "ASK";
        if (!asking) slots = [{ from: Number(slot), to: Number(slot), at }, ...slots];
      }
    }
  }

  return {
    send: (key, command, args) => run(key, "", ({ client, within }) => within(client.send(command, [...args]))),
    wait: (key, ms, [command, args]) =>
      run(key, key, ({ client, within }) => within(client.send(command, [...args]), ms + REPLY_MS_MAX)),
    known: () => [...new Set([home, ...slots.map(({ at }) => at), ...seeds])],
    close: connections.close,
  };
}

/** Which node has which slots; none is told where there is one node only. */
async function slotsAt(at: string, { client, within }: Connection): Promise<readonly Slots[]> {
  const told = await within(client.send("CLUSTER", ["SLOTS"])).catch((error: unknown) => {
    if (/cluster support disabled|unknown command|unknown subcommand/i.test(messageOf(error))) return [];
    throw error;
  });
  return Array.isArray(told) ? told.flatMap((row) => slotRow(row, at)) : [];
}

/** One connection. A program that is no Redis is found out before: Bun's client keeps a reply of any length. */
async function dial(url: string, at: string, probe: Probe): Promise<Connection> {
  const target = new URL(url);
  target.host = at;
  const within = createReplyDeadline();
  const client = new RedisClient(target.href, {
    autoReconnect: false,
    enableOfflineQueue: false,
    connectionTimeout: CONNECT_MS_MAX,
  });
  const ip = target.hostname.replace(/^\[|\]$/g, "");
  const isPlain = target.protocol === "redis:";
  const line = isPlain ? await probe({ ip, port: Number(target.port || REDIS_PORT) }, "PING\r\n") : undefined;
  try {
    if (isPlain && (line === undefined || line === "")) throw new Error("no answer");
    if (line !== undefined && !/^[+-]/.test(line)) throw new Error(`INVALID ${line}`);
    await within(client.connect(), CONNECT_MS_MAX);
    return { client, within };
  } catch (error) {
    client.close();
    throw explained(error, target.password, line);
  }
}

/** The client says little of why it is not let in: what PING was answered with outside of it says more. */
function explained(error: unknown, password: string, line: string | undefined): unknown {
  if (troubleOf(error).why !== "unreachable" || line === undefined || line === "") return error;
  if (line.startsWith("-NOAUTH") || (line === "+PONG" && password !== "")) return new Error("NOAUTH not let in");
  return line === "+PONG" ? error : new Error(`INVALID ${line}`);
}

/** A row of CLUSTER SLOTS: first and last slot, then the master's host, port and name. */
function slotRow(row: unknown, asked: string): Slots[] {
  if (!Array.isArray(row)) return [];
  const [from, to, master] = row as unknown[];
  const [host, port] = Array.isArray(master) ? (master as unknown[]) : [];
  const own = asked.slice(0, asked.lastIndexOf(":"));
  const name = typeof host === "string" && host !== "" && host !== "?" ? host : own;
  if (typeof from !== "number" || typeof to !== "number" || typeof port !== "number") return [];
  return [{ from, to, at: `${name.includes(":") && !name.startsWith("[") ? `[${name}]` : name}:${port}` }];
}

/** The slot of a key: CRC-16 (XMODEM) of what stands between its first braces, or of all of it. */
export function slotOf(key: string): number {
  const bytes = new TextEncoder().encode(/\{([^}]+)\}/.exec(key)?.[1] ?? key);
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : ((crc << 1) ^ 0x1021) & 0xffff;
  }
  return (crc & 0xffff) % SLOTS;
}

type Within = <T>(promise: Promise<T>, ms?: number) => Promise<T>;

/**
 * Gives the promise's value; a rejection once no reply at all has come for `ms`. Replies come in order: while others
 * come, this one waits behind them, and that is our own load.
 */
function createReplyDeadline(): Within {
  let replies = 0; // of any command
  return (promise, ms = REPLY_MS_MAX) => {
    const { promise: late, reject } = Promise.withResolvers<never>();
    let seen = replies;
    let timer = setTimeout(look, ms);
    function look(): void {
      // A reply may lie in the socket already: a busy event loop hears of the time first.
      timer = setTimeout(() => {
        if (replies === seen) return reject(new Error("no answer"));
        seen = replies;
        timer = setTimeout(look, ms);
      }, LATE_MS);
    }
    const counted = promise.finally(() => {
      replies++;
    });
    return Promise.race([counted, late]).finally(() => clearTimeout(timer));
  };
}

const messageOf = (error: unknown): string => (error as { message?: string }).message ?? "";

/** Errors of Bun's client by their code, and Redis' own by their first word. */
export function troubleOf(error: unknown): RedisTrouble {
  const { message = "", code = "" } = error as { message?: string; code?: string };
  if (
    /^(?:NOAUTH|WRONGPASS|NOPERM)|^ERR (?:AUTH|invalid password|Client sent AUTH)|NOPERM/i.test(message) ||
    /AUTH/.test(code)
  )
    return { why: "denied" };
  // What heals by itself: a node that loads its data, or whose place another is about to take.
  if (/^(?:LOADING|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|READONLY|MOVED|ASK)\b/.test(message)) return { why: "unreachable" };
  if (/^[A-Z]{3,}\s/.test(message) || /INVALID|RESPONSE/.test(code)) return { why: "unusable", detail: message };
  return { why: "unreachable" };
}
