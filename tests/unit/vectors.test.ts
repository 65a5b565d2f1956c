// The language-neutral vectors of tests/vectors/, each fed whole, byte by byte, and with bytes after it.

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  createPieceHasher,
  EMPTY_ROOT,
  pieceBytesFor,
  pieceCount,
  rootOfLayer,
} from "../../src/content/hashing/merkle.ts";
import { formatAddress, parseAddress } from "../../src/protocol/address.ts";
import { nextPeerState, nextServerState, type PeerState, type ServerState } from "../../src/protocol/conversation.ts";
import { isFault } from "../../src/protocol/fault.ts";
import { LINE_BYTES_MAX } from "../../src/protocol/limits.ts";
import type { PeerRequest, ServerRequest } from "../../src/protocol/messages.ts";
import { nameFlaw } from "../../src/protocol/names.ts";
import {
  decodeAddresses,
  decodeFound,
  decodeHolders,
  decodeShares,
  encodeAddresses,
  encodeFound,
  encodeHolders,
  encodeShares,
} from "../../src/protocol/payloads.ts";
import { proofOf } from "../../src/protocol/proof.ts";
import { createReader } from "../../src/protocol/reader.ts";
import { decodeReply, encodeReply } from "../../src/protocol/replies.ts";
import { decodePeerRequest, decodeServerRequest, encodeRequest } from "../../src/protocol/requests.ts";
import { createBitfield, hasBit, setBit } from "../../src/shared/bitfield.ts";
import type { Raw } from "../support/raw.ts";
import { dial, startServidor } from "../support/servidor.ts";

/** Text, bytes, something many times, or several of these in a row. */
type Input = string | { readonly hex: string } | { readonly repeat: string; readonly times: number } | readonly Input[];
type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Vector = { readonly input: Input; readonly expect: Json; readonly reason: string; readonly canonical?: false };

const FOLDER = join(import.meta.dir, "..", "vectors");

function load<V = Vector>(topic: string): readonly V[] {
  const { vectors } = JSON.parse(readFileSync(join(FOLDER, `${topic}.json`), "utf8")) as { vectors: V[] };
  return vectors;
}

const utf8 = new TextEncoder();

function bytesOf(input: Input): Uint8Array {
  if (typeof input === "string") return utf8.encode(input);
  if ("hex" in input) return new Uint8Array(Buffer.from(input.hex, "hex"));
  if ("repeat" in input) return utf8.encode(input.repeat.repeat(input.times));
  return Buffer.concat(input.map(bytesOf));
}
const textOf = (input: Input): string => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytesOf(input));

/** What a vector expects, in our types: an absent root is undefined, a long text is spelled out. */
function ours(json: Json): unknown {
  if (json === null) return undefined;
  if (Array.isArray(json)) return json.some(isPart) ? textOf(json as unknown as Input) : json.map(ours);
  if (typeof json !== "object") return json;
  return Object.fromEntries(Object.entries(json).map(([key, value]) => [key, ours(value)]));
}
const isPart = (json: Json): boolean => typeof json === "object" && json !== null && "repeat" in json;

/** A fault is compared by its code alone: the detail is for people. */
const shown = (value: unknown): unknown => (isFault(value) ? { fault: value.fault } : value);

/** The first line as it comes out of a reader that is fed `step` bytes at a time. */
function firstLine(bytes: Uint8Array, step: number): { line: ReturnType<typeof read>; rest: () => unknown } {
  const reader = createReader();
  const read = () => reader.line();
  let at = 0;
  let line = read();
  while (line === undefined && at < bytes.length) {
    reader.push(bytes.subarray(at, at + step));
    at += step;
    line = read();
  }
  return { line, rest: read };
}

type Decode = (line: string) => unknown;

function checkLine(vector: Vector, decode: Decode, encode: (message: never) => string): void {
  const bytes = bytesOf(vector.input);
  const meaning = (line: unknown) => shown(typeof line === "string" ? decode(line) : line);
  const expected = ours(vector.expect);
  expect(meaning(firstLine(bytes, bytes.length).line)).toEqual(expected);
  expect(meaning(firstLine(bytes, 1).line)).toEqual(expected);
  const followed = firstLine(Buffer.concat([bytes, utf8.encode("PING\n")]), Number.MAX_SAFE_INTEGER);
  expect(meaning(followed.line)).toEqual(expected);
  if (typeof followed.line === "string") expect(followed.rest()).toBe("PING");
  if (!isFault(expected) && vector.canonical !== false)
    expect(encode(expected as never)).toBe(new TextDecoder().decode(bytes));
}

describe("server requests", () => {
  test.each(load("server-requests").map((one) => [one.reason, one] as const))("%s", (_, vector) => {
    checkLine(vector, decodeServerRequest, encodeRequest);
  });
});

describe("peer requests", () => {
  test.each(load("peer-requests").map((one) => [one.reason, one] as const))("%s", (_, vector) => {
    checkLine(vector, decodePeerRequest, encodeRequest);
  });
});

