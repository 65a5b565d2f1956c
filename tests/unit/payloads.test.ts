// Payloads <-> lists.
// Invariant: a list comes back whole and equal, or not at all.
// Never: throws, or grows past the limits of protocol/limits.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isFault } from "../../src/protocol/fault.ts";
import {
  JOIN_NAMES_MAX,
  JOIN_PAYLOAD_BYTES_MAX,
  LIST_PAYLOAD_BYTES_MAX,
  SEARCH_PEERS_MAX,
} from "../../src/protocol/limits.ts";
import type { Share } from "../../src/protocol/messages.ts";
import {
  decodeAddresses,
  decodeHolders,
  decodeShares,
  encodeAddresses,
  encodeHolders,
  encodeShares,
} from "../../src/protocol/payloads.ts";
import { codeOf } from "../support/good.ts";
import { anyAddress, anyHolder, anyShare } from "../support/messages.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const ID = "DT5BNTDJKEHLJYUU56A5QT6Z6YSM4HU4QQGLUTPPIRUKDTAL5XJA";
/** With an ID or without. */
const anyPeer = fc.tuple(anyAddress, fc.boolean()).map(([at, known]) => (known ? { ...at, id: ID } : at));

describe("a list", () => {
  test("of shares comes back as it was", () => {
    fc.assert(
      fc.property(fc.array(anyShare, { maxLength: 20 }), (shares) => {
        expect(decodeShares(encodeShares(shares))).toEqual(shares);
      }),
    );
  });

  test("of addresses comes back as it was", () => {
    fc.assert(
      fc.property(fc.array(anyPeer, { maxLength: 20 }), (addresses) => {
        expect(decodeAddresses(encodeAddresses(addresses))).toEqual(addresses);
      }),
    );
  });

  test("of holders comes back as it was", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyHolder, anyPeer), { maxLength: 20 }), (pairs) => {
        const holders = pairs.map(([holder, address]) => ({ ...holder, address }));
        expect(decodeHolders(encodeHolders(holders))).toEqual(holders);
      }),
    );
  });

  test("of 100,000 names with roots fits a JOIN and comes back", () => {
    const root = "0f".repeat(32);
    const shares = Array.from({ length: 100_000 }, (_, i): Share => ({ name: `vídeo ${i}.mp4`, size: i, root }));
    const payload = encodeShares(shares);
    expect(payload.length).toBeLessThan(JOIN_PAYLOAD_BYTES_MAX);
    expect(decodeShares(payload)).toEqual(shares);
  });

  test("of SEARCH_PEERS_MAX addresses fits its limit, as addresses and as holders", () => {
    const longest = { ip: "255.255.255.255", port: 65535 };
    const addresses = Array.from({ length: SEARCH_PEERS_MAX }, () => longest);
    expect(encodeAddresses(addresses).length).toBeLessThanOrEqual(LIST_PAYLOAD_BYTES_MAX);
    const holders = addresses.map((address) => ({ address, complete: true }));
    expect(encodeHolders(holders).length).toBeLessThanOrEqual(LIST_PAYLOAD_BYTES_MAX);
  });
});

describe("a broken list of shares", () => {
  test("without its last newline is refused whole", () => {
    expect(codeOf(decodeShares(bytes("1 - a.mp4\n1 - b.mp4")))).toBe("BAD_REQUEST");
  });

  test("with one bad name is refused whole", () => {
    expect(codeOf(decodeShares(bytes("1 - a.mp4\n1 - ../b.mp4\n")))).toBe("BAD_NAME");
    expect(codeOf(decodeShares(bytes("1 - a.mp4\n\n")))).toBe("BAD_REQUEST");
  });

  test("that is not UTF-8 is refused", () => {
    expect(codeOf(decodeShares(Uint8Array.of(0xff, 0xfe, 10)))).toBe("BAD_REQUEST");
  });

  test("with more than JOIN_NAMES_MAX names is TOO_MANY", () => {
    const line = "1 - a\n";
    expect(codeOf(decodeShares(bytes(line.repeat(JOIN_NAMES_MAX + 1))))).toBe("TOO_MANY");
    expect(decodeShares(bytes(line.repeat(JOIN_NAMES_MAX)))).toHaveLength(JOIN_NAMES_MAX);
  });
});

describe("a broken answer", () => {
  for (const text of [
    "1.2.3.4:5",
    "1.2.3.4:5\n1.2.3.4:5",
    "\n",
    "1.2.3.4\n",
    "1.2.3.4:0\n",
    "1.2.3.4:5 \n",
    "a:b\n",
    `1.2.3.4:5  ${ID}\n`,
    `1.2.3.4:5 ${ID} x\n`,
    `1.2.3.4:5 ${ID.toLowerCase()}\n`,
  ]) {
    test(`${JSON.stringify(text)} is BAD_REPLY`, () => {
      expect(codeOf(decodeAddresses(bytes(text)))).toBe("BAD_REPLY");
    });
  }
  for (const text of [
    "1.2.3.4:5\n",
    "1.2.3.4:5 whole\n",
    "1.2.3.4:5 complete x\n",
    "1.2.3.4:5  partial\n",
    "1.2.3.4:5 partial",
  ]) {
    test(`${JSON.stringify(text)} is no list of holders`, () => {
      expect(codeOf(decodeHolders(bytes(text)))).toBe("BAD_REPLY");
    });
  }
});

test("any bytes are a list or a fault, and a list is spelled as it came", () => {
  const lines = fc.array(
    fc.oneof(fc.string({ maxLength: 30 }), fc.constantFrom("1 - a", "1.2.3.4:5", "1.2.3.4:5 partial")),
  );
  const soup = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    lines.map((all) => bytes(`${all.join("\n")}\n`)),
  );
  fc.assert(
    fc.property(soup, (payload) => {
      const shares = decodeShares(payload);
      if (!isFault(shares)) expect(Buffer.compare(encodeShares(shares), payload)).toBe(0);
      const addresses = decodeAddresses(payload);
      if (!isFault(addresses)) expect(Buffer.compare(encodeAddresses(addresses), payload)).toBe(0);
      const holders = decodeHolders(payload);
      if (!isFault(holders)) expect(Buffer.compare(encodeHolders(holders), payload)).toBe(0);
    }),
    { numRuns: 3000 },
  );
});
