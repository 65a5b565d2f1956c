// A link of 80 ms round trip: ours against iperf3 with four streams, both through the same delayed packets.
// Invariant: real TCP from end to end on both sides, with the system's congestion control and windows.
// Never: a relay of TCP connections, which would end them half-way and hide the distance from both.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { seconds, startChild } from "../child.ts";
import { type FarLink, openFarLink } from "../far/namespaces.ts";
import { type Network, startNetwork } from "../ours.ts";
import { type Found, type Goal, notTried } from "../report.ts";
import { missing } from "../rivals/rival.ts";
import type { Row, RowContext } from "../rows.ts";
import { emptyFolder, partBytes, writeRandom } from "../scratch.ts";
import { median, ratioOf, spread } from "../stats.ts";

const ROUND_TRIP_MS = 80;
const RATE_BITS = 400e6;
const STREAMS = 4;
const IPERF_SECONDS = 15;
const RATE_LEAST = 0.9;
const NAME = "aula.mp4";
const WHAT = `a link of ${ROUND_TRIP_MS} ms`;
const GOAL = "≥ 0.9 × iperf3 with 4 streams";
/** The goal is about distance; what a lossy link does to both is told beside it. */
const LOSSES = [0, 0.001] as const;

export const far: Row = {
  name: "far",
  what: WHAT,
  async run(context): Promise<Found> {
    const absent = missing(["iperf3", "ip", "tc"]);
    if (absent.length > 0)
      return notTried(WHAT, GOAL, `${absent.join(", ")} not found: apt-get install iperf3 iproute2`);
    if (process.getuid?.() !== 0) return notTried(WHAT, GOAL, "network namespaces need root");
    if (!existsSync("/dev/net/tun")) return notTried(WHAT, GOAL, "no /dev/net/tun");
    const goals: Goal[] = [];
    for (const loss of LOSSES) goals.push(await measure(context, loss));
    return { goals, tables: [] };
  },
};

async function measure(context: RowContext, loss: number): Promise<Goal> {
  const { scratch, programs, rounds, bytes, say } = context;
  const link = await openFarLink({ roundTripMs: ROUND_TRIP_MS, rateBits: RATE_BITS, loss });
  try {
    const size = bytes / 2;
    const source = scratch.folder("memory", "source");
    const target = scratch.folder("memory", "target");
    writeRandom(join(source, NAME), size);
    const cache = scratch.folder("disk", "cache");
    // Hashed beforehand, on this side of the wall.
    const home = await startNetwork({ programs, cache });
    await home.share(source, { hashed: NAME });
    await home.close();
    const network = await startNetwork({ programs, cache, host: link.nearIp, command: link.near });
    const { address } = await network.share(source, { command: link.near, host: link.nearIp });
    const ours: number[] = [];
    const theirs: number[] = [];
    const firsts: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const { first, whole } = await fetchOver(network, link, address, target);
      ours.push((size * 8) / whole / 1e6);
      firsts.push(first);
      emptyFolder(target);
      theirs.push(await iperf(link));
      say(`  loss ${loss}: ours ${ours.at(-1)?.toFixed(0)}, iperf3 ${theirs.at(-1)?.toFixed(0)} Mbit/s`);
    }
    await network.close();
    const ratio = ratioOf(ours, theirs);
    return {
      what: `${WHAT}, ${RATE_BITS / 1e6} Mbit/s${loss > 0 ? `, ${loss * 100} % loss` : ""} (Mbit/s, command to end)`,
      ours: spread(ours),
      theirs: spread(theirs),
      ratio: ratio.toFixed(2),
      goal: GOAL,
      met: median(ours) > 0 && ratio >= RATE_LEAST,
      note: `by ${link.how}; ${spread(firsts, " s")} of ours pass before the first byte`,
    };
  } finally {
    await link.close();
  }
}

async function fetchOver(network: Network, { far, farIp }: FarLink, from: string, target: string) {
  const get = network.get(NAME, target, { from, command: far, host: farIp });
  const first = await seconds(() => partBytes(target) > 0 || !get.running, get.startedAt, 30, "the first byte");
  return { first, whole: await get.finish(300) };
}

/** What four streams receive, in Mbit/s. By time: told to stop after so many bytes, iperf3 3.12 sometimes never does. */
async function iperf(link: FarLink): Promise<number> {
  const server = startChild({ command: [...link.near, "iperf3", "-s", "-1", "-B", link.nearIp] });
  await Bun.sleep(500);
  const words = ["-c", link.nearIp, "-R", "-P", String(STREAMS), "-t", String(IPERF_SECONDS), "-J"];
  const client = startChild({ command: [...link.far, "iperf3", ...words] });
  await client.finish(300);
  await server.stop();
  const { end } = JSON.parse(client.stdout()) as { end: { sum_received: { bits_per_second: number } } };
  return end.sum_received.bits_per_second / 1e6;
}
