// The folder of a peer and its library, kept alike while the peer is in the network.
// Invariant: what the library has of the folder is what the last look at it found.
// Never: tells anyone; it calls what it was handed.

import type { Listing, Skipped } from "../content/folder.ts";
import { createFolderWatch, type FolderChange, type FolderWatch } from "../content/folder-watch.ts";
import type { Library } from "../content/library.ts";
import { finalPath } from "../content/safe-files.ts";
import { isFault } from "../protocol/fault.ts";
import type { PeerEnv } from "./env.ts";

/** A copy under way changes its file all the time, and there are never many of them. */
const WRITTEN_SECONDS = 10;
const WRITTEN_FILES_MAX = 64;

/** The listing without the files that are being written: those that changed a moment ago and are not ready. */
export async function withoutWritten(env: PeerEnv, listing: Listing): Promise<Listing> {
  const since = BigInt(Math.floor(env.now()) - WRITTEN_SECONDS * 1000) * 1_000_000n;
  const recent = listing.shares.filter(({ mtimeNs }) => mtimeNs >= since).slice(0, WRITTEN_FILES_MAX);
  const looks = recent.map(async (file) => {
    const isReady = await env.isFileReady(String(finalPath(listing.folder, file.file)), file);
    return isReady ? [] : [file.name];
  });
  const written = new Set((await Promise.all(looks)).flat());
  return written.size === 0 ? listing : { ...listing, shares: listing.shares.filter(({ name }) => !written.has(name)) };
}

export type SharedFolderOptions = {
  readonly env: PeerEnv;
  readonly library: Library;
  /** What was skipped when the folder was listed. */
  readonly skipped: readonly Skipped[];
  /** Whether a file of this name may be shared. */
  readonly mayShare: (name: string) => boolean;
  readonly onChange: (change: FolderChange) => Promise<void>;
};

/** Follows the library's folder until it is closed. */
export function watchSharedFolder(options: SharedFolderOptions): FolderWatch {
  const { env, library, skipped, mayShare, onChange } = options;
  const { folder } = library;
  const pathOf = ({ file }: { readonly file: string }): string => String(finalPath(folder, file));
  return createFolderWatch({
    clock: env.clock,
    folder: {
      async list() {
        const listing = await env.listFolder(folder);
        return isFault(listing) ? listing : { ...listing, shares: listing.shares.filter(({ name }) => mayShare(name)) };
      },
      stamp: (file) => env.stampFile(pathOf(file)),
      isReady: (file) => env.isFileReady(pathOf(file), file),
      listen: (onHint) => env.listenToFolder(folder, onHint),
    },
    shared: library,
    skipped,
    onChange,
  });
}
