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
  /** What else must go for the bug to be there, in that file or another: [find, put, file]. */
  readonly also?: readonly (readonly [string, string, string?])[];
  /** Where the simulation plays that part of the program; SUITES.simulation when not given. */
  readonly tests?: readonly string[];
  /** In the name of those tests that play it: the others need not be run. */
  readonly only?: string;
};

const OBSTACLES = ["tests/simulation/obstacles.test.ts"];
const HOGS = ["tests/simulation/hogs.test.ts"];
const SECOND = ["tests/simulation/second.test.ts"];

export const MUTANTS: readonly Mutant[] = [
  {
    where: "piece picker",
    bug: "what a lost lane had on order is never fetched by another",
    file: "src/download/pieces/piece-picker.ts",
    find: "    for (const index of orphans) set(index, MISSING);\n",
    put: "",
  },
  {
    where: "journal",
    bug: "a piece is journaled before its bytes are synced",
    file: "src/download/disk/part-file.ts",
    find: "const unsynced = await part.sync();",
    put: "const unsynced = undefined as Fault | undefined;",
  },
  {
    where: "resume",
    bug: "a piece that was only written counts as synced",
    file: "src/download/disk/journal.ts",
    find: "(number < WRITTEN ? pieces : written)",
    put: "(number < WRITTEN ? pieces : pieces)",
  },
  {
    where: "verification",
    bug: "a piece whose hash is wrong counts as right",
    file: "src/download/pieces/verifier.ts",
    find: "  layer === undefined || Buffer.compare(",
    put: "  layer !== null || Buffer.compare(",
  },
  {
    where: "play",
    bug: "a player gets bytes of pieces that are not there yet",
    file: "src/play/play-file.ts",
    find: "    return has(index) ?",
    put: "    return index >= 0 ?",
  },
  {
    where: "catalog",
    bug: "a peer that is gone stays listed",
    file: "src/catalog/members.ts",
    find: "(recordOf(member) ? dismiss(member as MemberRecord) : undefined)",
    put: "void member",
  },
  {
    where: "reachability",
    bug: "a peer to which nobody can connect is listed",
    file: "src/servidor/admission.ts",
    find: 'probed === "unreached" ? "unreached" : "listed"',
    put: 'probed === "unreached" ? "listed" : "listed"',
  },
  {
    where: "lock",
    bug: "it lies in the cache folder: two people in one folder have one each",
    file: "src/content/part-workspace.ts",
    find: "takeLock(folder, work)",
    put: "takeLock(fs.mkdtempSync(folder), work)",
    tests: ["tests/simulation/folder.test.ts"],
  },
  {
    where: "library",
    bug: "a file that cannot be read for a moment is withdrawn",
    file: "src/content/library.ts",
    find: "    if (isFault(stamp) ? !isPassing(stamp) : !sameStamp(stamp, now.local)) return lose([name]);",
    put: "    if (now !== undefined) return lose([name]);",
    tests: OBSTACLES,
    only: "with EMFILE",
  },
  {
    where: "hashing",
    bug: "a file that cannot be opened for a moment when it is hashed is withdrawn",
    file: "src/content/library.ts",
    find: "      if (!isFault(hashed) || !saysNothing(hashed)) await doubt(name);\n",
    put: "      if (saysNothing !== undefined) lose([name]);\n",
    tests: OBSTACLES,
    only: "while it is hashed",
  },
  {
    where: "UPDATE",
    bug: "nobody learns that the server refused a file",
    file: "src/peer.ts",
    find: '    if (isNews) this.#options.onEvent({ type: "refused", name, why: answer, count: this.#refused.count });\n',
    put: "    void isNews;\n",
    tests: OBSTACLES,
    only: "does not take",
  },
  {
    where: "hash that is waited for",
    bug: "it comes in its turn",
    file: "src/content/library.ts",
    find: "void hash(name, { urgent: true });",
    put: "void hash(name);",
    tests: OBSTACLES,
    only: "comes next",
  },
  {
    where: "limit of our own",
    bug: "its pause is taken for the source's silence",
    file: "src/download/lanes/lane.ts",
    find: "    if (input?.waiting) movedAt = clock.now(); // for our own limit, not for the source\n",
    put: "",
    also: [["Math.max(1, Math.floor(bucket.rate * SLICE_SECONDS))", "2 ** 30", "src/download/lanes/limited-input.ts"]],
    tests: OBSTACLES,
    only: "at 1024 bytes per second",
  },
  {
    where: "piece that broke off",
    bug: "what came of it is fetched again",
    file: "src/download/pieces/piece-picker.ts",
    find: "    const have = begun.have(index, source);\n",
    put: "    const have = 0 * begun.have(index, source);\n",
    tests: OBSTACLES,
    only: "started again every minute",
  },
  {
    where: "download",
    bug: "it ends at the first source that fails",
    file: "src/download/download.ts",
    find: "    const next = candidates.next();\n",
    put: "    const next = undefined as Candidate | undefined;\n",
    tests: SECOND,
    only: "rejects with CHANGED",
  },
  {
    where: "claim of size",
    bug: "the word of one source is a full disk",
    file: "src/download/download.ts",
    find: "const CLAIMS_MIN = 3;",
    put: "const CLAIMS_MIN = 1;",
    tests: SECOND,
    only: "five terabytes",
  },
  {
    where: "patience",
    bug: "a source that accepts and sends nothing is waited for without end",
    file: "src/download/candidates.ts",
    find: "      queue.length === 0 ? Number.POSITIVE_INFINITY : PATIENCE_SECONDS[awaited] * 1000 * 2 ** round,",
    put: "      round < 0 ? PATIENCE_SECONDS[awaited] : Number.POSITIVE_INFINITY,",
    tests: SECOND,
    only: "never a byte",
  },
  {
    where: "queue",
    bug: "each connection counts as a downloader, so that one address fills it",
    file: "src/upload/slot-queue.ts",
    find: "slots.enter(connection.transport.remote.ip,",
    put: "slots.enter(String(connection.transport.remote.port),",
    tests: HOGS,
    only: "a hundred downloads, at a sharer of 1",
  },
  {
    where: "slot",
    bug: "a byte now and then keeps it, and no turn of it ends",
    file: "src/upload/min-rate.ts",
    find: "return credit <= 0 && behindMs >= UPLOAD_RATE_SECONDS * 1000;",
    put: "return credit === Number.NEGATIVE_INFINITY && behindMs >= UPLOAD_RATE_SECONDS;",
    also: [["queue.overdue()", "undefined as Claim | undefined", "src/upload/upload-server.ts"]],
    tests: HOGS,
    only: "a byte now and then, at a sharer of 1",
  },
];

