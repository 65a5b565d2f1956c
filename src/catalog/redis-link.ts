// The connection to Redis and this server's lease there: who we are in the index, for as long as we say so.
// Invariant: one identity for each time we come (back) in; what was written under an earlier one is never renewed again.
// Never: keeps a caller waiting: without a connection, or with one that does not answer, a command fails at once or soon.

import { RedisClient } from "bun";

/** How long what we wrote outlives us. Two servers agree again on who is in after at most this. */
export const LEASE_SECONDS = 6;
const REDIS_PORT = 6379;
const BEAT_MS = 1000;
const CONNECT_MS_MAX = 2000;
/** A command that takes longer says that Redis is away. A server with a queue of a million entries to write is not. */
const COMMAND_MS_MAX = 2000;
/** A reply that came in time is heard within this, however busy we are. */
const LATE_MS = 100;

/** Why the index is not shared for now. */
export type RedisTrouble =
  | { readonly why: "unreachable" } // refused, gone, silent
  | { readonly why: "denied" } // a password is missing or wrong
  | { readonly why: "unusable"; readonly detail: string }; // not a Redis, or one that refuses our commands

export type RedisEvent = { readonly type: "away"; readonly trouble: RedisTrouble } | { readonly type: "back" };

export type RedisLink = {
  /** Our name in the index, or undefined while it is not shared. */
  readonly identity: string | undefined;
  /** One command, or undefined when Redis is away, or goes away on it. */
  send(command: string, args: readonly string[]): Promise<unknown>;
  /** The script over the live servers, with these arguments. */
  ask(args: readonly string[]): Promise<unknown>;
  close(): Promise<void>;
};

/** The first line of what is answered, "" when nothing is, undefined when there is none. */
export type Probe = (
  at: { readonly ip: string; readonly port: number },
  question: string,
) => Promise<string | undefined>;

export type LinkOptions = {
  readonly url: string;
  /** Asks the program there one question outside the client, which does not tell why it is not let in. */
  readonly probe: Probe;
  /** The sorted set of live servers. */
  readonly serversKey: string;
  /** Lua; its one key is serversKey. Redis keeps it, so that it travels once. */
  readonly script: string;
  /** The keys that live by our lease. */
  readonly leasedKeys: (identity: string) => Iterable<string>;
  /** A new identity, under which nothing is written yet. */
  readonly onJoined: (identity: string) => void;
  readonly onEvent: (event: RedisEvent) => void;
};

