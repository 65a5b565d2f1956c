// Virtual time: a queue of what happens when. It moves only when everything that could happen now has happened.
// The code under test awaits promises and takes turns with setImmediate; both are part of "now". A real timer is a bug.

import { drainMicrotasks } from "bun:jsc";
import type { Clock } from "../../src/shared/clock.ts";

export type Time = {
  /** Milliseconds since the beginning. */
  readonly now: number;
  /** Runs `action` in `ms` milliseconds; the returned function cancels it. */
  after(ms: number, action: () => void): () => void;
  /** Lets time pass until `done` or for `ms` at most; whether it is done. Synchronous from end to end. */
  run(ms: number, done: () => boolean): boolean;
  /** What has happened so far: two runs of a seed have the same number. */
  readonly events: number;
};

/** A program that can be killed: what it waits for never comes. */
export type Process = { readonly alive: boolean; readonly clock: Clock; kill(): void };

type Entry = { at: number; order: number; action: (() => void) | undefined };

export function createTime(): Time {
  const heap: Entry[] = [];
  let now = 0;
  let order = 0;
  let events = 0;
  const before = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

  function push(entry: Entry): void {
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (!before(entry, heap[up] as Entry)) break;
      heap[at] = heap[up] as Entry;
      at = up;
    }
    heap[at] = entry;
  }

  function pop(): Entry {
    const first = heap[0] as Entry;
    const last = heap.pop() as Entry;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Entry, heap[child] as Entry)) child++;
      if (!before(heap[child] as Entry, last)) break;
      heap[at] = heap[child] as Entry;
      at = child;
    }
    heap[at] = last;
    return first;
  }

  function after(ms: number, action: () => void): () => void {
    const entry: Entry = { at: now + Math.max(0, ms), order: order++, action };
    push(entry);
    return () => {
      entry.action = undefined;
    };
  }

  function run(ms: number, done: () => boolean): boolean {
    const end = now + ms;
    return withoutRealTime(
      after,
      () => now,
      () => {
        drainMicrotasks();
        while (!done()) {
          const next = heap[0];
          if (next === undefined || next.at > end) {
            now = end;
            return false;
          }
          pop();
          if (next.action === undefined) continue;
          now = next.at;
          events++;
          next.action();
          drainMicrotasks();
        }
        return true;
      },
    );
  }

  return {
    get now() {
      return now;
    },
    get events() {
      return events;
    },
    after,
    run,
  };
}

/** While a simulation runs, setImmediate is a turn of virtual time, and nothing real can be waited for, timed or drawn. */
function withoutRealTime<T>(after: Time["after"], now: () => number, action: () => T): T {
  const scope = globalThis as unknown as Record<string, unknown>;
  const { setImmediate, setTimeout, setInterval } = globalThis;
  const { random } = Math;
  const realNow = performance.now;
  const real = (what: string) => () => {
    throw new Error(`${what} in a simulation`);
  };
  scope.setImmediate = (turn: () => void) => after(0, turn);
  scope.setTimeout = real("a real timer");
  scope.setInterval = real("a real interval");
  Math.random = real("real chance");
  performance.now = now; // what is timed takes no time
  try {
    return action();
  } finally {
    Object.assign(scope, { setImmediate, setTimeout, setInterval });
    Math.random = random;
    performance.now = realNow;
  }
}

export function createProcess(time: Time): Process {
  let alive = true;
  return {
    get alive() {
      return alive;
    },
    clock: {
      now: () => time.now,
      after: (ms, then) => time.after(ms, () => alive && then()),
    },
    kill() {
      alive = false;
    },
  };
}
