// This project as one of those that copy: `share` on one side, `get` on the other.
// Invariant: timed as the rivals are, from the command to its end, joining and leaving included.
// Never: warms anything but the source's hashes, and not even those in the cold variant.

import { usageBetween } from "../child.ts";
import { type Programs, startNetwork } from "../ours.ts";
import type { Cargo, Ready, Sample } from "./rival.ts";

const COPY_SECONDS_MAX = 300;

/** The source has hashed the file before. */
export async function prepareWarm(programs: Programs, { folder, name, scratch }: Cargo): Promise<Ready> {
  const network = await startNetwork({ programs, cache: scratch.folder("disk", "cache") });
  const { child, address } = await network.share(folder, { hashed: name });
  return {
    async copy(to): Promise<Sample> {
      child.resetPeak();
      const before = child.usage();
      const get = network.get(name, to, { from: address });
      const seconds = await get.finish(COPY_SECONDS_MAX);
      return { seconds, source: usageBetween(before, child.usage()), taker: get.usage() };
    },
    close: network.close,
  };
}

/** A source that has just started and never saw the file: it hashes it while it sends it. */
export async function prepareCold(programs: Programs, { folder, name, scratch }: Cargo): Promise<Ready> {
  const network = await startNetwork({ programs, cache: scratch.folder("disk", "cache") });
  return {
    async copy(to): Promise<Sample> {
      const { child, address } = await network.share(folder, { cache: scratch.folder("disk", "cache") });
      const get = network.get(name, to, { from: address });
      const seconds = await get.finish(COPY_SECONDS_MAX);
      const source = child.usage();
      await child.stop();
      return { seconds, source, taker: get.usage() };
    },
    close: network.close,
  };
}
