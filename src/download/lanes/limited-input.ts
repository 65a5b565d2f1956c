// What a connection brings, handed on as fast as our own limit allows.
// Invariant: bytes are handed on in the order in which they came; while some of them wait, no more are read.
// Never: looks at what the bytes say.

import type { Clock } from "../../shared/clock.ts";
import type { SharedBucket } from "../../shared/shared-rate.ts";
import type { Connection } from "../../transport/connection.ts";

export type LimitedInputOptions = {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly bucket: SharedBucket;
  /** Takes bytes in; whether a payload is streaming in, so that more is worth reading at once. */
  readonly receive: (chunk: Uint8Array) => boolean;
  /** Whether `receive` goes on holding bytes that it was handed. */
  readonly holdsBytes: () => boolean;
  /** The source says no more, and all that it said was handed on. */
  readonly onEnd: () => void;
};

export type LimitedInput = {
  data(chunk: Uint8Array): void;
  end(): void;
  /** Some bytes wait for our own limit. */
  readonly waiting: boolean;
  stop(): void;
};

const READ_ON_BYTES = 512 * 1024;
const READ_ON_TURNS = 16;
/** What our limit lets pass at a time, in seconds of it: often enough to look steady. */
const SLICE_SECONDS = 0.25;

export function createLimitedInput(options: LimitedInputOptions): LimitedInput {
  const { connection, clock, bucket, receive } = options;
  const sliceBytes = (): number => Math.max(1, Math.floor(bucket.rate * SLICE_SECONDS));
  let direct = new Uint8Array(READ_ON_BYTES);
  let held: Uint8Array | undefined; // has come, and waits for our own limit
  let streaming = false;
  let ended = false;
  let stopped = false;
  let cancel = () => {};

  /**
   * What Bun hands over is a copy in memory of its own each time. While a piece streams in, what has come since is read
   * into one buffer instead, for a few turns, so that the thread's other lanes get theirs.
   */
  function data(chunk: Uint8Array): void {
    if (held !== undefined) {
      held = Buffer.concat([held, chunk]); // it was on its way when we paused
      return;
    }
    let all = admit(chunk);
    for (let turn = 0; turn < READ_ON_TURNS && all && streaming && !stopped; turn++) {
      const got = connection.readNow?.(direct) ?? 0;
      if (got === 0) return;
      all = admit(direct.subarray(0, got));
      if (!all || options.holdsBytes()) direct = new Uint8Array(READ_ON_BYTES); // its tail is kept
    }
  }

  /** Takes in what our own limit lets pass; false when the rest is held until it does. */
  function admit(chunk: Uint8Array): boolean {
    const most = sliceBytes();
    for (let at = 0; at < chunk.length && !stopped; at += most) {
      const slice = chunk.subarray(at, Math.min(at + most, chunk.length));
      const waitMs = bucket.spend(slice.length);
      if (waitMs > 0) {
        hold(chunk.subarray(at), slice.length, waitMs);
        return false;
      }
      streaming = receive(slice);
    }
    return true;
  }

  /** The first `spent` bytes are taken in after `waitMs`, the others in their turn; nothing more is read until then. */
  function hold(chunk: Uint8Array, spent: number, waitMs: number): void {
    held = chunk;
    connection.pause();
    cancel = clock.after(waitMs, () => {
      const all = held as Uint8Array;
      held = undefined;
      streaming = receive(all.subarray(0, spent));
      if (stopped || !admit(all.subarray(spent)) || stopped) return;
      if (ended) options.onEnd();
      else connection.resume();
    });
  }

  return {
    data,
    end() {
      ended = true;
      if (held === undefined) options.onEnd();
    },
    get waiting() {
      return held !== undefined;
    },
    stop() {
      stopped = true;
      cancel();
    },
  };
}
