// A peer of the simulation: the program's own parts put together as class Peer does, over a virtual network and disk.
// Class Peer itself needs threads and a real folder; tests/e2e is for it.

import { createPieceHasher, HASH_BYTES, type Hashed, pieceBytesFor } from "../../src/content/merkle.ts";
import { publish } from "../../src/content/publish.ts";
import type { Workplace } from "../../src/content/workplace.ts";
import { type Address, sameAddress } from "../../src/protocol/address.ts";
import { type Fault, fault, isFault } from "../../src/protocol/fault.ts";
import type { Holder, Share } from "../../src/protocol/messages.ts";
import { decodeAddresses, decodeHolders } from "../../src/protocol/payloads.ts";
import { createBucket } from "../../src/transfer/bucket.ts";
import { download } from "../../src/transfer/download.ts";
import { createLane } from "../../src/transfer/lane.ts";
import type { OpenLane } from "../../src/transfer/lane-threads.ts";
import { createOffers } from "../../src/transfer/offers.ts";
import type { Waiting } from "../../src/transfer/progress.ts";
import type { HashPieces } from "../../src/transfer/recover.ts";
import { createShelf, type ReadableFile, type Stocked } from "../../src/transfer/shelf.ts";
import type { UploadThread } from "../../src/transfer/upload-thread.ts";
import { createUploads } from "../../src/transfer/uploads.ts";
import { expectReply } from "../../src/transport/caller.ts";
import { createServerLink } from "../../src/transport/server-link.ts";
import { type Content, hash, same } from "./contents.ts";
import type { SimDisk, SimFile } from "./disk.ts";
import type { Network } from "./network.ts";
import type { Random } from "./random.ts";
import type { Process, Time } from "./time.ts";

export const SERVER: Address = { ip: "192.0.2.1", port: 1099 };
export const PEER_PORT = 8776;

/** What the checks are told of. */
export type Watch = {
  joined(ip: string, shares: ReadonlyMap<string, Share>): void;
  /** A piece was ordered from a source. */
  ordered(ip: string, name: string, index: number): void;
  journaled(ip: string, name: string, bytes: Uint8Array, offset: number): void;
  began(ip: string, name: string): void;
  finished(ip: string, name: string): void;
  lost(ip: string, source: Address, why: Fault): void;
  changed(ip: string, name: string): void;
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
  /** Whether its files are hashed when it starts; otherwise after a while, or when somebody asks. */
  readonly hashedAtStart: boolean;
  /** How long reading a run of pieces again may take. */
  readonly scanMs: number;
  readonly watch: Watch;
};

export type SimPeer = {
  readonly address: Address;
  readonly shares: ReadonlyMap<string, Share>;
  /** In the network at some time since it started. */
  readonly joined: boolean;
  search(name: string): Promise<readonly Address[] | Fault>;
  download(name: string, from: Address, how?: How): Promise<Hashed | Fault>;
  /** Says goodbye to the server, and joins again later. Transfers go on. */
  leave(ms: number): Promise<void>;
  /** The folder was looked at again, and this is no longer there. */
  miss(name: string): void;
};

/** What the person wants of a download. */
export type How = { readonly signal?: AbortSignal; readonly only?: boolean };

type Listed = { readonly file: SimFile };

const WORK = /\.part(\.journal)?$/;

