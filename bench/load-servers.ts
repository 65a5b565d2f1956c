// The programs under load: our server from source or as an executable, and redis-server, each on a free port.
// Invariant: whatever was started here is stopped by its own process id, however the run ends.
// Never: reads anything of another process than its CPU time and its memory.

import { readFileSync } from "node:fs";
import { join } from "node:path";

export type Running = {
  readonly pid: number;
  readonly port: number;
  readonly ip: string;
  /** Resident memory in MB. */
  rss(): number;
  /** CPU seconds used so far. */
  cpu(): number;
  kill(signal?: NodeJS.Signals): void;
  stop(): Promise<void>;
};

const ROOT = join(import.meta.dir, "..");
const started = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of started) child.kill("SIGKILL");
});

function running(child: Bun.Subprocess, ip: string, port: number): Running {
  started.add(child);
  void child.exited.then((code) => {
    if (started.has(child) && !killed) console.error(`a server has died: ${child.signalCode ?? code}`);
  });
  const { pid } = child;
  let killed = false;
  return {
    pid,
    ip,
    port,
    rss: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024,
    cpu() {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      return (Number(fields[11]) + Number(fields[12])) / 100;
    },
    kill(signal = "SIGKILL") {
      killed = true;
      child.kill(signal);
    },
    async stop() {
      killed = true;
      child.kill("SIGTERM");
      await child.exited;
      started.delete(child);
    },
  };
}

/** Reads `stream` line by line until one matches. */
async function waitFor(stream: ReadableStream<Uint8Array>, pattern: RegExp): Promise<RegExpMatchArray> {
  let text = "";
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`ended before ${pattern}: ${text.slice(-500)}`);
    text += new TextDecoder().decode(value);
    const found = pattern.exec(text);
    if (found !== null) {
      // Whatever follows is read and dropped, so that the program never waits for us.
      void (async () => {
        while (!(await reader.read()).done);
      })();
      return found;
    }
  }
}

export type NapsterOptions = {
  readonly program?: string | undefined;
  readonly port?: number;
  readonly flags?: readonly string[];
};

/** napster-server on every address of the machine; `program` is an executable in the place of the source. */
export async function startNapster({
  program,
  // Not port 0: thousands who dial a server that is down would take its port as their own.
  port = 10_000 + Math.floor(Math.random() * 20_000),
  flags = [],
}: NapsterOptions = {}): Promise<Running> {
  const command = program === undefined ? [process.execPath, join(ROOT, "src/napster-server.ts")] : [program];
  // The whole crowd comes from this machine.
  const crowd = ["--max-connections-per-address", "1000000"];
  const child = Bun.spawn([...command, "--host", "0.0.0.0", "--port", String(port), ...crowd, ...flags], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const found = await waitFor(child.stderr, /pronto [\d.]+:(\d+)/);
  return running(child, "127.0.0.1", Number(found[1]));
}

/** redis-server without persistence. It takes no port 0, so a free one is looked for first. */
export async function startRedis(wanted?: number): Promise<Running> {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: wanted ?? 0, socket: { data() {} } });
  const { port } = probe;
  probe.stop(true);
  const child = Bun.spawn(
    ["redis-server", "--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
    { stdin: "ignore", stdout: "pipe", stderr: "ignore" },
  );
  await waitFor(child.stdout, /Ready to accept connections/);
  return running(child, "127.0.0.1", port);
}
