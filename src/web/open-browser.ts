// Opening an address in the person's browser, where there is one.
// Invariant: the address is an argument of its own, never part of a command line that a shell reads.
// Never: waits for the browser, or fails the program.

const COMMANDS: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  win32: ["rundll32", "url.dll,FileProtocolHandler"],
  darwin: ["open"],
  linux: ["xdg-open"],
};

/** False where there is no screen, or no program that opens addresses. */
export function openBrowser(url: string, environment: Readonly<Record<string, string | undefined>>): boolean {
  const command = COMMANDS[process.platform];
  const hasScreen = process.platform !== "linux" || Boolean(environment.DISPLAY || environment.WAYLAND_DISPLAY);
  if (command === undefined || !hasScreen) return false;
  try {
    const child = Bun.spawn([...command, url], { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
    child.unref();
    return true;
  } catch {
    return false; // there is no such program
  }
}
