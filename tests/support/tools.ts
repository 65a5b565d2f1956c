// What this machine has, and what a suite does without: it is skipped by name, or fails where CI promised the tool.

import { describe, test } from "bun:test";

export type Tool = "ffmpeg" | "tmux" | "wine" | "linux";

const has = (tool: Tool): boolean => (tool === "linux" ? process.platform === "linux" : Bun.which(tool) !== null);

export const missingTools = (tools: readonly Tool[]): Tool[] => tools.filter((tool) => !has(tool));

/** A suite that needs `tools`. Without them: skipped with their names in its name; with CI=true: failed. */
export function describeWith(tools: readonly Tool[], name: string, suite: () => void): void {
  const missing = missingTools(tools);
  if (missing.length === 0) {
    describe(name, suite);
    return;
  }
  const without = `${name} (needs ${missing.join(", ")})`;
  if (process.env.CI === "true") {
    test(without, () => {
      throw new Error(`this machine has no ${missing.join(", ")}`);
    });
  } else test.skip(without, () => undefined);
}
