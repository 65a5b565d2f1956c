// What the page asks of the program: each operation's arguments, checked, and the call that it stands for.
// Invariant: an operation does exactly what the command of the same name does; every argument has been checked first.
// Never: decides anything; the peer does.

import type { Complaint } from "../console/text/complaints.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import {
  type Change,
  CONTENTS_MAX,
  FILES_MAX,
  type Limits,
  type Operation,
  type Operations,
  type Problem,
  type State,
} from "./contract.ts";

type Result<Name extends Operation> = Promise<Operations[Name]["out"] | Fault>;

/** The peer as the page uses it. `complain` makes a fault into what the CLI's JSON says of it. */
export type Shell = {
  readonly [Name in Operation]: (given: Operations[Name]["in"]) => Result<Name>;
} & {
  state(): State;
  /** Tells every change from now on; the returned function ends it. */
  subscribe(tell: (change: Change) => void): () => void;
  complaint(why: Fault, given: object): Complaint;
};

type Reader = (given: Readonly<Record<string, unknown>>) => object | undefined;

const TEXT_CHARACTERS_MAX = 4096;
const PORT_MAX = 65_535;
const COUNT_MAX = 1_000_000_000;

const isText = (value: unknown): value is string =>
  typeof value === "string" && value.length > 0 && value.length <= TEXT_CHARACTERS_MAX;
const isCount = (value: unknown, most = COUNT_MAX): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;
const left = (value: unknown): value is undefined => value === undefined;

const named: Reader = ({ name }) => (isText(name) ? { name } : undefined);

/** Undefined: the arguments are not those of the operation. */
const READERS: Record<Operation, Reader> = {
  join: ({ folder, host, port }) =>
    isText(folder) && (left(host) || isText(host)) && (left(port) || isCount(port, PORT_MAX))
      ? { folder, host, port }
      : undefined,
  search: named,
  find: ({ words, limit = CONTENTS_MAX }) =>
    isText(words) && isCount(limit, CONTENTS_MAX) ? { words, limit } : undefined,
  files: ({ offset = 0, count = FILES_MAX, filter = "" }) =>
    isCount(offset) && isCount(count, FILES_MAX) && (filter === "" || isText(filter))
      ? { offset, count, filter }
      : undefined,
  verify: () => ({}),
  start: ({ name, from }) => (isText(name) && (left(from) || isText(from)) ? { name, from } : undefined),
  pause: named,
  resume: named,
  cancel: named,
  play: named,
  limits: readLimits,
};

const LIMIT_NAMES: readonly (keyof Limits)[] = ["maxUploads", "maxDownloads", "maxUploadRate", "maxDownloadRate"];

/** Rates may be null: no limit. Zero is no rate, and no number of downloads. */
function readLimits(given: Readonly<Record<string, unknown>>): object | undefined {
  const limits: Record<string, number | null> = {};
  for (const [name, value] of Object.entries(given)) {
    const isRate = name.endsWith("Rate");
    if (!LIMIT_NAMES.includes(name as keyof Limits)) return undefined;
    if (value === null ? !isRate : !isCount(value, isRate ? Number.MAX_SAFE_INTEGER : COUNTED_MAX)) return undefined;
    if (value === 0 && name !== "maxUploads") return undefined;
    limits[name] = value as number | null;
  }
  return limits;
}
const COUNTED_MAX = 1000;

export const isOperation = (name: string): name is Operation => Object.hasOwn(READERS, name);

/** One operation with what the page sent. A problem is what the person reads. */
export async function operate(
  shell: Shell,
  name: Operation,
  given: unknown,
): Promise<{ readonly done: object } | { readonly problem: Problem }> {
  const isObject = typeof given === "object" && given !== null && !Array.isArray(given);
  const read = isObject ? READERS[name](given as Record<string, unknown>) : undefined;
  const call = shell[name] as (given: object) => Promise<object | Fault>;
  const done = read === undefined ? fault("USAGE", "ours", `arguments of ${name}`) : await call(read);
  if (!isFault(done)) return { done };
  const { cause, code, hint } = shell.complaint(done, read ?? {});
  return { problem: { code, message: cause, hint } };
}
