// A folder that does not tell case apart: the temporary folder itself where the system has such, or one mounted for it.

import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "./folders.ts";
import { run } from "./run.ts";
import { until } from "./until.ts";

export type FoldingFolder = { readonly path: string; readonly kind: string } & AsyncDisposable;

const SOURCE = join(import.meta.dir, "folding.c");

/** Windows and macOS as they come, or a Linux on which we may mount a FUSE of our own (root, cc, libfuse3-dev). */
export function canFold(): boolean {
  if (process.platform !== "linux") return true;
  const hasTools = Bun.which("cc") !== null && existsSync("/usr/include/fuse3/fuse.h");
  return hasTools && process.getuid?.() === 0 && existsSync("/dev/fuse");
}

const folds = (path: string): boolean => {
  writeFileSync(join(path, "Probe"), "");
  const found = existsSync(join(path, "pROBE"));
  rmSync(join(path, "Probe"), { force: true });
  return found;
};

export async function openFoldingFolder(): Promise<FoldingFolder> {
  const temporary = temporaryFolder("folding");
  const path = join(temporary.path, "seen");
  mkdirSync(path);
  if (folds(path)) return { path, kind: "native", [Symbol.asyncDispose]: async () => temporary[Symbol.dispose]() };

  const under = join(temporary.path, "under");
  const program = join(temporary.path, "folding");
  mkdirSync(under);
  const flags = ["-D_FILE_OFFSET_BITS=64", "-I/usr/include/fuse3", SOURCE, "-o", program, "-lfuse3"];
  await run(["cc", "-O1", ...flags], { cwd: temporary.path, seconds: 60 });
  const server = Bun.spawn([program, under, path], { stdio: ["ignore", "ignore", "ignore"] });
  await until("the folder to fold names", () => folds(path));
  return {
    path,
    kind: "fuse",
    async [Symbol.asyncDispose]() {
      server.kill(); // which unmounts it
      await server.exited;
      temporary[Symbol.dispose]();
    },
  };
}
