// A small file that names one address, for the program with which the system opens playlists.
// Invariant: it lies in a folder of its own that only this person may enter, for the address in it is a secret.
// Never: lies in the person's folder of shares.

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fault } from "../protocol/fault.ts";
import { diskFault } from "./safe-files.ts";

const FOLDER = "napster-";
const FILE = "napster.m3u8";
const made = new Set<string>();

/** The path of a playlist of one entry, `name` at `address`; it stays until removePlaylists(). */
export async function writePlaylist(name: string, address: string): Promise<string | Fault> {
  try {
    const folder = await fs.promises.mkdtemp(join(tmpdir(), FOLDER));
    made.add(folder);
    const path = join(folder, FILE);
    await fs.promises.writeFile(path, `#EXTM3U\n#EXTINF:-1,${name}\n${address}\n`, { mode: 0o600, flag: "wx" });
    return path;
  } catch (error) {
    return diskFault(error, "playlist");
  }
}

/** Removes all of them, as the program ends. */
export function removePlaylists(): void {
  for (const folder of made) fs.rmSync(folder, { recursive: true, force: true });
  made.clear();
}
