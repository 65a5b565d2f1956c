// dd with conv=fdatasync, from memory to the disk: what the disk itself needs, with no network and nothing verified.
// Invariant: ends when the bytes are on the disk, as ours does.
// Never: is run to a memory file system, where it would say nothing.

import { join } from "node:path";
import { startChild } from "../child.ts";
import type { Rival } from "./rival.ts";

const NOTHING = { cpuSeconds: 0, peakBytes: 0 };

export const dd: Rival = {
  name: "dd conv=fdatasync",
  install: "apt-get install coreutils",
  needs: ["dd"],
  verifies: false,
  async prepare({ folder, name }) {
    return {
      async copy(to) {
        const words = [`if=${join(folder, name)}`, `of=${join(to, name)}`, "bs=1M", "conv=fdatasync", "status=none"];
        const child = startChild({ command: ["dd", ...words] });
        const seconds = await child.finish(120);
        return { seconds, source: NOTHING, taker: child.usage() };
      },
      async close() {},
    };
  },
};
