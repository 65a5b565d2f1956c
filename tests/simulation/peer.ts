// A peer of the simulation: class Peer itself, on a machine of its own: virtual time, network, disk and threads.

import type { HashCache, HashRecord } from "../../src/content/hashing/hash-cache.ts";
import type { HashPool } from "../../src/content/hashing/hash-pool.ts";
import { createPieceHasher, HASH_BYTES } from "../../src/content/hashing/merkle.ts";
import type { PartWorkspace } from "../../src/content/part-workspace.ts";
import { publish } from "../../src/content/publish.ts";
import { nameWithRoot, type Stamp, sameStamp } from "../../src/content/safe-files.ts";
import { createLane } from "../../src/download/lanes/lane.ts";
import type { LaneThreads } from "../../src/download/lanes/lane-threads.ts";
import type { Waiting } from "../../src/download/progress.ts";
import type { PeerEnv } from "../../src/peer/env.ts";
import { type Done, Peer, type PeerEvent } from "../../src/peer.ts";
import type { Address } from "../../src/protocol/address.ts";
import { type Fault, fault, isFault } from "../../src/protocol/fault.ts";
import { type SharedRate, sharedBucketOf } from "../../src/shared/shared-rate.ts";
import { createMovableListener } from "../../src/transport/listener-move.ts";
import { createShareIndex, type ReadableFile } from "../../src/upload/share-index.ts";
import { createUploadServer } from "../../src/upload/upload-server.ts";
import type { UploadThread } from "../../src/upload/upload-thread.ts";
import type { Listed } from "../../src/upload/upload-worker.ts";
import { type Content, same } from "./contents.ts";
import type { SimDisk, SimFile } from "./disk.ts";
import type { Network } from "./network.ts";
import { playThreadOf, type Screening } from "./play.ts";
import type { Random } from "./random.ts";
import type { Process, Time } from "./time.ts";

export const SERVER: Address = { ip: "192.0.2.1", port: 1099 };
export const PEER_PORT = 8776;

/** What the checks are told of. */
export type Watch = {
  joined(ip: string): void;
  /** A piece was ordered from a source. */
  ordered(ip: string, name: string, index: number): void;
  journaled(ip: string, name: string, bytes: Uint8Array, offset: number): void;
  began(ip: string, name: string): void;
  finished(ip: string, name: string): void;
  lost(ip: string, source: Address, why: Fault): void;
  changed(ip: string, name: string): void;
  /** The person was told that the server did not take a file. */
  refused(ip: string, name: string, why: Fault): void;
  misused(ip: string, how: string): void;
  progress(ip: string, bytes: number, size: number, waiting: Waiting | undefined): void;
};

export type SimPeerOptions = {
  readonly ip: string;
  readonly time: Time;
  readonly process: Process;
  readonly network: Network;
  readonly disk: SimDisk;
  readonly random: Random;
  readonly contents: readonly Content[];
  readonly maxUploads: number;
  readonly maxUploadRate: number | undefined;
  readonly maxDownloadRate: number | undefined;
  /** Whether its files are hashed when it starts; otherwise after a while, or when somebody asks. */
  readonly hashedAtStart: boolean;
  /** How fast its disk is read to hash files, bytes per second. */
  readonly hashSpeed: number;
  /** How long reading a run of pieces again may take. */
  readonly scanMs: number;
  readonly watch: Watch;
};

export type SimPeer = {
  readonly address: Address;
  /** In the network at some time since it started. */
  readonly joined: boolean;
  search(name: string): Promise<readonly Address[] | Fault>;
  download(name: string, from: Address, how?: How): Promise<Done | Fault>;
  /** What players read of a file, once there is an address for it. */
  play(name: string): Promise<Screening | undefined>;
  /** Says goodbye, as a program that is ended by its person does. */
  leave(): Promise<void>;
  /** The person has changed the folder, and JOINs again for it to be looked at. */
  look(): void;
};

/** What the person wants of a download. */
export type How = { readonly signal?: AbortSignal; readonly only?: boolean; readonly maxWaitSeconds?: number };

/** A disk of half a terabyte: what a liar may claim does not fit. */
const FREE_BYTES = 5e11;
/** Tasks that are hashed at once. */
const HASH_THREADS = 2;

const WORK = /\.part(\.journal)?$/;
const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
function stampOf({ size, changedAt, id }: SimFile): Stamp {
  const mtimeNs = BigInt(Math.round(changedAt * 1e6));
  return { size, mtimeNs, ctimeNs: mtimeNs, ino: BigInt(id) };
}

