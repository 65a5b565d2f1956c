// What every way to move a file looks like to the copy row: made ready once, then one copy a round.
// Invariant: a rival that cannot run here says why and how to install it; it is listed, not hidden.
// Never: counts making ready (hashing, seeding) as copying.

import { accessSync, constants } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import type { Usage } from "../child.ts";
import type { Scratch } from "../scratch.ts";

/** The file that is copied. */
export type Cargo = {
  readonly folder: string;
  readonly name: string;
  readonly bytes: number;
  readonly scratch: Scratch;
};

export type Sample = {
  /** From the command to its end, or to the moment it says the file is whole. */
  readonly seconds: number;
  /** Of bringing the copy onto the disk afterwards, where that is a second step. */
  readonly syncSeconds?: number;
  /** Of checking the copy afterwards, where that is a second step. */
  readonly checkSeconds?: number;
  readonly source: Usage;
  readonly taker: Usage;
};

/** Ready to copy into an empty folder, as `cargo.name`. */
export type Ready = { copy(folder: string): Promise<Sample>; close(): Promise<void> };

export type Rival = {
  readonly name: string;
  /** How to install it. */
  readonly install: string;
  /** Commands it needs on the PATH. */
  readonly needs: readonly string[];
  /** The copy is checked against hashes as part of it. */
  readonly verifies: boolean;
  prepare(cargo: Cargo): Promise<Ready>;
};

/** The commands that are not there. */
export function missing(commands: readonly string[]): string[] {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  const paths = (command: string) => (isAbsolute(command) ? [command] : folders.map((folder) => join(folder, command)));
  return commands.filter((command) => !paths(command).some(isExecutable));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A TCP port that is free now. */
export function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}
