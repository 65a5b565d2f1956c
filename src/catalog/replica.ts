// Other servers' entries, followed: read whole when a server comes in, and changed as the log of changes tells.
// Invariant: an entry shows while its server's lease lasts, by our own clock from the last census on. What a server told
// is applied in its order without a gap; after a gap all of it is read anew, and shown until then as it was.
// Never: believes a line that is none of ours, or keeps a server's entries beyond its lease.

import type { Address } from "../protocol/address.ts";
import {
  type Census,
  type Changes,
  GOODBYE,
  type IndexStore,
  type Lease,
  type LogRecord,
  parseLines,
} from "./index-store.ts";
import type { Other, Others } from "./others.ts";
import { type Job, runInSlices } from "./time-slices.ts";

/** A server that could not be read, or for which there was no room, is read again after this. */
const AGAIN_MS = 1000;
const NO_ROOM_AGAIN_MS = 30_000;
/** Changes between two looks at the clock. */
const STRIDE = 32;

type OtherPeer = { readonly other: Other; address?: Address; isShown: boolean };
/** What one server has, as far as it was read: its peers by their serials there. */
type Copy = { readonly peers: Map<number, OtherPeer>; isDropped: boolean };

type OtherServer = {
  copy: Copy;
  isRead: boolean;
  /** The last of its records that is in the copy. */
  number: number;
  /** How many it had written by the last census, and where the log ended then. */
  due: { readonly number: number; readonly last: string };
  /** Its lease's end by our own clock, in ms. */
  ends: number;
  /** It is not read before then. */
  readAfter: number;
};

export type Replica = {
  /** Who is in now. `askedAt`: when that was asked, in ms of our own clock. */
  meet(census: Census, askedAt: number): void;
  /** Reads what is new until `isOver`; rejects when the index is away. */
  follow(store: IndexStore, isOver: () => boolean): Promise<void>;
  /** Leases that are over by `now` end. */
  expire(now: number): void;
  /** Every server that was in at the last census is read, without a gap that is known. */
  readonly isWhole: boolean;
  /** The others, in all: servers that are in, and what they have. */
  readonly servers: number;
};

/** A listener for names that the lists have of one more peer; it is told of none while it wants none. */
export type Arrivals = { readonly isWanted: () => boolean; readonly hear: (name: string) => void };

export type ReplicaOptions = {
  readonly others: Others;
  /** Our own name in the index. */
  readonly self: () => string | undefined;
  readonly now: () => number;
  /** A server that no census has told of has written: takes another one. */
  readonly countAgain: () => Promise<void>;
  readonly arrivals: Arrivals;
};

