// How long a peer takes to find its server: two network namespaces on one switch, the server's executable.
// Invariant: each round is a process of its own, as each start of a peer is; its own start is not counted.
// Never: sends through an interface of the machine.
//
//   bun bench/discovery.ts [ROUNDS]     as root on Linux, after `bun run build`

import { join } from "node:path";
import { OTHERS_MS } from "../src/discovery/discovery-search.ts";
import { openLan } from "../tests/support/lan.ts";
import { startProgram } from "../tests/support/program.ts";
import { median } from "./stats.ts";

const SERVER_IP = "192.168.52.10";
const ROUNDS_LEAST = 5;

/** The search itself, from the first question to its end, and what it found. */
const SEARCH = `
  import { SYSTEM_NET } from "${join(import.meta.dir, "../src/discovery/discovery-net.ts")}";
  import { searchServers } from "${join(import.meta.dir, "../src/discovery/discovery-search.ts")}";
  import { systemClock } from "${join(import.meta.dir, "../src/shared/clock.ts")}";
  const began = performance.now();
  const found = await searchServers(SYSTEM_NET, systemClock);
  console.log(JSON.stringify({ ms: performance.now() - began, found: found.length }));
  process.exit(0);
`;

const rounds = Math.max(ROUNDS_LEAST, Number(process.argv[2] ?? ROUNDS_LEAST));
using lan = openLan(SERVER_IP, "192.168.52.11");
const [server, peer] = lan.machines;
if (server === undefined || peer === undefined) throw new Error("two machines");
const program = join(import.meta.dir, "../dist/napster-server");
await using running = startProgram({ command: server.command(program, "--host", "0.0.0.0", "--port", "1099") });
await running.ready();
const times: number[] = [];
for (let round = 0; round < rounds; round++) {
  const child = Bun.spawn(peer.command(process.execPath, "-e", SEARCH), { stdin: "ignore", stdout: "pipe" });
  const { ms, found } = JSON.parse(await child.stdout.text());
  if (found !== 1) throw new Error(`found ${found} servers`);
  times.push(ms);
}
const shown = times.map((ms) => ms.toFixed(1)).join(" ");
console.log(
  `discovery: median ${median(times).toFixed(1)} ms of ${times.length} (${shown}); goal 100, and ${OTHERS_MS} of it wait for other servers`,
);
