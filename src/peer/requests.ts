// What a person or a script asks of a peer, and what comes of it when all goes well.
// Invariant: plain data; what is left out has its default in the peer.
// Never: holds code.

import type { DownloadRequest as DownloadWish } from "../download/options.ts";
import type { Address } from "../protocol/address.ts";
import type { Fault } from "../protocol/fault.ts";
import type { Entered, Listing } from "./server-connection.ts";

export type Sharing = "folder" | "downloads" | "nothing";

export type JoinAt = {
  /**
   * Where to listen; 0.0.0.0 for every address of this machine, published as the one that the server sees. Undefined:
   * the address by which this machine reaches the server, or the one that the server sees where that is another.
   */
  readonly host: string | undefined;
  /** 0 for any free one. */
  readonly port: number;
  /** Undefined for a peer that only searches: it shares nothing and cannot download. */
  readonly folder: string | undefined;
  /** Whether others shall find us: at once when not given. */
  readonly listing?: Listing;
  /** The whole folder when not given; only what is downloaded, from its first piece on; or nothing, not even that. */
  readonly sharing?: Sharing;
};
/** Why there is no JOIN, and the address that was refused where it came so far: it has the port that the system chose. */
export type NotJoined = Fault & { readonly at?: Address };
export type Joined = Entered & { readonly names: readonly string[] };
export type DownloadRequest = DownloadWish & {
  /** The file's name; the last searched one when not given. */
  readonly name?: string;
  /** Who else has a file of that name; where it is not given and the file is the last searched one, who SEARCH found. */
  readonly others?: readonly Address[];
};
export type Done = {
  readonly name: string;
  readonly folder: string;
  readonly bytes: number;
  /** Nothing was downloaded: the folder has a file of this name, with the content that a peer has under it. */
  readonly isHere?: boolean;
};
