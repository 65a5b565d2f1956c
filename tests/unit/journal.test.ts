// Journals <-> bytes.
// Invariant: what was written whole comes back; what was torn or changed is simply not there.
// Never: throws, whatever the file holds.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { HASH_BYTES, pieceCount } from "../../src/content/hashing/merkle.ts";
import {
  decodeJournal,
  encodeBegun,
  encodeHead,
  encodeLoss,
  encodePiece,
  encodeWritten,
  type JournalHead,
  journalLength,
} from "../../src/download/disk/journal.ts";
import { PIECE_BYTES_MAX, PIECE_BYTES_MIN } from "../../src/protocol/limits.ts";
import { anyRoot } from "../support/messages.ts";

const HEAD_BYTES = 128;
const RECORD_BYTES = 40;
const anyHead: fc.Arbitrary<JournalHead> = fc.record({
  size: fc.oneof(fc.integer({ min: 0, max: 2 ** 32 }), fc.constantFrom(0, 1, 2 ** 40, 2 ** 53 - 1)),
  pieceBytes: fc.integer({ min: 18, max: 22 }).map((power) => 2 ** power),
  root: fc.option(anyRoot, { nil: undefined }),
});
const anyHash = fc.uint8Array({ minLength: HASH_BYTES, maxLength: HASH_BYTES });
const HEAD: JournalHead = { size: 100 * 2 ** 18, pieceBytes: 2 ** 18, root: undefined };
const hash = (byte: number) => new Uint8Array(HASH_BYTES).fill(byte);

describe("a journal", () => {
  test("comes back as it was, whatever its head and pieces", () => {
    const pieces = fc.array(fc.tuple(fc.nat(99), anyHash), { maxLength: 20 });
    fc.assert(
      fc.property(anyHead, pieces, (head, records) => {
        const encoded = Buffer.concat([
          encodeHead(head),
          ...records.map(([index, h]) => encodePiece({ index, hash: h })),
        ]);
        expect(encoded.length).toBe(HEAD_BYTES + RECORD_BYTES * records.length);
        const decoded = decodeJournal(encoded);
        expect(decoded?.head).toEqual(head);
        const count = pieceCount(head.size, head.pieceBytes);
        expect(decoded?.pieces).toEqual(new Map(records.filter(([index]) => index < count)));
      }),
    );
  });

  test("of pieces longer than any may be is none: what it stands for is held against the layer", () => {
    expect(decodeJournal(encodeHead({ ...HEAD, pieceBytes: 2 * PIECE_BYTES_MAX }))).toBeUndefined();
  });

  test("takes the later record of a piece", () => {
    const records = [1, 2, 3].map((byte) => encodePiece({ index: 7, hash: hash(byte) }));
    expect(decodeJournal(Buffer.concat([encodeHead(HEAD), ...records]))?.pieces).toEqual(new Map([[7, hash(3)]]));
  });

  test("tells what was only written from what was synced, and the last word on a piece counts", () => {
    const [written, synced] = [encodeWritten({ index: 7, hash: hash(1) }), encodePiece({ index: 7, hash: hash(1) })];
    const told = (...records: Uint8Array[]) => {
      const decoded = decodeJournal(Buffer.concat([encodeHead(HEAD), ...records]));
      return [[...(decoded?.pieces.keys() ?? [])], [...(decoded?.written.keys() ?? [])]];
    };
    expect(told(written)).toEqual([[], [7]]);
    expect(told(written, synced)).toEqual([[7], []]);
    expect(told(synced, written)).toEqual([[], [7]]);
    expect(told(written, encodeLoss(7))).toEqual([[], []]);
    expect(told(encodeWritten({ index: 100, hash: hash(1) }))).toEqual([[], []]);
  });

  test("cut anywhere keeps exactly the records that are whole, and journalLength says where they end", () => {
    const records = [1, 2, 3].map((index) => encodePiece({ index, hash: hash(index) }));
    const whole = Buffer.concat([encodeHead(HEAD), ...records]);
    for (let length = 0; length <= whole.length; length++) {
      const kept = length < HEAD_BYTES ? undefined : Math.floor((length - HEAD_BYTES) / RECORD_BYTES);
      expect(decodeJournal(whole.subarray(0, length))?.pieces.size).toBe(kept);
      expect(journalLength(length)).toBe(kept === undefined ? 0 : HEAD_BYTES + kept * RECORD_BYTES);
    }
  });

  test("with one bit changed never tells of a piece that it was not told", () => {
    const records = [1, 2, 3].map((index) => encodePiece({ index, hash: hash(index) }));
    const whole = Buffer.concat([encodeHead(HEAD), ...records]);
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const changed = Buffer.from(whole);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      const decoded = decodeJournal(changed);
      if (decoded === undefined) continue;
      expect(decoded.head).toEqual(HEAD);
      for (const [index, h] of decoded.pieces) expect(h).toEqual(hash(index));
    }
  });

  test("of any bytes at all is none, or a legal one; nothing throws", () => {
    const near = fc
      .tuple(anyHead, fc.uint8Array({ maxLength: 200 }), fc.nat(127), fc.nat(255))
      .map(([head, tail, at, byte]) => {
        const encoded = encodeHead(head);
        encoded[at] = byte;
        return Buffer.concat([encoded, tail]);
      });
    fc.assert(
      fc.property(fc.oneof(near, fc.uint8Array({ maxLength: 400 })), (bytes) => {
        const decoded = decodeJournal(bytes);
        if (decoded === undefined) return;
        const count = pieceCount(decoded.head.size, decoded.head.pieceBytes);
        for (const index of decoded.pieces.keys()) expect(index).toBeLessThan(count);
      }),
      { numRuns: 3000 },
    );
  });
});

test("what was begun of a piece is the last word on it, until a later one", () => {
  const hash = new Uint8Array(HASH_BYTES).fill(1);
  const read = (...records: Uint8Array[]) => {
    const head = encodeHead({ size: 10 * PIECE_BYTES_MIN, pieceBytes: PIECE_BYTES_MIN, root: undefined });
    const found = decodeJournal(Buffer.concat([head, ...records]));
    return [[...(found?.begun ?? [])], [...(found?.pieces.keys() ?? [])]];
  };
  expect(read(encodeBegun(3, 65_536))).toEqual([[[3, 65_536]], []]);
  expect(read(encodeBegun(3, 65_536), encodeBegun(3, 131_072))).toEqual([[[3, 131_072]], []]);
  expect(read(encodeBegun(3, 65_536), encodeBegun(3, 0))).toEqual([[], []]);
  expect(read(encodeBegun(3, 65_536), encodePiece({ index: 3, hash }))).toEqual([[], [3]]);
  expect(read(encodePiece({ index: 3, hash }), encodeBegun(3, 65_536))).toEqual([[[3, 65_536]], []]);
  expect(read(encodeBegun(10, 65_536))).toEqual([[], []]);
});
