// A peer of a crowd: the program's own scheduler, piece picker, peer list and slots; links, disk and lines are modelled.

import { pieceBytesFor, pieceCount } from "../../src/content/hashing/merkle.ts";
import type { PartFile } from "../../src/download/disk/part-file.ts";
import type { Lane, LaneEvent } from "../../src/download/lanes/lane.ts";
import type { Order } from "../../src/download/lanes/piece-writer.ts";
import { createPeerList } from "../../src/download/peer-list.ts";
import type { OnWait, Source } from "../../src/download/peers/source.ts";
import { createStandIns } from "../../src/download/peers/stand-ins.ts";
import { type Available, createPiecePicker } from "../../src/download/pieces/piece-picker.ts";
import type { Verifier } from "../../src/download/pieces/verifier.ts";
import { createRateMeter } from "../../src/download/rate-meter.ts";
import { createRequester } from "../../src/download/requests/requester.ts";
import { createStarvation } from "../../src/download/starvation.ts";
import type { Address } from "../../src/protocol/address.ts";
import { type Fault, fault, isFault } from "../../src/protocol/fault.ts";
import { UPLOADS_DEFAULT } from "../../src/protocol/limits.ts";
import type { Holder } from "../../src/protocol/messages.ts";
import { createBitfield, setBit } from "../../src/shared/bitfield.ts";
import type { Clock } from "../../src/shared/clock.ts";
import { createUploads, type Granted, type Uploads } from "./crowd-uploads.ts";
import type { Host, Links } from "./links.ts";

const ROOT = "ab".repeat(32);

/** What is counted of one peer: requests to the server, and lines between peers. */
export type Counts = { server: number; pieces: number; gets: number; asks: number; waits: number };

export type CrowdWorld = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly links: Links;
  readonly size: number;
  /** The peer that listens at an address. */
  readonly at: (address: Address) => CrowdPeer | undefined;
  /** SOURCES, as the server answers it. */
  readonly holders: (asker: CrowdPeer) => readonly Holder[];
  /** OFFER, or UPDATE. */
  readonly announce: (peer: CrowdPeer, complete: boolean) => void;
  readonly onDone: (peer: CrowdPeer) => void;
};

export type CrowdPeer = {
  readonly address: Address;
  readonly host: Host;
  readonly uploads: Uploads;
  readonly counts: Counts;
  /** Which pieces others can fetch here. */
  available(): Available;
  readonly doneAt: number | undefined;
  readonly keptBytes: number;
  /** Bytes that came, whatever they were worth. */
  readonly fetchedBytes: number;
  readonly sources: number;
  /** DOWNLOAD, as a person says it. */
  download(chosen: CrowdPeer): void;
  /** Its program ends, without a word. */
  leave(): void;
};

type CrowdSource = Source & { readonly target: CrowdPeer; readonly granted: Granted };

const GONE = fault("PEER_GONE", "network", "the program has ended", true);
const AWAY: Fault = {
  ...fault("PEER_UNREACHABLE", "network", "no program there", true),
  cause: "connection-refused",
};
/** A piece counts for others once it is synced: when the next sync begins, and what it takes. */
const DISK_MS = 260;
const REPORT_MS = 250;
const NO_HASH = new Uint8Array(0);

