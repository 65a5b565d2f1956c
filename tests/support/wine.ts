// A Windows of this suite's own: a Wine prefix in a temporary folder, made once and stopped by its own wineserver.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "./folders.ts";
import { prngDll } from "./prng-dll.ts";

// Debian's package leaves wineserver beside the libraries when only the 64-bit half is installed.
const WINESERVER = Bun.which("wineserver") ?? "/usr/lib/wine/wineserver64";

const WINE_SECONDS_MAX = 60;

export type Wine = {
  readonly env: Record<string, string | undefined>;
  /** A folder under C:\, as Linux and as Windows name it. */
  folder(name: string): { readonly path: string; readonly windows: string };
  command(exe: string, ...args: string[]): string[];
} & AsyncDisposable;

/** To the end, without its output: Wine's services keep that open longer than the command lives. */
async function quietly(command: readonly string[], env: Wine["env"]): Promise<void> {
  const child = Bun.spawn([...command], {
    stdio: ["ignore", "ignore", "ignore"],
    env: { ...process.env, ...env },
    timeout: WINE_SECONDS_MAX * 1000,
    killSignal: "SIGKILL",
  });
  await child.exited;
}

/** How Windows names a Linux path under Wine. */
export const windowsPath = (path: string): string => `Z:${path.replaceAll("/", "\\")}`;

export async function startWine(): Promise<Wine> {
  const home = temporaryFolder("wine");
  const prefix = join(home.path, "prefix");
  const env = {
    WINEPREFIX: prefix,
    WINEDEBUG: "-all",
    WINEDLLOVERRIDES: "mscoree,mshtml=", // no questions about Mono and Gecko
    LC_ALL: "C.UTF-8",
    NODE_EXTRA_CA_CERTS: undefined,
    DISPLAY: undefined,
    NAPSTER_CACHE: undefined, // the prefix has folders of its own
    NAPSTER_CONFIG: undefined,
  };
  // Persistent, so that the server and the services it starts belong to no program whose output someone waits for.
  await quietly([WINESERVER, "-p"], env);
  await quietly(["wineboot", "-i"], env);
  await quietly(["winecfg", "-v", "win10"], env);
  await Bun.write(join(prefix, "drive_c/windows/system32/bcryptprimitives.dll"), prngDll());
  return {
    env,
    folder(name) {
      const path = join(prefix, "drive_c", "temp", name);
      mkdirSync(path, { recursive: true });
      return { path, windows: `c:\\temp\\${name}\\` };
    },
    command: (exe, ...args) => ["wine", exe, ...args],
    async [Symbol.asyncDispose]() {
      await quietly([WINESERVER, "-k"], env);
      await quietly([WINESERVER, "-w"], env);
      home[Symbol.dispose]();
    },
  };
}