export function startPeer(options: SimPeerOptions): SimPeer {
  const { ip, process, network, random, watch } = options;
  const { clock } = process;
  const folder = `/${ip}`;
  const at = { host: ip, port: PEER_PORT, folder };
  let joined = false;

  function hear(event: PeerEvent): void {
    if (event.type === "withdrawn") for (const name of event.names) watch.changed(ip, name);
    else if (event.type === "refused") watch.refused(ip, event.name, event.why);
  }
  const { maxUploads, maxUploadRate, maxDownloadRate } = options;
  const screenings = new Map<string, Screening>();
  const peer = new Peer({
    server: SERVER,
    uploads: { maxUploads, rejectAll: false, maxUploadRate },
    downloads: { maxDownloadRate },
    onEvent: hear,
    env: {
      ...envOf(options, network.of(ip, process)),
      startPlayThread: (onStreams) => playThreadOf(options, screenings, onStreams),
    },
  });

  const wait = (ms: number) => new Promise<void>((resolve) => void clock.after(ms, resolve));

  /** The person tries again for as long as it takes: a server that is away, an address that seems to be taken. */
  async function enter(): Promise<void> {
    while (isFault(await peer.join(at))) await wait(500 + random.next() * 2000);
    joined = true;
    watch.joined(ip);
  }
  void enter();

  return {
    address: { ip, port: PEER_PORT },
    get joined() {
      return joined;
    },
    search: (name) => peer.search(name),
    async download(name, from, { signal, only = false, maxWaitSeconds = 30 } = {}) {
      watch.began(ip, name);
      const done = await peer.download(from, {
        name,
        only,
        maxWaitSeconds,
        ...(signal && { signal }),
        onProgress: ({ bytes, size, waiting }) => watch.progress(ip, bytes, size, waiting),
        onSourceLost: (source, why) => watch.lost(ip, source, why),
      });
      if (!isFault(done)) watch.finished(ip, name);
      return done;
    },
    async play(name) {
      const address = await peer.play(name);
      return isFault(address) ? undefined : screenings.get(new URL(address).pathname.split("/")[1] as string);
    },
    leave: () => peer.leave(),
    look: () => void enter(),
  };
}

/** This machine, as class Peer knows it. */
function envOf(
  options: SimPeerOptions,
  { listen, connect }: ReturnType<Network["of"]>,
): Omit<PeerEnv, "startPlayThread"> {
  const { process, disk, random, ip } = options;
  const { clock } = process;
  const soon = <T>(action: () => T): Promise<T> =>
    new Promise((resolve) => void clock.after(random.next(), () => resolve(action())));
  const at = (path: string): SimFile | Fault =>
    disk.file(nameOf(path)) ?? fault("FILE_MISSING", "disk", "stat: ENOENT");
  const stamp = (path: string) => {
    const file = at(path);
    return isFault(file) ? file : stampOf(file);
  };
  return {
    clock,
    now: () => clock.now(),
    random: random.next,
    connect,
    workers: HASH_THREADS,
    async listFolder(path) {
      const names = disk.names.filter((name) => !WORK.test(name)).sort();
      const shares = names.map((name) => ({ name, file: name, ...stampOf(disk.file(name) as SimFile) }));
      return { folder: path ?? "", shares, skipped: [] };
    },
    listenToFolder: () => () => {},
    isFileReady: async (path) => !isFault(at(path)),
    hasFile: async (_, name) => disk.file(name) !== undefined,
    removeLeftovers: async () => {},
    stampFile: (path) => soon(() => stamp(path)),
    openFile: (path) =>
      soon(() => {
        const file = disk.refusal("open") ?? at(path);
        return isFault(file) ? file : { ...stampOf(file), dev: 0n, fd: disk.fdOf(file), close: async () => {} };
      }),
    openPartWorkspace: (_, name, apart) => openPartWorkspace(options, name, apart),
    openPortMapping: async () => undefined,
    createHashCache: () => cacheOf(options),
    createHashPool: (workers) => poolOf(options, workers),
    createLaneThreads: (_, { rate }) => lanesOf(options, connect, rate),
    startUploadThread: (policy, key, onEvent) =>
      uploadThreadOf({ ...options, ip }, listen, {
        policy,
        key,
        onEvent: (event) => void clock.after(0, () => onEvent(event)),
      }),
  };
}