describe("replies", () => {
  test.each(load("replies").map((one) => [one.reason, one] as const))("%s", (_, vector) => {
    checkLine(vector, decodeReply, encodeReply);
  });
});

describe("framing", () => {
  test.each(load("framing").map((one) => [one.reason, one] as const))("%s", (_, { input, expect: wanted }) => {
    const bytes = bytesOf(input);
    for (const step of [bytes.length, 1, 3]) {
      const reader = createReader();
      const lines: unknown[] = [];
      for (let at = 0; at < bytes.length; at += step) {
        reader.push(bytes.subarray(at, at + step));
        for (let line = reader.line(); line !== undefined; line = reader.line()) {
          lines.push(shown(line));
          if (isFault(line)) at = bytes.length;
          if (isFault(line)) break;
        }
      }
      expect(lines).toEqual((wanted as readonly Json[]).map(ours));
    }
  });
});

describe("payloads", () => {
  type Kind = "shares" | "addresses" | "holders" | "found";
  const decoders = { shares: decodeShares, addresses: decodeAddresses, holders: decodeHolders, found: decodeFound };
  const encoders = { shares: encodeShares, addresses: encodeAddresses, holders: encodeHolders, found: encodeFound };
  const vectors = load<Vector & { readonly payload: Kind }>("payloads");

  test.each(vectors.map((one) => [one.payload, one.reason, one] as const))("%s: %s", (kind, _, vector) => {
    const bytes = bytesOf(vector.input);
    const expected = ours(vector.expect) as { count?: number };
    const check = (payload: Uint8Array | undefined) => {
      const decoded = shown(decoders[kind](payload as Uint8Array));
      if (expected.count === undefined) expect(decoded).toEqual(expected);
      else expect(decoded).toBeArrayOfSize(expected.count);
    };
    check(bytes);
    // Cut by the network, and followed by the next line.
    const reader = createReader();
    const step = bytes.length > 10_000 ? 4_093 : 1;
    for (let at = 0; at < bytes.length; at += step) {
      expect(reader.exactly(bytes.length)).toBeUndefined();
      reader.push(bytes.subarray(at, at + step));
    }
    reader.push(utf8.encode("PING\n"));
    check(reader.exactly(bytes.length));
    expect(reader.line()).toBe("PING");
    if (Array.isArray(expected)) expect(encoders[kind](expected as never)).toEqual(bytes);
  });
});

describe("names", () => {
  test.each(load("names").map((one) => [textOf(one.input).slice(0, 40), one.reason, one] as const))(
    "%j: %s",
    (_, __, { input, expect: wanted }) => {
      const name = textOf(input);
      const flaw = (wanted as { flaw?: string }).flaw;
      expect(nameFlaw(name)).toBe(flaw as never);
      // At every border: announced, searched, requested.
      if (/[\n\r]$|\n/.test(name) || utf8.encode(name).length > LINE_BYTES_MAX / 2) return;
      const expected = flaw === undefined ? name : { fault: "BAD_NAME" };
      for (const verb of ["SEARCH", "WITHDRAW", "DOWNLOAD"]) {
        const decode: Decode = verb === "DOWNLOAD" ? decodePeerRequest : decodeServerRequest;
        const line = firstLine(utf8.encode(`${verb} ${name}\n`), 1).line;
        const request = shown(typeof line === "string" ? decode(line) : line);
        expect(isFault(request) ? request : (request as { name: string }).name).toEqual(expected as never);
      }
      const shares = shown(decodeShares(utf8.encode(`1 - ${name}\n`)));
      expect(isFault(shares) ? shares : (shares as { name: string }[])[0]?.name).toEqual(expected as never);
    },
  );
});

describe("addresses", () => {
  test.each(load("addresses").map((one) => [textOf(one.input), one.reason, one] as const))("%j: %s", (text, _, one) => {
    const parsed = parseAddress(text);
    expect(shown(parsed)).toEqual(ours(one.expect));
    if (!isFault(parsed)) expect(formatAddress(parsed)).toBe(text);
  });
});

describe("conversations", () => {
  type Conversation = { side: "server" | "peer"; input: string[]; expect: Json[]; reason: string };
  test.each(load<Conversation>("conversations").map((one) => [one.reason, one] as const))("%s", (_, one) => {
    let state = "new";
    const seen = one.input.map((verb) => {
      const next =
        one.side === "server"
          ? nextServerState(state as ServerState, verb as ServerRequest["verb"])
          : nextPeerState(state as PeerState, verb as PeerRequest["verb"]);
      if (!isFault(next)) state = next;
      return shown(next);
    });
    expect(seen).toEqual(one.expect);
  });
});

