// Roots for the `hash` command: of some files, or of a whole folder against what was recorded of it.
// Invariant: a file found damaged keeps its record, so that it is found damaged again.
// Never: prints, or changes a file.

import * as fs from "node:fs";
import { basename } from "node:path";
import { type Fault, fault, isFault } from "../../protocol/fault.ts";
import type { Root } from "../../protocol/messages.ts";
import { absolutePath, type Listing, type LocalShare, listFolder } from "../folder.ts";
import type { LibraryFile } from "../library.ts";
import { diskFault, finalPath, openFile, sameStamp } from "../safe-files.ts";
import type { HashCache } from "./hash-cache.ts";
import type { HashPool } from "./hash-pool.ts";
import type { Hasher } from "./hasher.ts";
import { HASH_BYTES, type Hashed, pieceCount } from "./merkle.ts";

export type HashedFile = {
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly root: Root;
  readonly pieceBytes: number;
};
export type UnhashedFile = { readonly name: string; readonly path: string; readonly fault: Fault };

/**
 * ok: the bytes are the recorded ones. damaged: they are not, though size, time and identity say that the file
 * was not touched; `pieces` says which. changed: the file was edited or replaced since. new: nothing was recorded.
 */
export type Verdict =
  | { readonly name: string; readonly verdict: "ok" | "changed" | "new"; readonly root: Root }
  | { readonly name: string; readonly verdict: "damaged"; readonly root: Root; readonly pieces: readonly number[] }
  | { readonly name: string; readonly verdict: "unread"; readonly fault: Fault };

/** Enough files at once that small ones keep every thread busy. */
const FILES_AT_ONCE = 16;

/** The results in the order of the inputs, several at work at once. */
async function* inOrder<In, Out>(inputs: readonly In[], work: (input: In) => Promise<Out>): AsyncGenerator<Out> {
  const running: Promise<Out>[] = [];
  for (const input of inputs) {
    running.push(work(input));
    if (running.length >= FILES_AT_ONCE) yield (await running.shift()) as Out;
  }
  for (const result of running) yield await result;
}

/** Hashes `paths`, anywhere on the disk and through symlinks, in their order. One that fails does not stop the others. */
export function hashFiles(paths: readonly string[], hasher: Hasher): AsyncGenerator<HashedFile | UnhashedFile> {
  return inOrder(paths, async (given) => {
    const name = basename(given);
    try {
      const path = await fs.promises.realpath(absolutePath(given));
      if ((await fs.promises.stat(path)).isDirectory())
        return { name, path: given, fault: { ...fault("FILE_MISSING", "ours", "a folder"), cause: "is-a-folder" } };
      const hashed = await hasher.hash(path);
      if (isFault(hashed)) return { name, path: given, fault: hashed };
      const { size, root, pieceBytes } = hashed;
      return { name, path: given, size, root, pieceBytes };
    } catch (error) {
      return { name, path: given, fault: diskFault(error, "hash") };
    }
  });
}

function damagedPieces(was: Hashed, is: Hashed): number[] {
  const pieces: number[] = [];
  for (let at = 0; at < was.layer.length; at += HASH_BYTES) {
    const same = Buffer.compare(was.layer.subarray(at, at + HASH_BYTES), is.layer.subarray(at, at + HASH_BYTES)) === 0;
    if (!same) pieces.push(at / HASH_BYTES);
  }
  return pieces;
}

async function verifyShare(folder: string, share: LocalShare, hasher: Hasher, cache: HashCache): Promise<Verdict> {
  const { name } = share;
  const path = finalPath(folder, share.file);
  if (isFault(path)) return { name, verdict: "unread", fault: path };
  const record = cache.recorded(path);
  const untouched = record !== undefined && sameStamp(record.stamp, share);
  // What is not known yet is recorded by the hasher as it goes.
  const hashed = await hasher.hash(path, { fresh: untouched });
  if (isFault(hashed)) return { name, verdict: "unread", fault: hashed };
  const { root } = hashed;
  if (!untouched) return { name, verdict: record === undefined ? "new" : "changed", root };
  if (root === record.hashed.root) return { name, verdict: "ok", root };
  return { name, verdict: "damaged", root, pieces: damagedPieces(record.hashed, hashed) };
}

/**
 * Whether a piece of a share is not on the disk as it was hashed (`layer`). False also where that cannot be told: the
 * file cannot be opened now, or is another by now.
 */
export async function isPieceDamaged(path: string, held: LibraryFile, index: number, pool: HashPool): Promise<boolean> {
  const { local, pieceBytes, layer } = held;
  if (layer === undefined || index >= pieceCount(local.size, pieceBytes)) return false;
  const file = await openFile(path, local);
  if (isFault(file)) return false;
  const hash = await pool.run({ fd: file.fd, size: file.size, pieceBytes, first: index, pieces: 1 });
  await file.close();
  const was = layer.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
  return !isFault(hash) && Buffer.compare(hash, was) !== 0;
}

/** Reads every share of `folder` again and compares it with what `cache` recorded; records what it did not know. */
export async function verifyFolder(
  folder: string,
  hasher: Hasher,
  cache: HashCache,
): Promise<{ readonly listing: Listing; readonly verdicts: AsyncGenerator<Verdict> } | Fault> {
  const listing = await listFolder(folder);
  if (isFault(listing)) return listing;
  return { listing, verdicts: inOrder(listing.shares, (share) => verifyShare(listing.folder, share, hasher, cache)) };
}
