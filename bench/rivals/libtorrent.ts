// libtorrent-rasterbar 2 through Debian's Python binding: the engine of qBittorrent and Deluge.
// Invariant: default settings but for discovery, encryption and µTP, which loopback does not need; the seed trusts its file.
// Never: counts the seed's start.

import { join } from "node:path";
import { run, startChild, usageBetween } from "../child.ts";
import { freePort, type Rival } from "./rival.ts";
import { writeTorrent } from "./torrent.ts";

const PYTHON = "/usr/bin/python3";
const SCRIPT = join(import.meta.dir, "session.py");

export const libtorrent: Rival = {
  name: "libtorrent",
  install: "apt-get install python3-libtorrent",
  needs: [PYTHON],
  verifies: true,
  async prepare(cargo) {
    run([PYTHON, "-c", "import libtorrent"]);
    const torrent = writeTorrent(cargo, cargo.scratch.folder("disk", "libtorrent"), "http://127.0.0.1:1/");
    const port = String(freePort());
    const seed = startChild({ command: [PYTHON, SCRIPT, "seed", torrent, cargo.folder, port] });
    await seed.shows(/^ready$/m);
    return {
      async copy(to) {
        seed.resetPeak();
        const before = seed.usage();
        const get = startChild({ command: [PYTHON, SCRIPT, "get", torrent, to, String(freePort()), port] });
        const seconds = await get.finish(180);
        return { seconds, source: usageBetween(before, seed.usage()), taker: get.usage() };
      },
      close: () => seed.stop(),
    };
  },
};
