// The threads that lanes run on, seen from the main thread: lanes are opened here and report here.
// Invariant: a lane's events come in order and end with "over", also when its thread dies.
// Never: looks at what a lane carries.

import { fault } from "../../protocol/fault.ts";
import { systemClock } from "../../shared/clock.ts";
import { sharedRateOf } from "../../shared/shared-rate.ts";
import type { Security } from "../../transport/security.ts";
import type { LaneId } from "../pieces/piece-picker.ts";
import type { Lane, LaneEvent } from "./lane.ts";
import type { LaneMessage, LanePolicy, LaneReport, LaneStart } from "./lane-worker.ts";

export type OpenLane = (start: LaneStart, onEvent: (event: LaneEvent) => void) => Lane;

export type LaneThreads = {
  readonly open: OpenLane;
  /** Ends the threads and with them every lane. */
  close(): void;
};

type Thread = { readonly worker: Worker; readonly lanes: Map<LaneId, (event: LaneEvent) => void> };

/**
 * Up to `threadCount` threads, the first at once and others with the lanes that need them, which are dealt to them in
 * turn. While there is a rate no other thread is started: the lanes of one thread share the download's part of it.
 */
export function createLaneThreads(threadCount: number, policy: LanePolicy, security: Security): LaneThreads {
  // A small file has one lane: of many of them a second thread each would cost more than the files.
  const threads: Thread[] = [startThread()];
  let opened = 0;

  function startThread(): Thread {
    const worker = new Worker(new URL("./lane-worker.ts", import.meta.url).href);
    const lanes = new Map<LaneId, (event: LaneEvent) => void>();
    worker.onmessage = ({ data: { lane, event } }: MessageEvent<LaneReport>) => {
      const tell = lanes.get(lane);
      if (event.type === "over") lanes.delete(lane);
      tell?.(event);
    };
    worker.onerror = (event) => {
      const why = fault("INTERNAL", "ours", `lane thread: ${event.message}`);
      for (const tell of lanes.values()) tell({ type: "over", fault: why });
      lanes.clear();
    };
    const now = systemClock.now();
    worker.postMessage({ type: "start", policy, security, now } satisfies LaneMessage);
    return { worker, lanes };
  }

  function open(start: LaneStart, onEvent: (event: LaneEvent) => void): Lane {
    const lane = opened++;
    const at = lane % (sharedRateOf(policy.rate) === undefined ? threadCount : threads.length);
    const thread = threads[at] ?? startThread();
    threads[at] = thread;
    const { worker, lanes } = thread;
    const post = (message: LaneMessage) => worker.postMessage(message);
    lanes.set(lane, onEvent);
    post({ type: "open", lane, start });
    return { fetch: (order) => post({ type: "fetch", lane, order }), close: () => post({ type: "close", lane }) };
  }

  return {
    open,
    close() {
      for (const { worker } of threads) worker.terminate();
    },
  };
}
