// A process under measurement: started, watched through /proc, and stopped by its pid.
// Invariant: peak memory is VmHWM, sampled while the process lives; CPU time is user plus system of all its threads.
// Never: leaves a process behind: stopChildren() ends whatever is still running.

import { readFileSync, writeFileSync } from "node:fs";

export type Usage = { readonly cpuSeconds: number; readonly peakBytes: number };

export type Child = {
  readonly pid: number;
  /** Milliseconds of performance.now(). */
  readonly startedAt: number;
  readonly running: boolean;
  /** What it has used so far, or used in all when it is over. */
  usage(): Usage;
  /** Forgets the peak so far; what it holds now is the new peak. */
  resetPeak(): void;
  stdout(): string;
  stderr(): string;
  type(text: string): void;
  /** Resolves to the first match in stdout or stderr. Throws when the process ends without it, or at the deadline. */
  shows(pattern: RegExp, seconds?: number): Promise<RegExpExecArray>;
  /** Waits for a good end; how many seconds it ran. Throws on another exit code. */
  finish(secondsMax: number): Promise<number>;
  /** Waits for any end. */
  ended(secondsMax: number): Promise<number | null>;
  kill(signal: NodeJS.Signals): void;
  /** Asks it to end, then makes it. */
  stop(): Promise<void>;
};

export type Start = {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly pipeInput?: boolean;
  /** Runs it in a pseudo-terminal, for what insists on a screen; stdout() is then all that it draws. */
  readonly terminal?: boolean;
  readonly onLine?: (line: string) => void;
};

const SAMPLE_MS = 20;
const STOP_SECONDS_MAX = 5;
const OUTPUT_CHARACTERS_MAX = 4_000_000;
const TICKS_PER_SECOND = 100;

const alive = new Set<Child>();

/** Ends everything that was started and still runs. */
export async function stopChildren(): Promise<void> {
  await Promise.all([...alive].map((child) => child.stop()));
}

export function startChild({ command, env, cwd, pipeInput, terminal, onLine }: Start): Child {
  const startedAt = performance.now();
  let drawn = "";
  const common = {
    env: { ...process.env, NAPSTER_SERVER: undefined, ...env },
    ...(cwd === undefined ? {} : { cwd }),
  };
  const process_ = terminal
    ? Bun.spawn([...command], {
        ...common,
        terminal: {
          cols: 200,
          rows: 40,
          data(_, bytes) {
            drawn += new TextDecoder().decode(bytes);
          },
        },
      })
    : Bun.spawn([...command], {
        ...common,
        stdin: pipeInput ? "pipe" : "ignore",
        stdout: "pipe",
        stderr: "pipe",
      });
  const { pid } = process_;
  const input = typeof process_.stdin === "object" && process_.stdin !== null ? process_.stdin : process_.terminal;
  const out = terminal ? { text: () => drawn, done: undefined } : collect(process_.stdout, onLine);
  const err = collect(terminal ? undefined : process_.stderr);
  let peakBytes = 0;
  let endedAt: number | undefined;
  const sample = () => {
    peakBytes = Math.max(peakBytes, statusBytes(pid, "VmHWM"));
  };
  const sampling = setInterval(sample, SAMPLE_MS);
  const over = process_.exited.then(async (code) => {
    endedAt = performance.now();
    clearInterval(sampling);
    alive.delete(child);
    await Promise.all([out.done, err.done]);
    return code;
  });
  const running = () => endedAt === undefined;
  const describe = () => `${command.join(" ")}\n${out.text().slice(-600)}\n${err.text().slice(-600)}`;

  const child: Child = {
    pid,
    startedAt,
    get running() {
      return running();
    },
    usage() {
      sample();
      const spent = process_.resourceUsage()?.cpuTime.total; // microseconds
      return { cpuSeconds: running() || spent === undefined ? cpuSeconds(pid) : Number(spent) / 1e6, peakBytes };
    },
    resetPeak() {
      writeFileSync(`/proc/${pid}/clear_refs`, "5");
      peakBytes = 0;
    },
    stdout: out.text,
    stderr: err.text,
    type(text) {
      input?.write(text);
      if (input !== undefined && "flush" in input) void input.flush();
    },
    async shows(pattern, seconds = 30) {
      const deadline = performance.now() + seconds * 1000;
      for (;;) {
        const ended = !running();
        const found = pattern.exec(out.text()) ?? pattern.exec(err.text());
        if (found !== null) return found;
        if (ended || performance.now() > deadline) throw new Error(`no ${pattern} from ${describe()}`);
        await Bun.sleep(5);
      }
    },
    async finish(secondsMax) {
      const code = await child.ended(secondsMax);
      if (code !== 0)
        throw new Error(`${code === null ? `not done in ${secondsMax} s` : `exit ${code}`}: ${describe()}`);
      return ((endedAt as number) - startedAt) / 1000;
    },
    async ended(secondsMax) {
      const code = await Promise.race([over, Bun.sleep(secondsMax * 1000).then(() => undefined)]);
      if (code !== undefined) return code;
      await child.stop();
      return null;
    },
    kill: (signal) => process_.kill(signal),
    async stop() {
      if (!running()) return;
      process_.kill("SIGTERM");
      await Promise.race([over, Bun.sleep(STOP_SECONDS_MAX * 1000)]);
      if (running()) process_.kill("SIGKILL");
      await over;
    },
  };
  alive.add(child);
  return child;
}

/** Runs a helper command to its end; its stdout. Throws when it fails. */
export function run(command: readonly string[], cwd?: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { timeout: 600_000, ...(cwd ? { cwd } : {}) });
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr.toString().slice(-400)}`);
  return stdout.toString();
}

/** Waits until `holds`, looking every few milliseconds; how many seconds that took since `since`. */
export async function seconds(holds: () => boolean, since: number, secondsMax: number, what: string): Promise<number> {
  const deadline = performance.now() + secondsMax * 1000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${secondsMax} s`);
    await Bun.sleep(3);
  }
  return (performance.now() - since) / 1000;
}

/** What lies between two readings of one process: CPU spent, and the peak of the later reading. */
export const usageBetween = (before: Usage, after: Usage): Usage => ({
  cpuSeconds: after.cpuSeconds - before.cpuSeconds,
  peakBytes: after.peakBytes,
});

function collect(
  stream: ReadableStream<Uint8Array> | null | undefined,
  onLine?: (line: string) => void,
): { text(): string; done: Promise<void> } {
  const decoder = new TextDecoder();
  let text = "";
  let line = "";
  const done = (async () => {
    for await (const chunk of stream ?? []) {
      const piece = decoder.decode(chunk, { stream: true });
      if (text.length < OUTPUT_CHARACTERS_MAX) text += piece;
      if (onLine === undefined) continue;
      const lines = (line + piece).split("\n");
      line = lines.pop() ?? "";
      lines.forEach(onLine);
    }
  })();
  return { text: () => text, done };
}

function statusBytes(pid: number, field: "VmHWM" | "VmRSS"): number {
  const status = readProc(pid, "status");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0) * 1024;
}

/** User and system time of all threads, in seconds (proc(5): fields 14 and 15 of stat). */
function cpuSeconds(pid: number): number {
  const fields = readProc(pid, "stat").split(") ").at(-1)?.split(" ") ?? [];
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND;
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}
