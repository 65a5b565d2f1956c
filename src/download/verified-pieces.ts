// Who is told which pieces of a download are verified: other peers, and players on this machine.
// Invariant: other peers hear of pieces that are synced, players of those that the system has in memory too.
// Never: tells either before the content is known, or anything after end().

import type { Hashed } from "../content/hashing/merkle.ts";
import type { OnPositions, PartialOffer, PartWorkspace, PlayFeed } from "../content/part-workspace.ts";
import type { DownloadNetwork } from "./options.ts";

export type VerifiedPieces = {
  /** The content is known. */
  begin(content: Hashed): void;
  /** A piece is in the .part and right; it may be lost until it is kept. Nothing while the content is not known. */
  arrived(index: number): void;
  /** These are synced and right. */
  kept(indexes: readonly number[]): void;
  /** The disk may not hold these. */
  lost(indexes: readonly number[]): void;
  end(): void;
};

export function createVerifiedPieces(
  network: DownloadNetwork,
  { work, part: { identity } }: PartWorkspace,
  onPositions: OnPositions,
): VerifiedPieces {
  let offer: PartialOffer | undefined;
  let played: PlayFeed | undefined;
  return {
    begin(content) {
      const part = { part: work, identity };
      offer = network.offer(content, part);
      played = network.play?.(content, part, onPositions);
    },
    arrived: (index) => played?.have([index]),
    kept(indexes) {
      offer?.have(indexes);
      played?.have(indexes);
    },
    lost: (indexes) => played?.lost(indexes),
    end() {
      offer?.end();
      offer = undefined;
      played = undefined;
    },
  };
}
