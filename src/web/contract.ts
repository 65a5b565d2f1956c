// What the page and the program say to each other: plain data, read by both sides.
// Invariant: a name, an address and a code are what the CLI's JSON has; an event of the CLI's JSON keeps its form.
// Never: holds code; the page is bundled with it.

import type { FaultCode } from "../protocol/fault.ts";
import type { DownloadState } from "../shared/download-state.ts";

/** A failure as the CLI's JSON tells it; texts are Portuguese. */
export type Problem = { readonly code: FaultCode; readonly message: string; readonly hint: string };

/** A file in the folder. `root` null: it is still to be hashed. */
export type Shared = { readonly name: string; readonly size: number; readonly root: string | null };

export type Listing = { readonly files: readonly Shared[]; readonly total: number };

/** Why nothing moves, as the `progress` event has it. */
export type Waits =
  | { readonly for: "slot"; readonly from: string; readonly position: number }
  | { readonly for: "data" | "root"; readonly from: string }
  | { readonly for: "check" }
  | { readonly for: "disk"; readonly full: boolean; readonly slow?: boolean };

export type Download = {
  readonly name: string;
  readonly state: DownloadState;
  /** Verified and on the disk. */
  readonly bytes: number;
  readonly size: number;
  /** Bytes per second. */
  readonly rate: number;
  readonly etaSeconds?: number | undefined;
  /** Who sends, and how many bytes of this file each has sent. */
  readonly sources: readonly { readonly address: string; readonly bytes: number }[];
  readonly waiting?: Waits | undefined;
  /** What it failed of, or what it waits for before it tries again. */
  readonly problem?: Problem | undefined;
  /** Which of `pieceCount` pieces are here: a bit each, most significant first, in base64. */
  readonly pieces?: string | undefined;
  readonly pieceCount?: number | undefined;
};

/** A download that another peer takes from here. */
export type Upload = {
  readonly id: string;
  readonly name: string;
  readonly to: string;
  readonly bytes: number;
  readonly size: number;
};

export type Found = {
  readonly name: string;
  readonly size: number;
  readonly root: string | null;
  readonly sources: number;
};

/** Undefined where there is no limit. Rates in bytes per second. */
export type Limits = {
  readonly maxUploads: number;
  readonly maxDownloads: number;
  readonly maxUploadRate?: number | undefined;
  readonly maxDownloadRate?: number | undefined;
};

export type Standing = {
  readonly server: string;
  /** Where others reach this peer; undefined before JOIN. */
  readonly address?: string | undefined;
  readonly folder?: string | undefined;
  /** The server is gone, and the peer tries to come back. */
  readonly away: boolean;
  readonly reached?: boolean | undefined;
  readonly hashing?:
    | { readonly files: number; readonly filesTotal: number; readonly bytes: number; readonly bytesTotal: number }
    | undefined;
  /** The page for guests, where it is open. */
  readonly guests?: string | undefined;
};

/** Everything that a page needs when it opens; what comes after it is told by events. */
export type State = {
  readonly version: string;
  readonly standing: Standing;
  readonly downloads: readonly Download[];
  readonly uploads: readonly Upload[];
  readonly limits: Limits;
};

/** What is told to every open page besides the events of the CLI's JSON. */
export type Change =
  | ({ readonly event: "state" } & State)
  | { readonly event: "standing"; readonly standing: Standing }
  | { readonly event: "download"; readonly download: Download }
  | { readonly event: "download-removed"; readonly name: string }
  | { readonly event: "uploads"; readonly uploads: readonly Upload[] }
  | { readonly event: "limits"; readonly limits: Limits };

/** What the page may ask: the name of an operation, what goes in and what comes out. */
export type Operations = {
  join: { in: { folder: string; host?: string; port?: number }; out: { address: string } };
  search: { in: { name: string }; out: { peers: readonly string[] } };
  find: { in: { words: string; limit?: number }; out: { contents: readonly Found[]; more: number; isCut: boolean } };
  files: { in: { offset?: number; count?: number; filter?: string }; out: Listing };
  verify: { in: object; out: object };
  start: { in: { name: string; from?: string }; out: object };
  pause: { in: { name: string }; out: object };
  resume: { in: { name: string }; out: object };
  /** Ends it; what has arrived stays for the next time. */
  cancel: { in: { name: string }; out: object };
  /** The address at which the file plays, whole or while it arrives. */
  play: { in: { name: string }; out: { url: string } };
  limits: { in: Partial<Record<keyof Limits, number | null>>; out: Limits };
};
export type Operation = keyof Operations;

/** Entries of one `files` answer. */
export const FILES_MAX = 200;
/** Contents of one `find` answer. */
export const CONTENTS_MAX = 200;
