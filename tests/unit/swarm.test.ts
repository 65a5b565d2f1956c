// When a download is given up: what counts as hope, and for how long.
// Invariant: without a piece for long, it ends when every source has been lost often enough or has nothing for us.
// Never: fetches anything; the fetcher is what the test says it is.

import { expect, test } from "bun:test";
import { type Fault, fault } from "../../src/protocol/fault.ts";
import type { Fetcher } from "../../src/transfer/fetcher.ts";
import type { Source } from "../../src/transfer/source.ts";
import { createSwarm } from "../../src/transfer/swarm.ts";
import { createVirtualClock } from "./support-clock.ts";

const source = (port: number) =>
  ({ address: { ip: "127.0.0.1", port }, available: async () => new Uint8Array(1) }) as unknown as Source;
const SLOW = fault("STALLED", "network", "no data", true);

/** Seconds after which a download is given up whose chosen source stalls every 25 s and then gives a few bytes again. */
async function givenUpAfter(idle: boolean): Promise<number | undefined> {
  const clock = createVirtualClock();
  const [chosen, partial] = [source(1), source(2)];
  let starved: Fault | undefined;
  const fetcher = {
    sources: [chosen, partial],
    partialSources: [{ source: partial, idle }],
    keptBytes: 5,
    paused: undefined,
    setAvailable() {},
  } as unknown as Fetcher;
  const swarm = createSwarm({
    fetcher,
    from: chosen.address,
    clock,
    random: () => 0,
    root: () => "a".repeat(64),
    findHolders: async () => [],
    open: async () => SLOW,
    reopen: async () => SLOW,
    quietMs: () => 1000,
    movedMs: () => 1000,
    onStarved: (why) => {
      starved ??= why;
    },
    only: false,
  });
  for (let seconds = 0; seconds < 600; seconds += 5) {
    if (seconds % 25 === 20) swarm.lost(chosen.address, SLOW);
    await clock.advance(5000);
    if (starved === undefined) continue;
    swarm.stop();
    return seconds;
  }
  swarm.stop();
  return undefined;
}

test("bytes that never make a piece, and a downloader that has nothing for us, are no hope", async () => {
  expect(await givenUpAfter(true)).toBeLessThan(120);
});

test("a downloader that is sending us a piece is", async () => {
  expect(await givenUpAfter(false)).toBeUndefined();
});
