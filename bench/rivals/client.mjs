// One WebTorrent client for the bench: seeds a file, or fetches one from a peer it is told of, and ends when it is whole.
// Invariant: only TCP to the address given; no tracker, DHT, LSD, PEX or µTP.
// Never: run from here: it is copied to where npm has put webtorrent.
//
//   node client.mjs seed|get TORRENT FOLDER PORT [PEER_PORT]

import { readFileSync } from "node:fs";
import WebTorrent from "webtorrent";

const [mode, torrent, folder, port, peerPort] = process.argv.slice(2);
const client = new WebTorrent({
  dht: false,
  tracker: false,
  lsd: false,
  utPex: false,
  utp: false,
  natUpnp: false,
  natPmp: false,
  torrentPort: Number(port),
});
client.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
client.add(readFileSync(torrent), { path: folder, announce: [] }, (added) => {
  if (mode === "get") added.addPeer(`127.0.0.1:${peerPort}`);
  const done = () => {
    console.log("done");
    if (mode === "get") process.exit(0);
  };
  if (added.done) done();
  else added.on("done", done);
});
