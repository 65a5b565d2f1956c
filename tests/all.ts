// Runs every test file, as many side by side as there are cores; `bun run test:all` calls it. With arguments: those
// files or folders alone.
// Invariant: the status is 0 only when every file ran to its end and nothing failed; what did not is named last.
// Never: waits for ever. A test has its own limit; a file that blocks its thread is ended and named.

import { availableParallelism } from "node:os";
import { join, relative } from "node:path";

const ROOT = join(import.meta.dir, "..");
const TEST_MILLISECONDS_MAX = 120_000;
/** Longer than the longest limit that a test sets itself. */
const SILENCE_SECONDS_MAX = Number(process.env.TEST_SILENCE_SECONDS ?? 400);
/** With one process Bun does not see that a file ended it; more than four wait for each other's disk. */
const PROCESSES = Math.max(2, Math.min(4, availableParallelism()));

const wanted = process.argv.slice(2).map((path) => relative(ROOT, path));
const found = await Array.fromAsync(new Bun.Glob("tests/**/*.test.ts").scan({ cwd: ROOT }));
const files = found.filter((file) => wanted.length === 0 || wanted.some((path) => file.startsWith(path))).sort();

const flags = [
  `--parallel=${PROCESSES}`,
  `--timeout=${TEST_MILLISECONDS_MAX}`,
  "--timings=tests/timings.json", // the slow files first; `bun test … --update-timings` writes it anew
];
const child = Bun.spawn([process.execPath, "test", ...flags, ...files.map((file) => `./${file}`)], {
  cwd: ROOT,
  stdin: "ignore",
  stdout: "inherit",
  stderr: "pipe",
});
/** Bun names the files that it was at. */
const interrupt = () => child.kill("SIGTERM");
process.on("SIGTERM", interrupt).on("SIGINT", interrupt);
let silence = setTimeout(interrupt, SILENCE_SECONDS_MAX * 1000);
let output = "";
for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
  clearTimeout(silence);
  silence = setTimeout(interrupt, SILENCE_SECONDS_MAX * 1000);
  process.stderr.write(text);
  output += Bun.stripANSI(text);
}
clearTimeout(silence);
const status = await child.exited;

// Bun's own summary names failed tests, but neither a file that could not be loaded nor one that ended or blocked its
// process.
const broken: string[] = [];
let file = "";
for (const line of output.split("\n")) {
  if (/^tests\/\S+:$/.test(line)) file = line.slice(0, -1);
  else if (line.startsWith("# Unhandled error")) broken.push(`${file}: an error outside of its tests`);
  else if (/^✗ |^Interrupted while|^\d+ file\(s\) had not|^ {2}tests\//.test(line)) broken.push(line);
}
const ran = Number(/^Ran \d+ tests? across (\d+) files?\./m.exec(output)?.[1] ?? 0);
if (ran !== files.length) broken.push(`${ran} of ${files.length} files ran to their end`);
if (broken.length > 0) console.error(`\nFiles that did not run to their end:\n${broken.join("\n")}`);
process.exit(status === 0 && broken.length === 0 ? 0 : 1);
