// The worker threads that hash: made when there is work, ended when there has been none for a while.
// Invariant: every task is answered once, with a fault if its thread died; at most `workers` threads live.
// Never: keeps the process alive while idle.

import { type Fault, fault } from "../../protocol/fault.ts";
import type { HashAnswer, HashTask } from "./hash-worker.ts";

export type HashPool = {
  /** Whether a task given now would start at once, or next on some thread. */
  free(): boolean;
  /** The layer of the task's pieces, or why there is none. */
  run(task: Omit<HashTask, "id">): Promise<Uint8Array | Fault>;
  /** Ends the threads; what they have at work is answered before. */
  close(): void;
};

/** Tasks at a thread: one at work and one waiting, so that no thread waits for a busy main thread. */
const TASKS_PER_WORKER = 2;

/** Idle threads end after this long: their memory is worth more than the milliseconds to make them again. */
const WORKER_IDLE_SECONDS_MAX = 5;

type Thread = { readonly worker: Worker; readonly tasks: Map<number, (answer: Uint8Array | Fault) => void> };

/** `background`: the threads give way to whatever else the machine does. */
export function createHashPool(workers: number, { background = false } = {}): HashPool {
  const threads = new Set<Thread>();
  let nextId = 0;
  let idle: ReturnType<typeof setTimeout> | undefined;

  const died = (thread: Thread, why: string): void => {
    threads.delete(thread);
    thread.worker.terminate();
    for (const answer of thread.tasks.values()) answer(fault("INTERNAL", "ours", why, true));
  };
  // Asked, not cut off, so that a task under way is answered and its file closed.
  const dismissAll = (): void => {
    for (const { worker } of threads) {
      worker.postMessage("leave");
      worker.unref();
    }
    threads.clear();
  };
  const rest = (thread: Thread): void => {
    if (thread.tasks.size > 0) return;
    thread.worker.unref();
    if (threads.size === 0 || [...threads].some((other) => other.tasks.size > 0)) return;
    clearTimeout(idle);
    idle = setTimeout(dismissAll, WORKER_IDLE_SECONDS_MAX * 1000);
    idle.unref();
  };

  const start = (): Thread => {
    // The path is relative to this file in the source tree and in a compiled executable alike (build.ts).
    const worker = new Worker(new URL("./hash-worker.ts", import.meta.url).href);
    const thread: Thread = { worker, tasks: new Map() };
    if (background) worker.postMessage("background");
    worker.onmessage = (event: MessageEvent<HashAnswer>) => {
      const answer = thread.tasks.get(event.data.id);
      thread.tasks.delete(event.data.id);
      rest(thread);
      answer?.(event.data.layer);
    };
    worker.onerror = (event) => died(thread, `hash thread: ${event.message}`);
    threads.add(thread);
    return thread;
  };

  const least = (): Thread | undefined => {
    let best: Thread | undefined;
    for (const thread of threads) if (best === undefined || thread.tasks.size < best.tasks.size) best = thread;
    return best;
  };

  return {
    free() {
      const best = least();
      return threads.size < workers || (best !== undefined && best.tasks.size < TASKS_PER_WORKER);
    },
    run(task) {
      clearTimeout(idle);
      const best = least();
      const thread = best === undefined || (best.tasks.size > 0 && threads.size < workers) ? start() : best;
      const id = nextId;
      nextId += 1;
      return new Promise((resolve) => {
        thread.tasks.set(id, resolve);
        thread.worker.ref();
        thread.worker.postMessage({ ...task, id });
      });
    },
    close() {
      clearTimeout(idle);
      dismissAll();
    },
  };
}
