// The rows of the table, in the order in which they run.
// Invariant: a row is one function from what it may use to what it found.
// Never: depends on another row's leftovers.

import type { Programs } from "./ours.ts";
import type { Found } from "./report.ts";
import { busy } from "./rows/busy.ts";
import { copy } from "./rows/copy.ts";
import { crowd } from "./rows/crowd.ts";
import { encrypted } from "./rows/encrypted.ts";
import { far } from "./rows/far.ts";
import { hashing } from "./rows/hashing.ts";
import { memory } from "./rows/memory.ts";
import { parallel } from "./rows/parallel.ts";
import { play } from "./rows/play.ts";
import { resume } from "./rows/resume.ts";
import { sources } from "./rows/sources.ts";
import { unhashed } from "./rows/unhashed.ts";
import type { Scratch } from "./scratch.ts";

export type RowContext = {
  /** The file's size where the row says nothing else. */
  readonly bytes: number;
  readonly rounds: number;
  /** Whether copy runs beside everything that verifies. */
  readonly rivals: boolean;
  readonly scratch: Scratch;
  readonly programs: Programs;
  readonly say: (text: string) => void;
};

export type Row = {
  readonly name: string;
  readonly what: string;
  readonly run: (context: RowContext) => Promise<Found>;
};

export const ROWS: readonly Row[] = [
  copy,
  memory,
  unhashed,
  resume,
  sources,
  crowd,
  parallel,
  far,
  encrypted,
  hashing,
  busy,
  play,
];
