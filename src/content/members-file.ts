// The IDs that may join a closed server: a text file with one on each line, and notes behind #.
// Invariant: a file that has a line which is no ID, or that cannot be read, changes nothing of what was read before.
// Never: rewritten; an ID that is added has a line at its end.

import * as fs from "node:fs";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { type Id, readId, showId } from "../protocol/id.ts";
import { absolutePath } from "./folder.ts";
import { diskFault } from "./safe-files.ts";

export type MembersFile = {
  /** Whether the file names this ID; it is read again at most once in LOOK_MS. */
  has(id: Id | undefined): boolean;
  /** Writes a line for this ID at the end, with a note; a fault when that cannot be done. */
  add(id: Id, note: string): Fault | undefined;
};

/** Some 50,000 IDs. */
const BYTES_MAX = 4 * 1024 * 1024;
export const LOOK_MS = 1000;

/** USAGE, with its number, for a line that is no ID; faults of reading. `now` is in milliseconds. */
export function openMembers(given: string, now: () => number = () => performance.now()): MembersFile | Fault {
  const path = absolutePath(given);
  const first = readIds(path);
  if (isFault(first)) return first;
  let ids = first;
  let lookedAt = now();
  return {
    has(id) {
      if (now() - lookedAt >= LOOK_MS) {
        lookedAt = now();
        const again = readIds(path);
        if (!isFault(again)) ids = again;
      }
      return id !== undefined && ids.has(id);
    },
    add(id, note) {
      try {
        const before = fs.readFileSync(path, "utf8");
        fs.appendFileSync(path, `${before === "" || before.endsWith("\n") ? "" : "\n"}${showId(id)}  # ${note}\n`);
        ids = new Set(ids).add(id);
        return undefined;
      } catch (error) {
        return diskFault(error, "add member");
      }
    },
  };
}

function readIds(path: string): ReadonlySet<Id> | Fault {
  try {
    const stat = fs.statSync(path);
    if (!stat.isFile() || stat.size > BYTES_MAX) return fault("DISK_ERROR", "disk", "no file of IDs");
    const ids = new Set<Id>();
    for (const [index, line] of fs.readFileSync(path, "utf8").split(/\r?\n/).entries()) {
      const [text = ""] = line.split("#", 1);
      if (text.trim() === "") continue;
      const id = readId(text.trim());
      if (id === undefined) return fault("USAGE", "ours", String(index + 1));
      ids.add(id);
    }
    return ids;
  } catch (error) {
    return diskFault(error, "read members");
  }
}
