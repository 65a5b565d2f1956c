// What --version says.
// Invariant: one line, `program version (commit)`, the same from sources and from an executable.
// Never: runs git or reads a file; build.ts hands the values in as constants.

import manifest from "../package.json" with { type: "json" };

declare const NAPSTER_VERSION: string | undefined;
declare const NAPSTER_COMMIT: string | undefined;

export const PROGRAM_VERSION: string = typeof NAPSTER_VERSION === "string" ? NAPSTER_VERSION : manifest.version;
export const PROGRAM_COMMIT: string = typeof NAPSTER_COMMIT === "string" ? NAPSTER_COMMIT : "desconhecido";

/** `napster-peer 0.1.0 (abc1234)` */
export function versionLine(program: string): string {
  return `${program} ${PROGRAM_VERSION} (${PROGRAM_COMMIT})`;
}
