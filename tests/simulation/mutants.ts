// Bugs planted one at a time, in a copy of the repository: `bun run mutants` says which test catches each.
// Those of this file are planted by hand; `--random N --seed S` draws N others by lot.

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { drawMutants, testsOf } from "./chance-mutants.ts";

export type Mutant = {
  readonly where: string;
  readonly bug: string;
  readonly file: string;
  readonly find: string;
  readonly put: string;
  /** Where the simulation plays that part of the program; SUITES.simulation when not given. */
  readonly tests?: readonly string[];
};

export const MUTANTS: readonly Mutant[] = [
  {
    where: "scheduler",
    bug: "what a lost lane had on order is never fetched by another",
    file: "src/transfer/scheduler.ts",
    find: "    for (const index of orphans) set(index, MISSING);\n",
    put: "",
  },
  {
    where: "journal",
    bug: "a piece is journaled before its bytes are synced",
    file: "src/transfer/storage.ts",
    find: "const unsynced = await part.sync();",
    put: "const unsynced = undefined as Fault | undefined;",
  },
  {
    where: "recovery",
    bug: "a piece that was only written counts as synced",
    file: "src/transfer/journal.ts",
    find: "(number < WRITTEN ? pieces : written)",
    put: "(number < WRITTEN ? pieces : pieces)",
  },
  {
    where: "verification",
    bug: "a piece whose hash is wrong counts as right",
    file: "src/transfer/judge.ts",
    find: "    layer === undefined || Buffer.compare(",
    put: "    layer !== null || Buffer.compare(",
  },
  {
    where: "catalog",
    bug: "a peer that is gone stays listed",
    file: "src/catalog/memory.ts",
    find: "rowOf(member) === undefined ? undefined : dismiss(member as Record)",
    put: "void member",
  },
  {
    where: "probes",
    bug: "a peer to which nobody can connect is listed",
    file: "src/servidor/entrance.ts",
    find: 'probed === "unreached" ? "unreached" : "listed"',
    put: 'probed === "unreached" ? "listed" : "listed"',
  },
  {
    where: "lock",
    bug: "it lies in the cache folder: two people in one folder have one each",
    file: "src/content/workplace.ts",
    find: "await takeLock(folder, name);",
    put: "await takeLock(fs.mkdtempSync(folder), name);",
    tests: ["tests/simulation/folder.test.ts"],
  },
];

const ROOT = join(import.meta.dir, "..", "..");
/** The simulation alone, then everything that looks at that part of the program. */
export const SUITES = {
  simulation: ["tests/simulation/simulation.test.ts", "tests/simulation/lessons.test.ts"],
  units: [
    "tests/unit/power-cut.test.ts",
    "tests/unit/storage.test.ts",
    "tests/unit/fetcher.test.ts",
    "tests/unit/catalog-memory.test.ts",
  ],
} as const;
const SECONDS_MAX = 120;

/** The names of the tests that fail with the mutant in place. */
export async function catchMutant(
  mutant: Mutant,
  tests: readonly string[],
  seeds: string,
  flags: readonly string[] = [],
): Promise<string[]> {
  const copy = mkdtempSync(join(tmpdir(), "napster-mutant-"));
  try {
    for (const part of ["src", "tests", "package.json", "tsconfig.json"]) {
      cpSync(join(ROOT, part), join(copy, part), { recursive: true });
    }
    symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"), "dir");
    const path = join(copy, mutant.file);
    const source = readFileSync(path, "utf8");
    if (source.split(mutant.find).length !== 2)
      throw new Error(`${mutant.file} does not hold exactly one: ${mutant.find}`);
    writeFileSync(
      path,
      source.replace(mutant.find, () => mutant.put),
    );
    const child = Bun.spawn([process.execPath, "test", ...flags, ...tests.map((test) => `./${test}`)], {
      cwd: copy,
      env: { ...process.env, SIMULATION_SEEDS: seeds },
      stdout: "ignore",
      stderr: "pipe",
      timeout: SECONDS_MAX * 1000,
      killSignal: "SIGKILL",
    });
    const told = await child.stderr.text();
    const code = await child.exited;
    const failed = [...told.matchAll(/^\(fail\) (.*?)(?: \[[\d.]+ms\])?$/gm)].map(([, name = ""]) => name);
    if (failed.length > 0 || code === 0) return failed;
    return [child.signalCode === null ? `the tests end with ${code}` : `the tests have not ended in ${SECONDS_MAX} s`];
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

async function judge(
  mutant: Mutant,
  suites: Readonly<Record<string, readonly string[]>>,
  flags: readonly string[] = [],
): Promise<string[]> {
  console.log(`${mutant.where}: ${mutant.bug}`);
  const escaped: string[] = [];
  for (const [suite, tests] of Object.entries(suites)) {
    const caught = await catchMutant(mutant, tests, "1 80", flags);
    if (caught.length === 0) escaped.push(suite);
    console.log(`  ${suite}: ${caught.length === 0 ? "not caught" : caught.map((name) => `\n    ${name}`).join("")}`);
  }
  return escaped;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { random: { type: "string" }, seed: { type: "string", default: "1" } } });
  let escaped = 0;
  if (values.random === undefined) {
    for (const mutant of MUTANTS) escaped += Number((await judge(mutant, SUITES)).includes("simulation"));
  } else {
    for (const mutant of drawMutants(Number(values.random), Number(values.seed))) {
      const tests = testsOf(mutant.file);
      if (tests.length > 0)
        escaped += (await judge(mutant, { [tests.join(" ")]: tests }, ["--bail", "--timeout", "60000"])).length;
    }
  }
  console.log(`${escaped} not caught`);
  process.exit(escaped > 0 ? 1 : 0);
}