export function startPeer(options: SimPeerOptions): SimPeer {
  const { ip, process, network, disk, random, watch } = options;
  const { clock } = process;
  const { listen, connect } = network.of(ip, process);
  const address = { ip, port: PEER_PORT };
  const shares = new Map<string, Share>();
  let joined = false;

  const wait = (ms: number) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    clock.after(ms, resolve);
    return promise;
  };

  const shelf = createShelf<Listed>(async ({ file }) => {
    await wait(random.next());
    return readable(disk, file);
  });
  const key = random.hex(32);
  const uploads = createUploads({
    shelf,
    clock,
    key,
    newTicket: () => random.hex(32),
    policy: { maxUploads: options.maxUploads, rejectAll: false, maxUploadRate: options.maxUploadRate },
    onEvent(event) {
      if (event.type === "wanted") void hashShare(event.name, random.next() * 500);
      else if (event.type === "changed") {
        watch.changed(ip, event.name);
        miss(event.name);
      }
    },
  });
  listen(address, (connection) => uploads.accept(connection));

  const link = createServerLink({
    server: SERVER,
    connect,
    clock,
    random: random.next,
    shares: () => shares.values(),
    key,
    onLost() {},
    onBack: () => offers.renew(),
    onListed: () => offers.renew(),
  });
  const offers = createOffers((request) => void link.call(request));

  // As the messages to the upload thread do, what is handed over is a copy.
  const thread: UploadThread = {
    restock() {},
    stock: (one) => {
      const listed = { file: disk.file(`${(one.listed as { part: string }).part}.part`) as SimFile };
      shelf.put({ ...one, listed, pieces: one.pieces?.slice() as Uint8Array } as Stocked<Listed>);
    },
    remove: (name) => shelf.remove(name),
    have: (root, indexes) => shelf.have(root, [...indexes]),
    removePartial: (root) => shelf.removePartial(root),
    listen: async (at) => at,
    settle: async () => undefined,
    async close() {},
  };

  function put(name: string, file: SimFile, hashed: Hashed | undefined): void {
    const { size } = file;
    shares.set(name, { name, size, root: hashed?.root });
    const pieceBytes = pieceBytesFor(size);
    shelf.put({ share: shares.get(name) as Share, pieceBytes, layer: hashed?.layer, listed: { file } });
  }

  function miss(name: string): void {
    if (!shares.delete(name)) return;
    shelf.remove(name);
    void link.call({ verb: "WITHDRAW", name });
  }

  /** What hashing a file gives; the bytes are looked at, the sums are those of the pool where they are the same. */
  function hashOf(file: SimFile): Hashed {
    const bytes = file.bytes.subarray(0, file.size);
    return options.contents.find((content) => same(content.bytes, bytes))?.hashed ?? hash(bytes);
  }

  async function hashShare(name: string, ms: number): Promise<void> {
    await wait(ms);
    const file = disk.file(name);
    const share = shares.get(name);
    if (file === undefined || share === undefined) return;
    put(name, file, hashOf(file));
    if (share.root === undefined) await link.call({ verb: "UPDATE", share: shares.get(name) as Share });
  }

  async function enter(): Promise<void> {
    for (const name of disk.names) {
      const file = disk.file(name) as SimFile;
      if (!WORK.test(name)) put(name, file, options.hashedAtStart ? hashOf(file) : undefined);
    }
    // The person tries again for as long as it takes: a server that is away, an address that seems to be taken.
    while (isFault(await link.join(address))) await wait(500 + random.next() * 2000);
    joined = true;
    offers.renew();
    watch.joined(ip, shares);
    for (const name of [...shares.keys()]) void hashShare(name, 200 + random.next() * 4000);
  }
  void enter();

  const openLane = laneOpener(options, connect);

  const hashPieces: (fd: number) => HashPieces = (fd) => async (head, first, pieces) => {
    await wait(random.next() * options.scanMs);
    return hashRange(disk, disk.byFd(fd), head, first, pieces);
  };

  async function findHolders(root: string): Promise<Holder[]> {
    const answer = expectReply(await link.call({ verb: "SOURCES", root }), "SOURCES_OK");
    const holders = isFault(answer) ? [] : decodeHolders(answer.payload);
    return isFault(holders) ? [] : holders.filter((holder) => !sameAddress(holder.address, address));
  }

  return {
    address,
    shares,
    get joined() {
      return joined;
    },
    async search(name) {
      const answer = expectReply(await link.call({ verb: "SEARCH", name }), "SEARCH_OK");
      return isFault(answer) ? answer : decodeAddresses(answer.payload);
    },
    async download(name, from, { signal, only = false } = {}) {
      watch.began(ip, name);
      const done = await download({
        name,
        from,
        only,
        paranoid: false,
        maxWaitSeconds: 30,
        openWorkplace: (wanted) => openWorkplace(options, wanted),
        openLane: (start, onEvent) => openLane(name, start, onEvent),
        hashPieces,
        findHolders,
        offer: (content, part) => offers.begin(thread, { folder: "", name, ...part }, content),
        random: random.next,
        self: { ip, port: PEER_PORT },
        connect,
        clock,
        signal,
        onProgress: ({ bytes, size, waiting }) => watch.progress(ip, bytes, size, waiting),
        onSourceLost: (source, why) => watch.lost(ip, source, why),
      });
      if (isFault(done)) return done;
      watch.finished(ip, name);
      const file = disk.file(name);
      if (file === undefined) return done;
      put(name, file, done);
      await link.call({ verb: "UPDATE", share: shares.get(name) as Share });
      return done;
    },
    async leave(ms) {
      joined = false;
      await link.leave();
      await wait(ms);
      await enter();
    },
    miss,
  };
}

