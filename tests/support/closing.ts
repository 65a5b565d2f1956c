// What a test opens and does not close itself: closed when the test is over, however it ended, the last first.

import { onTestFinished } from "bun:test";

let open: (() => unknown)[] = [];

/** To be called inside a test; what opens sockets and servers for tests calls it by itself. */
export function closeAfterTest(close: () => unknown): void {
  if (open.length === 0) {
    onTestFinished(async () => {
      const all = open.reverse();
      open = [];
      for (const one of all) await one();
    });
  }
  open.push(close);
}
