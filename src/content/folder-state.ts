// What can be said of a folder before anything is done in it: its files, its free space, whether it takes new ones.
// Invariant: nothing is made or changed.
// Never: follows what is in the folder.

import * as fs from "node:fs";
import { type Fault, isFault } from "../protocol/fault.ts";
import { listFolder } from "./folder.ts";

export type FolderState = { readonly files: number; readonly freeBytes: number; readonly isWritable: boolean };

/** Faults: FOLDER_MISSING, FOLDER_DENIED, DISK_ERROR. */
export async function lookAtFolder(path: string): Promise<FolderState | Fault> {
  const listing = await listFolder(path);
  if (isFault(listing)) return listing;
  const isWritable = await fs.promises.access(listing.folder, fs.constants.W_OK).then(
    () => true,
    () => false,
  );
  // A file system that does not tell its space is taken to have enough: the download itself looks again.
  const freeBytes = await fs.promises.statfs(listing.folder).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => Number.MAX_SAFE_INTEGER,
  );
  return { files: listing.shares.length, freeBytes, isWritable };
}
