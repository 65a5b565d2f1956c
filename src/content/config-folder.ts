// Where a program keeps what it must know again at its next start: the person's configuration folder.
// Invariant: one folder by the platform's convention, or the one that NAPSTER_CONFIG names.
// Never: makes or reads anything.

import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/** The path of `file` in the configuration folder. */
export function configPath(
  file: string,
  env: Environment = process.env,
  platform = process.platform,
  home = homedir(),
): string {
  const { NAPSTER_CONFIG: given, XDG_CONFIG_HOME: xdg } = env;
  const base = (): string => {
    if (platform === "win32") return env.APPDATA ?? join(home, "AppData", "Roaming");
    if (platform === "darwin") return join(home, "Library", "Application Support");
    // XDG Base Directory: a relative path is invalid and is ignored.
    return xdg !== undefined && isAbsolute(xdg) ? xdg : join(home, ".config");
  };
  return join(given !== undefined && given !== "" ? resolve(given) : join(base(), "napster"), file);
}
