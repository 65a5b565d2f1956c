// The vocabulary of the wire as plain data: every message that one side may send the other.
// Invariant: a value of these types has been checked, and is not checked again.
// Never: knows how a message looks in bytes (requests.ts, replies.ts, payloads.ts) or when it is allowed (conversation.ts).

import type { Address } from "./address.ts";
import type { WireCode } from "./fault.ts";

/** The version this program speaks; the lower of two HELLOs is what both use. */
export const VERSION = 1;

/** A content's identity: BEP 52 `pieces root`, 64 lower-case hex digits. */
export type Root = string;

/** One file that a peer has. `root` is undefined until it has been hashed. */
export type Share = { readonly name: string; readonly size: number; readonly root: Root | undefined };

/** A peer that can send a content, whole or in part. */
export type Holder = { readonly address: Address; readonly complete: boolean };

/** A content that FIND has found, under one of its names. Without a root it is one name and size. */
export type Found = Share & { readonly sources: number };

/** What a peer says with JOIN: 32 hex digits that prove it when it is dialled back, or "-" when it is not to be listed. */
export type Key = string;

/** What a peer asks the server. JOIN's shares arrive as payload and are decoded apart (decodeShares). */
export type ServerRequest =
  | { readonly verb: "HELLO"; readonly version: number }
  /** `invite`: the proof of an invitation's code (invite.ts). */
  | {
      readonly verb: "JOIN";
      readonly address: Address;
      readonly payloadBytes: number;
      readonly key?: Key;
      readonly invite?: string;
    }
  | { readonly verb: "SEARCH"; readonly name: string }
  | { readonly verb: "UPDATE"; readonly share: Share }
  | { readonly verb: "OFFER"; readonly share: Share }
  | { readonly verb: "WITHDRAW"; readonly name: string }
  | { readonly verb: "SOURCES"; readonly root: Root }
  | { readonly verb: "FIND"; readonly offset: number; readonly count: number; readonly words: string }
  | WishRequest
  | { readonly verb: "LEAVE" }
  | { readonly verb: "PING" };

/** Tell me, once, when a peer has a file of that name; or do not. */
export type WishRequest = { readonly verb: "WISH" | "UNWISH"; readonly name: string };

/** What a downloading peer asks a sharing one. */
export type PeerRequest =
  | { readonly verb: "HELLO"; readonly version: number }
  | { readonly verb: "DOWNLOAD"; readonly name: string }
  | { readonly verb: "FETCH"; readonly root: Root }
  | { readonly verb: "LANE"; readonly ticket: string }
  | { readonly verb: "LAYER" }
  | { readonly verb: "PIECES" }
  | { readonly verb: "GET"; readonly offset: number; readonly length: number }
  /** That piece came wrong, the bytes all from there. */
  | { readonly verb: "DAMAGED"; readonly index: number }
  | { readonly verb: "PROBE"; readonly nonce: string }
  | { readonly verb: "PING" };

/** What is granted to a download: its size, how it is cut, and the ticket that opens more lanes. */
export type Grant = {
  readonly ticket: string;
  readonly size: number;
  readonly pieceBytes: number;
  readonly root: Root | undefined;
  /** Which of the peer's slots this download has, from 0 on, and how many there are; undefined when it does not say. */
  readonly part?: { readonly slot: number; readonly slots: number };
};

/**
 * A reply as its line says it. `payloadBytes` raw bytes follow the line where there are any. `partial`: peers of other
 * servers may be missing in the list.
 */
export type Reply =
  | { readonly verb: "HELLO"; readonly version: number }
  /**
   * `reached`: false for a peer that the server could not connect to, which no list names. `localFor`: only an asker on
   * the server's own machine is told of this peer; others would be if it listened at that IP.
   */
  | { readonly verb: "JOIN_OK"; readonly address: Address; readonly reached: boolean; readonly localFor?: string }
  | { readonly verb: "SEARCH_OK"; readonly payloadBytes: number; readonly partial?: true }
  | { readonly verb: "UPDATE_OK" }
  | { readonly verb: "OFFER_OK" }
  | { readonly verb: "WITHDRAW_OK" }
  | { readonly verb: "SOURCES_OK"; readonly payloadBytes: number; readonly partial?: true }
  | { readonly verb: "FIND_OK"; readonly next: number; readonly payloadBytes: number; readonly partial?: true }
  /** `scope`: peers of every server are told of, or only the server's own. */
  | { readonly verb: "WISH_OK"; readonly scope: "all" | "own" }
  | { readonly verb: "UNWISH_OK" }
  /** No reply, though it comes between them: a peer has a file that was wished for. */
  | { readonly verb: "ARRIVED"; readonly name: string }
  | { readonly verb: "LEAVE_OK" }
  | { readonly verb: "PONG" }
  | { readonly verb: "ACCEPT"; readonly grant: Grant }
  /** `root`: the content that is waited for, where it is known. */
  | { readonly verb: "WAIT"; readonly position: number; readonly root?: Root }
  | { readonly verb: "LANE_OK" }
  | { readonly verb: "PROBE_OK"; readonly proof: string }
  | { readonly verb: "LAYER_OK"; readonly payloadBytes: number }
  | { readonly verb: "PIECES_OK"; readonly payloadBytes: number }
  | { readonly verb: "DAMAGED_OK" }
  | { readonly verb: "DATA"; readonly offset: number; readonly payloadBytes: number }
  | {
      readonly verb: "REJECT" | "ERROR";
      /** UNKNOWN_CODE stands for one of a newer version, and is never sent. */
      readonly code: WireCode | "UNKNOWN_CODE";
      readonly retry: boolean;
      readonly text: string;
    };

export type Verb = ServerRequest["verb"] | PeerRequest["verb"];
