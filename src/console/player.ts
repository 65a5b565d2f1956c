// Opening a player: whatever program the person's system has for a file.
// Invariant: the file's path is one argument of one program, never a part of a shell's line.
// Never: waits for the player to end, or ends it.

export type Desktop = {
  readonly platform: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
};

const thisDesktop = (): Desktop => ({ platform: process.platform, environment: process.env });

/** What opens the file at `path` by its type; undefined on a machine without a desktop. */
export function openerOf(path: string, { platform, environment }: Desktop): string[] | undefined {
  if (platform === "win32") return ["rundll32.exe", "url.dll,FileProtocolHandler", path];
  if (platform === "darwin") return ["open", path];
  return environment.DISPLAY || environment.WAYLAND_DISPLAY ? ["xdg-open", path] : undefined;
}

/** An opener that has not failed by then has found a program. */
const OPEN_MS_MAX = 3000;

/** Whether a program was found for the file at `path`. It lives on when this one ends. */
export async function openFileWithSystem(path: string, desktop = thisDesktop()): Promise<boolean> {
  const command = openerOf(path, desktop);
  if (command === undefined) return false;
  try {
    // A group of its own: Ctrl+C here is not meant for it.
    const opener = Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "ignore", detached: true });
    opener.unref();
    return (await Promise.race([opener.exited, Bun.sleep(OPEN_MS_MAX).then(() => 0)])) === 0;
  } catch {
    return false; // there is no such program
  }
}
