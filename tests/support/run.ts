// Runs a tool to its end and returns what it printed; a failure names the command and shows its errors.

const RUN_SECONDS_MAX = 120;

export async function run(
  command: readonly string[],
  {
    env = {} as Record<string, string | undefined>,
    cwd = undefined as string | undefined,
    seconds = RUN_SECONDS_MAX,
  } = {},
): Promise<string> {
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...env },
    timeout: seconds * 1000,
    killSignal: "SIGKILL",
    ...(cwd === undefined ? {} : { cwd }),
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code !== 0) throw new Error(`${command.join(" ")}: exit ${code}\n${err.slice(-2000)}`);
  return out;
}
