// What happens to the server with a crowd on it: idle peers, coming and going, one huge library, a restart, the limit.
// Invariant: each number is printed with what it was taken under; nothing is left running.
// Never: lowers a goal to what was reached.

import { openDoor } from "./load-door.ts";
import { createHistogram, type Histogram, percentiles } from "./load-histogram.ts";
import { nameOf } from "./load-names.ts";
import { type Running, startNapster } from "./load-servers.ts";
import type { Order, Report } from "./load-worker.ts";

export type CrowdOptions = {
  readonly peers: number;
  readonly seconds: number;
  readonly program: string | undefined;
  readonly flags: readonly string[];
};

type Worker = { ask(order: Order): Promise<Report>; stop(): void };

const PROCESSES = 2;
const AT_ONCE = 100;
const NAMES = 50;

function startWorker(): Worker {
  let answer: (report: Report) => void = () => {};
  const child = Bun.spawn([process.execPath, `${import.meta.dir}/load-worker.ts`], {
    ipc: (report: Report) => answer(report),
    stdin: "ignore",
    stdout: "inherit",
    stderr: "inherit",
  });
  process.on("exit", () => child.kill("SIGKILL"));
  return {
    ask: (order) =>
      new Promise((resolve) => {
        answer = resolve;
        child.send(order);
      }),
    stop: () => child.kill("SIGKILL"),
  };
}

const at = ({ ip, port }: Running) => ({ ip, port });
const say = (text: string): void => console.log(text);
const histogramOf = (reports: readonly Report[]): Histogram => {
  const all = createHistogram();
  for (const { counts } of reports) all.merge(counts);
  return all;
};
const total = (reports: readonly Report[], key: "joined" | "failed"): number => reports.reduce((n, r) => n + r[key], 0);

async function fill(server: Running, workers: readonly Worker[], peers: number, first = 0): Promise<void> {
  const from = performance.now();
  const share = Math.floor(peers / workers.length);
  const reports = await Promise.all(
    workers.map((worker, i) => {
      const count = i === workers.length - 1 ? peers - share * i : share;
      return worker.ask({ do: "crowd", ...at(server), first: first + share * i, count, names: NAMES, atOnce: AT_ONCE });
    }),
  );
  const seconds = (performance.now() - from) / 1000;
  say(
    `  ${total(reports, "joined")} joined, ${total(reports, "failed")} failed, in ${seconds.toFixed(1)} s (${Math.round(peers / seconds)}/s), JOIN p50/p99/p99.9 ${percentiles(histogramOf(reports))} ms, RSS ${server.rss().toFixed(0)} MB`,
  );
}

/** Peers that are in and say nothing but PING; then SEARCH while 200 a second come and go. */
export async function idle({ peers, seconds, program, flags }: CrowdOptions): Promise<void> {
  const server = await startNapster({ program, flags });
  const workers = Array.from({ length: PROCESSES }, startWorker);
  const asker = startWorker();
  await Bun.sleep(1000);
  const empty = server.rss();
  say(`${peers} peers with ${NAMES} names each; the empty server has ${empty.toFixed(0)} MB`);
  await fill(server, workers, peers);
  const cpu = server.cpu();
  await Bun.sleep(5000);
  say(
    `  idle: ${(server.rss() - empty).toFixed(0)} MB above empty (goal 500), CPU ${((server.cpu() - cpu) * 20).toFixed(1)} %`,
  );
  for (const perSecond of [0, 200]) {
    const searching = asker.ask({
      do: "search",
      ...at(server),
      connections: 50,
      perSecond: 2000,
      seconds,
      first: 900_000 + perSecond,
    });
    const churning = await Promise.all(
      workers.map((worker) =>
        worker.ask({ do: "churn", perSecond: perSecond / PROCESSES, seconds: perSecond === 0 ? 0 : seconds }),
      ),
    );
    const found = await searching;
    say(
      `  ${perSecond} peers/s come and go: SEARCH at ${Math.round(found.answered / found.seconds)}/s p50/p99/p99.9 ${percentiles(histogramOf([found]))} ms (goal p99 10), ${(found.bytes / found.answered).toFixed(0)} bytes an answer, ${total(churning, "failed")} lost, RSS ${server.rss().toFixed(0)} MB`,
    );
  }
  const back = await restart(server, workers, peers, program, flags);
  for (const worker of [...workers, asker]) worker.stop();
  await back.stop();
}

