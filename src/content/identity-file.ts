// The key that makes a program the same one at its next start: `identity.key` in the configuration folder.
// Invariant: the first process to write it wins, and the others use that key; what lies there is never overwritten.
// Never: fatal. Without a file that can be read or written the program has a key for this run, and says so.

import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { dirname } from "node:path";
import { type Fault, fault } from "../protocol/fault.ts";
import { type Identity, identityOf, newKey } from "../shared/identity.ts";
import { configPath } from "./config-folder.ts";
import { errorCode } from "./safe-files.ts";

/** `trouble`: the key is for this run only, and why: KEY_UNUSABLE. */
export type OpenedIdentity = { readonly identity: Identity; readonly path: string; readonly trouble?: Fault };

const FILE = "identity.key";
/** An Ed25519 key in PEM takes 119. */
const KEY_BYTES_MAX = 4096;
const OWNER_ONLY = 0o600;

/** The key that is kept at `path`, made there where there is none. */
export function openIdentity(path: string = configPath(FILE)): OpenedIdentity {
  try {
    const identity = identityOf(read(path) ?? make(path));
    if (identity !== undefined) return { identity, path };
    return forThisRun(path, "not an Ed25519 key in PEM");
  } catch (error) {
    return forThisRun(path, errorCode(error) || String(error));
  }
}

function forThisRun(path: string, detail: string): OpenedIdentity {
  const identity = identityOf(newKey()) as Identity;
  return { identity, path, trouble: fault("KEY_UNUSABLE", "disk", detail) };
}

/** The file's text; undefined where there is none. */
function read(path: string): string | undefined {
  let fd: number;
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile() || stat.size > KEY_BYTES_MAX) return "";
    if (process.platform !== "win32" && (stat.mode & 0o077) !== 0) fs.fchmodSync(fd, OWNER_ONLY);
    return fs.readFileSync(fd, "utf8");
  } finally {
    fs.closeSync(fd);
  }
}

/** Puts a new key there, whole and in one step, unless another process was first; the key that is there now. */
function make(path: string): string {
  fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}-${randomBytes(4).toString("hex")}`;
  const key = newKey();
  try {
    const fd = fs.openSync(fresh, "wx", OWNER_ONLY);
    try {
      fs.writeSync(fd, key);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    place(fresh, path);
  } finally {
    fs.rmSync(fresh, { force: true });
  }
  return read(path) ?? key;
}

/** A link refuses a name that exists. Where there are none (exFAT, some network folders) a look has to do. */
function place(fresh: string, path: string): void {
  try {
    fs.linkSync(fresh, path);
  } catch (error) {
    if (errorCode(error) === "EEXIST") return;
    if (!fs.existsSync(path)) fs.renameSync(fresh, path);
  }
}
