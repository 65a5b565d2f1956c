// The piece layer of a download: asked of its sources until one tells it.
// Invariant: it is learnt once, and leads to the root that the journal names, where it names one.
// Never: verifies a piece.

import { decodeRoot, EMPTY_ROOT, type Hashed } from "../content/hashing/merkle.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { Grant, Root } from "../protocol/messages.ts";
import type { Clock } from "../shared/clock.ts";
import { LEFT, type Patience } from "./candidates.ts";
import { askAgain } from "./peers/retry.ts";
import type { Source } from "./peers/source.ts";
import { OTHER_CONTENT } from "./pieces/resume.ts";
import { FAR_MS } from "./requests/request-window.ts";
import type { Requester } from "./requests/requester.ts";
import type { SessionProgress } from "./session-state.ts";

/** Bytes without a journal are worth waiting so long for the layer that tells which of them are right. */
const ORPHANS_SECONDS_MAX = 10;
/** With every byte here, the layer is waited for as long as hashing the file may take the source on a slow machine. */
const LAYER_SECONDS_MIN = 120;
const LAYER_BYTES_PER_SECOND_MIN = 10 * 1024 * 1024;
/** A layer on its way may take longer than the answer that there is none: it has tens of kilobytes. */
const LAYER_PATIENCE_FACTOR = 2;

/** What an earlier run left on the disk; orphans are bytes without a journal. */
export type Remains = "nothing" | "orphans" | "journal";

export type LayerOptions = {
  readonly grant: Grant;
  readonly clock: Clock;
  readonly patienceMs: Patience;
  readonly progress: SessionProgress;
  /** Told once. `isNamed`: the source that told the layer had named its root before. */
  readonly onLearnt: (content: Hashed, isNamed: boolean) => void;
};

export type Layer = {
  /** Undefined until the layer is learnt. */
  readonly content: Hashed | undefined;
  /** Asks before anything is resumed, where it is worth it. Why there is no layer: LEFT.layer when that took too long. */
  askFirst(source: Source, remains: Remains): Promise<Fault | undefined>;
  /**
   * Asks one source after another, while they still hash the file, until there is a layer; or the fault that ends it
   * all. Where the journal names a root, no other content's layer is taken.
   */
  poll(requester: Requester, named: Root | undefined): Promise<Fault | undefined>;
};

export const isNotReady = (why: Fault): boolean => why.fault === "NOT_READY";

/** Of no pieces there is nothing to tell, and of a single one the root tells it. */
function toldBy({ size, pieceBytes, root }: Grant): Hashed | undefined {
  if (size === 0) return { size, pieceBytes, layer: new Uint8Array(0), root: EMPTY_ROOT };
  if (size > pieceBytes || root === undefined) return undefined;
  return { size, pieceBytes, layer: decodeRoot(root), root };
}

export function createLayer({ grant, clock, patienceMs, progress, onLearnt }: LayerOptions): Layer {
  let content: Hashed | undefined;

  async function learn(from: Source, named?: Root): Promise<Fault | undefined> {
    const told = toldBy(grant) ?? (await from.layer());
    if (isFault(told)) return told;
    if (progress.isOver) return fault("CANCELLED", "ours", "the download has ended meanwhile");
    // A source that names no root cannot make us throw away what a root stands for.
    if (named !== undefined && told.root !== named) return OTHER_CONTENT;
    content = told;
    onLearnt(told, from.grant.root !== undefined);
    return undefined;
  }

  /** A source that has just started may only have to look into its cache. */
  function learnSoon(from: Source): Promise<Fault | undefined> {
    const end = clock.now() + ORPHANS_SECONDS_MAX * 1000;
    const isLast = (why: Fault | undefined) =>
      progress.isOver || clock.now() > end || why === undefined || !isNotReady(why);
    return askAgain(clock, () => learn(from), isLast);
  }

  async function askFirst(source: Source, remains: Remains): Promise<Fault | undefined> {
    // From afar it takes several round trips, in which a new download may as well begin.
    const isNear = source.roundTripMs <= FAR_MS;
    const isWorth = grant.size <= grant.pieceBytes || remains !== "nothing" || isNear;
    const isKnown = grant.root !== undefined || grant.size === 0;
    if (remains !== "orphans" && !(isWorth && isKnown)) return undefined;
    const { promise: late, resolve } = Promise.withResolvers<Fault>();
    const ms = LAYER_PATIENCE_FACTOR * patienceMs("layer");
    const cancel = ms < Number.POSITIVE_INFINITY ? clock.after(ms, () => resolve(LEFT.layer)) : () => {};
    const untold = await Promise.race([remains === "orphans" ? learnSoon(source) : learn(source), late, progress.over]);
    cancel();
    return untold;
  }

  async function poll(requester: Requester, named: Root | undefined): Promise<Fault | undefined> {
    let wholeSince: number | undefined;
    let asked = 0;
    let others = 0;
    async function ask(): Promise<Fault | undefined> {
      if (requester.keptBytes === grant.size) wholeSince ??= clock.now();
      const waited = clock.now() - (wholeSince ?? clock.now());
      if (waited > patienceMs("layer")) return LEFT.layer;
      if (waited > Math.max(LAYER_SECONDS_MIN, grant.size / LAYER_BYTES_PER_SECOND_MIN) * 1000) {
        const detail = `every byte is here, and still no layer after ${Math.round(waited / 1000)} s`;
        return fault("NOT_READY", "theirs", detail, true);
      }
      const from = requester.sources[asked++ % Math.max(1, requester.sources.length)];
      const untold = from && (await learn(from, named));
      if (untold === OTHER_CONTENT) return ++others > 1 ? untold : undefined; // once may be a flipped bit on the way
      // Without its layer a source is no use; the peer list may find it better later.
      if (from && untold && !isNotReady(untold)) requester.drop(from.address, untold);
      return undefined;
    }
    return askAgain(clock, ask, (why) => why !== undefined || content !== undefined || progress.isOver);
  }

  return {
    get content() {
      return content;
    },
    askFirst,
    poll,
  };
}