/** kill -9, and a new one on the same port. */
async function restart(
  server: Running,
  workers: readonly Worker[],
  peers: number,
  program: string | undefined,
  flags: readonly string[],
): Promise<Running> {
  const before = server.rss();
  server.kill("SIGKILL");
  await Bun.sleep(500);
  const from = performance.now();
  const back = await startNapster({ program, port: server.port, flags });
  let joined = 0;
  let seconds = 0;
  while (joined < peers && seconds < 60) {
    await Bun.sleep(200);
    joined = total(await Promise.all(workers.map((worker) => worker.ask({ do: "count" }))), "joined");
    seconds = (performance.now() - from) / 1000;
  }
  const storm = back.rss();
  await Bun.sleep(10_000);
  say(
    `  restart after kill -9: ${joined} of ${peers} in again after ${seconds.toFixed(1)} s (goal 30), RSS ${storm.toFixed(0)} MB, ${back.rss().toFixed(0)} ten seconds later (was ${before.toFixed(0)})`,
  );
  return back;
}

/** One peer with 100,000 names enters and leaves while another asks all the time. */
export async function bigJoin({ program, flags }: CrowdOptions): Promise<void> {
  const server = await startNapster({ program, flags });
  const asker = startWorker();
  const count = 100_000;
  const payload = Array.from({ length: count }, (_, i) => `1000000000 - ${nameOf(i)}\n`).join("");
  const address = `127.3.0.1:${openDoor()}`;
  const bytes = Buffer.from(`JOIN ${address} ${Buffer.byteLength(payload)}\n${payload}`);
  for (let round = 0; round < 3; round++) {
    const searching = asker.ask({
      do: "search",
      ...at(server),
      connections: 5,
      perSecond: 1000,
      seconds: 4,
      first: 910_000 + round * 100,
    });
    await Bun.sleep(1000);
    let heard = 0;
    let tail = "";
    const answered = Promise.withResolvers<void>();
    let all: PromiseWithResolvers<void> | undefined;
    let queue: Uint8Array = bytes;
    const flush = (socket: { write(bytes: Uint8Array): number }) => {
      while (queue.length > 0) {
        const wrote = socket.write(queue);
        queue = queue.subarray(Math.max(0, wrote));
        if (wrote <= 0) return;
      }
    };
    const from = performance.now();
    const socket = await Bun.connect({
      hostname: server.ip,
      port: server.port,
      socket: {
        data(_, chunk) {
          if (all === undefined) return answered.resolve();
          heard += chunk.toString("latin1").split(`${address}\n`).length - 1;
          tail = chunk.toString("latin1").slice(-40);
          if (heard >= count) all.resolve();
        },
        drain: flush,
      },
    });
    flush(socket);
    await answered.promise;
    const took = performance.now() - from;
    all = Promise.withResolvers<void>();
    queue = Buffer.from(Array.from({ length: count }, (_, i) => `SEARCH ${nameOf(i)}\n`).join(""));
    flush(socket);
    await Promise.race([all.promise, Bun.sleep(3000)]);
    socket.terminate();
    const found = await searching;
    say(
      `  JOIN of ${count} names (${(bytes.length / 1e6).toFixed(1)} MB): JOIN_OK after ${took.toFixed(0)} ms (goal 1000), ${heard} found; SEARCH of others meanwhile, and while it leaves: p50/p99/p99.9/max ${percentiles(histogramOf([found]))} / ${histogramOf([found]).at(1).toFixed(2)} ms (goal max 20) ${heard < count ? tail : ""}`,
    );
  }
  say(`  RSS ${server.rss().toFixed(0)} MB`);
  asker.stop();
  await server.stop();
}

/** More and more peers, until something breaks. */
export async function limit({ peers, program, flags }: CrowdOptions): Promise<void> {
  const server = await startNapster({ program, flags });
  const workers = Array.from({ length: 3 }, startWorker);
  const asker = startWorker();
  await asker.ask({ do: "search", ...at(server), connections: 20, perSecond: 100, seconds: 1, first: 920_000 });
  for (let have = 0; have < peers; have += 10_000) {
    const filling = fill(server, workers, 10_000, have);
    const done = await Promise.race([filling.then(() => true), Bun.sleep(40_000).then(() => false)]);
    const found = await asker
      .ask({ do: "search", ...at(server), connections: 0, perSecond: 1, seconds: 0, first: 0 })
      .catch(() => undefined);
    const joined = done ? "" : total(await Promise.all(workers.map((worker) => worker.ask({ do: "count" }))), "joined");
    say(
      `  ${have + 10_000} wanted: ${done ? "all asked" : `stuck at ${joined}`}, RSS ${server.rss().toFixed(0)} MB, others answered: ${found !== undefined}`,
    );
    if (!done) break;
  }
  for (const worker of [...workers, asker]) worker.stop();
  await server.stop();
}