function readable(disk: SimDisk, file: SimFile): ReadableFile {
  const { changedAt, size } = file;
  return {
    read: (into, offset) => disk.read(file, into, offset),
    look: () => ({
      named: disk.names.some((name) => disk.file(name) === file),
      unchanged: file.changedAt === changedAt && file.size === size,
    }),
    close() {},
  };
}

/** Lanes in this thread, but told and heard as through messages: later, in order. */
function laneOpener(
  { process, disk, ip, watch }: SimPeerOptions,
  connect: Parameters<typeof createLane>[0]["connect"],
) {
  const { clock } = process;
  return (
    name: string,
    { source, ticket, size, pieceBytes, fd }: Parameters<OpenLane>[0],
    onEvent: Parameters<OpenLane>[1],
  ): ReturnType<OpenLane> => {
    const file = disk.byFd(fd);
    const lane = createLane({
      source,
      ticket,
      connect,
      clock,
      bucket: createBucket(undefined, clock),
      hasher: createPieceHasher(size, pieceBytes),
      write(chunk, offset) {
        if (file.open === 0) watch.misused(ip, `a lane writes to ${name} after it was closed`);
        return disk.write(file, chunk, offset);
      },
      read: (into, offset) => disk.read(file, into, offset),
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
}

export function hashRange(
  disk: SimDisk,
  file: SimFile,
  { size, pieceBytes }: { readonly size: number; readonly pieceBytes: number },
  first: number,
  pieces: number,
): Uint8Array | Fault {
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

/** As content/workplace.ts does over a real folder. */
async function openWorkplace(options: SimPeerOptions, name: string): Promise<Workplace | Fault> {
  const { disk, process, ip, watch } = options;
  if (disk.file(name) !== undefined) return fault("FILE_EXISTS", "ours", "the final name is taken");
  const [partName, journalName] = [`${name}.part`, `${name}.part.journal`];
  const open = (work: string): SimFile => disk.file(work) ?? disk.create(work);
  const part = open(partName);
  const journal = open(journalName);
  const files = [
    disk.work(part, process),
    disk.work(journal, process, { wrote: (bytes, offset) => watch.journaled(ip, name, bytes, offset) }),
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
    work: name,
    doubt: async () => false,
    trust() {},
    lost: new Promise(() => {}),
    freeBytes: async () => (disk.health.full ? 0 : Number.MAX_SAFE_INTEGER),
    async publish() {
      await close();
      return publish(`/${ip}`, name, disk.publishing(process));
    },
    async leave(worthless) {
      await close();
      if (!worthless) return;
      for (const work of [partName, journalName]) if (disk.file(work) !== undefined) disk.remove(work);
    },
  };
}
