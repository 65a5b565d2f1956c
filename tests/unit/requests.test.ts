// Requests <-> lines.
// Invariant: what is legal comes back equal and spelled the same; what is not is a fault with its code.
// Never: throws, whatever the line.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isFault } from "../../src/protocol/fault.ts";
import { JOIN_PAYLOAD_BYTES_MAX } from "../../src/protocol/limits.ts";
import { decodePeerRequest, decodeServerRequest, encodeRequest } from "../../src/protocol/requests.ts";
import { codeOf } from "../support/good.ts";
import { anyPeerRequest, anyServerRequest, mutated } from "../support/messages.ts";

const ROOT = "ab".repeat(32);
const line = (encoded: string): string => {
  expect(encoded.endsWith("\n")).toBe(true);
  return encoded.slice(0, -1);
};

describe("a request to the server", () => {
  test("comes back as it was", () => {
    fc.assert(
      fc.property(anyServerRequest, (request) => {
        expect(decodeServerRequest(line(encodeRequest(request)))).toEqual(request);
      }),
      { numRuns: 1500 },
    );
  });

  test("SEARCH carries the bare name, spaces and all (SPEC 4.c)", () => {
    expect(encodeRequest({ verb: "SEARCH", name: "Aula 1.mp4" })).toBe("SEARCH Aula 1.mp4\n");
    expect(decodeServerRequest("SEARCH Aula 1.mp4")).toEqual({ verb: "SEARCH", name: "Aula 1.mp4" });
  });

  const faults: readonly (readonly [line: string, code: string])[] = [
    ["", "UNKNOWN_VERB"],
    ["search a", "UNKNOWN_VERB"],
    ["__proto__", "UNKNOWN_VERB"],
    ["GET 0 1", "UNKNOWN_VERB"],
    ["HELLO", "BAD_REQUEST"],
    ["HELLO 0", "UNSUPPORTED_VERSION"],
    ["HELLO 1 2", "BAD_REQUEST"],
    ["HELLO 1.0", "BAD_REQUEST"],
    ["JOIN", "BAD_ADDRESS"],
    ["JOIN 1.2.3.4:5", "BAD_REQUEST"],
    ["JOIN 1.2.3.4:0 0", "BAD_ADDRESS"],
    ["JOIN 1.2.3.4:65536 0", "BAD_ADDRESS"],
    ["JOIN 1.2.3.4 0", "BAD_ADDRESS"],
    ["JOIN localhost:80 0", "BAD_ADDRESS"],
    ["JOIN 1.2.3.256:80 0", "BAD_ADDRESS"],
    ["JOIN 01.2.3.4:80 0", "BAD_ADDRESS"],
    ["JOIN 1.2.3.4:80 -1", "BAD_REQUEST"],
    ["JOIN 1.2.3.4:80 1e3", "BAD_REQUEST"],
    ["JOIN 1.2.3.4:80 01", "BAD_REQUEST"],
    ["JOIN 1.2.3.4:80 0x10", "BAD_REQUEST"],
    ["JOIN 1.2.3.4:80 12abc", "BAD_REQUEST"],
    ["JOIN 1.2.3.4:80 9007199254740993", "BAD_REQUEST"],
    ["JOIN 1.2.3.4:80 4294967295", "PAYLOAD_TOO_LARGE"],
    [`JOIN 1.2.3.4:80 ${JOIN_PAYLOAD_BYTES_MAX + 1}`, "PAYLOAD_TOO_LARGE"],
    ["JOIN 1.2.3.4:80 1 2", "BAD_REQUEST"],
    ["SEARCH", "BAD_NAME"],
    ["SEARCH ", "BAD_NAME"],
    ["SEARCH ../x", "BAD_NAME"],
    [`SEARCH ${"x".repeat(256)}`, "BAD_NAME"],
    ["UPDATE a.mp4", "BAD_REQUEST"],
    ["UPDATE 1 - ", "BAD_NAME"],
    ["UPDATE NaN - a.mp4", "BAD_REQUEST"],
    ["UPDATE 1e309 - a.mp4", "BAD_REQUEST"],
    ["UPDATE -1 - a.mp4", "BAD_REQUEST"],
    [`UPDATE 1 ${ROOT.toUpperCase()} a.mp4`, "BAD_REQUEST"],
    [`UPDATE 1 ${ROOT.slice(1)} a.mp4`, "BAD_REQUEST"],
    ["SOURCES", "BAD_REQUEST"],
    [`SOURCES ${ROOT}0`, "BAD_REQUEST"],
    ["PING now", "BAD_REQUEST"],
    ["LEAVE 1.2.3.4:5", "BAD_REQUEST"],
  ];
  for (const [given, code] of faults) {
    test(`${JSON.stringify(given.slice(0, 48))} is ${code}`, () =>
      expect(codeOf(decodeServerRequest(given))).toBe(code));
  }

  for (const size of [0, 1, 2 ** 31, 2 ** 32, 2 ** 40 + 1, 2 ** 53 - 1]) {
    test(`a size of ${size} survives`, () => {
      expect(decodeServerRequest(`UPDATE ${size} - a.mp4`)).toEqual({
        verb: "UPDATE",
        share: { name: "a.mp4", size, root: undefined },
      });
    });
  }
});

describe("a request to a peer", () => {
  test("comes back as it was", () => {
    fc.assert(
      fc.property(anyPeerRequest, (request) => {
        expect(decodePeerRequest(line(encodeRequest(request)))).toEqual(request);
      }),
      { numRuns: 1500 },
    );
  });

  const faults: readonly (readonly [line: string, code: string])[] = [
    ["DOWNLOAD ..\\..\\segredo", "BAD_NAME"],
    ["DOWNLOAD ../secret.txt", "BAD_NAME"],
    ["DOWNLOAD", "BAD_NAME"],
    ["FETCH -", "BAD_REQUEST"],
    ["LANE", "BAD_REQUEST"],
    [`LANE ${"g".repeat(32)}`, "BAD_REQUEST"],
    ["GET 0 0", "BAD_REQUEST"],
    ["GET -1 1", "BAD_REQUEST"],
    ["GET 0 16777217", "BAD_REQUEST"],
    ["GET 0 1 2", "BAD_REQUEST"],
    ["GET 9007199254740993 1", "BAD_REQUEST"],
    ["LAYER 0", "BAD_REQUEST"],
    ["JOIN 1.2.3.4:5 0", "UNKNOWN_VERB"],
  ];
  for (const [given, code] of faults) {
    test(`${JSON.stringify(given)} is ${code}`, () => expect(codeOf(decodePeerRequest(given))).toBe(code));
  }
});

describe("any line at all", () => {
  const near = mutated(
    fc.oneof(anyServerRequest, anyPeerRequest).map((request) => encodeRequest(request).slice(0, -1)),
  );
  test("is a request with one spelling, or a fault of theirs; nothing throws", () => {
    fc.assert(
      fc.property(fc.oneof(near, fc.string({ unit: "binary", maxLength: 1200 })), (given) => {
        for (const decode of [decodeServerRequest, decodePeerRequest]) {
          const request = decode(given);
          if (isFault(request)) expect(request.whose).toBe("theirs");
          else expect(encodeRequest(request)).toBe(`${given}\n`);
        }
      }),
      { numRuns: 4000 },
    );
  });
});
