// WebTorrent on Node: the JavaScript precedent.
// Invariant: installed by npm into a folder of its own, once, and used from there.
// Never: becomes a dependency of this project.

import * as fs from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { run, startChild, usageBetween } from "../child.ts";
import { freePort, type Rival } from "./rival.ts";
import { writeTorrent } from "./torrent.ts";

const FOLDER = process.env.NAPSTER_BENCH_WEBTORRENT ?? join(homedir(), ".cache", "napster-bench", "webtorrent");

export const webtorrent: Rival = {
  name: "webtorrent",
  install: "bun bench/rivals/webtorrent.ts",
  needs: ["node"],
  verifies: true,
  async prepare(cargo) {
    if (!fs.existsSync(join(FOLDER, "node_modules", "webtorrent")))
      throw new Error(`not installed: ${webtorrent.install}`);
    const script = join(FOLDER, "client.mjs");
    fs.copyFileSync(join(import.meta.dir, "client.mjs"), script);
    const torrent = writeTorrent(cargo, cargo.scratch.folder("disk", "webtorrent"), "http://127.0.0.1:1/");
    const port = String(freePort());
    const seed = startChild({ command: ["node", script, "seed", torrent, cargo.folder, port] });
    await seed.shows(/^done$/m, 120);
    return {
      async copy(to) {
        seed.resetPeak();
        const before = seed.usage();
        const get = startChild({ command: ["node", script, "get", torrent, to, String(freePort()), port] });
        const seconds = await get.finish(240);
        return { seconds, source: usageBetween(before, seed.usage()), taker: get.usage() };
      },
      close: () => seed.stop(),
    };
  },
};

/**
 * WebRTC needs a library that npm would compile or fetch; TCP does without it. uint8-util 2.3 no longer takes what
 * webtorrent 2.8 hands it.
 */
const STAND_IN = {
  "package.json": `{ "private": true, "dependencies": { "webtorrent": "2" },
  "overrides": { "webrtc-polyfill": "file:./no-webrtc", "uint8-util": "2.2.5" } }\n`,
  "no-webrtc/package.json": `{ "name": "webrtc-polyfill", "version": "1.2.2", "type": "module", "exports": "./index.js" }\n`,
  "no-webrtc/index.js":
    "export const RTCPeerConnection = undefined, RTCSessionDescription = undefined, RTCIceCandidate = undefined;\nexport default {};\n",
};

/** Only for those who want it: `bun bench/rivals/webtorrent.ts` installs it. */
if (import.meta.main) {
  fs.mkdirSync(join(FOLDER, "no-webrtc"), { recursive: true });
  for (const [path, text] of Object.entries(STAND_IN)) fs.writeFileSync(join(FOLDER, path), text);
  console.log(run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"], FOLDER));
}
