// What servers keep in the shared index, and the commands for it: leases, each server's own entries, and a log of changes.
// Invariant: the keys of a command are declared, and in one slot of a cluster.
// Never: scans. Keys that their server has left alone expire.
//
// SERVER is a name drawn anew each time a server comes to the index; SERIAL counts its peers; SHARD is 0–63.
//   napster:{index}:servers    sorted set: SERVER, scored with the time (ms, Redis' clock) at which its lease ends
//   napster:{index}:records    hash: SERVER -> how many records it has written to the log
//   napster:{index}:log        stream, LOG_RECORDS_MAX long: i SERVER, n the record's number, d changes as lines
//   napster:{SERVER}:count     how many batches it has written into the next two; each is a record of the log
//   napster:{SERVER}:peers     hash: SERIAL -> ip:port[ ID], of each listed peer
//   napster:{SERVER}:e:SHARD   hash: "SERIAL name" -> "whole|part SIZE ROOT|-", of each file of each of them

import { type Address, formatPeer, parsePeer } from "../protocol/address.ts";
import { isFault } from "../protocol/fault.ts";
import { formatShare, parseShare } from "../protocol/fields.ts";
import type { Share } from "../protocol/messages.ts";
import type { Nodes } from "./redis-nodes.ts";

/** How long what a server wrote outlives it. Two servers agree again on who is in after at most this. */
export const LEASE_SECONDS = 6;
const LEASE_MS = LEASE_SECONDS * 1000;
/** Entries outlive the lease, so that no server that is in is read without them. */
const ENTRIES_MS = 2 * LEASE_MS;
/** With the last server gone, what they had in common goes too. */
const COMMON_MS = 10 * LEASE_MS;
/** A server that falls behind by more reads the entries of others anew. */
const LOG_RECORDS_MAX = 10_000;
/** Records in one reading of the log, and how long a reading waits for one. */
const READ_RECORDS_MAX = 256;
const READ_MS_MAX = 1000;

/** What a server writes that leaves. */
export const GOODBYE = "bye";

const SERVERS = "napster:{index}:servers";
const RECORDS = "napster:{index}:records";
const LOG = "napster:{index}:log";
const SHARDS = 64;
const PEERS = "peers";

/** A change of one server's entries, as it stands in a batch and in the log. */
export type Change =
  | { readonly kind: "entry"; readonly serial: number; readonly share: Share & { readonly complete: boolean } }
  | { readonly kind: "no-entry"; readonly serial: number; readonly name: string; readonly isTold: boolean }
  | { readonly kind: "peer"; readonly serial: number; readonly address: Address }
  | { readonly kind: "no-peer"; readonly serial: number };

/** Parsed one by one as they are taken; undefined for what is none of ours. */
export type Changes = Iterable<Change | undefined>;

export type Lease = { readonly server: string; readonly leftMs: number; readonly records: number };
/** Who is in, and the last record of the log. */
export type Census = { readonly last: string; readonly leases: readonly Lease[] };
export type LogRecord = {
  readonly at: string;
  readonly server: string;
  readonly number: number;
  readonly lines: string;
};

const BEAT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text = function(ms) return string.format('%.0f', ms) end
local lease, name = tonumber(ARGV[1]), ARGV[3]
local mine = redis.call('ZSCORE', KEYS[1], name)
if ARGV[2] == 'stay' and not (mine and tonumber(mine) > now) then return 'over' end
if ARGV[2] == 'come' and mine then return 'taken' end
for _, one in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text(now))) do redis.call('HDEL', KEYS[2], one) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now))
for _, one in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. text(now + lease), '+inf')) do
  redis.call('ZADD', KEYS[1], text(now + lease), one)