/** What was hashed before: everything in the folder, or nothing. */
function cacheOf({ ip, disk, contents, hashedAtStart }: SimPeerOptions): HashCache {
  const records = new Map<string, HashRecord>();
  for (const name of hashedAtStart ? disk.names : []) {
    const file = disk.file(name) as SimFile;
    const hashed = contents.find((content) => same(content.bytes, file.bytes.subarray(0, file.size)))?.hashed;
    if (hashed !== undefined) records.set(`/${ip}/${name}`, { stamp: stampOf(file), hashed });
  }
  const find: HashCache["find"] = (path, stamp) => {
    const record = records.get(path);
    return record !== undefined && sameStamp(record.stamp, stamp) ? record.hashed : undefined;
  };
  return {
    find,
    findRoot: (path, stamp) => find(path, stamp)?.root,
    recorded: (path) => records.get(path),
    store: (path, stamp, hashed) => void records.set(path, { stamp, hashed }),
    close() {},
  };
}

/** Threads that hash: one of them reads again what an earlier run left, more of them hash the folder. */
function poolOf(options: SimPeerOptions, workers: number): HashPool {
  const { process, disk, random, hashSpeed, scanMs } = options;
  let running = 0;
  return {
    free: () => running < workers,
    async run({ fd, size, pieceBytes, first, pieces }) {
      running++;
      const bytes = Math.min(pieces * pieceBytes, size - first * pieceBytes);
      const ms = workers === 1 ? (0.5 + random.next()) * scanMs * 0.7 : (bytes / hashSpeed) * 1000;
      await new Promise<void>((resolve) => void process.clock.after(ms, resolve));
      running--;
      return disk.refusal("read") ?? layerOf(options, disk.byFd(fd), { size, pieceBytes }, first, pieces);
    },
    close() {},
  };
}

type Head = { readonly size: number; readonly pieceBytes: number };

/** The bytes are looked at; the sums are those of the pool where they are the same. */
function layerOf({ disk, contents }: SimPeerOptions, file: SimFile, head: Head, first: number, pieces: number) {
  const known = contents.find(({ bytes, hashed }) => {
    if (hashed.size !== head.size || hashed.pieceBytes !== head.pieceBytes) return false;
    const [from, to] = [first * head.pieceBytes, Math.min((first + pieces) * head.pieceBytes, head.size)];
    return file.size >= to && same(file.bytes.subarray(from, to), bytes.subarray(from, to));
  });
  if (known === undefined) return hashRange(disk, file, head, first, pieces);
  return known.hashed.layer.slice(first * HASH_BYTES, (first + pieces) * HASH_BYTES);
}

/** The upload thread in this one: what crosses its border is a copy, and comes later. */
function uploadThreadOf(
  { disk, process, random }: SimPeerOptions,
  listen: ReturnType<Network["of"]>["listen"],
  {
    policy,
    key,
    onEvent,
  }: Pick<Parameters<typeof createUploadServer>[0], "policy" | "onEvent"> & { readonly key: string },
): UploadThread {
  const { clock } = process;
  const index = createShareIndex<Listed>(async (listed) => {
    await new Promise<void>((resolve) => void clock.after(random.next(), resolve));
    const refused = disk.refusal("open");
    if (refused !== undefined) return refused;
    const file = disk.file("part" in listed ? `${listed.part}.part` : listed.file);
    if (file === undefined) return fault("FILE_MISSING", "disk", "open: ENOENT");
    if ("part" in listed ? listed.identity.ino !== BigInt(file.id) : !sameStamp(stampOf(file), listed))
      return fault("CHANGED", "ours", "size, time or identity is not what was listed");
    return readable(disk, file);
  });
  const uploads = createUploadServer({ shares: index, clock, key, newTicket: () => random.hex(32), policy, onEvent });
  const door = createMovableListener((at) => listen(at, (connection) => uploads.accept(connection)));
  const later = (action: () => void) => void clock.after(0, action);
  const ask = <T>(action: () => T) => new Promise<T>((resolve) => later(() => resolve(action())));
  return {
    replaceAll: (all) =>
      later(() => {
        index.clear();
        for (const one of all) index.put(one);
      }),
    put: (one) => later(() => index.put({ ...one, ...(one.pieces && { pieces: one.pieces.slice() }) })),
    putAll: (all) =>
      later(() => {
        for (const one of all) index.put(one);
      }),
    remove: (name) => later(() => index.remove(name)),
    have(root, indexes) {
      const copy = [...indexes];
      later(() => index.have(root, copy));
    },
    removePartial: (root) => later(() => index.removePartial(root)),
    listen: (at) => ask(() => door.take(at)),
    settle: (keep) => ask(() => door.settle(keep)),
    setLimits: (limits) => later(() => uploads.setLimits(limits)),
    watch: () => later(() => uploads.watch()),
    openGuests: async () => fault("UNAVAILABLE", "ours", "no browsers in a simulation"),
    close: () =>
      ask(() => {
        door.close();
        uploads.close();
      }),
  };
}

