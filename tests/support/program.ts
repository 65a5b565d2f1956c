// Runs an executable as a person's script would: arguments, standard input, and what comes out, byte by byte.

import { readFileSync } from "node:fs";
import { TEST_ENV } from "./folders.ts";
import { DEADLINE_SECONDS, until } from "./until.ts";

export type Program = {
  readonly pid: number;
  /** Everything so far, decoded as UTF-8. */
  stdout(): string;
  stderr(): string;
  /** One answer; the newline is added. */
  type(...lines: string[]): Promise<void>;
  endInput(): void;
  /** The IP:PORT of the readiness line. Throws when the program ends without it. */
  ready(seconds?: number): Promise<string>;
  /** Waits until stdout (or stderr) holds `text`. */
  shows(text: string | RegExp, seconds?: number): Promise<void>;
  complains(text: string | RegExp, seconds?: number): Promise<void>;
  /** Waits for the end; 128 + signal when killed. */
  exit(seconds?: number): Promise<number>;
  signal(name: NodeJS.Signals): void;
  running(): boolean;
  /** Resident memory now, in bytes. */
  residentBytes(): number;
} & AsyncDisposable;

export type Start = {
  readonly command: readonly string[];
  readonly env?: Record<string, string | undefined>;
  readonly cwd?: string;
  /** A file to read from, "none" for an empty input, "pipe" (the default) for type(). */
  readonly stdin?: "pipe" | "none" | { readonly file: string };
  /** Told each line of stdout as it comes, for whoever shows them. */
  readonly onLine?: (line: string) => void;
};

const SIGNALS = new Map([
  ["SIGINT", 2],
  ["SIGKILL", 9],
  ["SIGTERM", 15],
]);
const READY = /^pronto (\d+\.\d+\.\d+\.\d+:\d+)\r?$/m;

const has = (text: string, wanted: string | RegExp): boolean =>
  typeof wanted === "string" ? text.includes(wanted) : wanted.test(text);

function collect(
  stream: ReadableStream<Uint8Array>,
  onLine?: (line: string) => void,
): { text(): string; done: Promise<void> } {
  const chunks: Uint8Array[] = [];
  const decoder = new TextDecoder();
  let line = "";
  const done = (async () => {
    for await (const chunk of stream) {
      chunks.push(chunk);
      if (onLine === undefined) continue;
      const lines = (line + decoder.decode(chunk, { stream: true })).split("\n");
      line = lines.pop() ?? "";
      lines.forEach(onLine);
    }
  })();
  return { text: () => Buffer.concat(chunks).toString("utf8"), done };
}

/** Starts a program; `await using` stops it by its pid at the end of the block. */
export function startProgram({ command, env, cwd, stdin = "pipe", onLine }: Start): Program {
  const child = Bun.spawn([...command], {
    stdin: stdin === "pipe" ? "pipe" : stdin === "none" ? "ignore" : Bun.file(stdin.file),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...TEST_ENV, ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  const input = typeof child.stdin === "object" ? child.stdin : undefined;
  const out = collect(child.stdout, onLine);
  const err = collect(child.stderr);
  const running = () => child.exitCode === null && child.signalCode === null;
  const seen = () =>
    [
      `${command.join(" ")} (pid ${child.pid}, ${running() ? "running" : `ended with ${child.exitCode ?? child.signalCode}`})`,
      `stdout: ${JSON.stringify(out.text().slice(-2000))}`,
      `stderr: ${JSON.stringify(err.text().slice(-2000))}`,
    ].join("\n");

  async function exit(seconds = DEADLINE_SECONDS): Promise<number> {
    await until("the program to end", () => !running(), seconds, seen);
    await Promise.all([out.done, err.done]);
    return child.exitCode ?? 128 + (SIGNALS.get(String(child.signalCode)) ?? 0);
  }
  async function holds(read: () => string, wanted: string | RegExp, seconds: number): Promise<void> {
    await until(String(wanted), () => has(read(), wanted) || (!running() && "ended"), seconds, seen);
    if (running()) return;
    await Promise.all([out.done, err.done]);
    if (!has(read(), wanted)) throw new Error(`ended without ${wanted}\n${seen()}`);
  }
  return {
    pid: child.pid,
    stdout: out.text,
    stderr: err.text,
    async type(...lines) {
      input?.write(lines.map((line) => `${line}\n`).join(""));
      await input?.flush();
    },
    endInput: () => void input?.end(),
    async ready(seconds = DEADLINE_SECONDS) {
      await holds(err.text, READY, seconds);
      return READY.exec(err.text())?.[1] ?? "";
    },
    shows: (text, seconds = DEADLINE_SECONDS) => holds(out.text, text, seconds),
    complains: (text, seconds = DEADLINE_SECONDS) => holds(err.text, text, seconds),
    exit,
    signal: (name) => child.kill(name),
    running,
    residentBytes: () => residentBytes(child.pid),
    async [Symbol.asyncDispose]() {
      if (running()) child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** Resident memory of a process, in bytes; 0 once it has ended. */
export function residentBytes(pid: number): number {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}