end
if ARGV[2] ~= 'look' then
  redis.call('ZADD', KEYS[1], text(now + lease), name)
  redis.call('HSET', KEYS[2], name, ARGV[4])
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[5]) end
end
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
local all = { last[1] and last[1][1] or '0-0' }
local leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  all[#all + 1] = leases[i]
  all[#all + 1] = text(leases[i + 1] - now)
  all[#all + 1] = redis.call('HGET', KEYS[2], leases[i]) or '0'
end
return all`;

const LEAVE = `
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('XADD', KEYS[3], '*', 'i', ARGV[1], 'n', '0', 'd', ARGV[2])`;

/** Triples of a key's place, a field and its value, '' for none. What others wrote under our name is noticed. */
const WRITE = `
if redis.call('INCR', KEYS[1]) ~= tonumber(ARGV[1]) then return 'lost' end
local more = 0
for i = 3, #ARGV, 3 do
  local key = KEYS[tonumber(ARGV[i])]
  if ARGV[i + 2] == '' then more = more - redis.call('HDEL', key, ARGV[i + 1])
  else more = more + redis.call('HSET', key, ARGV[i + 1], ARGV[i + 2]) end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[2]) end
return more`;

const RENEW = `
local fields = 0
for i, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[1])
  if i > 1 then fields = fields + redis.call('HLEN', key) end
end
return { redis.call('GET', KEYS[1]) or '0', fields }`;

const READ = `
return { redis.call('GET', KEYS[1]) or '', table.concat(redis.call('HGETALL', KEYS[2]), '\\n') }`;

export type IndexStore = ReturnType<typeof createIndexStore>;

export function createIndexStore(nodes: Nodes) {
  const evaluate = (script: string, keys: readonly string[], args: readonly string[]): Promise<unknown> =>
    nodes.send(keys[0] as string, "EVAL", [script, String(keys.length), ...keys, ...args]);

  async function beat(mode: "look" | "come" | "stay", server: string, records: number): Promise<Census> {
    const args = [String(LEASE_MS), mode, server, String(records), String(COMMON_MS)];
    const told = await evaluate(BEAT, [SERVERS, RECORDS, LOG], args);
    if (told === "over" || told === "taken") throw new Error(`our lease is ${told}`);
    if (!Array.isArray(told)) throw new Error("INVALID census");
    const [last = "0-0", ...rest] = told.map(String);
    const leases: Lease[] = [];
    for (let i = 0; i + 2 < rest.length; i += 3)
      leases.push({ server: rest[i] as string, leftMs: Number(rest[i + 1]), records: Number(rest[i + 2]) });
    return { last, leases };
  }

  return {
    /** Who is in, without coming in. */
    look: () => beat("look", "", 0),
    /** The lease of a server that is not in yet; rejects when the name is taken. */
    come: (server: string, records: number) => beat("come", server, records),
    /** The lease goes on; rejects when it is over. */
    stay: (server: string, records: number) => beat("stay", server, records),
    /** Its lease ends now, and others hear of it. */
    async leave(server: string): Promise<void> {
      await evaluate(LEAVE, [SERVERS, RECORDS, LOG], [server, GOODBYE]);
      await nodes.send(keyOf(server, PEERS), "UNLINK", ownKeys(server));
    },
    /** Batch `number` of this server; by how many fields there are more now. Rejects when another has written there. */
    async write(server: string, number: number, changes: readonly Change[]): Promise<number> {
      const keys = [keyOf(server, "count")];
      const places = new Map<string, number>();
      const args = changes.flatMap((change) => {
        const [hash, field, value] = fieldOf(change);
        const place = places.get(hash) ?? keys.push(keyOf(server, hash));
        places.set(hash, place);
        return [String(place), field, value];
      });
      const more = await evaluate(WRITE, keys, [String(number), String(ENTRIES_MS), ...args]);
      if (typeof more !== "number") throw new Error("our entries are lost");
      return more;
    },
    async log(server: string, number: number, changes: readonly Change[]): Promise<void> {
      const record = ["i", server, "n", String(number), "d", changes.map(lineOf).join("")];
      await nodes.send(LOG, "XADD", [LOG, "MAXLEN", "~", String(LOG_RECORDS_MAX), "*", ...record]);
    },
    /** What it wrote stays; how many batches and fields there are. */
    async renew(server: string): Promise<{ readonly batches: number; readonly fields: number }> {
      const told = (await evaluate(RENEW, ownKeys(server), [String(ENTRIES_MS)])) as unknown[];
      return { batches: Number(told[0]), fields: Number(told[1]) };
    },
    /** How many batches a server has written, and all that it has, its peers first; rejects where it has nothing. */
    async *read(server: string): AsyncGenerator<{ readonly batches: number; readonly changes: Changes }> {
      const hashes = [PEERS, ...Array.from({ length: SHARDS }, (_, i) => `e:${i}`)];
      const ask = (hash: string) => evaluate(READ, [keyOf(server, "count"), keyOf(server, hash)], []);
      let next = ask(PEERS);
      for (const [i, hash] of hashes.entries()) {
        const [batches, text] = ((await next) as unknown[]).map(String);
        const following = hashes[i + 1];
        if (following !== undefined) next = ask(following);
        next.catch(() => {}); // it is heard of when its turn comes
        if (batches === "") throw new Error(`nothing is there of ${server}`);
        yield { batches: Number(batches), changes: parseHash(hash, text as string) };
      }
    },
    /** The records behind `after`; waits a while where there is none. */
    async follow(after: string): Promise<readonly LogRecord[]> {
      const args = ["COUNT", String(READ_RECORDS_MAX), "BLOCK", String(READ_MS_MAX), "STREAMS", LOG, after];
      const told = (await nodes.wait(LOG, READ_MS_MAX, ["XREAD", args])) as Record<string, unknown> | null;
      const records = told?.[LOG];
      return Array.isArray(records) ? records.flatMap(recordOf) : [];
    },
  };
}

const keyOf = (server: string, what: string): string => `napster:{${server}}:${what}`;

const ownKeys = (server: string): string[] =>
  ["count", PEERS, ...Array.from({ length: SHARDS }, (_, i) => `e:${i}`)].map((what) => keyOf(server, what));

const shardOf = (name: string): string => `e:${Bun.hash.crc32(name) % SHARDS}`;

/** A share as a JOIN has it, with its state before it. */
const stateOf = ({ complete, size, root }: Share & { complete: boolean }): string =>
  `${complete ? "whole" : "part"} ${size} ${root ?? "-"}`;

/** Where a change is written: the hash, its field, and the value, "" for none. */
function fieldOf(change: Change): readonly [string, string, string] {
  const { serial } = change;
  if (change.kind === "peer") return [PEERS, String(serial), formatPeer(change.address)];
  if (change.kind === "no-peer") return [PEERS, String(serial), ""];
  const { name } = change.kind === "entry" ? change.share : change;
  return [shardOf(name), `${serial} ${name}`, change.kind === "entry" ? stateOf(change.share) : ""];
}

/** The same as a line of the log. */
function lineOf(change: Change): string {
  const { serial } = change;
  switch (change.kind) {
    case "peer":
      return `@ ${serial} ${formatPeer(change.address)}\n`;
    case "no-peer":
      return `! ${serial}\n`;
    case "entry":
      return `+ ${serial} ${change.share.complete ? "whole" : "part"} ${formatShare(change.share)}\n`;
    case "no-entry":
      return change.isTold ? `- ${serial} ${change.name}\n` : "";
  }
}

/** Fields and values of a hash. */
function* parseHash(hash: string, text: string): Generator<Change | undefined> {
  const fields = text.split("\n");
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const field = fields[i] as string;
    const value = fields[i + 1] as string;
    if (hash === PEERS) yield peerOf(parseSerial(field, 0, field.length), value);
    else {
      const space = field.indexOf(" ");
      yield entryOf(parseSerial(field, 0, space), `${value} ${field.slice(space + 1)}`);
    }
  }
}

/** The lines of a record of the log. */
export function* parseLines(text: string): Generator<Change | undefined> {
  for (const line of text.split("\n")) if (line !== "") yield parseChange(line);
}

/** A line of the log. A million of them are read at a time, so that no pattern is matched. */
function parseChange(line: string): Change | undefined {
  const space = line.indexOf(" ", 2);
  const serial = parseSerial(line, 2, space < 0 ? line.length : space);
  if (serial === undefined || line[1] !== " ") return undefined;
  const rest = space < 0 ? "" : line.slice(space + 1);
  switch (line[0]) {
    case "!":
      return { kind: "no-peer", serial };
    case "-":
      return { kind: "no-entry", serial, name: rest, isTold: true };
    case "@":
      return peerOf(serial, rest);
    case "+":
      return entryOf(serial, rest);
    default:
      return undefined;
  }
}

/** The whole number of up to 15 digits at `from`, before `to`. */
function parseSerial(text: string, from: number, to: number): number | undefined {
  if (to <= from || to - from > 15) return undefined;
  let value = 0;
  for (let i = from; i < to; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (!(digit >= 0 && digit <= 9)) return undefined;
    value = value * 10 + digit;
  }
  return value;
}

function peerOf(serial: number | undefined, text: string): Change | undefined {
  const address = parsePeer(text);
  return serial === undefined || isFault(address) ? undefined : { kind: "peer", serial, address };
}

function entryOf(serial: number | undefined, text: string): Change | undefined {
  const complete = text.startsWith("whole ");
  if (serial === undefined || (!complete && !text.startsWith("part "))) return undefined;
  const share = parseShare(text.slice(complete ? 6 : 5));
  if (isFault(share)) return undefined;
  const { name, size, root } = share;
  return { kind: "entry", serial, share: { name, size, root, complete } };
}

function recordOf(told: unknown): LogRecord[] {
  const [at, fields] = Array.isArray(told) ? (told as unknown[]) : [];
  const [, server, , number, , lines] = Array.isArray(fields) ? (fields as unknown[]).map(String) : [];
  if (typeof at !== "string" || server === undefined || lines === undefined) return [];
  return [{ at, server, number: Number(number), lines }];
}
