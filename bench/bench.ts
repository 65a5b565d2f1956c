// `bun run bench`: the issue's table, row by row, ours beside the rivals', and bench/RESULTS.md.
// Invariant: whatever happens to a row, its processes are stopped and its folders removed, and the next row runs.
// Never: part of `bun test`; numbers depend on the machine.

import * as fs from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { run, stopChildren } from "./child.ts";
import { describeMachine } from "./machine.ts";
import { takePrograms } from "./ours.ts";
import { type Found, goalNotes, goalTable, markdown, notTried, remarksOf, textTable } from "./report.ts";
import { ROWS, type RowContext } from "./rows.ts";
import { createScratch } from "./scratch.ts";
import { GIB, MIB, sizeText } from "./stats.ts";

const RESULTS = join(import.meta.dir, "RESULTS.md");
const UNITS: Readonly<Record<string, number>> = { "": 1, K: 1024, M: MIB, G: GIB };
const QUICK = { bytes: 200 * MIB, rounds: 2 } as const;
const FULL = { bytes: 2 * GIB, rounds: 5 } as const;

if (Bun.argv[2] === "crowd") {
  await import("./crowd.ts");
  process.exit(0);
}

const usage = `usage: bun run bench crowd [--peers N] [--mib N] [--seed N] [--slow PART] [--leaving PART]   in virtual time
       bun run bench [--quick] [--only NAME]... [--rounds N] [--size BYTES[K|M|G]] [--disk FOLDER] [--programs FOLDER] [--no-rivals]
  rows: ${ROWS.map(({ name }) => name).join(", ")}
  --quick is 200 MiB and 2 rounds; without it 2 GiB and 5. RESULTS.md is written by a full run of all rows.
  --disk: a folder of the disk to measure; --programs: executables other than those of dist/;
  --no-rivals: copy beside nginx → curl alone.`;

function fail(): never {
  console.error(usage);
  process.exit(2);
}

function parseBytes(text: string): number {
  const match = /^(\d+)([KMG]?)i?B?$/i.exec(text);
  const unit = UNITS[(match?.[2] ?? "").toUpperCase()];
  return match === null || unit === undefined ? fail() : Number(match[1]) * unit;
}

function readOptions() {
  try {
    return parseArgs({
      args: Bun.argv.slice(2),
      options: {
        quick: { type: "boolean", default: false },
        only: { type: "string", multiple: true, default: [] },
        rounds: { type: "string" },
        size: { type: "string" },
        disk: { type: "string" },
        programs: { type: "string" },
        "no-rivals": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch {
    return fail();
  }
}

const options = readOptions();
if (options.help || !options.only.every((name) => ROWS.some((row) => row.name === name))) fail();
const base = options.quick ? QUICK : FULL;
const bytes = options.size === undefined ? base.bytes : parseBytes(options.size);
const rounds = options.rounds === undefined ? base.rounds : Number(options.rounds);
if (!Number.isInteger(rounds) || rounds < 1 || bytes < MIB) fail();

const scratch = createScratch(options.disk);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, async () => {
    await stopChildren();
    scratch.remove();
    process.exit(1);
  });
}

const say = (text: string): void => console.log(text);
const found: Found[] = [];
const started = new Date();
try {
  const disk = scratch.folder("disk", "programs");
  const programs = takePrograms(disk, options.programs);
  const about = [
    ...describeMachine(disk),
    run([programs.peer, "--version"]).trim(),
    `${sizeText(bytes)} of random bytes, rounds: ${rounds}${options.quick ? " (--quick)" : ""}, ${started.toISOString().slice(0, 10)}`,
  ];
  for (const line of about) say(line);
  const context: RowContext = {
    bytes,
    rounds,
    rivals: !options["no-rivals"],
    scratch,
    programs,
    say,
  };
  for (const row of ROWS) {
    if (options.only.length > 0 && !options.only.includes(row.name)) continue;
    say(`\n== ${row.name}: ${row.what}`);
    const start = performance.now();
    const result = await row.run(context).catch((error: unknown) => notTried(row.what, "", `failed: ${error}`));
    await stopChildren();
    found.push(result);
    for (const table of result.tables) say(textTable(table));
    for (const note of result.notes ?? []) say(`  ${note}`);
    say(textTable({ ...goalTable([result]), title: `goals (${((performance.now() - start) / 1000).toFixed(0)} s)` }));
    for (const note of goalNotes([result])) say(`  ${note}`);
  }
  say(`\n${textTable(goalTable(found))}`);
  if (options.only.length === 0 && !options.quick && !options["no-rivals"]) {
    const before = fs.existsSync(RESULTS) ? fs.readFileSync(RESULTS, "utf8") : "";
    fs.writeFileSync(RESULTS, markdown(about, found, remarksOf(before)));
    say(`\nwritten: ${RESULTS}`);
  }
} finally {
  await stopChildren();
  scratch.remove();
}
process.exit(0);
