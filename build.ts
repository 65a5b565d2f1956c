// Makes the executables: `bun run build` for this machine in dist/, `--target windows-x64` for another one in
// dist/windows-x64/, `--all` for all six. dist/SHA256SUMS always covers every executable that dist/ holds.
// `--if-stale` does nothing when the executables are newer than every source.

import { existsSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const ROOT = import.meta.dir;
const SRC = join(ROOT, "src");
const DIST = join(ROOT, "dist");
const PROGRAMS = ["napster-server", "napster-peer"] as const;
const TARGETS = ["linux-x64", "linux-arm64", "windows-x64", "windows-arm64", "darwin-x64", "darwin-arm64"] as const;
type Target = (typeof TARGETS)[number];

// Where Bun mounts an executable's own files. A worker's file keeps its place under src/ there.
const MOUNT = { posix: "file:///$bunfs/root/", windows: "file:///B:/~BUN/root/" } as const;
const WORKER_URL = /new URL\(\s*"(\.{1,2}\/[^"]+-worker\.ts)",\s*import\.meta\.url,?\s*\)/g;

const isWindows = (target: Target | undefined): boolean =>
  target === undefined ? process.platform === "win32" : target.startsWith("windows-");

/**
 * Bundling moves a module into its entry point's file, and `import.meta.url` with it, so a worker's URL that is
 * relative to its module would be looked for beside the entry point. This puts the worker's true place there.
 */
function workerUrls(windows: boolean): Bun.BunPlugin {
  const mount = windows ? MOUNT.windows : MOUNT.posix;
  return {
    name: "worker-urls",
    setup(build) {
      build.onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, async ({ path }) => {
        const source = await Bun.file(path).text();
        const contents = source.replace(WORKER_URL, (_, worker: string) => {
          const place = relative(SRC, resolve(dirname(path), worker)).replaceAll("\\", "/");
          return `new URL(${JSON.stringify(mount + place)})`;
        });
        return { contents, loader: "ts" };
      });
    },
  };
}

/** The commit that is built, marked when the tree differs from it; "desconhecido" outside a git clone. */
function commit(): string {
  try {
    const git = Bun.spawnSync(["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=10"], { cwd: ROOT });
    return (git.success && git.stdout.toString().trim()) || "desconhecido";
  } catch {
    return "desconhecido"; // no git on this machine
  }
}

function outputs(target: Target | undefined): string[] {
  const suffix = isWindows(target) ? ".exe" : "";
  return PROGRAMS.map((program) => join(DIST, target ?? "", program + suffix));
}

async function sources(): Promise<string[]> {
  const paths = await Array.fromAsync(new Bun.Glob("**/*.{ts,html,css}").scan({ cwd: SRC, absolute: true }));
  return paths.sort();
}

async function isFresh(target: Target | undefined): Promise<boolean> {
  const built = outputs(target);
  if (!built.every((path) => existsSync(path))) return false;
  const oldest = Math.min(...built.map((path) => statSync(path).mtimeMs));
  const inputs = [...(await sources()), join(ROOT, "build.ts"), join(ROOT, "package.json")];
  return inputs.every((path) => statSync(path).mtimeMs <= oldest);
}

async function build(target: Target | undefined, version: string): Promise<void> {
  const workers = (await sources()).filter((path) => path.endsWith("-worker.ts"));
  const windows = isWindows(target);
  for (const [index, outfile] of outputs(target).entries()) {
    const program = PROGRAMS[index] ?? "";
    const result = await Bun.build({
      entrypoints: [join(SRC, `${program}.ts`), ...workers],
      root: SRC,
      minify: true,
      // Parsed now, not at each start of a program or a thread: a command needs 0.06 s instead of 0.13.
      bytecode: true,
      format: "esm",
      define: { NAPSTER_VERSION: JSON.stringify(version), NAPSTER_COMMIT: JSON.stringify(commit()) },
      plugins: [workerUrls(windows)],
      compile: {
        ...(target === undefined ? {} : { target: `bun-${target}` as Bun.Build.CompileTarget }),
        outfile,
        // An executable obeys its flags, never a .env or bunfig.toml that lies in the folder it is started from.
        autoloadDotenv: false,
        autoloadBunfig: false,
        // Only Windows itself can write these into an .exe; elsewhere Bun leaves them out.
        ...(process.platform === "win32" && windows
          ? { windows: { title: program, description: program, version: `${version}.0`, hideConsole: false } }
          : {}),
      },
    });
    if (!result.success) throw new AggregateError(result.logs, `cannot build ${program}`);
    console.log(`${relative(ROOT, outfile)}  ${(statSync(outfile).size / 2 ** 20).toFixed(0)} MiB`);
  }
}

/** Lines that `sha256sum -c` reads, from dist/. */
async function writeSums(): Promise<void> {
  const built = [undefined, ...TARGETS].flatMap(outputs).filter((path) => existsSync(path));
  const lines = built.map(async (path) => {
    const hasher = new Bun.CryptoHasher("sha256");
    for await (const chunk of Bun.file(path).stream()) hasher.update(chunk);
    return `${hasher.digest("hex")}  ${relative(DIST, path).replaceAll("\\", "/")}\n`;
  });
  await Bun.write(join(DIST, "SHA256SUMS"), (await Promise.all(lines)).join(""));
}

function parseArguments(args: readonly string[]): { targets: (Target | undefined)[]; ifStale: boolean } | string {
  const targets: Target[] = [];
  let ifStale = false;
  for (let index = 0; index < args.length; index++) {
    const flag = args[index];
    if (flag === "--if-stale") ifStale = true;
    else if (flag === "--all") targets.push(...TARGETS);
    else if (flag === "--target") {
      const target = TARGETS.find((known) => known === args[index + 1]);
      if (target === undefined) return `--target takes one of: ${TARGETS.join(", ")}`;
      targets.push(target);
      index += 1;
    } else return `unknown flag ${flag}; usage: bun run build [--all | --target TARGET]... [--if-stale]`;
  }
  return { targets: targets.length > 0 ? [...new Set(targets)] : [undefined], ifStale };
}

const options = parseArguments(Bun.argv.slice(2));
if (typeof options === "string") {
  console.error(options);
  process.exit(2);
}
const { version } = (await Bun.file(join(ROOT, "package.json")).json()) as { version: string };
let built = 0;
for (const target of options.targets) {
  if (options.ifStale && (await isFresh(target))) continue;
  try {
    await build(target, version);
    built += 1;
  } catch (error) {
    const causes = error instanceof AggregateError ? error.errors : [error];
    console.error(`cannot build for ${target ?? "this machine"}: ${causes.map(String).join("\n")}`);
    if (target !== undefined)
      console.error(`Bun fetches the runtime of ${target} from the npm registry: is the network there?`);
    process.exit(1);
  }
}
if (built > 0) await writeSums();
