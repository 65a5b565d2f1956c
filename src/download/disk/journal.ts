// What a journal file says, as bytes: which pieces of a .part are on the disk, with the hash of each.
// Invariant: a record counts only when it is whole and its checksum fits, so that a torn end is simply not there.
// Never: touches a file (journal-file.ts), or says "verified": it says "bytes with this hash were synced", or "written".

import { HASH_BYTES, pieceCount } from "../../content/hashing/merkle.ts";
import { FILE_BYTES_MAX, PIECE_BYTES_MAX, PIECE_BYTES_MIN } from "../../protocol/limits.ts";
import type { Root } from "../../protocol/messages.ts";

/** Which download a journal belongs to. `root` is undefined while its source was still hashing. */
export type JournalHead = { readonly size: number; readonly pieceBytes: number; readonly root: Root | undefined };

/** One piece that is on the disk. */
export type JournalPiece = { readonly index: number; readonly hash: Uint8Array };

export type JournalContent = {
  readonly head: JournalHead;
  /** These were synced: piece -> hash. */
  readonly pieces: Map<number, Uint8Array>;
  /** These were written, and no sync since has been answered: there after a crash of the program, not of the machine. */
  readonly written: Map<number, Uint8Array>;
  /** These were taken back, and nothing was said of them since. */
  readonly lost: Set<number>;
  /** Of these so many bytes were synced, from their beginning on: piece -> bytes. */
  readonly begun: Map<number, number>;
};

const MAGIC = "napster-journal 1";
const HEAD_BYTES = 128;
const RECORD_BYTES = 4 + HASH_BYTES + 4;
/** Added to the number of a piece that is not synced; no file has so many pieces. */
const WRITTEN = 2 ** 31;
/** Added to the number of a piece that is not whole. In the hash's place stands how much of it there is. */
const BEGUN = 2 ** 30;

/** The first HEAD_BYTES of the file: one line of text, padded with spaces, with its checksum. */
export function encodeHead(head: JournalHead): Uint8Array {
  const fields = `${MAGIC} ${head.size} ${head.pieceBytes} ${head.root ?? "-"}`;
  const line = `${fields} ${Bun.hash.crc32(fields).toString(16)}`;
  return new TextEncoder().encode(`${line.padEnd(HEAD_BYTES - 1)}\n`);
}

/** One record to append. */
export function encodePiece({ index, hash }: JournalPiece): Uint8Array {
  const record = new Uint8Array(RECORD_BYTES);
  const view = new DataView(record.buffer);
  view.setUint32(0, index, true);
  record.set(hash, 4);
  view.setUint32(4 + HASH_BYTES, Bun.hash.crc32(record.subarray(0, 4 + HASH_BYTES)), true);
  return record;
}

/** One record of a piece that may still be in the system's memory only. */
export function encodeWritten({ index, hash }: JournalPiece): Uint8Array {
  return encodePiece({ index: index + WRITTEN, hash });
}

/** A record that takes an earlier one back: the piece was found damaged, and right bytes in its place are new ones. */
export function encodeLoss(index: number): Uint8Array {
  return encodePiece({ index, hash: new Uint8Array(HASH_BYTES) });
}

/** One record of a piece of which the first `bytes` are synced; none of it any more with 0. */
export function encodeBegun(index: number, bytes: number): Uint8Array {
  const field = new Uint8Array(HASH_BYTES);
  new DataView(field.buffer).setUint32(0, bytes, true);
  return encodePiece({ index: index + BEGUN, hash: field });
}

/** What the file says, or undefined when it is no journal of ours. A later record of a piece replaces an earlier one. */
export function decodeJournal(bytes: Uint8Array): JournalContent | undefined {
  const head = decodeHead(new TextDecoder().decode(bytes.subarray(0, HEAD_BYTES)));
  if (head === undefined) return undefined;
  const count = pieceCount(head.size, head.pieceBytes);
  const pieces = new Map<number, Uint8Array>();
  const written = new Map<number, Uint8Array>();
  const lost = new Set<number>();
  const begun = new Map<number, number>();
  for (let at = HEAD_BYTES; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, RECORD_BYTES);
    const number = view.getUint32(0, true);
    const index = number % BEGUN;
    const sum = Bun.hash.crc32(bytes.subarray(at, at + 4 + HASH_BYTES));
    if (view.getUint32(4 + HASH_BYTES, true) !== sum || index >= count || number >= WRITTEN + BEGUN) continue;
    const hash = bytes.slice(at + 4, at + 4 + HASH_BYTES);
    pieces.delete(index);
    written.delete(index);
    lost.delete(index);
    begun.delete(index);
    if (number >= BEGUN && number < WRITTEN) {
      const bytes = view.getUint32(4, true);
      if (bytes > 0) begun.set(index, bytes);
    } else if (hash.some((byte) => byte !== 0)) (number < WRITTEN ? pieces : written).set(index, hash);
    else lost.add(index);
  }
  return { head, pieces, written, lost, begun };
}

function decodeHead(line: string): JournalHead | undefined {
  const match = /^(napster-journal 1 (\d{1,16}) (\d{1,8}) (-|[0-9a-f]{64})) ([0-9a-f]{1,8}) *\n$/.exec(line);
  if (match === null) return undefined;
  const [, fields, size, pieceBytes, root, sum] = match as unknown as string[];
  if (Bun.hash.crc32(fields as string).toString(16) !== sum) return undefined;
  const head = { size: Number(size), pieceBytes: Number(pieceBytes), root: root === "-" ? undefined : root };
  const legal = head.size <= FILE_BYTES_MAX && head.pieceBytes >= PIECE_BYTES_MIN && head.pieceBytes <= PIECE_BYTES_MAX;
  return legal ? head : undefined;
}

/** How many bytes of a journal file are well-formed in length; what follows is a record cut short. */
export function journalLength(bytes: number): number {
  return bytes < HEAD_BYTES ? 0 : bytes - ((bytes - HEAD_BYTES) % RECORD_BYTES);
}
