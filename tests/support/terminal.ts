// Drives a program through a real pseudo-terminal, and keeps the screen that a person would see.

import { TEST_ENV } from "./folders.ts";
import { createScreen } from "./screen.ts";
import { DEADLINE_SECONDS, until } from "./until.ts";

export const KEY = {
  enter: "\r",
  up: "\u001b[A",
  down: "\u001b[B",
  escape: "\u001b",
  interrupt: "\u0003",
  suspend: "\u001a",
} as const;

export type TerminalSession = {
  readonly pid: number;
  /** Every byte so far, escape sequences included. */
  raw(): string;
  screen(): string[];
  /** The screen's lines as they were written, whatever the width has made of them. */
  paragraphs(): string[];
  resize(columns: number, rows: number, how?: "wrap" | "cut"): void;
  press(...keys: string[]): void;
  /** Waits until the screen holds `text`, somewhere. */
  shows(text: string | RegExp, seconds?: number): Promise<void>;
  /** Waits until the screen's last line with anything on it matches. */
  endsWith(text: string | RegExp, seconds?: number): Promise<void>;
  exit(seconds?: number): Promise<number>;
  running(): boolean;
} & AsyncDisposable;

const has = (text: string, wanted: string | RegExp) =>
  typeof wanted === "string" ? text.includes(wanted) : wanted.test(text);

export function openTerminal(
  command: readonly string[],
  {
    columns = 80,
    rows = 24,
    env = {} as Record<string, string | undefined>,
    cwd = undefined as string | undefined,
  } = {},
): TerminalSession {
  const screen = createScreen(columns, rows);
  const decoder = new TextDecoder();
  let raw = "";
  const child = Bun.spawn([...command], {
    terminal: {
      cols: columns,
      rows,
      data(_, bytes) {
        const text = decoder.decode(bytes, { stream: true });
        raw += text;
        screen.feed(text);
      },
    },
    env: {
      ...process.env,
      TERM: "xterm-256color",
      NO_COLOR: undefined,
      CI: undefined,
      ...TEST_ENV,
      ...env,
    },
    ...(cwd === undefined ? {} : { cwd }),
  });
  const running = () => child.exitCode === null && child.signalCode === null;
  const seen = () => `the screen:\n${screen.lines().join("\n")}\n(${running() ? "running" : "ended"})`;
  return {
    pid: child.pid,
    raw: () => raw,
    screen: screen.lines,
    paragraphs: screen.paragraphs,
    resize(toColumns, toRows, how = "wrap") {
      screen.resize(toColumns, toRows, how);
      child.terminal?.resize(toColumns, toRows);
    },
    press: (...keys) => void child.terminal?.write(keys.join("")),
    async shows(text, seconds = DEADLINE_SECONDS) {
      await until(String(text), () => has(screen.lines().join("\n"), text), seconds, seen);
    },
    async endsWith(text, seconds = DEADLINE_SECONDS) {
      await until(`a last line with ${text}`, () => has(screen.lines().at(-1) ?? "", text), seconds, seen);
    },
    async exit(seconds = DEADLINE_SECONDS) {
      await until("the program to end", () => !running(), seconds, seen);
      return child.exitCode ?? 128;
    },
    running,
    async [Symbol.asyncDispose]() {
      if (running()) child.kill("SIGKILL");
      await child.exited;
      child.terminal?.close();
    },
  };
}
