// A folder as the list of what can be shared of it.
// Invariant: every file listed is a regular file directly in the folder, with a name that every peer can store.
// Never: enters a sub-folder, follows a symlink, opens a file, or holds the event loop for long.

import * as fs from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { type NameFlaw, nameFlaw } from "../protocol/names.ts";
import { errorCode, finalPath, type Stamp, stampOf } from "./safe-files.ts";

/** A file that can be shared: `name` is announced (NFC), `file` is what the disk calls it (macOS may keep NFD). */
export type LocalShare = Stamp & { readonly name: string; readonly file: string };

export type SkipReason = NameFlaw | "not-a-file" | "duplicate";

/** A file that stays out, under its name on disk, which may hold anything: show it through showName. */
export type Skipped = { readonly name: string; readonly reason: SkipReason };

export type Listing = {
  /** The folder's absolute path; empty where there is none. */
  readonly folder: string;
  /** By code unit of `name`, each name once. */
  readonly shares: readonly LocalShare[];
  readonly skipped: readonly Skipped[];
};

const NO_FOLDER: Listing = { folder: "", shares: [], skipped: [] };

/** How many files are looked at before the event loop has a turn: about 2 ms. */
const BATCH_FILES = 256;

const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Nothing can be there: also under a path that is too long, or holds a NUL. */
const NO_SUCH_PATH = new Set(["ENOENT", "ENAMETOOLONG", "ERR_INVALID_ARG_VALUE"]);

const NOT_A_FOLDER: Fault = { ...fault("FOLDER_MISSING", "disk", "not a folder"), cause: "is-a-file" };

function faultOf(error: unknown): Fault {
  const code = errorCode(error);
  if (NO_SUCH_PATH.has(code)) return fault("FOLDER_MISSING", "disk", "no such folder");
  if (code === "ENOTDIR") return NOT_A_FOLDER;
  if (code === "EACCES" || code === "EPERM") return fault("FOLDER_DENIED", "disk", code);
  return fault("DISK_ERROR", "disk", `list folder: ${code || String(error)}`, true);
}

/** `folder` as an absolute path; `~` at its front is the home folder, as a shell has it. */
export function absolutePath(folder: string, home = homedir()): string {
  return /^~(?:[/\\]|$)/.test(folder) ? join(home, folder.slice(1)) : resolve(folder);
}

/** Nothing that begins with a dot is shared: by old custom that is what a person does not see. */
export const isDotFile = (file: string): boolean => file.startsWith(".");

/** Why `folder` cannot be listed, as far as one look tells; undefined when it can. Faults as those of listFolder. */
export function folderFault(folder: string): Fault | undefined {
  // An empty path would be the current folder, which was not asked for.
  if (folder === "") return fault("FOLDER_MISSING", "disk", "no path");
  try {
    const path = absolutePath(folder);
    if (!fs.statSync(path).isDirectory()) return NOT_A_FOLDER;
    fs.accessSync(path, fs.constants.R_OK);
    return undefined;
  } catch (error) {
    return faultOf(error);
  }
}

// undefined for what is none of the person's videos: a sub-folder, or a file that vanished while we looked.
async function look(folder: string, file: string): Promise<LocalShare | Skipped | undefined> {
  const name = file.normalize("NFC");
  const flaw = nameFlaw(name);
  if (flaw !== undefined) return { name: file, reason: flaw };
  const path = finalPath(folder, file);
  if (isFault(path)) return { name: file, reason: "not-a-file" };
  try {
    const stat = await fs.promises.lstat(path, { bigint: true });
    if (stat.isDirectory()) return undefined;
    // A symlink is never a share: outside the folder it must not be, inside it would be the same file twice.
    return stat.isFile() ? { name, file, ...stampOf(stat) } : { name: file, reason: "not-a-file" };
  } catch {
    return undefined;
  }
}

/** A folder of which nothing is shared, once it has been seen to be one. Faults as those of listFolder. */
export function emptyListing(folder: string | undefined): Listing | Fault {
  if (folder === undefined) return NO_FOLDER;
  return folderFault(folder) ?? { ...NO_FOLDER, folder: absolutePath(folder) };
}

/**
 * Lists what `folder` has to share (SPEC 5.i: the program finds the names by itself). Sub-folders and dot files are left
 * out without a word; symlinks, FIFOs, devices and sockets are skipped as "not-a-file". Where two files have one name in NFC, the
 * first by code unit is shared and the other is a "duplicate". No folder at all has an empty listing.
 * Faults: FOLDER_MISSING (also for what is no folder), FOLDER_DENIED, DISK_ERROR.
 */
export async function listFolder(folder: string | undefined): Promise<Listing | Fault> {
  if (folder === undefined) return NO_FOLDER;
  const absolute = absolutePath(folder);
  let entries: fs.Dirent[];
  try {
    entries = await fs.promises.readdir(absolute, { withFileTypes: true });
  } catch (error) {
    return faultOf(error);
  }
  const files = entries.filter((entry) => !entry.isDirectory() && !isDotFile(entry.name)).map((entry) => entry.name);
  files.sort(byCodeUnit);

  const found = new Map<string, LocalShare>();
  const skipped: Skipped[] = [];
  for (let at = 0; at < files.length; at += BATCH_FILES) {
    const batch = files.slice(at, at + BATCH_FILES);
    for (const item of await Promise.all(batch.map((file) => look(absolute, file)))) {
      if (item === undefined) continue;
      if ("reason" in item) skipped.push(item);
      else if (found.has(item.name)) skipped.push({ name: item.file, reason: "duplicate" });
      else found.set(item.name, item);
    }
  }
  const shares = [...found.values()].sort((a, b) => byCodeUnit(a.name, b.name));
  return { folder: absolute, shares, skipped };
}
