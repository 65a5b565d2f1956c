// The four consoles, from the executables in dist/: a machine knows how to start them and how its folders are named.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Folder, temporaryFolder } from "./folders.ts";
import { type Program, startProgram } from "./program.ts";
import { run } from "./run.ts";
import { until } from "./until.ts";
import { startWine, type Wine, windowsPath } from "./wine.ts";

const ROOT = join(import.meta.dir, "..", "..");
const BUILD_SECONDS_MAX = 120;
const STEP_SECONDS_MAX = 60;

export type Place = {
  /** As this test reaches it. */
  readonly path: string;
  /** As a person on that machine types it. */
  readonly typed: string;
};

export type Machine = {
  readonly temporary: Folder;
  /** The command line of a program. */
  command(program: "napster-server" | "napster-peer", ...args: string[]): string[];
  readonly env: Record<string, string | undefined>;
  /** A folder with these files in it. */
  place(name: string, files?: Record<string, string>): Place;
  /** Starts a program whose input is empty, or, given answers, holds them and ends. */
  start(program: "napster-server" | "napster-peer", args: readonly string[], answers?: readonly string[]): Program;
} & AsyncDisposable;

/** Builds what is older than its sources, or missing. */
async function executables(target?: "windows-x64"): Promise<string> {
  const build = ["build.ts", "--if-stale", ...(target === undefined ? [] : ["--target", target])];
  await run([process.execPath, "run", ...build], { cwd: ROOT, seconds: BUILD_SECONDS_MAX });
  return join(ROOT, "dist", target ?? "");
}

function fill(path: string, files: Record<string, string>): void {
  mkdirSync(path, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
}

function starter(machine: Pick<Machine, "command" | "env" | "temporary">): Machine["start"] {
  let count = 0;
  return (program, args, answers) => {
    let stdin: "none" | { file: string } = "none";
    if (answers !== undefined) {
      count += 1;
      stdin = { file: join(machine.temporary.path, `answers-${count}`) };
      writeFileSync(stdin.file, answers.map((line) => `${line}\n`).join(""));
    }
    return startProgram({ command: machine.command(program, ...args), env: machine.env, stdin });
  };
}

/** This machine, with the executables of `bun run build`. */
export async function openNative(): Promise<Machine> {
  const temporary = temporaryFolder("e2e");
  const suffix = process.platform === "win32" ? ".exe" : "";
  const folder = await executables();
  const command: Machine["command"] = (program, ...args) => [join(folder, program + suffix), ...args];
  const env = {};
  return {
    temporary,
    command,
    env,
    place(name, files = {}) {
      const path = join(temporary.path, name);
      fill(path, files);
      return { path, typed: path };
    },
    start: starter({ command, env, temporary }),
    [Symbol.asyncDispose]: async () => temporary[Symbol.dispose](),
  };
}

/** A Windows under Wine, with the .exe files of `bun run build.ts --target windows-x64`. */
export async function openWindows(): Promise<Machine> {
  const folder = await executables("windows-x64");
  const wine: Wine = await startWine();
  const temporary = temporaryFolder("e2e");
  const command: Machine["command"] = (program, ...args) =>
    wine.command(windowsPath(join(folder, `${program}.exe`)), ...args);
  return {
    temporary,
    command,
    env: wine.env,
    place(name, files = {}) {
      const { path, windows } = wine.folder(name);
      fill(path, files);
      return { path, typed: windows };
    },
    start: starter({ command, env: wine.env, temporary }),
    async [Symbol.asyncDispose]() {
      await wine[Symbol.asyncDispose]();
      temporary[Symbol.dispose]();
    },
  };
}

/** A program that never gets ready must not outlive its test. */
async function readyOrStopped(program: Program): Promise<string> {
  return program.ready().catch(async (error: unknown) => {
    await program[Symbol.asyncDispose]();
    throw error;
  });
}

/** `napster-server` on a free port of 127.0.0.1, ready. */
export async function startServer(machine: Machine, ...args: string[]): Promise<{ server: Program; at: string }> {
  const server = machine.start("napster-server", ["--host", "127.0.0.1", "--port", "0", ...args]);
  return { server, at: await readyOrStopped(server) };
}

/** `napster-peer share`, joined; the address is its own. */
export async function share(machine: Machine, at: string, place: Place, ...args: string[]): Promise<Sharing> {
  const peer = machine.start("napster-peer", ["share", "--server", at, "--dir", place.typed, "--port", "0", ...args]);
  return { peer, address: await readyOrStopped(peer) };
}
export type Sharing = { readonly peer: Program; readonly address: string };

/** `napster-peer search`: the peers it printed. */
export async function search(machine: Machine, at: string, name: string): Promise<string[]> {
  await using peer = machine.start("napster-peer", ["search", name, "--server", at]);
  await peer.exit();
  const line = /^peers com arquivo solicitado:(.*)$/m.exec(peer.stdout())?.[1];
  if (line === undefined) throw new Error(`no answer to SEARCH: ${peer.stdout()}${peer.stderr()}`);
  return line.split(" ").filter((address) => address !== "");
}

/** A peer's console driven line by line, as a script with a pipe does. */
export type Console = {
  readonly program: Program;
  join(address: string, folder: string): Promise<void>;
  search(name: string): Promise<void>;
  download(from: string): Promise<void>;
};

const split = (address: string): [ip: string, port: string] => {
  const [ip = "", port = ""] = address.split(":");
  return [ip, port];
};

/** Opens one; every step waits for what it prints, be it a line or an error. */
export function openConsole(machine: Machine, at: string, onLine?: (line: string) => void): Console {
  const command = machine.command("napster-peer", "--server", at);
  const program = startProgram({ command, env: machine.env, ...(onLine === undefined ? {} : { onLine }) });
  const step = async (...answers: string[]): Promise<void> => {
    const before = lineCount(program);
    await program.type(...answers);
    await waitForLine(program, before);
  };
  return {
    program,
    join: (address, folder) => step("JOIN", ...split(address), folder),
    search: (name) => step("SEARCH", name),
    download: (from) => step("DOWNLOAD", ...split(from)),
  };
}

const errors = (program: Program): string => program.stderr().replace(/^(?!erro:).*\n?/gm, "");
const lineCount = (program: Program): number => (program.stdout() + errors(program)).split("\n").length;
const seen = (program: Program) => (): string => program.stdout() + program.stderr();

async function waitForLine(program: Program, before: number): Promise<void> {
  await until("one more line", () => lineCount(program) > before, STEP_SECONDS_MAX, seen(program));
}
