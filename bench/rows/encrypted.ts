// What encryption costs: the same copy, hashed before, in the clear at 127.0.0.1 and by TLS at another address.
// Invariant: both go over the loopback device of one network namespace, in turn, by the same programs.
// Never: touches the machine's own interfaces.

import { join } from "node:path";
import { run } from "../child.ts";
import { type Network, startNetwork } from "../ours.ts";
import { type Found, notTried } from "../report.ts";
import { missing } from "../rivals/rival.ts";
import type { Row, RowContext } from "../rows.ts";
import { emptyFolder, writeRandom } from "../scratch.ts";
import { ratioOf, spread } from "../stats.ts";

const NAME = "aula.mp4";
const WHAT = "TLS 1.3 between two addresses, against the clear";
const RATIO_MOST = 1.35;
const GOAL = `≤ ${RATIO_MOST}`;
const PLAIN_IP = "127.0.0.1";
const TLS_IP = "10.77.1.1";

export const encrypted: Row = {
  name: "encrypted",
  what: "what encryption costs",
  async run(context): Promise<Found> {
    if (missing(["ip"]).length > 0) return notTried(WHAT, GOAL, "ip not found: apt-get install iproute2");
    if (process.getuid?.() !== 0) return notTried(WHAT, GOAL, "network namespaces need root");
    const namespace = `nb-tls-${process.pid % 100_000}`;
    run(["ip", "netns", "add", namespace]);
    try {
      run(["ip", "-n", namespace, "link", "set", "lo", "up"]);
      run(["ip", "-n", namespace, "addr", "add", `${TLS_IP}/32`, "dev", "lo"]);
      return await measure(context, ["ip", "netns", "exec", namespace]);
    } finally {
      run(["ip", "netns", "del", namespace]);
    }
  },
};

async function measure(context: RowContext, command: readonly string[]): Promise<Found> {
  const { scratch, programs, rounds, bytes, say } = context;
  const source = scratch.folder("memory", "source");
  const target = scratch.folder("memory", "target");
  writeRandom(join(source, NAME), bytes);
  const cache = scratch.folder("disk", "cache");
  // Hashed beforehand, on this side of the wall.
  const home = await startNetwork({ programs, cache });
  await home.share(source, { hashed: NAME });
  await home.close();
  const sides: { host: string; network: Network; address: string; times: number[] }[] = [];
  for (const host of [TLS_IP, PLAIN_IP]) {
    const network = await startNetwork({ programs, cache, host, command });
    const { address } = await network.share(source, { command, host });
    sides.push({ host, network, address, times: [] });
  }
  for (let round = 1; round <= rounds; round++) {
    for (const { host, network, address, times } of sides) {
      emptyFolder(target);
      times.push(await network.get(NAME, target, { from: address, command, host }).finish(300));
    }
    say(`  round ${round}: ${sides.map(({ host, times }) => `${host} ${times.at(-1)?.toFixed(2)}`).join(", ")}`);
  }
  for (const { network } of sides) await network.close();
  const [tls, plain] = sides.map(({ times }) => times) as [number[], number[]];
  const ratio = ratioOf(tls, plain);
  const goal = {
    what: WHAT,
    ours: spread(tls, " s"),
    theirs: spread(plain, " s"),
    ratio: ratio.toFixed(2),
    goal: GOAL,
  };
  return { goals: [{ ...goal, met: ratio <= RATIO_MOST }], tables: [] };
}
