// `bun run bench crowd`: many peers that download one file from one source at once, in virtual time.
// Invariant: scheduler, piece picker, peer list, slots and queue are the program's; links, disks and lines are modelled.
// Never: opens a socket.

import { parseArgs } from "node:util";
import { REALISTIC, runCrowd } from "../tests/simulation/crowd.ts";
import { MIB } from "./stats.ts";

const { values } = parseArgs({
  allowPositionals: true,
  options: {
    peers: { type: "string", default: "1000" },
    mib: { type: "string", default: "256" },
    seed: { type: "string", default: "1" },
    slow: { type: "string", default: String(REALISTIC.slowPart) },
    leaving: { type: "string", default: String(REALISTIC.leavingPart) },
    quiet: { type: "boolean", default: false },
  },
});

const started = performance.now();
const result = runCrowd(
  {
    ...REALISTIC,
    peers: Number(values.peers),
    size: Number(values.mib) * MIB,
    seed: Number(values.seed),
    slowPart: Number(values.slow),
    leavingPart: Number(values.leaving),
  },
  values.quiet ? () => {} : console.log,
);
const cpu = process.cpuUsage();
const [first, median, last] = result.done.map((part) => part.toFixed(2));
console.log(`${values.peers} downloaders of ${values.mib} MiB, seed ${values.seed}:
  all done after ${result.seconds.toFixed(1)} s, the least possible is ${result.ideal.toFixed(1)} s: ${result.ratio.toFixed(2)} ×
  done, in parts of the least: first ${first}, median ${median}, last ${last}; each had a piece by ${result.firstPieceSeconds} s
  the source sent ${result.sourceSent.toFixed(2)} × the file; ${(100 * result.waste).toFixed(1)} % of what came was worth nothing; uplinks used ${(100 * result.used).toFixed(0)} %
  of one peer: ${result.serverPerMinute.toFixed(0)} requests to the server in a minute (most ${result.serverPerMinuteMost.toFixed(0)}, PING among them), ${result.linesPerSecond.toFixed(0)} lines with other peers in a second
  the source told places in its queue ${result.waits} times
  ${result.events} events, ${((cpu.user + cpu.system) / 1e6).toFixed(0)} s of CPU, ${((performance.now() - started) / 1000).toFixed(0)} s, ${(process.memoryUsage().rss / 1e6 / (Number(values.peers) + 1)).toFixed(2)} MB of memory a peer`);