/** Asks `target` for the content, over the distance between the two: openSource of a crowd. */
function dial(world: CrowdWorld, self: CrowdPeer, address: Address, onWait: OnWait): Promise<CrowdSource | Fault> {
  const { clock, links } = world;
  const { promise, resolve } = Promise.withResolvers<CrowdSource | Fault>();
  const closed = Promise.withResolvers<Fault>();
  const later = (action: () => void) => void clock.after(links.latencyMs, action);
  let leave = (): void => {};
  let isOver = false;
  self.counts.asks++;
  clock.after(3 * links.latencyMs, () => {
    const target = world.at(address);
    if (target === undefined || isOver) return later(() => resolve(AWAY));
    const leaveQueue = (): void => {
      later(leave);
      isOver = true;
      resolve(GONE);
    };
    leave = target.uploads.ask({
      ip: self.address.ip,
      onWait(position) {
        target.counts.waits++;
        later(() => void (isOver || onWait(position, leaveQueue)));
      },
      onAnswer: (granted) => later(() => resolve(isFault(granted) ? granted : sourceOf(target, granted))),
      onEnd: (why) => later(() => closed.resolve(why)),
    });
  });

  function sourceOf(target: CrowdPeer, granted: Granted): CrowdSource {
    return {
      target,
      granted,
      address,
      grant: { ticket: "", size: world.size, pieceBytes: pieceBytesFor(world.size), root: ROOT, ...partOf(granted) },
      roundTripMs: 2 * links.latencyMs,
      byRoot: true,
      layer: async () => GONE,
      available() {
        self.counts.pieces++;
        const asked = Promise.withResolvers<Available | Fault>();
        later(() => {
          const pieces = target.available();
          granted.movedAt = pieces === "all" ? granted.movedAt : clock.now();
          later(() => asked.resolve(target.host.alive ? pieces : GONE));
        });
        return asked.promise;
      },
      damaged() {},
      ping: async () => target.host.alive,
      closed: closed.promise,
      close() {
        later(leave);
        closed.resolve(GONE);
      },
    };
  }
  return promise;
}

const partOf = ({ claim }: Granted) => ({ part: { slot: claim.slot() ?? 0, slots: UPLOADS_DEFAULT } });

/** A lane: its bytes are counted, not carried. */
function openLane(world: CrowdWorld, self: CrowdPeer, source: CrowdSource, onEvent: (event: LaneEvent) => void): Lane {
  const { clock, links } = world;
  const { granted, target } = source;
  const orders: { readonly order: Order; left: number }[] = [];
  const openAt = clock.now() + 2 * links.latencyMs;
  let moved = 0;
  let reportedAt = Number.NEGATIVE_INFINITY;

  function report(): void {
    const first = orders[0];
    const at = first && { index: first.order.index, have: first.order.length - first.left };
    onEvent({ type: "moved", bytes: moved, ...at });
    moved = 0;
    reportedAt = clock.now();
  }

  const flow = links.flow(target.host, self.host, (bytes) => {
    granted.taken += bytes;
    granted.movedAt = clock.now();
    moved += bytes;
    for (let rest = bytes; rest > 0; ) {
      const first = orders[0];
      if (first === undefined) return;
      const part = Math.min(rest, first.left);
      rest -= part;
      first.left -= part;
      if (first.left > 0) break;
      orders.shift();
      onEvent({ type: "piece", index: first.order.index, hash: NO_HASH });
    }
    if (clock.now() - reportedAt >= REPORT_MS) report();
  });
  granted.flows.add(flow);

  return {
    fetch(order) {
      self.counts.gets++;
      const left = order.length - (order.have ?? 0);
      orders.push({ order, left });
      clock.after(Math.max(0, openAt - clock.now()) + links.latencyMs, () => links.ask(flow, left));
    },
    close() {
      links.close(flow);
      granted.flows.delete(flow);
      clock.after(0, () => onEvent({ type: "over", fault: GONE }));
    },
  };
}