const ROOT = join(import.meta.dir, "..", "..");
/** The simulation alone, then everything that looks at that part of the program. */
export const SUITES = {
  simulation: ["tests/simulation/simulation.test.ts", "tests/simulation/lessons.test.ts"],
  units: [
    "tests/unit/power-cut.test.ts",
    "tests/unit/part-file.test.ts",
    "tests/unit/requester.test.ts",
    "tests/unit/catalog-memory.test.ts",
    "tests/unit/lane.test.ts",
    "tests/unit/download.test.ts",
    "tests/unit/peer.test.ts",
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
    const { find, put, file, also = [] } = mutant;
    for (const [from, to, where = file] of [[find, put] as const, ...also]) {
      const source = readFileSync(join(copy, where), "utf8");
      if (source.split(from).length !== 2) throw new Error(`${where} does not hold exactly one: ${from}`);
      writeFileSync(
        join(copy, where),
        source.replace(from, () => to),
      );
    }
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
    if (/^ *0 pass$/m.test(told) && /^ *0 fail$/m.test(told)) throw new Error(`no test was run:\n${told}`);
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
    for (const mutant of MUTANTS) {
      const suites = { ...SUITES, ...(mutant.tests && { simulation: mutant.tests }) };
      escaped += Number((await judge(mutant, suites)).includes("simulation"));
    }
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
