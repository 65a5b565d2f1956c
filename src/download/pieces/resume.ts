// What an earlier run of a download left, and how much of it can be believed.
// Invariant: a journal is believed only for this very content, only within what the .part holds, and is checked again.
// Never: throws away verified bytes of another content; that is the person's to do.

import type { Hashed } from "../../content/hashing/merkle.ts";
import type { PartWorkspace } from "../../content/part-workspace.ts";
import { type Fault, fault, isFault } from "../../protocol/fault.ts";
import { BLOCK_BYTES, HASH_BYTES } from "../../protocol/limits.ts";
import type { Grant } from "../../protocol/messages.ts";
import type { PartFile } from "../disk/part-file.ts";
import { agrees, hashAt, type Left } from "./verifier.ts";

export const OTHER_CONTENT = fault("OTHER_CONTENT", "ours", "the .part of this name belongs to another content");

export const OTHER_SIZE = fault(
  "NOT_READY",
  "theirs",
  "the .part is of another size, and this content is not known yet",
  true,
);

/** Hashes `pieces` pieces from number `first` of the .part, on some other thread. */
export type HashPieces = (
  head: { readonly size: number; readonly pieceBytes: number },
  first: number,
  pieces: number,
) => Promise<Uint8Array | Fault>;

/** Checked in runs of this many pieces: a short wait for the thread, a small answer. */
const RUN_PIECES = 64;

export type ResumeOptions = {
  readonly partFile: PartFile;
  readonly workspace: PartWorkspace;
  readonly grant: Grant;
  /** Undefined where the source is still hashing. */
  readonly content: Hashed | undefined;
  /** Others have a file of this name: where its layer speaks against all that is here, one of them may speak for it. */
  readonly careful?: boolean;
};

/** The pieces that an earlier run left of this content, or none after a new beginning. OTHER_CONTENT, DISK_… */
export async function resume({ partFile, workspace, grant, content, careful }: ResumeOptions): Promise<Left | Fault> {
  const layer = content?.layer;
  const root = content?.root ?? grant.root;
  const found = await partFile.resume();
  if (isFault(found)) return found;
  const end = (index: number) => Math.min(grant.size, (index + 1) * grant.pieceBytes);
  // What the layer contradicts is fetched over, perhaps while the rest is still read again: it is none of what was left.
  const there = ([index, hash]: readonly [number, Uint8Array]) =>
    index * grant.pieceBytes < grant.size && end(index) <= workspace.part.size && agrees(layer, index, hash);
  const kept = new Map([...(found?.pieces ?? [])].filter(there));
  const written = new Map([...(found?.written ?? [])].filter(there));
  const isBegun = ([index, bytes]: readonly [number, number]) =>
    bytes % BLOCK_BYTES === 0 && index * grant.pieceBytes + bytes <= Math.min(end(index), workspace.part.size);
  const begun = new Map([...(found?.begun ?? [])].filter(isBegun));
  const same = found !== undefined && sameContent(found.head, grant);
  const claimed = (found?.pieces.size ?? 0) + (found?.written.size ?? 0);
  if (careful && layer !== undefined && claimed > 0 && kept.size + written.size === 0) return OTHER_CONTENT;
  // A journal of nothing that is there is begun anew, whatever it names.
  // One that has only taken back is not: what a failed sync forgot may still be shown, and is not to be claimed anew.
  const tookBack = found !== undefined && found.lost.size > 0 && found.pieces.size + found.written.size === 0;
  if (same && (tookBack || kept.size + written.size + begun.size > 0)) {
    const failed = await partFile.trim(grant.size);
    return failed ?? { kept, written, begun, root: found.head.root };
  }
  if (!same && found !== undefined && found.pieces.size + found.written.size > 0) {
    if (found.head.root !== undefined && root !== undefined && found.head.root !== root) return OTHER_CONTENT;
    // One of two sizes is a lie, or there are two contents: only a layer tells, and until then nothing is thrown away.
    if (layer === undefined) return OTHER_SIZE;
    if (found.head.root !== undefined) {
      const failed = await partFile.retitle({ ...grant, root });
      return failed ?? { kept, written, begun: new Map(), root };
    }
  }
  // Without a journal that stands for this content, the bytes may still be right: they are compared with the layer.
  const claims = layer === undefined ? [] : [...claimsOf(layer)].filter(there);
  // A root alone proves nothing: until a layer leads to it, the journal is of no content in particular.
  const head = { ...grant, root: layer === undefined ? undefined : grant.root };
  const failed = await partFile.begin(head, claims.length > 0);
  return failed ?? { kept: new Map(), written: new Map(claims), begun: new Map(), root: head.root };
}

/** What every piece of a content with this layer must be. */
export function* claimsOf(layer: Uint8Array): Generator<readonly [number, Uint8Array]> {
  for (let index = 0; index * HASH_BYTES < layer.length; index++) yield [index, hashAt(layer, index)];
}

/** Whether two heads can be of one content: a root that is not known yet contradicts nothing. */
export function sameContent(a: Pick<Grant, "size" | "pieceBytes" | "root">, b: typeof a): boolean {
  if (a.size !== b.size || a.pieceBytes !== b.pieceBytes) return false;
  return a.root === undefined || b.root === undefined || a.root === b.root;
}

/** Reads what is on the disk once more, and names the pieces that are not what they should be. */
export async function findDamaged(pieces: Left["kept"], grant: Grant, hashPieces: HashPieces): Promise<number[]> {
  const damaged: number[] = [];
  for (const [first, count] of runs([...pieces.keys()].sort((a, b) => a - b))) {
    const layer = await hashPieces(grant, first, count);
    for (let i = 0; i < count; i++) {
      const now = isFault(layer) ? undefined : hashAt(layer, i);
      if (now === undefined || Buffer.compare(now, pieces.get(first + i) as Uint8Array) !== 0) damaged.push(first + i);
    }
  }
  return damaged;
}

/** Ascending numbers as [first, count] of neighbours, none longer than RUN_PIECES. */
function* runs(indexes: readonly number[]): Generator<readonly [number, number]> {
  for (let at = 0; at < indexes.length; ) {
    const first = indexes[at] as number;
    let count = 1;
    while (count < RUN_PIECES && indexes[at + count] === first + count) count++;
    yield [first, count];
    at += count;
  }
}
