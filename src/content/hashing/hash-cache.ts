// What has been hashed before, in one SQLite file that all of a person's peers share.
// Invariant: an entry answers only for the very file that was hashed: same path, size, times and identity.
// Never: fatal. A database that is corrupt, locked or cannot be written becomes a memory of this process.

import { Database } from "bun:sqlite";
import * as fs from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { type Fault, fault } from "../../protocol/fault.ts";
import { isRoot } from "../../protocol/fields.ts";
import type { Root } from "../../protocol/messages.ts";
import { errorCode, isUntouched, type Stamp } from "../safe-files.ts";
import { checkLayer, type Hashed } from "./merkle.ts";

/** What was hashed, and what the file was then. */
export type HashRecord = { readonly stamp: Stamp; readonly hashed: Hashed };

export type HashCache = {
  /** The root alone, for announcing many files at once; undefined when this file was not hashed as it is now. */
  findRoot(path: string, stamp: Stamp): Root | undefined;
  find(path: string, stamp: Stamp): Hashed | undefined;
  /** What is recorded for `path`, also when the file is another by now. */
  recorded(path: string): HashRecord | undefined;
  store(path: string, stamp: Stamp, hashed: Hashed): void;
  close(): void;
};

/** Twice the largest library that is promised; the least recently used go first. */
export const CACHE_ENTRIES_MAX = 200_000;

/** An entry that was not asked for in so long is of a file that is gone. */
export const CACHE_UNUSED_DAYS_MAX = 180;

const USED_DAYS_PRECISION = 7;
const STORES_PER_PRUNE = 1024;
const BUSY_MS_MAX = 2000;
const BUSY_STEP_MS = 10;
const SCHEMA_VERSION = 2;
const DAY_MS = 86_400_000;

/** Nanoseconds or a file's id, as text. */
const isStampText = (text: unknown): boolean => typeof text === "string" && /^-?\d{1,20}$/.test(text);

type Environment = Readonly<Record<string, string | undefined>>;

/** The database's path by the platform's convention; NAPSTER_CACHE, a folder, overrides it. */
export function cachePath(env: Environment = process.env, platform = process.platform, home = homedir()): string {
  const given = env.NAPSTER_CACHE;
  const xdg = env.XDG_CACHE_HOME;
  const base = (): string => {
    if (platform === "win32") return join(env.LOCALAPPDATA ?? join(home, "AppData", "Local"), "napster");
    if (platform === "darwin") return join(home, "Library", "Caches", "napster");
    // XDG Base Directory: a relative path is invalid and is ignored.
    return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(home, ".cache"), "napster");
  };
  return join(given !== undefined && given !== "" ? given : base(), "hashes.sqlite");
}

type Row = {
  size: number;
  mtime: string;
  ctime: string;
  ino: string;
  root: string;
  piece: number;
  layer: Uint8Array;
  used: number;
};

const COLUMNS = "size, mtime, ctime, ino, root, piece, layer, used";

// A cache of another version is worth nothing to this one.
function begin(db: Database): void {
  db.run("DROP TABLE IF EXISTS files");
  db.run(`CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime TEXT NOT NULL, ctime TEXT NOT NULL,
    ino TEXT NOT NULL, root TEXT NOT NULL, piece INTEGER NOT NULL, used INTEGER NOT NULL, layer BLOB NOT NULL)`);
  db.run("CREATE INDEX files_used ON files (used)");
  db.run(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}

/** SQLite does not wait for others here, whatever busy_timeout says: two programs that turn the same file at once could wait for ever. */
function turnToWal(db: Database): void {
  for (let left = BUSY_MS_MAX; ; left -= BUSY_STEP_MS) {
    try {
      return void db.run("PRAGMA journal_mode = WAL");
    } catch (error) {
      if (left <= 0 || (error as { code?: string }).code !== "SQLITE_BUSY") throw error;
      Bun.sleepSync(BUSY_STEP_MS);
    }
  }
}

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;

/** Names and paths are this person's alone: SQLite would make its files readable for all, whatever made the folder. */
function makePrivate(path: string): void {
  fs.mkdirSync(dirname(path), { recursive: true, mode: FOLDER_MODE });
  fs.closeSync(fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, FILE_MODE));
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    try {
      fs.chmodSync(file, FILE_MODE); // made by an earlier version
    } catch {
      // Not there, or another person's that lets us write: then it is theirs to say.
    }
  }
}

