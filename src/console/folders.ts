// What the console asks of the disk: whether a folder that was typed is one, and an empty one for a peer that only asks.
// Invariant: nothing but the existence of a folder is looked at; whatever is made here is gone afterwards.
// Never: opens a file, lists a folder, or joins a name from outside to a path.

import { accessSync, constants, mkdtempSync, rmdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fault } from "../protocol/fault.ts";
import { type Complaint, complaintOf } from "./complaints.ts";

/** Why the typed folder cannot be used, or undefined when it can. */
export function checkFolder(answer: string): Complaint | undefined {
  const folder = unquote(answer);
  try {
    const path = resolve(folder);
    const stat = statSync(path, { throwIfNoEntry: false });
    if (folder === "" || stat?.isDirectory() !== true) return complaintOf(fault("FOLDER_MISSING", "disk"), { folder });
    accessSync(path, constants.R_OK);
    return undefined;
  } catch {
    return complaintOf(fault("FOLDER_DENIED", "disk"), { folder });
  }
}

/** CMD.EXE quotes a folder that is dragged into its window. */
export function unquote(answer: string): string {
  return /^".*"$/s.test(answer) ? answer.slice(1, -1) : answer;
}

/** A peer that only asks has nothing to share, and the server answers only who has joined. */
export async function withEmptyFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "napster-search-"));
  try {
    return await work(folder);
  } finally {
    try {
      rmdirSync(folder);
    } catch {
      // Not empty after all, or in use: then it is not ours to take away.
    }
  }
}
