// What this server's peers have, written to the shared index behind their backs: what changed, and what is true by then.
// Invariant: after a change and once `settled`, the index says of that peer what the catalog in memory says; a peer is
// listed there after its entries.
// Never: remembers an order of changes. A change marks an entry or a peer; the truth is looked up when it is written.

import type { Change } from "./index-store.ts";
import type { OwnPeers, Watch } from "./memory.ts";
import { runInSlices } from "./time-slices.ts";

/** Writes one batch; rejects when the index is away. */
export type WriteBatch = (changes: readonly Change[]) => Promise<void>;

export type Publisher = Watch & {
  /** Resolves when all that is marked now is written, or the index is away. */
  settled(): Promise<void>;
  /** Writes everything anew and, from then on, what changes. Resolves when all is written that was there before. */
  begin(write: WriteBatch, onFailed: (error: unknown) => void): Promise<void>;
  /** The index is away. */
  stop(): void;
};

/** Changes in one batch: the index serves others between two. */
const BATCH_MAX = 256;

export function createPublisher(own: OwnPeers): Publisher {
  let entries = new Map<number, Set<string>>(); // by serial
  let peers = new Set<number>();
  let writeBatch: WriteBatch | undefined;
  let failed: (error: unknown) => void = () => {};
  let running = false;
  let next: (() => void)[] = []; // who waits for what is marked now
  let now: (() => void)[] = []; // who waits for what is being written

  function wake(): void {
    if (running || writeBatch === undefined) return;
    running = true;
    setImmediate(() => void run());
  }

  async function run(): Promise<void> {
    const mine = writeBatch;
    try {
      while (writeBatch !== undefined && (entries.size > 0 || peers.size > 0)) {
        const marked = [entries, peers] as const;
        entries = new Map();
        peers = new Set();
        now = next;
        next = [];
        await writeAll(...marked);
        for (const done of now.splice(0)) done();
      }
    } catch (error) {
      // A stay that is over ends no later one, which writes everything anew.
      if (writeBatch === mine) {
        stop();
        failed(error);
      }
    }
    running = false;
    for (const done of [...now.splice(0), ...next.splice(0)]) done();
    if (entries.size > 0 || peers.size > 0) wake();
  }

  /** The entries first, so that a peer is seen with all that it has. */
  async function writeAll(markedEntries: Map<number, Set<string>>, markedPeers: Set<number>): Promise<void> {
    let batch: Change[] = [];
    const flush = async (): Promise<void> => {
      const write = writeBatch;
      if (write !== undefined && batch.length > 0) await write(batch);
      batch = [];
    };
    for (const [serial, names] of markedEntries) {
      const all = [...names];
      for (let at = 0; at < all.length && writeBatch !== undefined; ) {
        const some = all.slice(at, at + BATCH_MAX - batch.length);
        at += some.length;
        batch.push(...(await runInSlices(truthOf(serial, some))));
        if (batch.length >= BATCH_MAX) await flush();
      }
    }
    for (const serial of markedPeers) {
      const address = own.addressOf(serial);
      batch.push(address === undefined ? { kind: "no-peer", serial } : { kind: "peer", serial, address });
      if (batch.length >= BATCH_MAX) await flush();
    }
    await flush();
  }

  function* truthOf(serial: number, names: readonly string[]): Generator<undefined, Change[]> {
    const changes: Change[] = [];
    for (const [i, name] of names.entries()) {
      if (i % 64 === 63) yield;
      const share = own.shareOf(serial, name);
      // Of a peer that is in no list the last change, "no-peer", says it all.
      const isTold = own.addressOf(serial) !== undefined;
      changes.push(share ? { kind: "entry", serial, share } : { kind: "no-entry", serial, name, isTold });
    }
    return changes;
  }

  function stop(): void {
    writeBatch = undefined;
    entries = new Map();
    peers = new Set();
  }

  return {
    entry(serial, name) {
      if (writeBatch === undefined) return; // all is written anew when the index is there
      const names = entries.get(serial);
      if (names === undefined) entries.set(serial, new Set([name]));
      else names.add(name);
      wake();
    },
    peer(serial) {
      if (writeBatch === undefined) return;
      peers.add(serial);
      wake();
    },
    settled() {
      if (!running) return Promise.resolve();
      return new Promise((resolve) => (entries.size > 0 || peers.size > 0 ? next : now).push(resolve));
    },
    async begin(write, onFailed) {
      writeBatch = write;
      failed = onFailed;
      await runInSlices(own.tellAll());
      await this.settled();
    },
    stop,
  };
}
