// A real redis-server on a free port of loopback, which a test may freeze, kill and start again.
// Invariant: it keeps nothing on disk and is gone when the test file is done.
// Never: used when the program is not installed: tests then skip by name, or fail where CI says that it must be there.

import { afterAll } from "bun:test";
import { freePorts } from "./folders.ts";

export const hasRedis = Bun.which("redis-server") !== null || process.env.CI === "true";

export type Redis = {
  readonly url: string;
  readonly port: number;
  signal(name: "SIGSTOP" | "SIGCONT" | "SIGKILL"): void;
  stop(): Promise<void>;
};

const running = new Set<Bun.Subprocess>();
afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
});

export async function startRedis({
  port = freePorts(1)[0] as number,
  flags = [] as readonly string[],
} = {}): Promise<Redis> {
  const child = Bun.spawn(
    ["redis-server", "--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", ...flags],
    { stdin: "ignore", stdout: "pipe", stderr: "ignore" },
  );
  running.add(child);
  const reader = child.stdout.getReader();
  for (let text = ""; !text.includes("Ready to accept connections"); ) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`redis-server ended: ${text}`);
    text += new TextDecoder().decode(value);
  }
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    signal: (name) => child.kill(name),
    async stop() {
      child.kill("SIGKILL");
      await child.exited;
      running.delete(child);
    },
  };
}
