// One download of a file at a time, whichever process does it: a lock that the system takes back when its holder dies.
// Invariant: while a lock is held, nobody on this machine gets it again; a crash leaves none behind.
// Never: writes into the person's folder, or stops a download because locks are not to be had at all.

import { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { cachePath } from "./hash-cache.ts";

export type Lock = { release(): void };

/**
 * A lock on `path`; undefined when another holds it. SQLite's file locks are the one kind that every system has
 * and gives back after kill -9; the database itself stays empty. Lock files of 0 bytes stay in the cache folder:
 * removing one could give two holders a lock on different files of the same name.
 */
export function takeLock(path: string, folder = join(dirname(cachePath()), "locks")): Lock | undefined {
  let db: Database;
  try {
    fs.mkdirSync(folder, { recursive: true });
    const digest = createHash("sha256").update(path).digest("hex").slice(0, 32);
    db = new Database(join(folder, `${digest}.lock`), { create: true });
  } catch {
    return { release() {} }; // no cache folder: better an unguarded download than none
  }
  try {
    db.run("PRAGMA busy_timeout = 0");
    db.run("BEGIN EXCLUSIVE");
    return { release: () => db.close() };
  } catch {
    db.close();
    return undefined;
  }
}
