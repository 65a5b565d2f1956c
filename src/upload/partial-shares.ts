// Downloads under way as something to give: their verified pieces, served to peers that ask for the same content.
// Invariant: what the upload thread serves and what the server is told begin and end together.
// Never: offers a content whose root is not known, or a piece that was not verified.

import { type Hashed, pieceCount } from "../content/hashing/merkle.ts";
import type { PartialOffer, PartOf } from "../content/part-workspace.ts";
import type { Root, ServerRequest, Share } from "../protocol/messages.ts";
import { createBitfield } from "../shared/bitfield.ts";
import type { UploadThread } from "./upload-thread.ts";

/** A download, its .part, and the name that it is to have. */
export type Growing = PartOf & { readonly name: string };

export type PartialShares = {
  /** A .part that grows is of this content, which is to have `name`. */
  begin(uploads: UploadThread, part: Growing, content: Hashed): PartialOffer;
  /** Tells the server of all of them again: after a reconnection it knows of none. Or of those with this name alone. */
  renew(name?: string): void;
};

/** `tell` sends one request to the server, which may be away; the answer is not awaited. */
export function createPartialShares(tell: (request: ServerRequest) => void): PartialShares {
  const offered = new Map<Root, Share>();
  return {
    begin(uploads, { name, ...listed }, { root, size, pieceBytes, layer }) {
      const share = { name, size, root };
      const pieces = createBitfield(pieceCount(size, pieceBytes));
      uploads.put({ share, pieceBytes, layer, pieces, listed });
      offered.set(root, share);
      tell({ verb: "OFFER", share });
      return {
        have: (indexes) => uploads.have(root, indexes),
        end() {
          offered.delete(root);
          uploads.removePartial(root);
          tell({ verb: "WITHDRAW", name });
        },
      };
    },
    renew(name) {
      for (const share of offered.values())
        if (name === undefined || share.name === name) tell({ verb: "OFFER", share });
    },
  };
}
