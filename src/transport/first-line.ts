// One question to the program that listens at an address, and the first line of its answer: to say what is wrong there.
// Invariant: over within PROBE_SECONDS_MAX, whatever the other side does.
// Never: part of a conversation, or encrypted; the connection is closed after the line.

import type { Address } from "../protocol/address.ts";
import { isFault } from "../protocol/fault.ts";
import { PROBE_SECONDS_MAX } from "../protocol/limits.ts";
import { createReader } from "../protocol/reader.ts";
import { systemClock } from "../shared/clock.ts";
import { createTcp } from "./tcp.ts";

/** The first line, "" when there is none, or undefined when no program listens there. */
export async function askFirstLine(at: Address, question: string): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const reader = createReader();
  const { connect } = createTcp("never");
  const connection = await connect(at, () => ({
    data(chunk) {
      reader.push(chunk);
      const line = reader.line();
      if (line !== undefined) resolve(isFault(line) ? "a line without end" : line);
    },
    drain() {},
    end: () => resolve(""),
    close: () => resolve(""),
  }));
  if (isFault(connection)) return undefined;
  connection.send(question);
  const cancel = systemClock.after(PROBE_SECONDS_MAX * 1000, () => resolve(""));
  const line = await promise;
  cancel();
  connection.destroy();
  return line;
}