function readable(disk: SimDisk, file: SimFile): ReadableFile {
  const { changedAt, size } = file;
  return {
    read: (into, offset) => disk.refusal("read") ?? disk.read(file, into, offset),
    look: () => ({
      named: disk.names.some((name) => disk.file(name) === file),
      unchanged: file.changedAt === changedAt && file.size === size,
    }),
    close() {},
  };
}

/** Lanes in this thread, but told and heard as through messages: later, in order. */
function lanesOf(
  { process, disk, ip, watch }: SimPeerOptions,
  connect: Parameters<typeof createLane>[0]["connect"],
  rate: SharedRate,
): LaneThreads {
  const { clock } = process;
  const bucket = sharedBucketOf(rate, clock);
  const open: LaneThreads["open"] = ({ source, ticket, size, pieceBytes, fd }, onEvent) => {
    const file = disk.byFd(fd);
    const name = disk.names.find((one) => disk.file(one) === file)?.replace(WORK, "") ?? "a file without a name";
    const lane = createLane({
      source,
      ticket,
      connect,
      clock,
      bucket,
      part: {
        hasher: createPieceHasher(size, pieceBytes),
        write(chunk, offset) {
          if (file.open === 0) watch.misused(ip, `a lane writes to ${name} after it was closed`);
          return disk.write(file, chunk, offset);
        },
        read: (into, offset) => disk.read(file, into, offset),
      },
      onEvent: (event) => void clock.after(0, () => onEvent(event)),
    });
    return {
      fetch(order) {
        watch.ordered(ip, name, order.index);
        clock.after(0, () => lane.fetch(order));
      },
      close: () => void clock.after(0, () => lane.close()),
    };
  };
  return { open, close() {} };
}

export function hashRange(disk: SimDisk, file: SimFile, { size, pieceBytes }: Head, first: number, pieces: number) {
  const layer = new Uint8Array(pieces * HASH_BYTES);
  const hasher = createPieceHasher(size, pieceBytes);
  for (let i = 0; i < pieces; i++) {
    const offset = (first + i) * pieceBytes;
    const wanted = Math.min(pieceBytes, size - offset);
    const into = new Uint8Array(wanted);
    if (disk.read(file, into, offset) < wanted) return fault("DISK_ERROR", "disk", "short read");
    hasher.update(into);
    hasher.finish(layer.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
  }
  return layer;
}

/** As content/part-workspace.ts does over a real folder. */
async function openPartWorkspace(
  options: SimPeerOptions,
  name: string,
  apart?: string,
): Promise<PartWorkspace | Fault> {
  const { disk, process, ip, watch } = options;
  if (disk.file(name) !== undefined) return fault("FILE_EXISTS", "ours", "the final name is taken");
  const work = apart === undefined ? name : nameWithRoot(name, apart);
  const [partName, journalName] = [`${work}.part`, `${work}.part.journal`];
  const open = (path: string): SimFile => disk.file(path) ?? disk.create(path);
  const part = open(partName);
  const journal = open(journalName);
  const files = [
    disk.work(part, process),
    disk.work(journal, process, { wrote: (bytes, offset) => watch.journaled(ip, work, bytes, offset) }),
  ] as const;
  const close = () => Promise.all(files.map((file) => file.close()));
  return {
    part: {
      ...files[0],
      fd: disk.fdOf(part),
      identity: { dev: 0n, ino: BigInt(part.id) },
      watch: undefined,
      allocatedBytes: part.size,
    },
    journal: files[1],
    work,
    doubt: async () => false,
    trust() {},
    lost: new Promise(() => {}),
    freeBytes: async () => (disk.health.full ? 0 : FREE_BYTES),
    async publish(size) {
      await close();
      return publish(`/${ip}`, name, disk.publishing(process), { dev: 0n, ino: 0n, ctimeNs: undefined, size, work });
    },
    async leave(worthless) {
      await close();
      if (!worthless) return;
      for (const path of [partName, journalName]) if (disk.file(path) !== undefined) disk.remove(path);
    },
  };
}
