// When a download is given up: what counts as hope, and for how long.
// Invariant: without a piece for long, a download ends when every source has been lost often enough or has nothing for us.
// Never: fetches anything; the requester is what the test says it is.

import { expect, test } from "bun:test";
import { createPeerList, type PeerList, type PeerListOptions } from "../../src/download/peer-list.ts";
import type { Source } from "../../src/download/peers/source.ts";
import type { Requester } from "../../src/download/requests/requester.ts";
import { createStarvation } from "../../src/download/starvation.ts";
import type { Address } from "../../src/protocol/address.ts";
import { type Fault, fault } from "../../src/protocol/fault.ts";
import type { Clock } from "../../src/shared/clock.ts";
import { createVirtualClock } from "../support/clock.ts";

const source = (port: number) =>
  ({ address: { ip: "127.0.0.1", port }, available: async () => new Uint8Array(1) }) as unknown as Source;
const SLOW = fault("STALLED", "network", "no data", true);

type Fields = Partial<PeerListOptions["holders"] & PeerListOptions> & { readonly quietMs?: () => number };

/** A peer list in which nothing happens but what the test says. */
function createQuiet(clock: Clock, requesterFields: object, fields: Fields): PeerList {
  const idle = {
    sources: [],
    partialSources: [],
    keptBytes: 0,
    begunBytes: 0,
    wrongPieces: 0,
    setAvailable() {},
    detail: () => ({ brought: [] }),
  };
  const requester = { ...idle, ...requesterFields } as unknown as Requester;
  return createPeerList({
    env: { clock, random: () => 0.5 },
    requester,
    chosen: source(1).address,
    holders: {
      root: () => "a".repeat(64),
      find: async () => [],
      dial: async () => SLOW,
      redial: async () => SLOW,
      ...fields,
    },
    starvation: createStarvation({
      clock,
      requester,
      meter: { add() {}, rate: () => 0, total: 0, quietMs: fields.quietMs ?? (() => 0) },
      size: 10,
      patienceMs: () => Number.POSITIVE_INFINITY,
      maxDownloadRate: () => undefined,
      waitsForDisk: () => false,
      isAllHere: () => false,
    }),
    onStarved() {},
    only: false,
    ...fields,
  });
}

/** Seconds after which a download is given up whose chosen source stalls every 25 s and then gives a few bytes again. */
async function givenUpAfter(idle: boolean): Promise<number | undefined> {
  const clock = createVirtualClock();
  const [chosen, partial] = [source(1), source(2)];
  let starved: Fault | undefined;
  const requester = { sources: [chosen, partial], partialSources: [{ source: partial, idle }], keptBytes: 5 };
  const peerList = createQuiet(clock, requester, {
    quietMs: () => 1000,
    onStarved: (why) => {
      starved ??= why;
    },
  });
  for (let seconds = 0; seconds < 600; seconds += 5) {
    if (seconds % 25 === 20) peerList.lost(chosen.address, SLOW, 0);
    await clock.advance(5000);
    if (starved === undefined) continue;
    peerList.stop();
    return seconds;
  }
  peerList.stop();
  return undefined;
}

test("bytes that never make a piece, and a downloader that has nothing for us, are no hope", async () => {
  expect(await givenUpAfter(true)).toBeLessThan(120);
});

test("a downloader that is sending us a piece is hope", async () => {
  expect(await givenUpAfter(false)).toBeUndefined();
});

type Opened = Awaited<ReturnType<PeerListOptions["holders"]["dial"]>>;
type OnWait = Parameters<PeerListOptions["holders"]["dial"]>[2];

/** A peerList whose chosen source is lost as `brings` says, each time at once, and whose holders answer as the test says. */
function scene(
  holders: number[],
  open: (port: number, onWait: OnWait) => Promise<Opened>,
  brings?: () => number,
  reopen: () => Opened = () => (brings === undefined ? SLOW : source(1)),
) {
  const clock = createVirtualClock();
  const found = {
    sources: [] as Source[],
    asked: [] as number[],
    reopened: [] as number[],
  };
  const requester = {
    sources: found.sources,
    addSource(one: Source) {
      if (one.address.port !== 1) found.sources.push(one);
      else clock.after(1, () => peerList.lost(one.address, fault("PEER_GONE", "network"), brings?.() ?? 0));
    },
  };
  const peerList = createQuiet(clock, requester, {
    find: async () => holders.map((port) => ({ address: { ip: "127.0.0.1", port }, complete: port >= 10 })),
    dial({ port }, _, onWait) {
      found.asked.push(port);
      return open(port, onWait);
    },
    async redial() {
      found.reopened.push(clock.now());
      return reopen();
    },
  });
  return { clock, peerList, found };
}

const LIARS = Array.from({ length: 16 }, (_, i) => i + 10);

test("holders that never answer do not keep an honest one from being asked", async () => {
  const { clock, peerList, found } = scene([...LIARS, 99], async (port) =>
    port === 99 ? source(99) : new Promise<Opened>(() => {}),
  );
  await clock.advance(8000);
  expect(found.sources.map(({ address }) => address.port)).toEqual([99]);
  peerList.stop();
});

