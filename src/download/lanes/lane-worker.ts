// A thread that carries lanes: messages in, lanes at work, messages out.
// Invariant: everything that crosses the thread border is plain data of the types below, marked with its lane.
// Never: decides anything.

import { createPieceHasher } from "../../content/hashing/merkle.ts";
import { type Watch, watched } from "../../content/overwrite-watch.ts";
import { readAt, writeAt } from "../../content/positioned-io.ts";
import type { Address } from "../../protocol/address.ts";
import { systemClock } from "../../shared/clock.ts";
import { createSharedRate, type SharedBucket, type SharedRate, sharedBucketOf } from "../../shared/shared-rate.ts";
import type { Connect } from "../../transport/connection.ts";
import type { Security } from "../../transport/security.ts";
import { createTcp } from "../../transport/tcp.ts";
import type { LaneId } from "../pieces/piece-picker.ts";
import { createLane, type Lane, type LaneEvent } from "./lane.ts";
import type { Order } from "./piece-writer.ts";

export type LaneStart = {
  readonly source: Address;
  readonly ticket: string;
  readonly size: number;
  readonly pieceBytes: number;
  /** The open .part file, and what is to be told of every write to it. */
  readonly fd: number;
  readonly watch: Watch | undefined;
};

export type LanePolicy = {
  /** Our own limit, of all downloads together. */
  readonly rate: SharedRate;
  readonly stallSeconds?: number | undefined;
};

/** Main thread -> lanes. */
export type LaneMessage =
  /** `now`: what the main thread's clock shows, which is not what this one's does. */
  | { readonly type: "start"; readonly policy: LanePolicy; readonly security: Security; readonly now: number }
  | { readonly type: "open"; readonly lane: LaneId; readonly start: LaneStart }
  | { readonly type: "fetch"; readonly lane: LaneId; readonly order: Order }
  | { readonly type: "close"; readonly lane: LaneId };

/** Lanes -> main thread. */
export type LaneReport = { readonly lane: LaneId; readonly event: LaneEvent };

declare const self: Worker & { onmessage: (event: MessageEvent<LaneMessage>) => void };

const lanes = new Map<LaneId, Lane>();
let connect: Connect;
let shared = sharedBucketOf(createSharedRate(undefined), systemClock);
/** A download has one thread while there is a rate: with many lanes it gets no more of it than another with one. */
const bucket: SharedBucket = {
  get rate() {
    return shared.rate / Math.max(1, lanes.size);
  },
  spend: (bytes) => shared.spend(bytes),
};
let stallSeconds: number | undefined;

function open(id: LaneId, { source, ticket, size, pieceBytes, fd, watch }: LaneStart): void {
  const lane = createLane({
    source,
    ticket,
    connect,
    clock: systemClock,
    bucket,
    stallSeconds,
    part: {
      hasher: createPieceHasher(size, pieceBytes),
      write: (chunk, offset) => watched(watch, fd, () => writeAt(fd, chunk, offset)),
      read: (into, offset) => readAt(fd, into, offset),
    },
    onEvent(event) {
      if (event.type === "over") lanes.delete(id);
      self.postMessage({ lane: id, event } satisfies LaneReport);
    },
  });
  lanes.set(id, lane);
}

self.onmessage = ({ data: message }) => {
  if (message.type === "start") {
    const behind = message.now - systemClock.now();
    shared = sharedBucketOf(message.policy.rate, { now: () => systemClock.now() + behind });
    stallSeconds = message.policy.stallSeconds;
    connect = createTcp(message.security).connect;
  } else if (message.type === "open") open(message.lane, message.start);
  else if (message.type === "fetch") lanes.get(message.lane)?.fetch(message.order);
  else lanes.get(message.lane)?.close();
};
