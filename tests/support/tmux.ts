// Drives a program through tmux: under Wine, a pane is the only thing that the program takes for a real console.

import { join } from "node:path";
import { type Folder, TEST_ENV } from "./folders.ts";
import { run } from "./run.ts";
import { DEADLINE_SECONDS, until } from "./until.ts";

export type Pane = {
  /** What the pane shows. Not its history: tmux keeps there what a program erased from the top row on. */
  screen(): Promise<string[]>;
  type(text: string): Promise<void>;
  /** A key by tmux's name: Enter, Up, Down, C-c. */
  press(...keys: string[]): Promise<void>;
  shows(text: string | RegExp, seconds?: number): Promise<void>;
  endsWith(text: string | RegExp, seconds?: number): Promise<void>;
} & AsyncDisposable;

let panes = 0;

/**
 * Runs a command in a pane of a tmux server of its own, whose socket lies in `folder`. Its outputs go through a pipe,
 * so that tmux draws what the program writes and not what Wine makes of it; its keyboard stays a real console. At the
 * end the pane shows `[fim STATUS]` and stays. Ctrl+C goes to the whole pipeline: only the command is to act on it.
 */
export async function openPane(
  folder: Folder,
  command: readonly string[],
  { columns = 80, rows = 24, env = {} as Record<string, string | undefined> } = {},
): Promise<Pane> {
  panes += 1;
  const tmux = ["tmux", "-f", "/dev/null", "-S", join(folder.path, `tmux-${panes}`)];
  const size = ["-x", String(columns), "-y", String(rows)];
  const words = command.map((word) => `'${word}'`).join(" ");
  const script = `{ trap : INT; ${words}; echo "[fim $?]"; } 2>&1 | (trap "" INT; cat); exec cat`;
  await run([...tmux, "new-session", "-d", ...size, script], {
    env: { ...TEST_ENV, ...env, TMUX: undefined },
  });
  const capture = () => run([...tmux, "capture-pane", "-p"]);
  async function screen(): Promise<string[]> {
    const lines = (await capture()).split("\n").map((line) => line.trimEnd());
    while (lines.at(-1) === "") lines.pop();
    return lines;
  }
  const has = (text: string, wanted: string | RegExp) =>
    typeof wanted === "string" ? text.includes(wanted) : wanted.test(text);
  async function wait(what: string, wanted: string | RegExp, part: (lines: string[]) => string, seconds: number) {
    let last: string[] = [];
    const check = async () => {
      last = await screen();
      return has(part(last), wanted);
    };
    await until(`${what} ${wanted}`, check, seconds, () => `the pane:\n${last.join("\n")}`);
  }
  return {
    screen,
    type: async (text) => void (await run([...tmux, "send-keys", "-l", text])),
    press: async (...keys) => void (await run([...tmux, "send-keys", ...keys])),
    shows: (wanted, seconds = DEADLINE_SECONDS) => wait("the pane to show", wanted, (all) => all.join("\n"), seconds),
    endsWith: (wanted, seconds = DEADLINE_SECONDS) =>
      wait("the pane's last line", wanted, (all) => all.at(-1) ?? "", seconds),
    async [Symbol.asyncDispose]() {
      await run([...tmux, "kill-server"]).catch(() => undefined);
    },
  };
}
