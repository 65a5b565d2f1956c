// aria2 as a BitTorrent client on both sides, meeting through the bench's tracker.
// Invariant: the seed trusts its file, so that its own check is not counted; the taker ends when all is checked.
// Never: uses DHT, LPD or PEX.

import { startChild, usageBetween } from "../child.ts";
import { freePort, type Rival } from "./rival.ts";
import { startTracker, writeTorrent } from "./torrent.ts";

const COMMON = [
  "--no-conf",
  "--enable-dht=false",
  "--enable-dht6=false",
  "--bt-enable-lpd=false",
  "--enable-peer-exchange=false",
  "--file-allocation=none",
  "--summary-interval=0",
  "--console-log-level=warn",
];

export const aria2: Rival = {
  name: "aria2 (BitTorrent)",
  install: "apt-get install aria2",
  needs: ["aria2c"],
  verifies: true,
  async prepare(cargo) {
    const tracker = startTracker();
    const torrent = writeTorrent(cargo, cargo.scratch.folder("disk", "aria2"), tracker.announce);
    const seed = startChild({
      command: [
        ...["aria2c", ...COMMON, `--dir=${cargo.folder}`, `--listen-port=${freePort()}`],
        ...["--bt-seed-unverified=true", "--seed-ratio=0.0", torrent],
      ],
    });
    await Promise.race([
      tracker.seeded,
      Bun.sleep(30_000).then(() => Promise.reject(new Error("aria2 does not seed"))),
    ]);
    return {
      async copy(to) {
        seed.resetPeak();
        const before = seed.usage();
        const words = [`--dir=${to}`, `--listen-port=${freePort()}`, "--seed-time=0", torrent];
        const get = startChild({ command: ["aria2c", ...COMMON, ...words] });
        const seconds = await get.finish(180);
        return { seconds, source: usageBetween(before, seed.usage()), taker: get.usage() };
      },
      async close() {
        await seed.stop();
        tracker.close();
      },
    };
  },
};
