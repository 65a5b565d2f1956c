// docs/SECURITY.md against the tests: a promise is worth the test that is named beside it.

import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");
/** A title may go on in the next line. */
const page = readFileSync(join(ROOT, "docs", "SECURITY.md"), "utf8").replace(/\n {2}/g, " ");
const promised = page.slice(page.indexOf("## What is promised"), page.indexOf("## What is not promised"));
const rows = promised.split("\n- ").slice(1);

test("every promise of docs/SECURITY.md names a test that exists", () => {
  expect(rows.length).toBeGreaterThan(25);
  const missing = rows.filter((row) => {
    const named = [...row.matchAll(/`(tests\/[\w./-]+\.test\.ts)` “([^”]+)”/g)];
    const exists = ([, file = "", name = ""]: RegExpMatchArray): boolean => {
      const path = join(ROOT, file);
      if (!existsSync(path)) return false;
      const titles = readFileSync(path, "utf8").matchAll(
        /\b(?:test|it)(?:\.(?:each|skipIf)\([^\n]*\))?\(\s*(["`])([\s\S]*?)\1,/g,
      );
      return [...titles].some(([, , title = ""]) => title.includes(name));
    };
    return named.length === 0 || !named.every(exists);
  });
  expect(missing).toEqual([]);
});
