// A peer's console with a stand-in for the network, run as a program of its own by the console's tests.
// Invariant: it is wired as napster-peer.ts is; only Peer is replaced, by one whose downloads last until told to end.
// Never: opens a socket.

import { download, type PeerApi } from "../../src/console/actions.ts";
import { createFollower } from "../../src/console/follower.ts";
import { runMenu } from "../../src/console/menu.ts";
import { runProgram } from "../../src/console/program.ts";
import { createReport } from "../../src/console/text/report.ts";
import { folderFault } from "../../src/content/folder.ts";
import { createDownloads } from "../../src/peer/downloads.ts";
import type { Address } from "../../src/protocol/address.ts";
import { type Fault, fault } from "../../src/protocol/fault.ts";
import { systemClock } from "../../src/shared/clock.ts";

const server = { ip: "127.0.0.1", port: 1099 };

const queued = (from: Address, position: number) => ({
  bytes: 0,
  size: 0,
  rate: 0,
  sources: 0,
  waiting: { for: "slot", from, position } as const,
});

/** Progress whose text is now long, now short. */
let bytes = 1;
const moved = () => {
  bytes = (bytes * 7) % 999_999_937;
  return { bytes, size: 1e9, rate: bytes, etaSeconds: bytes % 5000, sources: 1 + (bytes % 3) };
};

await runProgram(async ({ output, reportOptions, tell, life, openAsker }) => {
  let looks = 0;
  const report = createReport(process.env.SLOW ? reportOptions : { ...reportOptions, now: () => 1000 * looks++ }); // all progress is drawn
  const get = process.env.GET; // one download, as a command does it
  let lastSearched = get;
  let refusedIp = false;
  let searchedAgain = (): void => {}; // ends a download that lasts until then
  const peer: PeerApi = {
    localIp: async () => (refusedIp ? "192.0.2.7" : "127.0.0.1"),
    async join({ host = "127.0.0.1", port, folder }) {
      if (port === 9999) return fault("SERVER_UNREACHABLE", "network");
      if (port === 8776 && folder !== ".") return fault("PORT_IN_USE", "ours");
      if (host === "192.0.2.1") {
        refusedIp = true;
        return fault("ADDRESS_MISMATCH", "theirs");
      }
      if (port === 6666) throw new Error("defeito\nem duas linhas");
      return { address: { ip: host, port }, reached: true, names: ["aula1.mp4", "aula 2.mp4"] };
    },
    freePort: ({ port }) => (port === 8777 ? 8778 : port),
    async search(name) {
      lastSearched = name;
      searchedAgain();
      if (/^cai/.test(name)) report.serverLost(server);
      if (name === "cai e volta.mp4") report.serverBack({ ip: "127.0.0.1", port: 8776 });
      return name.startsWith("nada") ? [] : [{ ip: "127.0.0.1", port: 8777 }];
    },
    downloads: createDownloads({
      env: { clock: systemClock, random: Math.random },
      self: () => undefined,
      locate: async () => [],
      wish: async () => undefined,
      unwish() {},
      async fetch(from, { name, signal, onProgress }) {
        if (from.port === 4) return fault("BUSY", "theirs");
        onProgress?.({ bytes: 5e8, size: 1.2e9, rate: 1e8, etaSeconds: 7, sources: 1 });
        if (name.startsWith("fila")) {
          onProgress?.(queued(from, 2));
          onProgress?.(queued(from, 1));
        }
        if (name.startsWith("depois")) await new Promise<void>((resolve) => (searchedAgain = resolve));
        if (!/^(?:lento|fila|corre)/.test(name)) return { name, folder: "videos", bytes: 3 };
        const { promise, resolve } = Promise.withResolvers<Fault>();
        const moving = name.startsWith("corre") && setInterval(() => onProgress?.(moved()), 3);
        void promise.then(() => clearInterval(moving || undefined));
        signal?.addEventListener("abort", () => resolve(fault("CANCELLED", "ours")));
        return promise;
      },
    }),
    find: async () => ({ found: [], more: 0, isCut: false }),
    play: async (name) => `http://127.0.0.1:1/token/${name}`,
    playedOut: async () => {},
    async leave() {
      if (process.env.TELL_LEAVE) tell("saiu");
    },
    get lastSearched() {
      return lastSearched;
    },
  };
  const policy = { only: false, maxWaitSeconds: Number.POSITIVE_INFINITY };
  const follower = createFollower({ peer, report, server, of: "menu" });
  if (get !== undefined) {
    await download(
      { peer, report, life, server, policy, follower, isWide: () => false, openPlayer: async () => true },
      { from: { ip: "127.0.0.1", port: 8777 }, others: [], name: get, folder: "." },
    );
    return 0;
  }
  const asker = openAsker();
  report.showStanding();
  const openPlayer = async () => true;
  const folders = {
    openPlayer,
    onKey: asker.hear,
    folderFault,
    defaultFolder: ".",
    isWide: (folder: string) => folder === "..",
  };
  await runMenu({ peer, report, life, server, policy, follower, asker, given: {}, ready: output.ready, ...folders });
  asker.close();
  await peer.leave();
  return 0;
});
