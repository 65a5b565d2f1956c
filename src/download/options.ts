// What a download is handed: the request, the machine, the files and the network.
// Invariant: plain data and functions; what is left out has its default where it is read.
// Never: holds code.

import type { Hashed } from "../content/hashing/merkle.ts";
import type { OnPositions, PartialOffer, PartOf, PartWorkspace, PlayFeed } from "../content/part-workspace.ts";
import type { Address } from "../protocol/address.ts";
import type { Fault } from "../protocol/fault.ts";
import type { Holder, Root } from "../protocol/messages.ts";
import type { Env } from "../transport/env.ts";
import type { OpenLane } from "./lanes/lane-threads.ts";
import type { HashPieces } from "./pieces/resume.ts";
import type { Progress } from "./progress.ts";

/** What a person or a script wants of a download, and is told of it. */
export type DownloadRequest = {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** A source is out, and why: CORRUPT or BAD_REPLY when it lied. */
  readonly onSourceLost?: ((address: Address, why: Fault) => void) | undefined;
  /** This peer is asked for the file now: the chosen one, or after it another that SEARCH found. */
  readonly onAsk?: ((address: Address) => void) | undefined;
  /** It failed, and another is asked next; told once of each reason. */
  readonly onFailed?: ((address: Address, why: Fault) => void) | undefined;
  /** Asks the chosen peer alone, even when others hold the same content, or it fails and others have a file of this name. */
  readonly only?: boolean | undefined;
  /** Gives up its place in a peer's queue when it has not changed for so many seconds; never when not given. */
  readonly maxWaitSeconds?: number | undefined;
};

export type DownloadFiles = {
  /** With `apart`, which stands for a content, files of that content's own: those of the name hold another one. */
  readonly openPartWorkspace: (name: string, apart?: string) => Promise<PartWorkspace | Fault>;
  readonly hashPieces: (fd: number) => HashPieces;
  /** Reads the whole file again before it gets its name, though nothing speaks against it. */
  readonly paranoid?: boolean | undefined;
};

export type DownloadNetwork = {
  /** The address under which others know us. */
  readonly self: Address;
  readonly openLane: OpenLane;
  /** Who holds a content, ourselves left out; empty when the server is away. */
  readonly findHolders: (root: Root) => Promise<readonly Holder[]>;
  /** Lets others have what is verified here, in that very .part, while the rest still comes. */
  readonly offer: (content: Hashed, part: Pick<PartOf, "part" | "identity">) => PartialOffer;
  /** Lets players read what is verified here; `onPositions` is told where they do. */
  readonly play?: (content: Hashed, part: Pick<PartOf, "part" | "identity">, onPositions: OnPositions) => PlayFeed;
  /** This download's part of our own limit, in bytes per second; it may change. */
  readonly maxDownloadRate: () => number | undefined;
};

export type DownloadOptions = {
  readonly name: string;
  /** The peer that the person chose: it must accept, and its content is the one that is fetched. */
  readonly from: Address;
  /** Who else has a file of that name: asked one after another when the chosen peer fails, unless `only`. */
  readonly others?: readonly Address[];
  readonly request: DownloadRequest;
  readonly env: Env;
  readonly files: DownloadFiles;
  readonly network: DownloadNetwork;
};
