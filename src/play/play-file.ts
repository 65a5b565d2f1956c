// A file as players read it: streams that wait where a piece is not verified yet, and where each of them stands.
// Invariant: a stream gives the file's bytes in order, each from a verified piece; what it promised it gives or breaks off.
// Never: opens a file itself, or knows HTTP.

import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { clearBit, hasBit, setBit } from "../shared/bitfield.ts";
import type { Clock } from "../shared/clock.ts";

/** The open file: `read` fills `into` from `offset`, with fewer bytes at the file's end only. */
export type PlayedBytes = {
  read(into: Uint8Array, offset: number): Promise<number | Fault>;
  close(): void;
};

export type PlayFileOptions = {
  /** In bytes. */
  readonly size: number;
  readonly pieceBytes: number;
  /** The verified pieces, as a bit each (BEP 3 order); this file's own from now on. Undefined: all of them. */
  readonly pieces: Uint8Array | undefined;
  readonly open: () => Promise<PlayedBytes | Fault>;
  readonly clock: Clock;
  /**
   * Where the streams stand that have asked within SILENT_MS, in bytes, and how many streams are open. Told when one
   * begins, ends, or enters another piece, at most once in TELL_MS.
   */
  readonly onStreams: (positions: readonly number[], open: number) => void;
};

export type PlayStream = {
  /** The next bytes; undefined at the end, or once it is closed; a fault when the file cannot be read. */
  next(): Promise<Uint8Array | Fault | undefined>;
  /** Ends a `next` that waits, with undefined. */
  close(): void;
};

export type PlayFile = {
  readonly size: number;
  /** These pieces are verified. */
  have(indexes: readonly number[]): void;
  /** The disk may have lost these. */
  lost(indexes: readonly number[]): void;
  /** Every piece is verified. */
  whole(): void;
  /** A stream of the bytes from `start` on, before `end`. */
  stream(start: number, end: number): PlayStream;
  /** Ends every stream. */
  close(): void;
};

/** A stream whose player has asked for nothing for so long is paused, or forgotten: its pieces are not urgent. */
export const SILENT_MS = 60_000;
/** Positions are told at most so often. */
const TELL_MS = 20;
/** Bytes of one answer of `next`: each stream holds one. */
const CHUNK_BYTES = 256 * 1024;

type Standing = { at: number; askedAt: number; asks: boolean; wake: (() => void) | undefined };

export function createPlayFile(options: PlayFileOptions): PlayFile {
  const { size, pieceBytes, clock, onStreams } = options;
  const streams = new Set<Standing>();
  let { pieces } = options;
  let opened: Promise<PlayedBytes | Fault> | undefined;
  let told = "";
  let toldAt = Number.NEGATIVE_INFINITY;
  let isTelling = false;
  let cancelLook: (() => void) | undefined;

  const has = (index: number): boolean => pieces === undefined || hasBit(pieces, index);

  /** Bytes from verified pieces that may be given at `at` in one go. */
  const readyAt = (at: number, end: number): number => {
    const index = Math.floor(at / pieceBytes);
    return has(index) ? Math.min(CHUNK_BYTES, end - at, (index + 1) * pieceBytes - at) : 0;
  };

  function wakeAll(): void {
    for (const stream of streams) stream.wake?.();
  }

  function tellSoon(): void {
    if (!isTelling) clock.after(Math.max(0, toldAt + TELL_MS - clock.now()), tell);
    isTelling = true;
  }

  function tell(): void {
    isTelling = false;
    cancelLook?.();
    const now = clock.now();
    // A stream that waits for a piece is one that asks, however long it takes.
    const asking = [...streams].filter(({ asks, askedAt }) => asks || now - askedAt < SILENT_MS);
    cancelLook = asking.length > 0 ? clock.after(SILENT_MS, tellSoon) : undefined;
    const news = `${streams.size} ${asking.map(({ at }) => Math.floor(at / pieceBytes))}`;
    if (news === told) return;
    told = news;
    toldAt = now;
    onStreams(
      asking.map(({ at }) => at),
      streams.size,
    );
  }

  async function give(stream: Standing, end: number): Promise<Uint8Array | Fault | undefined> {
    while (streams.has(stream) && stream.at < end) {
      const bytes = readyAt(stream.at, end);
      if (bytes === 0) {
        await new Promise<void>((resolve) => (stream.wake = resolve));
        continue;
      }
      opened ??= options.open();
      const file = await opened;
      if (isFault(file)) return file;
      if (!streams.has(stream)) break; // closed meanwhile, and the file with it
      const chunk = new Uint8Array(bytes);
      const count = await file.read(chunk, stream.at);
      if (isFault(count)) return count;
      if (count < bytes) return fault("CHANGED", "ours", "the file is shorter than it was");
      // What a failed sync took back while it was read may be other bytes.
      if (readyAt(stream.at, end) < bytes) continue;
      stream.at += bytes;
      return chunk;
    }
    return undefined;
  }

  function leave(stream: Standing): void {
    if (!streams.delete(stream)) return;
    stream.wake?.();
    tellSoon();
    if (streams.size > 0) return;
    void opened?.then((file) => {
      if (!isFault(file)) file.close();
    });
    opened = undefined;
  }

  return {
    size,
    have(indexes) {
      if (pieces === undefined) return;
      for (const index of indexes) setBit(pieces, index);
      wakeAll();
    },
    lost(indexes) {
      if (pieces !== undefined) for (const index of indexes) clearBit(pieces, index);
    },
    whole() {
      pieces = undefined;
      wakeAll();
    },
    stream(start, end) {
      const stream: Standing = { at: start, askedAt: clock.now(), asks: false, wake: undefined };
      streams.add(stream);
      tellSoon();
      return {
        async next() {
          const now = clock.now();
          const wasSilent = now - stream.askedAt >= SILENT_MS;
          const before = Math.floor(stream.at / pieceBytes);
          stream.askedAt = now;
          stream.asks = true;
          if (wasSilent) tellSoon();
          const given = await give(stream, end);
          stream.asks = false;
          stream.askedAt = clock.now();
          if (given === undefined || isFault(given)) leave(stream);
          else if (Math.floor(stream.at / pieceBytes) !== before) tellSoon();
          return given;
        },
        close: () => leave(stream),
      };
    },
    close() {
      for (const stream of [...streams]) leave(stream);
    },
  };
}
