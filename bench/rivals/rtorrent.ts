// rtorrent on both sides, without its screen, meeting through the bench's tracker.
// Invariant: timed to the moment at which it says the download is finished, which is after its hash checks.
// Never: uses DHT, PEX or encryption.

import * as fs from "node:fs";
import { join } from "node:path";
import { type Child, startChild, usageBetween } from "../child.ts";
import { freePort, type Rival } from "./rival.ts";
import { startTracker, writeTorrent } from "./torrent.ts";

function start(work: string, label: string, folder: string, torrent: string): { child: Child; flag: string } {
  const session = fs.mkdtempSync(join(work, `${label}-`));
  const flag = join(session, "finished");
  const port = freePort();
  const config = `system.daemon.set = true
network.port_range.set = ${port}-${port}
network.port_random.set = no
network.bind_address.set = 127.0.0.1
dht.mode.set = disable
protocol.pex.set = no
protocol.encryption.set = none
trackers.use_udp.set = no
pieces.hash.on_completion.set = no
session.path.set = ${session}
directory.default.set = ${folder}
method.set_key = event.download.finished, flag, "execute.nothrow={touch,${flag}}"
load.start = ${torrent}
`;
  fs.writeFileSync(join(session, "rtorrent.rc"), config);
  const command = ["rtorrent", "-n", "-o", `import=${join(session, "rtorrent.rc")}`];
  return { child: startChild({ command, env: { HOME: session } }), flag };
}

export const rtorrent: Rival = {
  name: "rtorrent",
  install: "apt-get install rtorrent",
  needs: ["rtorrent"],
  verifies: true,
  async prepare(cargo) {
    const work = cargo.scratch.folder("disk", "rtorrent");
    const tracker = startTracker();
    const torrent = writeTorrent(cargo, work, tracker.announce);
    const seed = start(work, "seed", cargo.folder, torrent).child;
    const late = Bun.sleep(60_000).then(() => Promise.reject(new Error(`rtorrent does not seed: ${seed.stderr()}`)));
    await Promise.race([tracker.seeded, late]);
    return {
      async copy(to) {
        seed.resetPeak();
        const before = seed.usage();
        const { child: get, flag } = start(work, "get", to, torrent);
        const deadline = performance.now() + 180_000;
        while (!fs.existsSync(flag)) {
          if (performance.now() > deadline || !get.running) throw new Error(`rtorrent: not finished: ${get.stderr()}`);
          await Bun.sleep(10);
        }
        const seconds = (performance.now() - get.startedAt) / 1000;
        const sample = { seconds, source: usageBetween(before, seed.usage()), taker: get.usage() };
        await get.stop();
        return sample;
      },
      async close() {
        await seed.stop();
        tracker.close();
      },
    };
  },
};
