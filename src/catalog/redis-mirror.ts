// What this server's peers have, written to Redis behind their backs: only what changed, and what is true by then.
// Invariant: after a change and once `settled`, Redis says of that address what the catalog in memory says.
// Never: remembers an order of changes. A change marks a pair of text and address; the truth is looked up when it is written.

import { runInSlices } from "./time-slices.ts";

export type Mirror = {
  mark(shard: string, pair: string): void;
  /** Resolves when all that is marked now is written, or when Redis is away. */
  settled(): Promise<void>;
  /** Forgets what is marked: Redis is away, or everything will be marked anew. */
  forget(): void;
  readonly waiting: number;
};

export type MirrorOptions = {
  /** One command under our identity; undefined when Redis is away. */
  readonly send: (command: string, args: readonly string[]) => Promise<unknown>;
  readonly keyOf: (shard: string) => string | undefined;
  /** What should stand in the set for this pair, and what should not. */
  readonly truthOf: (
    shard: string,
    pair: string,
  ) => { readonly add: readonly string[]; readonly remove: readonly string[] };
  readonly leaseSeconds: number;
};

/** Members in one command: Redis serves others between two commands. */
const MEMBERS_MAX = 256;
/** Shards under way at once. */
const SHARDS_AT_ONCE = 16;

/** In one step, so that no key ever stands without an end. */
const ADD_SCRIPT = "redis.call('ZADD', KEYS[1], unpack(ARGV, 2)) redis.call('EXPIRE', KEYS[1], ARGV[1])";

export function createMirror({ send, keyOf, truthOf, leaseSeconds }: MirrorOptions): Mirror {
  let marked = new Map<string, Set<string>>();
  let waiting = 0;
  let running = false;
  let next: (() => void)[] = []; // who waits for what is marked now
  let now: (() => void)[] = []; // who waits for what is being written

  function mark(shard: string, pair: string): void {
    const pairs = marked.get(shard);
    if (pairs === undefined) marked.set(shard, new Set([pair]));
    else pairs.add(pair);
    waiting++;
    if (running) return;
    running = true;
    setImmediate(() => void run());
  }

  async function run(): Promise<void> {
    while (marked.size > 0) {
      const batch = [...marked];
      marked = new Map();
      waiting = 0;
      now = next;
      next = [];
      for (let at = 0; at < batch.length; at += SHARDS_AT_ONCE)
        await Promise.all(batch.slice(at, at + SHARDS_AT_ONCE).map(([shard, pairs]) => write(shard, [...pairs])));
      for (const done of now) done();
    }
    running = false;
    for (const done of next) done();
    next = [];
  }

  async function write(shard: string, pairs: readonly string[]): Promise<void> {
    for (let at = 0; at < pairs.length; at += MEMBERS_MAX) {
      const key = keyOf(shard);
      if (key === undefined) return;
      const some = pairs.slice(at, at + MEMBERS_MAX);
      const { add, remove } = await runInSlices(compare(shard, some));
      const work: Promise<unknown>[] = [];
      if (remove.length > 0) work.push(send("ZREM", [key, ...remove]));
      if (add.length > 0) {
        const members = add.flatMap((text) => ["0", text]);
        work.push(send("EVAL", [ADD_SCRIPT, "1", key, String(leaseSeconds), ...members]));
      }
      await Promise.all(work);
    }
  }

  function* compare(
    shard: string,
    pairs: readonly string[],
  ): Generator<undefined, { add: string[]; remove: string[] }> {
    const add: string[] = [];
    const remove: string[] = [];
    for (const [i, pair] of pairs.entries()) {
      if (i % 64 === 63) yield;
      const truth = truthOf(shard, pair);
      add.push(...truth.add);
      remove.push(...truth.remove);
    }
    return { add, remove };
  }

  return {
    mark,
    settled: () =>
      running ? new Promise((resolve) => (marked.size > 0 ? next : now).push(resolve)) : Promise.resolve(),
    forget() {
      marked = new Map();
      waiting = 0;
    },
    get waiting() {
      return waiting;
    },
  };
}