describe("identities", () => {
  type Identity = {
    input: { size: number };
    expect: { root: string; pieceBytes: number; layer?: string[]; layerSha256?: string };
    reason: string;
  };
  /** Byte i is i mod 251, often enough in a row that any stretch of it is a view. */
  const pattern = new Uint8Array(251 * 4_200).map((_, index) => index % 251);

  /** The piece layer of `size` bytes of the pattern, hashed in chunks of at most `step` bytes. */
  function layerOf(size: number, pieceBytes: number, step: number): Uint8Array {
    const hasher = createPieceHasher(size, pieceBytes);
    const layer: Uint8Array[] = [];
    for (let piece = 0; piece < pieceCount(size, pieceBytes); piece++) {
      const end = Math.min(size, (piece + 1) * pieceBytes);
      for (let at = piece * pieceBytes; at < end; ) {
        const length = Math.min(end - at, step);
        hasher.update(pattern.subarray(at % 251, (at % 251) + length));
        at += length;
      }
      layer.push(hasher.finish());
    }
    return Buffer.concat(layer);
  }

  test.each(load<Identity>("roots").map((one) => [one.reason, one] as const))("%s", (_, { input, expect: wanted }) => {
    const { size } = input;
    const pieceBytes = pieceBytesFor(size);
    expect(pieceBytes).toBe(wanted.pieceBytes);
    // Whole, and in chunks that fit nothing; a byte at a time for what is small enough.
    const steps = wanted.layer === undefined ? [1_000_003] : [1_000_003, 4_093, ...(size <= 20_000 ? [1] : [])];
    for (const step of steps) {
      const layer = layerOf(size, pieceBytes, step);
      if (wanted.layer !== undefined) expect(layer.toHex()).toBe(wanted.layer.join(""));
      else expect(new Bun.CryptoHasher("sha256").update(layer).digest("hex")).toBe(wanted.layerSha256 as string);
      expect(size === 0 ? EMPTY_ROOT : rootOfLayer(layer, pieceBytes)).toBe(wanted.root);
    }
  });

  type Cut = { input: { size: number }; expect: { pieceBytes: number; pieces: number } };
  test.each(load<Cut>("pieces").map((one) => [one.input.size, one] as const))("a file of %d bytes", (size, one) => {
    const pieceBytes = pieceBytesFor(size);
    expect({ pieceBytes, pieces: pieceCount(size, pieceBytes) }).toEqual(one.expect);
  });
});

describe("proofs", () => {
  type Proof = { input: { key: string | null; nonce: string }; expect: string; reason: string };
  test.each(load<Proof>("proofs").map((one) => [one.reason, one] as const))("%s", (_, { input, expect: wanted }) => {
    expect(proofOf(input.key ?? undefined, input.nonce)).toBe(wanted);
  });
});

describe("bitmaps", () => {
  type Bitmap = { input: { pieces: number; has: number[] }; expect: string; reason: string };
  test.each(load<Bitmap>("bitmaps").map((one) => [one.reason, one] as const))("%s", (_, { input, expect: wanted }) => {
    const bits = createBitfield(input.pieces);
    for (const index of input.has) setBit(bits, index);
    expect(Buffer.from(bits).toString("hex")).toBe(wanted);
    const read = new Uint8Array(Buffer.from(wanted, "hex"));
    const has = Array.from({ length: input.pieces }, (__, index) => index).filter((index) => hasBit(read, index));
    expect(has).toEqual(input.has);
  });
});

describe("layers", () => {
  type Layer = { input: { pieceBytes: number; layer: string[] }; expect: string; reason: string };
  test.each(load<Layer>("layers").map((one) => [one.reason, one] as const))("%s", (_, { input, expect: wanted }) => {
    const layer = new Uint8Array(Buffer.from(input.layer.join(""), "hex"));
    expect(rootOfLayer(layer, input.pieceBytes)).toBe(wanted);
  });
});

describe("dialogues with the server", () => {
  type Step = { on: string; send: string; expect: string };
  type Dialogue = { input: Step[]; reason: string };
  /** An ERROR's text is for logs. */
  const withoutTexts = (said: string): string => said.replace(/^(ERROR [A-Z_]+ (?:retry|final)).*$/gm, "$1");

  test.each(load<Dialogue>("dialogues").map((one) => [one.reason, one] as const))("%s", async (_, { input }) => {
    const server = startServidor({ probe: false });
    const connections = new Map<string, Raw>();
    for (const { on, send, expect: wanted } of input) {
      const raw = connections.get(on) ?? (await dial(server));
      connections.set(on, raw);
      raw.send(send);
      let said = "";
      // Bytes that are not expected would answer the next step.
      for (const line of wanted.split("\n").slice(0, -1)) {
        const got = await raw.line();
        said += `${got}\n`;
        if (withoutTexts(got) !== line) break;
      }
      expect(withoutTexts(said)).toBe(wanted);
    }
  });
});

test("every file of vectors is fed to something here", () => {
  const source = readFileSync(import.meta.path, "utf8");
  const topics = readdirSync(FOLDER).flatMap((file) => (file.endsWith(".json") ? [file.slice(0, -5)] : []));
  expect(topics.filter((topic) => !source.includes(`load("${topic}")`) && !source.includes(`>("${topic}")`))).toEqual(
    [],
  );
});
