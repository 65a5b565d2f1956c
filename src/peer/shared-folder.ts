// The folder of a peer and its library, kept alike while the peer is in the network.
// Invariant: what the library has of the folder is what the last look at it found.
// Never: tells anyone; it calls what it was handed.

import type { Skipped } from "../content/folder.ts";
import { createFolderWatch, type FolderChange, type FolderWatch } from "../content/folder-watch.ts";
import type { Library } from "../content/library.ts";
import { finalPath } from "../content/safe-files.ts";
import { isFault } from "../protocol/fault.ts";
import type { PeerEnv } from "./env.ts";

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