export function createReplica({ others, self, now, countAgain, arrivals }: ReplicaOptions): Replica {
  const servers = new Map<string, OtherServer>();
  const apply = createApply(others, arrivals);
  let cursor = "0-0";
  let hasMet = false;
  let nextEnd = Number.POSITIVE_INFINITY;

  function dropCopy(copy: Copy): void {
    copy.isDropped = true;
    for (const { other } of copy.peers.values()) others.drop(other);
  }

  function drop(name: string): void {
    const server = servers.get(name);
    servers.delete(name);
    if (server !== undefined) dropCopy(server.copy);
  }

  const lookForEnd = (): void => {
    nextEnd = Math.min(Number.POSITIVE_INFINITY, ...[...servers.values()].map(({ ends }) => ends));
  };

  function meet({ last, leases }: Census, askedAt: number): void {
    // A log that ends before what we have read is another one, or has lost its end: the numbers will show what is missing.
    if (!hasMet || isBefore(last, cursor)) cursor = last;
    hasMet = true;
    const names = new Set(leases.map(({ server }) => server));
    for (const name of servers.keys()) if (!names.has(name) || name === self()) drop(name);
    for (const lease of leases) if (lease.server !== self()) meetOne(lease, last, askedAt);
    lookForEnd();
  }

  function meetOne({ server, leftMs, records }: Lease, last: string, askedAt: number): void {
    const ends = askedAt + leftMs;
    const due = { number: records, last };
    const known = servers.get(server);
    if (known === undefined) {
      const copy = { peers: new Map(), isDropped: false };
      servers.set(server, { copy, isRead: false, number: 0, due, ends, readAfter: 0 });
      return;
    }
    // All of the log is read up to the census before, and something that was written by then has not come.
    if (known.number < known.due.number && !isBefore(cursor, known.due.last)) known.isRead = false;
    Object.assign(known, { due, ends });
  }

  /** The whole of a server, in the place of what was shown of it. */
  async function read(store: IndexStore, name: string, server: OtherServer): Promise<void> {
    const copy: Copy = { peers: new Map(), isDropped: false };
    let number = -1;
    let hasRoom = true;
    try {
      for await (const { batches, changes } of store.read(name)) {
        if (number < 0) number = batches;
        hasRoom = (await runInSlices(apply.all(copy, changes, false))) && hasRoom;
      }
    } catch {
      number = -1;
    }
    server.readAfter = now() + (hasRoom ? AGAIN_MS : NO_ROOM_AGAIN_MS);
    if (number < 0 || servers.get(name) !== server) return dropCopy(copy);
    const before = server.copy;
    Object.assign(server, { copy, number });
    await runInSlices(apply.showAll(copy));
    dropCopy(before);
    server.isRead = hasRoom;
  }

  async function take({ server: name, number, lines }: LogRecord, at: string): Promise<void> {
    if (name !== self() && servers.get(name) === undefined) await countAgain();
    const server = servers.get(name);
    cursor = at;
    if (server === undefined) return;
    if (lines === GOODBYE) return drop(name);
    if (!server.isRead || number <= server.number) return;
    if (number > server.number + 1) {
      server.isRead = false;
      return;
    }
    server.number = number;
    const hasRoom = await runInSlices(apply.all(server.copy, parseLines(lines), true));
    if (!hasRoom) Object.assign(server, { isRead: false, readAfter: now() + NO_ROOM_AGAIN_MS });
  }

  return {
    meet,
    async follow(store, isOver) {
      while (!isOver()) {
        for (const [name, server] of [...servers])
          if (!server.isRead && now() >= server.readAfter && !isOver()) await read(store, name, server);
        for (const record of await store.follow(cursor)) await take(record, record.at);
      }
    },
    expire(time) {
      if (time < nextEnd) return;
      for (const [name, { ends }] of servers) if (ends <= time) drop(name);
      lookForEnd();
    },
    get isWhole() {
      return hasMet && [...servers.values()].every(({ isRead }) => isRead);
    },
    get servers() {
      return servers.size;
    },
  };
}

/** The changes of a server, made in a copy of it. */
function createApply(others: Others, arrivals: Arrivals) {
  function* show(copy: Copy, peer: OtherPeer): Job<void> {
    const { other, address } = peer;
    if (address === undefined || peer.isShown) return;
    peer.isShown = true;
    if (!others.show(other, address) || !arrivals.isWanted()) return;
    let count = 0;
    for (const name of others.names(other)) {
      if (++count % STRIDE === 0) yield;
      if (copy.isDropped) return;
      if (name !== undefined) arrivals.hear(name);
    }
  }

  /** `isLive`: peers show at once. False when there was no room for an entry. */
  function* all(copy: Copy, changes: Changes, isLive: boolean): Job<boolean> {
    let hasRoom = true;
    let count = 0;
    for (const change of changes) {
      if (++count % STRIDE === 0) yield;
      if (copy.isDropped) return true;
      if (change === undefined) continue;
      const { serial } = change;
      const known = copy.peers.get(serial);
      if (change.kind === "no-peer" || change.kind === "no-entry") {
        if (known === undefined) continue;
        if (change.kind === "no-entry") others.remove(known.other, change.name);
        else if (copy.peers.delete(serial)) others.drop(known.other);
        continue;
      }
      const peer = known ?? { other: others.add(), isShown: false };
      if (known === undefined) copy.peers.set(serial, peer);
      if (change.kind === "peer") {
        peer.address = change.address;
        if (isLive) yield* show(copy, peer);
        continue;
      }
      const { complete, name } = change.share;
      hasRoom = others.put(peer.other, change.share, complete) && hasRoom;
      if (complete && peer.isShown && arrivals.isWanted()) arrivals.hear(name);
    }
    return hasRoom;
  }

  function* showAll(copy: Copy): Job<void> {
    let count = 0;
    for (const peer of copy.peers.values()) {
      if (++count % STRIDE === 0) yield;
      if (copy.isDropped) return;
      yield* show(copy, peer);
    }
  }

  return { all, showAll };
}

/** Whether one place in a log is before another. */
function isBefore(one: string, other: string): boolean {
  const [ms = 0, n = 0] = one.split("-").map(Number);
  const [otherMs = 0, otherN = 0] = other.split("-").map(Number);
  return ms < otherMs || (ms === otherMs && n < otherN);
}
