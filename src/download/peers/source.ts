// One peer that sends us a content: the conversation that asks for it, apart from the lanes that carry it.
// Invariant: while it is open, the source keeps a slot for us; when it closes, its ticket is worth nothing.
// Never: carries the file's bytes.

import { HASH_BYTES, type Hashed, pieceCount, rootOfLayer } from "../../content/hashing/merkle.ts";
import { type Address, formatAddress } from "../../protocol/address.ts";
import { type Fault, fault, isFault } from "../../protocol/fault.ts";
import { type Grant, type Root, VERSION } from "../../protocol/messages.ts";
import { bytesOfBitfield } from "../../shared/bitfield.ts";
import type { Clock } from "../../shared/clock.ts";
import { type Answer, type Caller, createCaller, expectReply } from "../../transport/caller.ts";
import type { Connect } from "../../transport/connection.ts";
import type { Available } from "../pieces/piece-picker.ts";
import { sameContent } from "../pieces/resume.ts";

/** By name, as the person asked, or by content, from a peer that holds it. */
export type Wanted = { readonly name: string } | { readonly root: Root };

export type Source = {
  /** With the key that it proved, which its lanes are held to. */
  readonly address: Address;
  readonly grant: Grant;
  /** The distance, in milliseconds: how long dialling or the first answer took, whichever was less. */
  readonly roundTripMs: number;
  /** It was asked by content: it may still be downloading it itself. Otherwise it has the whole file. */
  readonly byRoot: boolean;
  /** The piece layer, whole, with the root that it leads to: the granted one. NOT_READY while the source still hashes the file. */
  layer(): Promise<Hashed | Fault>;
  /** What it has now: all, or the pieces of a download of its own. */
  available(): Promise<Available | Fault>;
  /** Tells it that this piece came wrong, so that it looks at its file. The answer is not waited for. */
  damaged(index: number): void;
  /** Whether it is still there, and this conversation too. */
  ping(): Promise<boolean>;
  /** The source is gone, or was left. */
  readonly closed: Promise<Fault>;
  close(): void;
};

/** Told of each WAIT: our position in the peer's queue, how to leave it, and the content, where the peer names it. */
export type OnWait = (position: number, leave: () => void, root?: Root) => void;

export type SourceOptions = {
  readonly connect: Connect;
  readonly clock: Clock;
  /** A download has begun: the grant must be of this content, as far as both roots are known. */
  readonly content?: Pick<Grant, "size" | "pieceBytes" | "root">;
  /** What will be asked next goes along with the first question, so that a far peer answers both at once. */
  readonly ahead?: "layer" | "pieces";
  readonly onWait?: OnWait;
};

/** A source at work answers at once. */
const PING_SECONDS_MAX = 5;

/** Asks a peer for a content. Faults: PEER_UNREACHABLE, CHANGED, and whatever its REJECT says (BUSY, REFUSED, NOT_SHARED…). */
export async function openSource(
  address: Address,
  wanted: Wanted,
  { connect, clock, content, ahead, onWait }: SourceOptions,
): Promise<Source | Fault> {
  let made: Caller | undefined;
  const dialledAt = clock.now();
  const connection = await connect(address, (opened) => {
    const { caller, handlers } = createCaller(opened, clock);
    made = caller;
    return handlers;
  });
  if (isFault(connection)) return connection;
  const caller = made as Caller;
  const askedAt = clock.now();
  const dialMs = askedAt - dialledAt;
  void caller.call({ verb: "HELLO", version: VERSION });
  // SPEC 5.f: DOWNLOAD goes to the other peer, which accepts or rejects.
  const request =
    "name" in wanted ? ({ verb: "DOWNLOAD", ...wanted } as const) : ({ verb: "FETCH", ...wanted } as const);
  // Half-closing would not do: a peer that has only stopped asking may still wait for the answer.
  const leave = () => caller.connection.destroy();
  let pieces = 0; // of the content that was granted
  const asked = caller.call(request, {
    onWait: (position, awaited) => onWait?.(position, leave, awaited),
    onReply(reply) {
      if (reply.verb === "ACCEPT") pieces = pieceCount(reply.grant.size, reply.grant.pieceBytes);
    },
  });
  const askLayer = askedBefore(ahead === "layer", () =>
    caller.call({ verb: "LAYER" }, { payloadBytesMax: () => pieces * HASH_BYTES }),
  );
  const askPieces = askedBefore(ahead === "pieces", () =>
    caller.call({ verb: "PIECES" }, { payloadBytesMax: () => bytesOfBitfield(pieces) }),
  );
  const accepted = expectReply(await asked, "ACCEPT");
  if (isFault(accepted)) {
    caller.end();
    return accepted;
  }
  const { grant } = accepted.reply;
  if ("root" in wanted && grant.root !== wanted.root) {
    caller.end();
    return fault("BAD_REPLY", "theirs", `${formatAddress(address)} offers another content`);
  }
  if (content !== undefined && !sameContent(grant, content)) {
    caller.end();
    const changed = "root" in wanted ? "this root with another size" : "the peer now has another content of this name";
    return fault("CHANGED", "theirs", changed);
  }
  return {
    address: connection.id === undefined ? address : { ...address, id: connection.id },
    grant,
    roundTripMs: Math.min(dialMs, clock.now() - askedAt),
    byRoot: "root" in wanted,
    layer: async () => readLayer(await askLayer(), grant),
    available: async () => readPieces(await askPieces(), grant),
    damaged: (index) => void caller.call({ verb: "DAMAGED", index }),
    ping: async () => !isFault(expectReply(await caller.call({ verb: "PING" }, { seconds: PING_SECONDS_MAX }), "PONG")),
    closed: caller.closed,
    close: () => caller.end(),
  };
}

/** A question that may be asked at once: then its first asker gets that answer, and only later ones ask anew. */
function askedBefore<T>(now: boolean, ask: () => T): () => T {
  let early = now ? { answer: ask() } : undefined;
  return () => {
    const { answer } = early ?? { answer: ask() };
    early = undefined;
    return answer;
  };
}

function readLayer(answered: Answer | Fault, grant: Grant): Hashed | Fault {
  const answer = expectReply(answered, "LAYER_OK");
  if (isFault(answer)) return answer;
  const { size, pieceBytes } = grant;
  const { payload: layer } = answer;
  if (layer.length !== pieceCount(size, pieceBytes) * HASH_BYTES) {
    return fault("CORRUPT", "theirs", "a piece layer of the wrong length");
  }
  const root = rootOfLayer(layer, pieceBytes);
  if (grant.root !== undefined && root !== grant.root) {
    return fault("CORRUPT", "theirs", "the piece layer does not lead to the root");
  }
  return { size, pieceBytes, layer, root };
}

function readPieces(answered: Answer | Fault, { size, pieceBytes }: Grant): Available | Fault {
  const answer = expectReply(answered, "PIECES_OK");
  if (isFault(answer)) return answer;
  const { payload } = answer;
  if (payload.length === 0) return "all";
  return payload.length === bytesOfBitfield(pieceCount(size, pieceBytes))
    ? payload
    : fault("BAD_REPLY", "theirs", "a set of pieces of the wrong length");
}