test("holders that say WAIT for ever do not keep an honest one from being asked; few queues are waited in, and all are left at the end", async () => {
  let queued = 0;
  let most = 0;
  const { clock, peerList, found } = scene([...LIARS, 99], async (port, onWait) => {
    if (port === 99) return source(99);
    const { promise, resolve } = Promise.withResolvers<Opened>();
    let left = false;
    queued++;
    onWait(2 ** 53 - 1, () => {
      if (!left) queued--;
      left = true;
      resolve(SLOW);
    });
    most = Math.max(most, queued);
    return promise;
  });
  await clock.advance(8000);
  expect(found.sources.map(({ address }) => address.port)).toEqual([99]);
  expect(most).toBeLessThanOrEqual(8);
  const before = new Set(found.asked).size;
  await clock.advance(100_000);
  expect([before, new Set(found.asked).size]).toEqual([17, 17]);
  peerList.stop();
  await clock.advance(0);
  expect(queued).toBe(0);
});

/** When a chosen peer is asked again that takes us in, brings so many pieces and drops us, in milliseconds. */
async function askedOfDropping(pieces: number, ms: number): Promise<number[]> {
  const { clock, peerList, found } = scene(
    [],
    async () => SLOW,
    () => pieces,
  );
  await clock.advance(ms);
  peerList.stop();
  return found.reopened;
}

test("a chosen peer that takes us in and drops us is asked less and less often", async () => {
  const asked = await askedOfDropping(0, 60_000);
  expect(asked.length).toBeLessThan(15);
  expect(asked[1]).toBeLessThanOrEqual(500);
});

test("a chosen peer that brings a piece each time is asked again at once", async () => {
  expect((await askedOfDropping(1, 10_000)).length).toBeGreaterThan(35);
});

/** When a chosen peer is asked that was lost and then answers as `reopen` says, in the minute after, in milliseconds. */
async function askedOf(reopen: (askedMs: number) => Opened | undefined): Promise<number[]> {
  const { clock, peerList, found } = scene(
    [],
    async () => SLOW,
    () => 1,
    () => reopen(clock.now()) ?? source(1),
  );
  peerList.lost(source(1).address, fault("PEER_GONE", "network"), 1);
  await clock.advance(60_000);
  peerList.stop();
  return found.reopened;
}

const BUSY = fault("BUSY", "theirs", "", true);

test("a chosen peer that rejects is asked again after pauses that grow up to five seconds", async () => {
  const asked = await askedOf(() => BUSY);
  const pauses = asked.slice(1).map((at, i) => at - (asked[i] as number));
  expect(asked[0]).toBe(0);
  expect(pauses.slice(0, 4)).toEqual([250, 500, 750, 1500]);
  expect(Math.max(...pauses)).toBeLessThanOrEqual(5000);
  expect(asked.length).toBeLessThan(25);
  expect(asked.length).toBeGreaterThan(12);
});

test.each([100, 900, 3000, 20_000])(
  "a chosen peer that has room after %d ms is asked within as long again",
  async (freeMs) => {
    const asked = await askedOf((at) => (at < freeMs ? BUSY : undefined));
    const taken = asked.find((at) => at >= freeMs) ?? Number.POSITIVE_INFINITY;
    expect(taken).toBeLessThanOrEqual(Math.min(2 * freeMs, freeMs + 5000) + 250);
  },
);

test("a chosen peer whose machine does not answer is asked four times a second: it may just be starting again", async () => {
  const asked = await askedOf(() => fault("PEER_UNREACHABLE", "network", "", true));
  expect(asked.length).toBeGreaterThanOrEqual(240);
});

test("the position in the queue of the chosen peer, which was lost, is known; a better one renews patience, and the queue is left in the end", async () => {
  const clock = createVirtualClock();
  let starved = false;
  let left = false;
  let wait: (position: number) => void = () => {};
  const peerList = createQuiet(
    clock,
    {},
    {
      root: () => undefined,
      redial(onWait) {
        const { promise, resolve } = Promise.withResolvers<Opened>();
        wait = (position) =>
          onWait(position, () => {
            left = true;
            resolve(SLOW);
          });
        return promise;
      },
      quietMs: () => clock.now(),
      onStarved() {
        starved = true;
      },
      only: true,
    },
  );
  peerList.lost(source(1).address, SLOW, 1);
  await clock.advance(1000);
  wait(3);
  expect(peerList.position).toBe(3);
  await clock.advance(25_000);
  wait(2);
  await clock.advance(25_000);
  expect([peerList.position, starved]).toEqual([2, false]);
  wait(2);
  await clock.advance(6000);
  expect(starved).toBe(true);
  peerList.stop();
  await clock.advance(0);
  expect([left, peerList.position]).toEqual([true, undefined]);
});

test("a partial holder that brings next to nothing gives way to another where all places are taken, and is no loss", async () => {
  const clock = createVirtualClock();
  const sources = [2, 3, 4, 5, 6, 7, 8, 9].map((port) => source(port));
  const bytes = sources.map(() => 0);
  const dropped: number[] = [];
  const requester = {
    sources,
    partialSources: sources.slice(1).map((one) => ({ source: one, idle: false })),
    detail: () => ({ brought: sources.map(({ address }, i) => ({ address, bytes: bytes[i] as number })) }),
    drop: ({ port }: Address) => void dropped.push(port),
  };
  const peerList = createQuiet(clock, requester, {});
  await clock.advance(2100); // the first look only counts
  for (const i of bytes.keys()) bytes[i] = i === 0 || i === 5 ? 0 : 1000;
  await clock.advance(2000);
  expect(dropped).toEqual([]); // the least useful has the whole file: it stays
  for (const i of bytes.keys()) if (i !== 5) bytes[i] = (bytes[i] as number) + 1000;
  await clock.advance(2000);
  expect(dropped).toEqual([7]);
  peerList.stop();
});
