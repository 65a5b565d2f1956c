// Which key each server had when it was first met: `known_servers` in the configuration folder, a line for each.
// Invariant: the first line that names a server counts; lines are added, and none is changed or taken out but by a person.
// Never: fatal, or read beyond its bound. A file that cannot be read knows no server.

import * as fs from "node:fs";
import { dirname } from "node:path";
import { type Fault, isFault } from "../protocol/fault.ts";
import { type Id, readId, showId } from "../protocol/id.ts";
import { configPath } from "./config-folder.ts";
import { diskFault } from "./safe-files.ts";

export type KnownServers = {
  readonly path: string;
  /** The key that `server`, as a person names it (`host:port`), had. */
  find(server: string): Id | undefined;
  /** Adds a line for a server that has none. A fault when that cannot be done. */
  remember(server: string, id: Id): Fault | undefined;
};

const FILE = "known_servers";
/** Some ten thousand servers. */
const BYTES_MAX = 1024 * 1024;

export function openKnownServers(path: string = configPath(FILE)): KnownServers {
  function find(server: string): Id | undefined {
    const text = read(path);
    for (const line of isFault(text) ? [] : text.split(/\r?\n/)) {
      const [name, id = "", ...more] = line.trim().split(/\s+/);
      if (name?.toLowerCase() === server.toLowerCase() && more.length === 0) return readId(id);
    }
    return undefined;
  }

  function remember(server: string, id: Id): Fault | undefined {
    const before = read(path);
    if (isFault(before) && before.fault !== "FILE_MISSING") return before;
    const parts = isFault(before) || before === "" || before.endsWith("\n") ? "" : "\n";
    try {
      fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      fs.appendFileSync(path, `${parts}${server} ${showId(id)}\n`, { mode: 0o600 });
      return undefined;
    } catch (error) {
      return diskFault(error, "remember server");
    }
  }

  return { path, find, remember };
}

function read(path: string): string | Fault {
  try {
    const fd = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
    try {
      const bytes = Buffer.alloc(Math.min(fs.fstatSync(fd).size, BYTES_MAX));
      return bytes.toString("utf8", 0, fs.readSync(fd, bytes, 0, bytes.length, 0));
    } finally {
      fs.closeSync(fd);
    }
  } catch (error) {
    return diskFault(error, "read known servers");
  }
}
