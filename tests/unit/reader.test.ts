// Bytes in whatever cuts -> the same lines and payloads.
// Invariant: every case is fed whole and in pieces; what comes out must not depend on it.
// Never: needs a socket.

import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isFault } from "../../src/protocol/fault.ts";
import { LINE_BYTES_MAX } from "../../src/protocol/limits.ts";
import { createReader } from "../../src/protocol/reader.ts";
import { codeOf } from "../support/good.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (chunk: Uint8Array): string => new TextDecoder().decode(chunk);

/** Feeds `input` in the given cuts and reads lines until there is none, or a fault. */
function linesOf(input: Uint8Array, cuts: readonly number[]): string[] {
  const reader = createReader();
  const lines: string[] = [];
  let at = 0;
  for (const cut of [...cuts, input.length]) {
    const end = Math.min(input.length, at + cut);
    reader.push(input.slice(at, end));
    at = end;
    for (let line = reader.line(); line !== undefined; line = reader.line()) {
      if (isFault(line)) return [...lines, line.fault];
      lines.push(line);
    }
  }
  return lines;
}

describe("lines", () => {
  test("many in one chunk come out one by one, in order", () => {
    expect(linesOf(bytes("SEARCH a b\nPING\n\nLEAVE\n"), [])).toEqual(["SEARCH a b", "PING", "", "LEAVE"]);
  });

  test("one in single bytes comes out once, when its newline is there", () => {
    const reader = createReader();
    for (const byte of bytes("SEARCH vídeo.mp4")) {
      reader.push(Uint8Array.of(byte));
      expect(reader.line()).toBeUndefined();
    }
    reader.push(bytes("\n"));
    expect(reader.line()).toBe("SEARCH vídeo.mp4");
    expect(reader.size).toBe(0);
  });

  test("a CR before the newline is dropped, one elsewhere is not", () => {
    expect(linesOf(bytes("PING\r\na\rb\n\r\r\n"), [])).toEqual(["PING", "a\rb", "\r"]);
  });

  test("a line of LINE_BYTES_MAX bytes is read, one byte more is LINE_TOO_LONG", () => {
    const longest = "x".repeat(LINE_BYTES_MAX);
    expect(linesOf(bytes(`${longest}\n`), [])).toEqual([longest]);
    expect(linesOf(bytes(`${longest}x\n`), [])).toEqual(["LINE_TOO_LONG"]);
    expect(linesOf(bytes(`${longest}x`), [])).toEqual(["LINE_TOO_LONG"]);
    expect(linesOf(bytes(longest), [])).toEqual([]);
  });

  test("bytes that are not UTF-8 are BAD_REQUEST, and the next line is read all the same", () => {
    const reader = createReader();
    reader.push(Uint8Array.of(0xc3, 0x28, 10, 80, 10));
    expect(codeOf(reader.line())).toBe("BAD_REQUEST");
    expect(reader.line()).toBe("P");
  });

  test("a BOM is not swallowed", () => {
    expect(linesOf(bytes("\ufeffPING\n"), [])).toEqual(["\ufeffPING"]);
  });

  test("any bytes in any cuts give what they give whole, and never throw", () => {
    const soup = fc.array(fc.oneof(fc.constant(10), fc.constant(13), fc.nat(255)), { maxLength: 3000 });
    fc.assert(
      fc.property(soup, fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 40 }), (raw, cuts) => {
        const input = Uint8Array.from(raw);
        // Lines that were whole before an overlong one may be told in any case: what counts is the same sequence.
        expect(linesOf(input, cuts)).toEqual(linesOf(input, []));
      }),
      { numRuns: 300 },
    );
  });
});

describe("payloads", () => {
  test("exactly() waits for all of its bytes, and leaves what follows", () => {
    const reader = createReader();
    reader.push(bytes("JOIN\nabc"));
    expect(reader.line()).toBe("JOIN");
    expect(reader.exactly(5)).toBeUndefined();
    reader.push(bytes("dePING\n"));
    expect(text(reader.exactly(5) as Uint8Array)).toBe("abcde");
    expect(reader.line()).toBe("PING");
  });

  test("an empty payload is there at once", () => {
    expect(createReader().exactly(0)).toEqual(new Uint8Array(0));
  });

  test("some() gives what is at hand, never more than asked, and nothing of what comes after", () => {
    const reader = createReader();
    expect(reader.some(10)).toBeUndefined();
    reader.push(bytes("abcdefPING\n"));
    expect(text(reader.some(4) as Uint8Array)).toBe("abcd");
    expect(text(reader.some(2) as Uint8Array)).toBe("ef");
    expect(reader.some(0)).toBeUndefined();
    expect(reader.line()).toBe("PING");
  });

  test("lines and payloads mixed, in any cuts, come out as they were put in", () => {
    const part = fc.oneof(
      fc.stringMatching(/^[ -~]{0,40}$/).map((line) => ({ line })),
      fc.uint8Array({ maxLength: 900 }).map((payload) => ({ payload })),
    );
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 12 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 300 })),
        (parts, cuts) => {
          const input = Buffer.concat(parts.map((p) => ("line" in p ? bytes(`${p.line}\n`) : p.payload)));
          const reader = createReader();
          let at = 0;
          const feed = () => {
            const cut = (cuts.next().value as number | undefined) ?? 1;
            reader.push(Uint8Array.from(input.subarray(at, at + cut)));
            at += cut;
          };
          for (const p of parts) {
            if ("line" in p) {
              let line = reader.line();
              for (; line === undefined; line = reader.line()) feed();
              expect(line).toBe(p.line);
            } else {
              let payload = reader.exactly(p.payload.length);
              for (; payload === undefined; payload = reader.exactly(p.payload.length)) feed();
              expect(Buffer.compare(payload, p.payload)).toBe(0);
            }
          }
          expect(reader.size).toBe(Math.max(0, Math.min(at, input.length) - input.length));
        },
      ),
      { numRuns: 200 },
    );
  });

  test("a payload that trickles in single bytes takes memory in proportion to its bytes", () => {
    const reader = createReader();
    // Of what is still reachable: the process's resident memory depends on when the collector last ran.
    const held = (): number => {
      // A collection that is under way keeps what was made since it began; the second one does not.
      Bun.gc(true);
      Bun.gc(true);
      const { heapSize, extraMemorySize } = heapStats();
      return heapSize + extraMemorySize;
    };
    const before = held();
    const count = 2_000_000;
    for (let i = 0; i < count; i++) reader.push(Uint8Array.of(i & 255));
    expect(held() - before).toBeLessThan(20_000_000);
    const whole = reader.exactly(count) as Uint8Array;
    expect([whole[0], whole[255], whole[256], whole[count - 1]]).toEqual([0, 255, 0, (count - 1) & 255]);
    expect(reader.size).toBe(0);
  });
});
