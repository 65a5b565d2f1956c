// What happens, told to open pages by the events of the CLI's JSON, beside what the console is told.
// Invariant: a page hears exactly the objects that --json writes.
// Never: writes to an output.

import { createJsonReport, type Report } from "../console/text/report.ts";

const nothing = (): void => {};

/** A report whose lines of JSON go to `tell`, one by one. */
export function createPageReport(tell: (json: string) => void): Report {
  return createJsonReport({
    output: {
      out: (line) => tell(line.trimEnd()),
      err: nothing,
      outParts: nothing,
      ready: async () => {},
      flush: async () => {},
    },
    screen: {
      canvas: () => {
        throw new Error("a page's report asks nothing");
      },
      show: nothing,
      quiet: nothing,
      clear: nothing,
      above: nothing,
      resized: nothing,
      pause: nothing,
      resume: nothing,
      close: nothing,
    },
    columns: () => 80,
    watched: false,
    errIsTerminal: true,
    now: () => performance.now(),
  });
}

/** Tells `first`, and what `second` gives while there is one. */
export function both(first: Report, second: () => Report | undefined): Report {
  const names = Object.keys(first) as (keyof Report)[];
  const told = names.map((name) => [
    name,
    (...values: unknown[]) => {
      const other = second();
      if (other !== undefined) (other[name] as (...all: unknown[]) => unknown)(...values);
      return (first[name] as (...all: unknown[]) => unknown)(...values);
    },
  ]);
  return Object.fromEntries(told) as Report;
}
