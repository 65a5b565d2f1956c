// From the library's view of a file to the upload thread's.
// Invariant: an entry says of a file exactly what the library says.
// Never: anything else.

import type { Library, LibraryFile } from "../content/library.ts";
import type { ShareEntry } from "./share-index.ts";
import type { Listed } from "./upload-worker.ts";

/** One file of the library as the upload thread needs it. */
export function entryOf({ folder }: Library, { local, pieceBytes, root, layer }: LibraryFile): ShareEntry<Listed> {
  return { share: { name: local.name, size: local.size, root }, pieceBytes, layer, listed: { ...local, folder } };
}

/** All of them; none of no library. */
export function entriesOf(library: Library | undefined): ShareEntry<Listed>[] {
  return library === undefined ? [] : [...library.all()].map((file) => entryOf(library, file));
}
