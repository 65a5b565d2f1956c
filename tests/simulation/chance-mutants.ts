// Bugs planted by lot: a seed chooses files, lines and what to break; `bun run mutants --random N --seed S` plants them.
// For each, the tests that stand closest to the file are run, by the imports that lead to it.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import type { Mutant } from "./mutants.ts";
import { createRandom } from "./random.ts";

const ROOT = join(import.meta.dir, "..", "..");
const TESTS_MAX = 5;
const list = (pattern: string): string[] => [...new Bun.Glob(pattern).scanSync({ cwd: ROOT })].sort();

type Operator = readonly [what: string, find: RegExp, put: string];

/** Each changes one line, so that it still compiles. */
const OPERATORS: readonly Operator[] = [
  ["a bound is one off", / < /, " <= "],
  ["a bound is one off", / <= /, " < "],
  ["a bound is one off", / > /, " >= "],
  ["a bound is one off", / >= /, " > "],
  ["equal is unequal", / === /, " !== "],
  ["unequal is equal", / !== /, " === "],
  ["and is or", / && /, " || "],
  ["or is and", / \|\| /, " && "],
  ["plus is minus", / \+ /, " - "],
  ["minus is plus", / - /, " + "],
  ["yes is no", /\btrue\b/, "false"],
  ["no is yes", /\bfalse\b/, "true"],
  ["the smaller is the larger", /\bMath\.min\b/, "Math.max"],
  ["the larger is the smaller", /\bMath\.max\b/, "Math.min"],
  ["a condition is never true", /\bif \((?!\()(.*)\) /, "if (false && ($1)) "],
  ["a call is left out", /^(\s+)(?!return|const|let|throw|await)[\w.#?!]+\(.*\);$/, "$1"],
  ["a step is left out", /^(\s+)await [\w.#?!]+\(.*\);$/, "$1"],
];

/** `count` mutants of src/, one in each of as many files: the same for the same seed and source. */
export function drawMutants(count: number, seed: number): Mutant[] {
  const random = createRandom(seed);
  const drawn: Mutant[] = [];
  for (const file of random.shuffle(list("src/**/*.ts"))) {
    if (drawn.length === count) break;
    const text = readFileSync(join(ROOT, file), "utf8");
    const lines = text.split("\n");
    for (const at of random.shuffle(lines.map((_, index) => index))) {
      const line = lines[at] as string;
      if (/^\s*(?:\/\/|\*|\/\*|import|export type|type|readonly|\|)/.test(line)) continue;
      const able = OPERATORS.filter(([, find]) => find.test(line));
      if (able.length === 0) continue;
      const [what, find, put] = random.pick(able);
      // Enough of what comes before that it is found once.
      let from = at;
      while (from > 0 && text.split(lines.slice(from, at + 1).join("\n")).length !== 2) from--;
      const before = lines.slice(from, at).join("\n");
      const head = before === "" && from === at ? "" : `${before}\n`;
      drawn.push({
        where: `${file}:${at + 1}`,
        bug: `${what}: ${line.trim()}`,
        file,
        find: head + line,
        put: head + line.replace(find, put),
      });
      break;
    }
  }
  return drawn;
}

/** The test files from which fewest imports lead to `file`, nearest first; those of the same name before others. */
export function testsOf(file: string): string[] {
  const tests = [...list("tests/unit/*.test.ts"), ...list("tests/simulation/{lessons,simulation,obstacles}.test.ts")];
  const imports = new Map<string, string[]>();
  const importsOf = (path: string): string[] => {
    let found = imports.get(path);
    if (found === undefined) {
      const text = existsSync(join(ROOT, path)) ? readFileSync(join(ROOT, path), "utf8") : "";
      found = [...text.matchAll(/(?:from|import\(|new URL\()\s*"(\.[^"]+\.ts)"/g)].map(([, to = ""]) =>
        normalize(join(dirname(path), to)),
      );
      imports.set(path, found);
    }
    return found;
  };
  function distance(test: string): number {
    let edge = [test];
    const seen = new Set(edge);
    for (let steps = 0; edge.length > 0; steps++) {
      if (edge.includes(file)) return steps;
      edge = edge.flatMap(importsOf).filter((next) => !seen.has(next) && seen.add(next));
    }
    return Number.POSITIVE_INFINITY;
  }
  const stem = (path: string): string => path.replace(/^.*\//, "").replace(/(\.test)?\.ts$/, "");
  const isNamed = (test: string): number =>
    Number(
      stem(test)
        .split("-")
        .some((word) => stem(file).split("-").includes(word)),
    );
  const near = tests.map((test) => ({ test, steps: distance(test), named: isNamed(test) }));
  return near
    .filter(({ steps }) => steps < Number.POSITIVE_INFINITY)
    .sort((a, b) => b.named - a.named || a.steps - b.steps)
    .slice(0, TESTS_MAX)
    .map(({ test }) => test);
}