export function createRedisLink(options: LinkOptions): RedisLink {
  const { serversKey } = options;
  const within = createReplyDeadline();
  let client: RedisClient | undefined;
  let identity: string | undefined;
  let script = ""; // as Redis knows it
  let told: string | undefined; // what the operator knows
  let closed = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function connect(): Promise<void> {
    if (closed) return;
    const fresh = new RedisClient(options.url, {
      autoReconnect: false,
      enableOfflineQueue: false,
      connectionTimeout: CONNECT_MS_MAX,
    });
    // Bun's client keeps a reply of any length until it is whole: a program that is no Redis is found out before.
    const { hostname, port } = new URL(options.url);
    const line = await options.probe({ ip: hostname, port: Number(port || REDIS_PORT) }, "PING\r\n");
    try {
      if (closed) return fresh.close();
      if (line === undefined || line === "") throw new Error("no answer");
      if (!/^[+-]/.test(line)) throw new Error(`INVALID ${line}`);
      await within(fresh.connect(), CONNECT_MS_MAX);
      const name = crypto.randomUUID().slice(0, 13);
      script = (await within(fresh.send("SCRIPT", ["LOAD", options.script]))) as string;
      await announce(fresh, name);
      if (closed) return fresh.close();
      client = fresh;
      identity = name;
      fresh.onclose = () => away(fresh, { why: "unreachable" });
      if (told !== undefined) options.onEvent({ type: "back" });
      told = undefined;
      options.onJoined(name);
      again(beat);
    } catch (error) {
      fresh.close();
      away(undefined, examine(options.url, troubleOf(error), line));
    }
  }

  /** We are alive until the lease ends, by Redis' own clock; a server that let it end is taken off the list. */
  async function announce(on: RedisClient, name: string): Promise<void> {
    const now = await redisNow(on, within);
    await within(on.send("ZADD", [serversKey, String(now + LEASE_SECONDS * 1000), name]));
    await within(on.send("ZREMRANGEBYSCORE", [serversKey, "-inf", String(now)]));
  }

  async function beat(): Promise<void> {
    const on = client;
    const name = identity;
    if (on === undefined || name === undefined) return;
    try {
      const score = (await within(on.send("ZSCORE", [serversKey, name]))) as number | string | null;
      // We have slept through our lease: what others read of us is gone, and is written anew under a new name.
      if (score === null || Number(score) <= (await redisNow(on, within))) throw new Error("our lease is over");
      const keys = [...options.leasedKeys(name)];
      await within(Promise.all(keys.map((key) => on.send("EXPIRE", [key, String(LEASE_SECONDS)]))));
      await announce(on, name);
      again(beat);
    } catch (error) {
      away(on, troubleOf(error));
    }
  }

  function again(step: () => Promise<void>): void {
    clearTimeout(timer);
    timer = setTimeout(() => void step(), BEAT_MS);
  }

  function away(which: RedisClient | undefined, trouble: RedisTrouble): void {
    if (which !== client || closed) return;
    identity = undefined;
    client = undefined;
    if (which !== undefined) {
      which.onclose = () => {};
      which.close();
    }
    if (told !== trouble.why) options.onEvent({ type: "away", trouble });
    told = trouble.why;
    again(connect);
  }

  async function send(command: string, args: readonly string[]): Promise<unknown> {
    const on = client;
    if (on === undefined) return undefined;
    try {
      return await within(on.send(command, [...args]));
    } catch (error) {
      away(on, troubleOf(error));
      return undefined;
    }
  }

  void connect();

  return {
    get identity() {
      return identity;
    },
    send,
    ask: (args) => send("EVALSHA", [script, "1", serversKey, ...args]),
    async close() {
      const on = client;
      const name = identity;
      closed = true;
      clearTimeout(timer);
      if (on === undefined || name === undefined) return;
      on.onclose = () => {};
      // Polite, and not needed: the lease would end it too.
      const keys = [...options.leasedKeys(name)];
      const gone = [on.send("ZREM", [serversKey, name]), on.send("UNLINK", keys)];
      await within(Promise.all(gone)).catch(() => {});
      on.close();
    },
  };
}

type Within = <T>(promise: Promise<T>, ms?: number) => Promise<T>;

/**
 * Gives the promise's value; a rejection once no reply at all has come for `ms`. Replies come in order: while others
 * come, this one waits behind them, and that is our own load.
 */
function createReplyDeadline(): Within {
  let replies = 0; // of any command
  return (promise, ms = COMMAND_MS_MAX) => {
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

/** Redis' clock, in milliseconds. */
async function redisNow(on: RedisClient, within: Within): Promise<number> {
  const [seconds, micros] = (await within(on.send("TIME", []))) as [string, string];
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

/** What is behind a connection that could not be made, where PING was answered with `line`. */
function examine(url: string, trouble: RedisTrouble, line: string | undefined): RedisTrouble {
  if (trouble.why !== "unreachable" || line === undefined || line === "") return trouble;
  const { password } = new URL(url);
  if (line.startsWith("-NOAUTH") || (line === "+PONG" && password !== "")) return { why: "denied" };
  return line === "+PONG" ? trouble : { why: "unusable", detail: line };
}

/** Errors of Bun's client by their code, and Redis' own by their first word. */
function troubleOf(error: unknown): RedisTrouble {
  const { message = "", code = "" } = error as { message?: string; code?: string };
  if (
    /^(?:NOAUTH|WRONGPASS|NOPERM)|^ERR (?:AUTH|invalid password|Client sent AUTH)/i.test(message) ||
    /AUTH/.test(code)
  )
    return { why: "denied" };
  if (/^[A-Z]{3,}\s/.test(message) || /INVALID|RESPONSE/.test(code)) return { why: "unusable", detail: message };
  return { why: "unreachable" };
}