function openDatabase(path: string): Database {
  if (path !== ":memory:") makePrivate(path);
  const db = new Database(path, { create: true, readwrite: true });
  try {
    db.run(`PRAGMA busy_timeout = ${BUSY_MS_MAX}`);
    turnToWal(db);
    db.run("PRAGMA synchronous = NORMAL");
    const version = (): number | undefined =>
      db.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version;
    if (version() !== SCHEMA_VERSION) db.transaction(() => version() !== SCHEMA_VERSION && begin(db)).immediate();
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

// A damaged cache is thrown away and begun again once; what cannot be thrown away is done without.
function openOrReplace(path: string): Database {
  try {
    return openDatabase(path);
  } catch (error) {
    if (!/CORRUPT|NOTADB/.test(errorCode(error))) throw error;
    for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(path + suffix, { force: true });
    return openDatabase(path);
  }
}

/** Opens the cache at its first use. `onFault` is told once when it has to do with this process's memory. */
export function createHashCache(
  options: { path?: string; onFault?: (fault: Fault) => void; now?: () => number; entriesMax?: number } = {},
): HashCache {
  const { path = cachePath(), onFault, now = Date.now, entriesMax = CACHE_ENTRIES_MAX } = options;
  const touched = new Set<string>();
  let db: Database | undefined;
  let degraded = path === ":memory:";
  let stores = 0;

  const prune = (open: Database): void => {
    open.run("DELETE FROM files WHERE used < ?", [now() - CACHE_UNUSED_DAYS_MAX * DAY_MS]);
    open.run("DELETE FROM files WHERE path IN (SELECT path FROM files ORDER BY used DESC LIMIT -1 OFFSET ?)", [
      entriesMax,
    ]);
  };
  const opened = (): Database => {
    if (db === undefined) {
      db = degraded ? openDatabase(":memory:") : openOrReplace(path);
      prune(db);
    }
    return db;
  };
  const drop = (): void => {
    try {
      db?.close();
    } catch {
      // It is being given up.
    }
    db = undefined;
  };
  // Every statement goes through here, so that no failure of the database is anyone else's concern.
  const use = <T>(action: (open: Database) => T): T => {
    try {
      return action(opened());
    } catch (error) {
      if (degraded) throw error;
      const code = errorCode(error);
      drop();
      if (/CORRUPT|NOTADB/.test(code)) for (const end of ["", "-wal", "-shm"]) fs.rmSync(path + end, { force: true });
      degraded = true;
      onFault?.(fault("DISK_ERROR", "disk", `hash cache: ${code || String(error)}`));
      return action(opened());
    }
  };
  const row = (file: string): Row | undefined =>
    use((open) => open.query<Row, [string]>(`SELECT ${COLUMNS} FROM files WHERE path = ?`).get(file)) ?? undefined;
  const touch = (file: string, used: number): void => {
    if (now() - used > USED_DAYS_PRECISION * DAY_MS) touched.add(file);
  };
  const flush = (): void => {
    if (touched.size === 0) return;
    const files = [...touched];
    touched.clear();
    use((open) => {
      const statement = open.query<unknown, [number, string]>("UPDATE files SET used = ? WHERE path = ?");
      open.transaction(() => {
        for (const file of files) statement.run(now(), file);
      })();
    });
  };

  const recorded = (file: string): (HashRecord & { readonly used: number }) | undefined => {
    const found = row(file);
    if (found === undefined) return undefined;
    const { size, root, piece: pieceBytes, layer } = found;
    // Not even our own disk is believed: a row that rotted is as good as none, and SQLite puts anything in any column.
    const isRow = layer instanceof Uint8Array && [found.mtime, found.ctime, found.ino].every(isStampText);
    if (!isRow || !Number.isSafeInteger(size) || !checkLayer(layer, size, pieceBytes, root)) return undefined;
    const { mtime, ctime, ino } = found;
    const stamp = { size, mtimeNs: BigInt(mtime), ctimeNs: BigInt(ctime), ino: BigInt(ino) };
    return { stamp, hashed: { root, size, pieceBytes, layer }, used: found.used };
  };
  const SAME = "path = ? AND size = ? AND mtime = ? AND ctime = ? AND ino = ?";

  return {
    recorded,
    findRoot(file, stamp) {
      type Found = { root: Root; used: number };
      const found = use((open) =>
        open
          .query<Found, [string, number, string, string, string]>(`SELECT root, used FROM files WHERE ${SAME}`)
          .get(file, stamp.size, String(stamp.mtimeNs), String(stamp.ctimeNs), String(stamp.ino)),
      );
      if (found === null || !isRoot(found.root)) return undefined;
      touch(file, found.used);
      return found.root;
    },
    find(file, stamp) {
      const found = recorded(file);
      if (found === undefined || !isUntouched(found.stamp, stamp)) return undefined;
      touch(file, found.used);
      return found.hashed;
    },
    store(file, stamp, hashed) {
      use((open) => {
        open
          .query(`INSERT OR REPLACE INTO files (path, ${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
          .run(
            file,
            stamp.size,
            String(stamp.mtimeNs),
            String(stamp.ctimeNs),
            String(stamp.ino),
            hashed.root,
            hashed.pieceBytes,
            hashed.layer,
            now(),
          );
        stores += 1;
        if (stores % STORES_PER_PRUNE === 0) prune(open);
      });
    },
    close() {
      flush();
      drop();
    },
  };
}
