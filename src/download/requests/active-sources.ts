// The sources at work on one download, each with what it has and its lanes.
// Invariant: a source is in it once, by its address.
// Never: orders a piece, or decides which source is in; requester.ts does.

import { type Address, formatAddress } from "../../protocol/address.ts";
import type { Lane } from "../lanes/lane.ts";
import type { Source } from "../peers/source.ts";
import type { Available, LaneId } from "../pieces/piece-picker.ts";
import type { RequestWindow } from "./request-window.ts";

/** A source at work, and its lanes. */
export type Active = {
  readonly source: Source;
  available: Available;
  readonly lanes: Map<LaneId, Working>;
  failures: number;
  /** A lane was refused for good: no more than these are asked for. */
  lanesMost: number;
  /** Right pieces that came from it. */
  brought: number;
  /** Bytes that came from it, right or not. */
  bytes: number;
};

/** A lane at work, and the bytes that it has brought. */
export type Working = { readonly lane: Lane; readonly window: RequestWindow; bytes: number };

/** How much came from a source. */
export type Brought = { readonly address: Address; readonly bytes: number };

export type ActiveSources = {
  /** Undefined when it is there already, or after the end. */
  add(source: Source, available: Available): Active | undefined;
  /** Whether it was there. */
  remove(entry: Active): boolean;
  /** Removes all of them, and none is added any more. */
  end(): Active[];
  at(address: Address): Active | undefined;
  brought(): readonly Brought[];
  all(): Active[];
  /** Those that are still downloading it themselves; `idle` says that nothing is on order there. */
  partials(): { readonly source: Source; readonly idle: boolean }[];
  readonly size: number;
};

export function createActiveSources(): ActiveSources {
  const entries = new Map<string, Active>(); // by ip:port
  let ended = false;
  const all = () => [...entries.values()];
  return {
    add(source, available) {
      const key = formatAddress(source.address);
      if (ended || entries.has(key)) return undefined;
      const most = Number.POSITIVE_INFINITY;
      const entry = { source, available, lanes: new Map(), failures: 0, lanesMost: most, brought: 0, bytes: 0 };
      entries.set(key, entry);
      return entry;
    },
    remove(entry) {
      const key = formatAddress(entry.source.address);
      return entries.get(key) === entry && entries.delete(key);
    },
    end() {
      ended = true;
      const left = all();
      entries.clear();
      return left;
    },
    at: (address) => entries.get(formatAddress(address)),
    all,
    brought: () => all().map(({ source, bytes }) => ({ address: source.address, bytes })),
    partials: () =>
      all().flatMap(({ source, available, lanes }) =>
        available === "all" ? [] : [{ source, idle: [...lanes.values()].every(({ window }) => window.ordered === 0) }],
      ),
    get size() {
      return entries.size;
    },
  };
}
