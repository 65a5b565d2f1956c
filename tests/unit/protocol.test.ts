// Addresses, counts and faults: the smallest parts of the wire.
// Invariant: a field has one spelling.
// Never: throws, whatever the text.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { formatAddress, isIp, isLoopback, parseAddress, parsePort } from "../../src/protocol/address.ts";
import { fault, isFault, LOCAL_CODES, WIRE_CODES } from "../../src/protocol/fault.ts";
import { parseCount, parseShare } from "../../src/protocol/fields.ts";
import { codeOf } from "../support/good.ts";
import { anyAddress } from "../support/messages.ts";

describe("an address", () => {
  test("comes back as it was", () => {
    fc.assert(fc.property(anyAddress, (address) => expect(parseAddress(formatAddress(address))).toEqual(address)));
  });

  for (const text of [
    "",
    ":",
    "1.2.3.4",
    "1.2.3.4:",
    ":80",
    "1.2.3:80",
    "1.2.3.4.5:80",
    "1.2.3.4:65536",
    "1.2.3.4:-1",
  ]) {
    test(`${JSON.stringify(text)} is none`, () => expect(codeOf(parseAddress(text))).toBe("BAD_ADDRESS"));
  }
  for (const text of [
    "::1:80",
    "1.2.3.4:8 0",
    " 1.2.3.4:80",
    "1.2.3.4:80\n",
    "1.2.3.4:٣",
    "0x7f.0.0.1:80",
    "127.1:80",
  ]) {
    test(`${JSON.stringify(text)} is none either`, () => expect(codeOf(parseAddress(text))).toBe("BAD_ADDRESS"));
  }

  test("any text is an address with one spelling, or none", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ maxLength: 30 }), fc.stringMatching(/^[0-9.:]{0,24}$/)), (text) => {
        const address = parseAddress(text);
        if (!isFault(address)) expect(Number(text.slice(text.lastIndexOf(":") + 1))).toBe(address.port);
      }),
      { numRuns: 2000 },
    );
  });

  test("port 0 is for listening only", () => {
    expect(parsePort("0")).toBeUndefined();
    expect(parsePort("0", 0)).toBe(0);
    expect(parsePort("65535")).toBe(65535);
  });

  test("loopback is the whole of 127.0.0.0/8", () => {
    expect([isLoopback("127.0.0.1"), isLoopback("127.255.0.9"), isLoopback("12.7.0.1")]).toEqual([true, true, false]);
    expect([isIp("0.0.0.0"), isIp("256.0.0.1"), isIp("1.2.3.04")]).toEqual([true, false, false]);
  });
});

describe("a count", () => {
  test("is a whole number in decimal, spelled in one way", () => {
    for (const text of [
      "",
      "-1",
      "+1",
      "01",
      "1.0",
      "1e3",
      "NaN",
      "Infinity",
      "0x1",
      " 1",
      "1 ",
      "٣",
      "12abc",
      "9".repeat(17),
    ])
      expect(parseCount(text, Number.MAX_SAFE_INTEGER)).toBeUndefined();
    expect(parseCount(undefined, 10)).toBeUndefined();
    expect(parseCount("0", 0)).toBe(0);
    expect(parseCount("9007199254740991", Number.MAX_SAFE_INTEGER)).toBe(2 ** 53 - 1);
    expect(parseCount("9007199254740992", Number.MAX_SAFE_INTEGER)).toBeUndefined();
  });
});

describe("a share", () => {
  test("keeps a name with spaces, and touches no prototype", () => {
    expect(parseShare("1 - a - b.mp4")).toEqual({ name: "a - b.mp4", size: 1, root: undefined });
    expect(parseShare("1 - __proto__")).toEqual({ name: "__proto__", size: 1, root: undefined });
  });
});

describe("a fault", () => {
  test("has a code of one of two lists, each code once", () => {
    const codes: string[] = [...WIRE_CODES, ...LOCAL_CODES];
    expect(new Set(codes).size).toBe(codes.length);
  });

  test("is told from every other value", () => {
    expect(isFault(fault("BUSY", "ours"))).toBe(true);
    for (const value of [undefined, null, 0, "", "fault", [], {}, { verb: "PONG" }]) expect(isFault(value)).toBe(false);
  });
});
