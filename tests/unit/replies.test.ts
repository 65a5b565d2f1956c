// Replies <-> lines.
// Invariant: what is legal comes back equal; everything else is BAD_REPLY.
// Never: throws, whatever the line.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isFault } from "../../src/protocol/fault.ts";
import { LINE_BYTES_MAX } from "../../src/protocol/limits.ts";
import { decodeReply, encodeReply } from "../../src/protocol/replies.ts";
import { anyReply, mutated } from "../support/messages.ts";

const TICKET = "0123456789abcdef".repeat(2);
const ROOT = "cd".repeat(32);

describe("a reply", () => {
  test("comes back as it was, in a line of legal length", () => {
    fc.assert(
      fc.property(anyReply, (reply) => {
        const encoded = encodeReply(reply);
        expect(encoded.indexOf("\n")).toBe(encoded.length - 1);
        expect(Buffer.byteLength(encoded)).toBeLessThanOrEqual(LINE_BYTES_MAX + 1);
        expect(decodeReply(encoded.slice(0, -1))).toEqual(reply);
      }),
      { numRuns: 2000 },
    );
  });

  test("holds the dictated strings JOIN_OK and UPDATE_OK (SPEC 4.b, 4.d)", () => {
    const address = { ip: "127.0.0.1", port: 8776 };
    expect(encodeReply({ verb: "JOIN_OK", address, reached: true })).toBe("JOIN_OK 127.0.0.1:8776\n");
    expect(encodeReply({ verb: "JOIN_OK", address, reached: false })).toBe("JOIN_OK 127.0.0.1:8776 unreachable\n");
    expect(encodeReply({ verb: "UPDATE_OK" })).toBe("UPDATE_OK\n");
  });

  test("an ERROR's text can break no line and steer no terminal", () => {
    const text = "a\nJOIN_OK 1.2.3.4:5\u001b[2J\r";
    const encoded = encodeReply({ verb: "ERROR", code: "INTERNAL", retry: false, text });
    expect(encoded).toBe("ERROR INTERNAL final a JOIN_OK 1.2.3.4:5 [2J \n");
  });

  const refused = [
    "",
    "OK",
    "__proto__",
    "HELLO 0",
    "JOIN_OK",
    "JOIN_OK 1.2.3.4:0",
    "SEARCH_OK",
    "SEARCH_OK -1",
    "SEARCH_OK 4294967295",
    "LAYER_OK 67108865",
    "PIECES_OK 1e3",
    "UPDATE_OK a.mp4",
    "WAIT 0",
    "DATA 0 0",
    "DATA 0 16777217",
    "DATA 0",
    "DATA 0 1 2",
    "ERROR",
    "ERROR INTERNAL",
    "ERROR INTERNAL maybe x",
    `ACCEPT ${TICKET} 10 262144`,
    `ACCEPT ${TICKET} 10 262144 - -`,
    `ACCEPT ${TICKET} 10 262143 -`,
    `ACCEPT ${TICKET} 10 131072 -`,
    `ACCEPT ${TICKET} 10 33554432 -`,
    `ACCEPT ${TICKET} 10 0 -`,
    `ACCEPT ${TICKET} -1 262144 -`,
    `ACCEPT ${TICKET} 9007199254740993 262144 -`,
    `ACCEPT ${TICKET} 1e309 262144 -`,
    `ACCEPT ${TICKET} NaN 262144 -`,
    `ACCEPT ${TICKET.slice(1)} 10 262144 ${ROOT}`,
    `ACCEPT ${TICKET} 10 262144 ${ROOT.toUpperCase()}`,
  ];
  for (const line of refused) {
    test(`${JSON.stringify(line.replace(TICKET, "TICKET"))} is BAD_REPLY`, () => {
      expect(decodeReply(line)).toMatchObject({ fault: "BAD_REPLY", whose: "theirs" });
    });
  }

  test("any line is a reply that can be spelled again, or BAD_REPLY; nothing throws", () => {
    const near = mutated(anyReply.map((reply) => encodeReply(reply).slice(0, -1)));
    fc.assert(
      fc.property(fc.oneof(near, fc.string({ unit: "binary", maxLength: 1200 })), (line) => {
        const reply = decodeReply(line);
        if (isFault(reply)) expect(reply.fault).toBe("BAD_REPLY");
        else if (reply.verb !== "ERROR" && reply.verb !== "REJECT") expect(encodeReply(reply)).toBe(`${line}\n`);
        else expect(decodeReply(encodeReply(reply).slice(0, -1))).toMatchObject({ verb: reply.verb, code: reply.code });
      }),
      { numRuns: 4000 },
    );
  });
});