export function createCrowdPeer(world: CrowdWorld, address: Address, host: Host, isSource: boolean): CrowdPeer {
  const { clock, size, random } = world;
  const pieceBytes = pieceBytesFor(size);
  const bits = createBitfield(pieceCount(size, pieceBytes));
  const uploads = createUploads(clock);
  const counts: Counts = { server: 0, pieces: 0, gets: 0, asks: 0, waits: 0 };
  const meter = createRateMeter(clock);
  let doneAt: number | undefined;
  let stop = (): void => {};
  const picker = createPiecePicker(size, pieceBytes, random);
  let sourceCount = () => 0;

  const find = async (): Promise<readonly Holder[]> => {
    counts.server++;
    await new Promise<void>((resolve) => void clock.after(2 * world.links.latencyMs, resolve));
    return world.holders(self);
  };
  const dialHolder = (to: Address, _: string, onWait: OnWait) => dial(world, self, to, onWait);

  /** download.ts:ask: the chosen peer, or while it keeps us in its queue another holder. */
  async function ask(chosen: CrowdPeer): Promise<CrowdSource | Fault> {
    const standIns = createStandIns({ clock, random, chosen: chosen.address, find, dial: dialHolder });
    let leaveQueue = (): void => {};
    const asking = dial(world, self, chosen.address, (_, leave) => {
      leaveQueue = leave;
      standIns.begin(ROOT);
    });
    const own = asking.then((source) => ({ source, isChosen: true }));
    const other = standIns.found.then((source) => ({ source: source as CrowdSource, isChosen: false }));
    const { source, isChosen } = await Promise.race([own, other]);
    standIns.stop();
    if (!isChosen) leaveQueue();
    void asking.then((late) => late !== source && !isFault(late) && late.close());
    return source;
  }

  async function download(chosen: CrowdPeer): Promise<void> {
    counts.server++; // SEARCH
    const source = await ask(chosen);
    if (isFault(source) || !host.alive) throw new Error("the chosen peer stays");
    counts.server++; // OFFER
    world.announce(self, false);
    const { requester, partFile } = createTransfer();
    const starvation = createStarvation({
      clock,
      requester,
      meter,
      size,
      patienceMs: () => Number.POSITIVE_INFINITY,
      maxDownloadRate: () => undefined,
      waitsForDisk: () => picker.allArrived,
      isAllHere: () => picker.allArrived,
    });
    const peerList = createPeerList({
      env: { clock, random },
      requester,
      chosen: chosen.address,
      holders: { root: () => ROOT, find, dial: dialHolder, redial: (wait) => dialHolder(chosen.address, "", wait) },
      starvation,
      onStarved: (why) => {
        throw new Error(`${address.ip} is starved: ${why.fault} ${why.detail}`);
      },
      only: false,
    });
    lost = peerList.lost;
    sourceCount = () => requester.sources.length;
    stop = () => {
      peerList.stop();
      void requester.stop();
      partFile.stop();
    };
    const available = await source.available();
    if (isFault(available)) source.close();
    else requester.addSource(source, available);
  }
  let lost = (_at: Address, _why: Fault, _pieces: number, _bytes: number): void => {};

  function createTransfer() {
    let waiting: number[] = [];
    let stopped = false;
    const partFile = {
      written({ index }: { index: number }) {
        if (waiting.push(index) === 1) clock.after(DISK_MS, keep);
      },
      begun() {},
      forgetBegun() {},
      roomBytes: () => Number.POSITIVE_INFINITY,
      async flush() {},
    } as unknown as PartFile;
    function keep(): void {
      if (stopped) return;
      for (const index of waiting) {
        picker.kept(index);
        setBit(bits, index);
      }
      waiting = [];
      if (!picker.done || doneAt !== undefined) return;
      doneAt = clock.now();
      counts.server++; // UPDATE
      world.announce(self, true);
      stop();
      world.onDone(self);
    }
    const requester = createRequester({
      picker,
      verifier: { isRight: () => true } as unknown as Verifier,
      partFile,
      openLane: (source, onEvent) => openLane(world, self, source as CrowdSource, onEvent),
      meter,
      clock,
      maxDownloadRate: () => undefined,
      events: {
        onArrived() {},
        onPaused() {},
        onSourceLost: (at, why, pieces, bytes) => lost(at, why, pieces, bytes),
      },
    });
    return {
      requester,
      partFile: {
        stop() {
          stopped = true;
        },
      },
    };
  }

  const self: CrowdPeer = {
    address,
    host,
    uploads,
    counts,
    available: () => (isSource || doneAt !== undefined ? "all" : bits.slice()),
    get doneAt() {
      return doneAt;
    },
    get keptBytes() {
      return picker.keptBytes;
    },
    get fetchedBytes() {
      return meter.total;
    },
    get sources() {
      return sourceCount();
    },
    download: (chosen) => void download(chosen),
    leave() {
      host.alive = false;
      stop();
      uploads.end();
    },
  };
  return self;
}
