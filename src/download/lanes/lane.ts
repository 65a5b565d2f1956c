// One connection that fetches pieces from one source.
// Invariant: `over` is told once, after everything else; it names what ended the lane.
// Never: decides which piece comes next or whether a hash is right; never knows it runs on a thread of its own.

import type { Address } from "../../protocol/address.ts";
import { type Fault, fault, isFault } from "../../protocol/fault.ts";
import { STALL_SECONDS_MAX } from "../../protocol/limits.ts";
import { VERSION } from "../../protocol/messages.ts";
import { createReader } from "../../protocol/reader.ts";
import { decodeReply } from "../../protocol/replies.ts";
import { encodeRequest } from "../../protocol/requests.ts";
import { type Clock, every } from "../../shared/clock.ts";
import type { SharedBucket } from "../../shared/shared-rate.ts";
import type { Connect, Connection } from "../../transport/connection.ts";
import { createGetPipeline, type Range } from "./get-pipeline.ts";
import { createLimitedInput, type LimitedInput } from "./limited-input.ts";
import { createPieceWriter, type Order, type PieceWriterOptions } from "./piece-writer.ts";

/** Bytes arrived since the last such event. Of piece `index`, which is under way, the first `have` bytes are written. */
export type Moved = { readonly type: "moved"; readonly bytes: number; readonly index?: number; readonly have?: number };

export type LaneEvent =
  | { readonly type: "open" }
  | Moved
  | { readonly type: "piece"; readonly index: number; readonly hash: Uint8Array }
  /** The lane is over. Orders without a "piece" are unfinished. */
  | { readonly type: "over"; readonly fault: Fault };

export type LaneOptions = {
  readonly source: Address;
  readonly ticket: string;
  readonly connect: Connect;
  readonly clock: Clock;
  /** What may arrive per second, shared by the lanes of a thread. */
  readonly bucket: SharedBucket;
  /** Without a byte for so long, the lane is over; STALL_SECONDS_MAX when not given. */
  readonly stallSeconds?: number | undefined;
  readonly part: PieceWriterOptions;
  readonly onEvent: (event: LaneEvent) => void;
};

export type Lane = {
  /** Asks for one more piece; they are fetched in the order of asking. */
  fetch(order: Order): void;
  close(): void;
};

const REPORT_MS = 250;

export function createLane(options: LaneOptions): Lane {
  const { clock, bucket, onEvent, stallSeconds = STALL_SECONDS_MAX } = options;
  const reader = createReader();
  const pieces = createPieceWriter(options.part);
  const gets = createGetPipeline(
    clock,
    () => bucket.rate,
    (get) => connection?.send(encodeRequest({ verb: "GET", ...get })),
  );
  let connection: Connection | undefined;
  let input: LimitedInput | undefined;
  let opened = false;
  let over = false;
  let inPayload = false;
  let moved = 0;
  let movedAt = clock.now();
  let stopLooking = () => {};

  function stop(why: Fault): void {
    if (over) return;
    over = true;
    stopLooking();
    input?.stop();
    report();
    connection?.destroy();
    onEvent({ type: "over", fault: why });
  }

  function report(): void {
    if (moved === 0) return;
    onEvent({ type: "moved", bytes: moved, ...pieces.progress() });
    moved = 0;
  }

  /** Reports what moved, and ends a lane whose source has gone quiet. */
  function look(): void {
    report();
    if (input?.waiting) movedAt = clock.now(); // for our own limit, not for the source
    if (!pieces.idle && clock.now() - movedAt > stallSeconds * 1000)
      stop(fault("STALLED", "network", `no data for ${stallSeconds} s`, true));
  }

  function receive(chunk: Uint8Array): boolean {
    movedAt = clock.now();
    reader.push(chunk);
    while (!over) {
      if (inPayload) {
        if (!takePayload()) break;
        continue;
      }
      const line = reader.line();
      if (line === undefined) break;
      const failed = isFault(line) ? line : takeLine(line);
      if (failed !== undefined) stop(failed);
    }
    return inPayload;
  }

  function takeLine(line: string): Fault | undefined {
    const said = readLine(line, opened ? gets.first : undefined);
    if (isFault(said)) return said;
    if (said === "LANE_OK") {
      opened = true;
      onEvent({ type: "open" });
    }
    inPayload = said === "DATA";
    return undefined;
  }

  /** Takes what has arrived of the first GET; false when more must arrive. */
  function takePayload(): boolean {
    const chunk = reader.some((gets.first as Range).length);
    if (chunk === undefined) return false;
    const done = pieces.write(chunk);
    if (isFault(done)) {
      stop(done);
      return false;
    }
    moved += chunk.length;
    if (!gets.tested) report(); // at once: others may be asked when nothing comes
    inPayload = !gets.came(chunk.length);
    gets.ask();
    if (done !== undefined) onEvent({ type: "piece", ...done });
    return true;
  }

  function open(made: Connection) {
    connection = made;
    made.send(encodeRequest({ verb: "HELLO", version: VERSION }));
    made.send(encodeRequest({ verb: "LANE", ticket: options.ticket }));
    gets.ask();
    movedAt = clock.now();
    if (!over) stopLooking = every(clock, REPORT_MS, look);
    const onEnd = () => stop(fault("PEER_GONE", "network", "the connection ended", true));
    const holdsBytes = () => reader.size > 0;
    const limited = createLimitedInput({ connection: made, clock, bucket, receive, holdsBytes, onEnd });
    input = limited;
    return { data: limited.data, drain() {}, end: limited.end, close: limited.end };
  }

  void options.connect(options.source, open).then((made) => {
    if (isFault(made)) stop(made);
    else if (over) made.destroy();
  });

  return {
    fetch(order) {
      if (pieces.idle) {
        movedAt = clock.now();
        gets.restart();
      }
      const { offset, length, have = 0 } = order;
      pieces.add(order);
      gets.add({ offset: offset + have, length: length - have });
      if (connection !== undefined) gets.ask();
    },
    close: () => stop(fault("CANCELLED", "ours", "closed")),
  };
}

/** What a reply line says; a fault ends the lane. `get` is what a DATA must answer; undefined while none may come. */
function readLine(line: string, get: Range | undefined): "HELLO" | "LANE_OK" | "DATA" | Fault {
  const reply = decodeReply(line);
  if (isFault(reply)) return reply;
  switch (reply.verb) {
    case "HELLO":
    case "LANE_OK":
      return reply.verb;
    case "ERROR":
    case "REJECT":
      return fault(reply.code, "theirs", reply.text, reply.retry);
    case "DATA":
      return reply.offset === get?.offset && reply.payloadBytes === get.length
        ? "DATA"
        : fault("BAD_REPLY", "theirs", "data that was not asked for");
    default:
      return fault("BAD_REPLY", "theirs", `${reply.verb} in a lane`);
  }
}
