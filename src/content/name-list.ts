// Names of files from a person's disk: a text file with one on each line, and a folder's incomplete downloads.
// Invariant: what is no text is refused whole; a name comes out as it stands there, and the caller checks it.
// Never: reads more than LIST_BYTES_MAX, or waits for a file that does not end.

import * as fs from "node:fs";
import { type Fault, fault } from "../protocol/fault.ts";
import { absolutePath } from "./folder.ts";
import { diskFault, partStem } from "./safe-files.ts";

/** Some 20,000 names of ordinary length. */
const LIST_BYTES_MAX = 1024 * 1024;

const NO_TEXT = fault("USAGE", "ours", "no text");

/**
 * The lines of the file, without blank ones, in UTF-8 or, with its mark, UTF-16LE, as PowerShell writes it. FILE_MISSING,
 * DISK_ERROR; USAGE for what is no regular file, no text, or too long.
 */
export async function readNameList(path: string): Promise<readonly string[] | Fault> {
  try {
    const file = await fs.promises.open(absolutePath(path), fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size > LIST_BYTES_MAX) return NO_TEXT;
      const bytes = Buffer.alloc(stat.size);
      const { bytesRead } = await file.read(bytes, 0, stat.size, 0);
      return linesOf(bytes.subarray(0, bytesRead));
    } finally {
      await file.close();
    }
  } catch (error) {
    return diskFault(error, "read list");
  }
}

function linesOf(bytes: Uint8Array): readonly string[] | Fault {
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : "utf-8";
  try {
    const lines = new TextDecoder(encoding, { fatal: true }).decode(bytes).split(/\r?\n/);
    return lines.map((line) => line.trimEnd()).filter((line) => line !== "");
  } catch {
    return NO_TEXT;
  }
}

/** The names whose downloads have left a .part in the folder. `cut`: a name too long to be read from it. Faults as those of listFolder. */
export async function partialNames(
  folder: string,
): Promise<{ readonly names: readonly string[]; readonly cut: readonly string[] } | Fault> {
  try {
    const entries = await fs.promises.readdir(absolutePath(folder), { withFileTypes: true });
    const stems = entries.flatMap((entry) => (entry.isFile() ? (partStem(entry.name) ?? []) : []));
    const names = new Set(stems.filter(({ isCut }) => !isCut).map(({ name }) => name.normalize("NFC")));
    return { names: [...names].sort(), cut: stems.filter(({ isCut }) => isCut).map(({ name }) => name) };
  } catch (error) {
    const why = diskFault(error, "list folder");
    return why.fault === "FILE_MISSING" ? fault("FOLDER_MISSING", "disk", why.detail) : why;
  }
}
