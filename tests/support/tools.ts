// What this machine has, and what a suite does without: it is skipped by name, or fails where CI promised the tool.

import { describe, test } from "bun:test";
import { canFold } from "./folding.ts";

const FOLDING = "a folder that does not tell case apart";
export type Tool =
  | "ffmpeg"
  | "chromium"
  | "tmux"
  | "wine"
  | "nft"
  | "miniupnpd"
  | "linux"
  | "network namespaces"
  | typeof FOLDING;

/** Only root may make them, and not in every container. */
function hasNamespaces(): boolean {
  const trial = `napster-trial-${process.pid}`;
  if (Bun.which("ip") === null || Bun.spawnSync(["ip", "netns", "add", trial]).exitCode !== 0) return false;
  return Bun.spawnSync(["ip", "netns", "del", trial]).exitCode === 0;
}

function has(tool: Tool): boolean {
  if (tool === "linux") return process.platform === "linux";
  if (tool === FOLDING) return canFold();
  if (tool === "miniupnpd") return Bun.which(tool, { PATH: `${process.env.PATH}:/usr/sbin` }) !== null;
  return tool === "network namespaces" ? hasNamespaces() : Bun.which(tool) !== null;
}

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
