// What a test says of a value that may be a fault.

import { type Fault, isFault } from "../../src/protocol/fault.ts";

/** The value; throws where it is a fault. */
export function good<T>(value: T): Exclude<T, Fault> {
  if (isFault(value)) throw new Error(`${value.fault}: ${value.detail}`);
  return value as Exclude<T, Fault>;
}

/** The fault's code, or "no fault". */
export const codeOf = (value: unknown): string => (isFault(value) ? value.fault : "no fault");
