// Arbitrary legal values of the wire, for fast-check.

import fc from "fast-check";
import type { Address } from "../../src/protocol/address.ts";
import { isFault, WIRE_CODES } from "../../src/protocol/fault.ts";
import { parseWords } from "../../src/protocol/fields.ts";
import {
  FILE_BYTES_MAX,
  FIND_COUNT_MAX,
  FIND_OFFSET_MAX,
  GET_BYTES_MAX,
  JOIN_PAYLOAD_BYTES_MAX,
  LAYER_PAYLOAD_BYTES_MAX,
  LIST_PAYLOAD_BYTES_MAX,
} from "../../src/protocol/limits.ts";
import type { Holder, PeerRequest, Reply, ServerRequest, Share } from "../../src/protocol/messages.ts";
import { nameFlaw } from "../../src/protocol/names.ts";

const octet = fc.integer({ min: 0, max: 255 });
export const anyAddress: fc.Arbitrary<Address> = fc.record({
  ip: fc.tuple(octet, octet, octet, octet).map((octets) => octets.join(".")),
  port: fc.integer({ min: 1, max: 65535 }),
});
export const anyName = fc
  .oneof(fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }), fc.constantFrom("a b.mp4", "__proto__", "é.mkv"))
  .filter((name) => nameFlaw(name) === undefined);
const hex = (digits: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${digits}}$`));
export const anyRoot = hex(64);
const count = (max: number) => fc.oneof(fc.integer({ min: 0, max }), fc.constantFrom(0, 1, max));
export const anySize = count(FILE_BYTES_MAX);
export const anyShare: fc.Arbitrary<Share> = fc.record({
  name: anyName,
  size: anySize,
  root: fc.option(anyRoot, { nil: undefined }),
});
export const anyHolder: fc.Arbitrary<Holder> = fc.record({ address: anyAddress, complete: fc.boolean() });

const just = <V extends string>(...verbs: V[]) => fc.constantFrom(...verbs).map((verb) => ({ verb }));
const version = fc.integer({ min: 1, max: 1_000_000 });
const always = <T>(value: T) => fc.constant(value);

export const anyServerRequest: fc.Arbitrary<ServerRequest> = fc.oneof(
  just("LEAVE", "PING"),
  fc.record({ verb: always("HELLO" as const), version }),
  fc.record({ verb: always("JOIN" as const), address: anyAddress, payloadBytes: count(JOIN_PAYLOAD_BYTES_MAX) }),
  fc.record({
    verb: always("JOIN" as const),
    address: anyAddress,
    payloadBytes: count(JOIN_PAYLOAD_BYTES_MAX),
    key: fc.oneof(hex(32), always("-")),
  }),
  fc.record({ verb: fc.constantFrom("SEARCH", "WITHDRAW", "WISH", "UNWISH"), name: anyName }),
  fc.record({ verb: always("UPDATE" as const), share: anyShare }),
  fc.record({ verb: always("OFFER" as const), share: fc.record({ name: anyName, size: anySize, root: anyRoot }) }),
  fc.record({ verb: always("SOURCES" as const), root: anyRoot }),
  fc.record({
    verb: always("FIND" as const),
    offset: count(FIND_OFFSET_MAX),
    count: fc.integer({ min: 1, max: FIND_COUNT_MAX }),
    words: anyName.filter((name) => !isFault(parseWords(name))),
  }),
);

export const anyPeerRequest: fc.Arbitrary<PeerRequest> = fc.oneof(
  just("LAYER", "PIECES", "PING"),
  fc.record({ verb: always("HELLO" as const), version }),
  fc.record({ verb: always("DOWNLOAD" as const), name: anyName }),
  fc.record({ verb: always("FETCH" as const), root: anyRoot }),
  fc.record({ verb: always("LANE" as const), ticket: hex(32) }),
  fc.record({ verb: always("PROBE" as const), nonce: hex(32) }),
  fc.record({ verb: always("GET" as const), offset: anySize, length: fc.integer({ min: 1, max: GET_BYTES_MAX }) }),
);

const anyGrant = fc.record({
  ticket: hex(32),
  size: anySize,
  pieceBytes: fc.integer({ min: 18, max: 22 }).map((power) => 2 ** power),
  root: fc.option(anyRoot, { nil: undefined }),
});

export const anyReply: fc.Arbitrary<Reply> = fc.oneof(
  fc.record({ verb: always("WISH_OK" as const), scope: fc.constantFrom("all" as const, "own" as const) }),
  fc.record({ verb: always("ARRIVED" as const), name: anyName }),
  just("UNWISH_OK", "UPDATE_OK", "OFFER_OK", "WITHDRAW_OK", "LEAVE_OK", "LANE_OK", "PONG"),
  fc.record({ verb: always("HELLO" as const), version }),
  fc.record({ verb: always("JOIN_OK" as const), address: anyAddress, reached: fc.boolean() }),
  fc.record({ verb: always("PROBE_OK" as const), proof: fc.oneof(hex(32), hex(64)) }),
  fc.record({
    verb: fc.constantFrom("SEARCH_OK" as const, "SOURCES_OK" as const),
    payloadBytes: count(LIST_PAYLOAD_BYTES_MAX),
  }),
  fc.record({
    verb: fc.constantFrom("LAYER_OK" as const, "PIECES_OK" as const),
    payloadBytes: count(LAYER_PAYLOAD_BYTES_MAX),
  }),
  fc.record({ verb: always("ACCEPT" as const), grant: anyGrant }),
  fc.record(
    { verb: always("WAIT" as const), position: fc.integer({ min: 1, max: FILE_BYTES_MAX }), root: hex(64) },
    { requiredKeys: ["verb", "position"] },
  ),
  fc.record({
    verb: always("DATA" as const),
    offset: anySize,
    payloadBytes: fc.integer({ min: 1, max: GET_BYTES_MAX }),
  }),
  fc.record({
    verb: fc.constantFrom("REJECT" as const, "ERROR" as const),
    code: fc.constantFrom(...WIRE_CODES),
    retry: fc.boolean(),
    text: fc.stringMatching(/^[ -~]{0,80}$/),
  }),
);

/** Lines that look like the wire's, but are not quite: legal ones cut, glued and with a character changed. */
export function mutated(line: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const change = fc.tuple(
    fc.nat(400),
    fc.constantFrom("cut", "put", "swap", "double"),
    fc.string({ unit: "binary", maxLength: 3 }),
  );
  return fc.tuple(line, fc.array(change, { maxLength: 4 })).map(([start, changes]) =>
    changes.reduce((text, [where, how, what]) => {
      const at = where % (text.length + 1);
      if (how === "cut") return text.slice(0, at);
      if (how === "put") return text.slice(0, at) + what + text.slice(at);
      if (how === "swap") return text.slice(0, at) + what + text.slice(at + 1);
      return text + text.slice(at);
    }, start),
  );
}
