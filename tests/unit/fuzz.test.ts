// Whatever may come from a disk, a wire or a keyboard, mutated and at every length: never thrown at, never past a bound.
// The lines and lists of the protocol have their own: names, requests, replies, payloads, reader and protocol .test.ts.

import { Database } from "bun:sqlite";
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { isUsage, parsePeer, parseServer } from "../../src/config.ts";
import { createHashCache } from "../../src/content/hashing/hash-cache.ts";
import { createPieceHasher, type Hashed } from "../../src/content/hashing/merkle.ts";
import {
  decodeJournal,
  encodeHead,
  encodePiece,
  type JournalHead,
  journalLength,
} from "../../src/download/disk/journal.ts";
import { createLane } from "../../src/download/lanes/lane.ts";
import { formatAddress, isIn, isIp, parseAddress, parsePort, parseRange } from "../../src/protocol/address.ts";
import { type Fault, isFault } from "../../src/protocol/fault.ts";
import { GET_BYTES_MAX, LINE_BYTES_MAX, PIECE_BYTES_MIN, PROBE_SECONDS_MAX } from "../../src/protocol/limits.ts";
import type { ServerRequest } from "../../src/protocol/messages.ts";
import { proofOf } from "../../src/protocol/proof.ts";
import { encodeReply } from "../../src/protocol/replies.ts";
import { encodeRequest } from "../../src/protocol/requests.ts";
import { createReachability } from "../../src/servidor/reachability.ts";
import { hasBit, setBit } from "../../src/shared/bitfield.ts";
import { createSharedRate, sharedBucketOf } from "../../src/shared/shared-rate.ts";
import { createCaller } from "../../src/transport/caller.ts";
import type { Connection, Handlers } from "../../src/transport/connection.ts";
import { createShareIndex } from "../../src/upload/share-index.ts";
import { createUploadServer } from "../../src/upload/upload-server.ts";
import { createVirtualClock } from "../support/clock.ts";
import { temporaryFolder } from "../support/folders.ts";
import { anyAddress, anyPeerRequest, anyReply, anyRoot, mutated } from "../support/messages.ts";
import { createFarEnd, createNet } from "../support/net.ts";
import { hashOf } from "../support/sharer.ts";

setDefaultTimeout(60_000);

let inputs = 0;
const counted = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  arbitrary.map((value) => {
    inputs++;
    return value;
  });
afterAll(() => console.error(`fuzz: ${inputs} inputs`));

const anyBytes = fc.uint8Array({ maxLength: 700 });
const anyHead: fc.Arbitrary<JournalHead> = fc.record({
  size: fc.oneof(fc.integer({ min: 0, max: 4e9 }), fc.constantFrom(0, 1, Number.MAX_SAFE_INTEGER)),
  pieceBytes: fc.integer({ min: 18, max: 22 }).map((power) => 2 ** power),
  root: fc.option(anyRoot, { nil: undefined }),
});
// No hash is all zeros: such a record takes an earlier one back.
const anyHash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((hash) => hash.fill(1, 0, 1));
const anyPiece = fc.record({ index: fc.nat(4000), hash: anyHash });
const anyJournal = fc.tuple(anyHead, fc.array(anyPiece, { maxLength: 12 }));
const bytesOf = ([head, pieces]: [JournalHead, { index: number; hash: Uint8Array }[]]): Uint8Array =>
  Buffer.concat([encodeHead(head), ...pieces.map(encodePiece)]);

/** Bytes that were right once: cut, flipped, repeated, with others in between. */
function damaged(bytes: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const change = fc.tuple(
    fc.nat(4000),
    fc.constantFrom("cut", "flip", "put", "repeat"),
    fc.uint8Array({ maxLength: 9 }),
  );
  return fc.tuple(bytes, fc.array(change, { minLength: 1, maxLength: 4 })).map(([start, changes]) =>
    changes.reduce<Uint8Array>((now, [where, how, what]) => {
      const at = where % (now.length + 1);
      if (how === "cut") return now.slice(0, at);
      if (how === "put") return Buffer.concat([now.subarray(0, at), what, now.subarray(at)]);
      if (how === "repeat") return Buffer.concat([now, now.subarray(at)]);
      const copy = now.slice();
      if (at < copy.length) copy[at] = (copy[at] as number) ^ (1 << (where % 8));
      return copy;
    }, start),
  );
}

describe("a journal", () => {
  test("of any bytes, of any length, is read without a word, and holds no more than its records", () => {
    fc.assert(
      fc.property(counted(fc.oneof(anyBytes, damaged(anyJournal.map(bytesOf)))), (bytes) => {
        const content = decodeJournal(bytes);
        expect(journalLength(bytes.length)).toBeLessThanOrEqual(bytes.length);
        if (content === undefined) return;
        expect(content.pieces.size).toBeLessThanOrEqual(Math.max(0, (bytes.length - 128) / 40));
        for (const [index, hash] of content.pieces) {
          expect(index * content.head.pieceBytes).toBeLessThan(content.head.size);
          expect(hash.length).toBe(32);
        }
      }),
      { numRuns: 4000 },
    );
  });

  test("that is whole says what was written, the last word of each piece", () => {
    fc.assert(
      fc.property(counted(anyJournal), ([head, pieces]) => {
        const content = decodeJournal(bytesOf([head, pieces]));
        expect(content?.head).toEqual(head);
        const count = Math.ceil(head.size / head.pieceBytes);
        const last = new Map(pieces.filter(({ index }) => index < count).map(({ index, hash }) => [index, hash]));
        expect(content?.pieces).toEqual(last);
      }),
      { numRuns: 1500 },
    );
  });

  test("that is cut at any byte says a part of what was written, and nothing else", () => {
    const whole: [JournalHead, { index: number; hash: Uint8Array }[]] = [
      { size: 9 * PIECE_BYTES_MIN, pieceBytes: PIECE_BYTES_MIN, root: "ab".repeat(32) },
      Array.from({ length: 9 }, (_, index) => ({ index, hash: new Uint8Array(32).fill(index + 1) })),
    ];
    const bytes = bytesOf(whole);
    for (let length = 0; length <= bytes.length; length++) {
      inputs++;
      const content = decodeJournal(bytes.subarray(0, length));
      const records = length < 128 ? undefined : Math.floor((length - 128) / 40);
      expect(content?.pieces.size).toBe(records as number);
    }
  });
});

describe("an address", () => {
  test("has one spelling, and any other text is none", () => {
    const near = mutated(anyAddress.map(formatAddress));
    fc.assert(
      fc.property(counted(fc.oneof(fc.string(), near)), (text) => {
        const address = parseAddress(text);
        if (isFault(address)) return;
        expect(isIp(address.ip)).toBe(true);
        expect(address.port).toBeGreaterThan(0);
        expect(formatAddress(address)).toBe(text);
      }),
      { numRuns: 4000 },
    );
    fc.assert(
      fc.property(counted(anyAddress), (address) => expect(parseAddress(formatAddress(address))).toEqual(address)),
    );
  });

  test("has a port of 1 to 65535, whatever the digits", () => {
    fc.assert(
      fc.property(counted(fc.oneof(fc.string(), fc.integer().map(String), fc.double().map(String))), (text) => {
        const port = parsePort(text);
        if (port !== undefined) expect(Number.isInteger(port) && port >= 1 && port <= 65535).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a command line", () => {
  const flags = [
    ...[
      "--host",
      "--port",
      "--dir",
      "--server",
      "--from",
      "--only",
      "--max-wait",
      "--max-uploads",
      "--max-upload-rate",
    ],
    ...["--max-download-rate", "--reject-all", "--verify", "--json", "--quiet", "--verbose", "--help", "--version"],
    ...["--trust-addresses", "--max-peers", "-h", "--", "-", "--__proto__", "--constructor", "--toString"],
  ];
  const word = fc.oneof(
    fc.constantFrom(...flags, "share", "search", "get", "hash", "menu", "__proto__", "constructor", "", "5M", "1e309"),
    fc.string({ maxLength: 12 }),
    anyAddress.map(formatAddress),
    fc.tuple(fc.constantFrom(...flags), fc.string({ maxLength: 8 })).map(([flag, value]) => `${flag}=${value}`),
    fc.integer().map(String),
  );
  const anyArgs = counted(fc.array(word, { maxLength: 9 }));
  const variable = fc.option(fc.oneof(fc.string(), anyAddress.map(formatAddress)), { nil: undefined });

  test("of any words is understood or complained of, and every number in it is one that was allowed", () => {
    fc.assert(
      fc.property(anyArgs, variable, (args, server) => {
        const config = parsePeer(args, { NAPSTER_SERVER: server });
        if (isUsage(config)) return expect(config.usage.length).toBeGreaterThan(0);
        if ("asked" in config || config.command === "hash") return;
        if (config.server !== undefined) expect(config.server.host).toMatch(/^[\w.-]+$/);
        for (const value of [
          config.uploads.maxUploads,
          config.uploads.maxUploadRate,
          config.downloads.maxDownloadRate,
          config.maxWaitSeconds,
        ])
          if (value !== undefined) expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
      }),
      { numRuns: 4000 },
    );
    fc.assert(
      fc.property(anyArgs, (args) => {
        const config = parseServer(args);
        if (!isUsage(config) && !("asked" in config)) expect(config.port ?? 0).toBeLessThanOrEqual(65535);
      }),
      { numRuns: 2000 },
    );
  });

  test("that is right is read as it was meant", () => {
    const right = fc.record({ server: anyAddress, from: anyAddress, wait: fc.nat(86_400), uploads: fc.nat(1000) });
    fc.assert(
      fc.property(counted(right), ({ server, from, wait, uploads }) => {
        const at = ["--server", formatAddress(server), "--from", formatAddress(from), "--dir", "x"];
        const args = ["get", "a b.mp4", ...at, `--max-wait=${wait}`, "--max-uploads", String(uploads)];
        const meant = {
          command: "get",
          names: ["a b.mp4"],
          folder: "x",
          server: { host: server.ip, port: server.port },
          from: { host: from.ip, port: from.port },
          maxWaitSeconds: wait,
          uploads: { maxUploads: uploads },
        };
        expect(parsePeer(args, {})).toMatchObject(meant);
      }),
      { numRuns: 500 },
    );
  });
});

describe("the hash cache", () => {
  const folder = temporaryFolder("fuzz");
  afterAll(() => folder[Symbol.dispose]());
  const hashed: Hashed = hashOf(new Uint8Array(3 * PIECE_BYTES_MIN + 7).fill(9));
  const stamp = { size: hashed.size, mtimeNs: 1n << 61n, ctimeNs: 1n, ino: 2n ** 63n + 5n };

  test("takes a row of anything for nothing, and gives back what was stored", () => {
    const path = join(folder.path, "hashes.sqlite");
    createHashCache({ path }).store("made", stamp, hashed);
    const db = new Database(path);
    db.run("PRAGMA busy_timeout = 2000");
    const cell = fc.oneof(
      fc.string({ maxLength: 40 }),
      fc.integer(),
      fc.double({ noNaN: true }),
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom(
        "",
        "-1",
        "1.5",
        "0x10",
        hashed.root,
        hashed.layer,
        hashed.size,
        hashed.pieceBytes,
        "9".repeat(400),
      ),
    );
    const columns = ["size", "mtime", "ctime", "ino", "root", "piece", "layer", "used"] as const;
    const anyRow = fc.record(
      Object.fromEntries(columns.map((column) => [column, fc.option(cell, { nil: undefined })])),
    );
    const cache = createHashCache({ path });
    fc.assert(
      fc.property(counted(anyRow), (row) => {
        cache.store("file", stamp, hashed);
        expect(cache.find("file", stamp)).toEqual(hashed);
        for (const [column, value] of Object.entries(row))
          if (value !== undefined) db.query(`UPDATE files SET ${column} = ? WHERE path = 'file'`).run(value as string);
        const found = cache.recorded("file");
        if (found !== undefined) expect(found.hashed.root).toBe(hashed.root);
        const again = cache.find("file", stamp);
        if (again !== undefined) expect(again).toEqual(hashed);
        expect(cache.findRoot("file", stamp) ?? hashed.root).toMatch(/^[0-9a-f]{64}$/);
      }),
      { numRuns: 250 },
    );
    cache.close();
    db.close();
  });
});

describe("the other end of a connection that says anything at all", () => {
  const anyLines = fc.array(fc.oneof(mutated(anyReply.map(encodeReply)), anyReply.map(encodeReply)), { maxLength: 8 });
  const anyTalk = fc.tuple(anyLines, anyBytes, fc.nat(60)).map(([lines, tail, slice]) => {
    const all = Buffer.concat([Buffer.from(lines.join("")), tail]);
    const step = slice + 1;
    return Array.from({ length: Math.ceil(all.length / step) }, (_, i) => all.subarray(i * step, (i + 1) * step));
  });

  test("ends every call in an answer or a fault, and never anything else", async () => {
    const asked: ServerRequest[] = [{ verb: "PING" }, { verb: "SEARCH", name: "a.mp4" }, { verb: "LEAVE" }];
    await fc.assert(
      fc.asyncProperty(counted(anyTalk), async (talk) => {
        const clock = createVirtualClock();
        let answers: Promise<unknown>[] = [];
        const [, far] = createFarEnd({ ip: "192.0.2.1", port: 1 }, (connection) => {
          const { caller, handlers } = createCaller(connection, clock);
          answers = asked.map((request) => caller.call(request));
          return handlers;
        });
        for (const chunk of talk) far.say(chunk);
        far.close();
        for (const answer of await Promise.all(answers))
          expect(isFault(answer) || "reply" in (answer as object)).toBe(true);
        expect(clock.pending).toBe(0);
      }),
      { numRuns: 1500 },
    );
  });

  test("never makes a lane write a byte outside the piece that was asked for, or report one that is not whole", async () => {
    const size = 4 * PIECE_BYTES_MIN;
    const order = { index: 2, offset: 2 * PIECE_BYTES_MIN, length: PIECE_BYTES_MIN };
    const header = fc.constantFrom(
      `DATA ${order.offset} ${order.length}\n`,
      `DATA ${order.offset + 1} ${order.length}\n`,
      `DATA 0 ${GET_BYTES_MAX}\n`,
    );
    const talk = fc
      .tuple(anyTalk, header, fc.nat(PIECE_BYTES_MIN * 2))
      .map(([chunks, line, length]) => [
        Buffer.from("HELLO 1\nLANE_OK\n"),
        Buffer.from(line),
        new Uint8Array(length),
        ...chunks,
      ]);
    await fc.assert(
      fc.asyncProperty(counted(talk), async (chunks) => {
        let written = 0;
        const pieces: number[] = [];
        let far: ReturnType<typeof createFarEnd>[1] | undefined;
        const clock = createVirtualClock();
        const lane = createLane({
          source: { ip: "192.0.2.1", port: 1 },
          ticket: "0".repeat(32),
          clock,
          bucket: sharedBucketOf(createSharedRate(undefined), clock),
          connect: async (to, open) => {
            const [connection, end] = createFarEnd(to, open);
            far = end;
            return connection;
          },
          part: {
            hasher: createPieceHasher(size, PIECE_BYTES_MIN),
            write(chunk, offset): Fault | undefined {
              expect(offset).toBe(order.offset + written);
              written += chunk.length;
              expect(written).toBeLessThanOrEqual(order.length);
              return undefined;
            },
            read: () => 0,
          },
          onEvent(event) {
            if (event.type === "piece") pieces.push(event.index);
          },
        });
        lane.fetch(order);
        for (const chunk of chunks) far?.say(chunk);
        lane.close();
        expect(pieces).toEqual(written === order.length ? [order.index] : []);
      }),
      { numRuns: 800 },
    );
  });

  test("is answered by a sharer line for line, in bounded replies, and never with a byte that it does not share", async () => {
    const secret = "a-byte-of-the-file";
    const requests = fc.array(fc.oneof(mutated(anyPeerRequest.map(encodeRequest)), anyPeerRequest.map(encodeRequest)), {
      maxLength: 10,
    });
    await fc.assert(
      fc.asyncProperty(counted(requests), fc.nat(40), async (lines, slice) => {
        const clock = createVirtualClock();
        const shares = createShareIndex<string>(async () => ({
          read: (into) => {
            into.fill(0);
            into.set(Buffer.from(secret).subarray(0, into.length));
            return into.length;
          },
          look: () => ({ unchanged: true, named: true }),
          close() {},
        }));
        const share = { name: "shared.mp4", size: 100, root: "c".repeat(64) };
        shares.put({ share, pieceBytes: PIECE_BYTES_MIN, layer: new Uint8Array(32), listed: "" });
        const policy = { maxUploads: 1, rejectAll: false, maxUploadRate: undefined };
        const key = "d".repeat(32);
        const uploads = createUploadServer({
          shares,
          clock,
          newTicket: () => "e".repeat(32),
          key,
          policy,
          onEvent() {},
        });
        const accept = (connection: Connection): Handlers => uploads.accept(connection);
        const [, far] = createFarEnd({ ip: "192.0.2.2", port: 2 }, accept);
        const all = Buffer.from(lines.join(""));
        for (let at = 0; at < all.length; at += slice + 1) far.say(all.subarray(at, at + slice + 1));
        await clock.advance(2000);
        far.close();
        expect(far.sent.length).toBeLessThan((all.length + 1) * LINE_BYTES_MAX);
        expect(far.sent).not.toContain(key);
        if (!lines.some((line) => line.includes("shared.mp4") || line.includes(share.root)))
          expect(far.sent).not.toContain(secret);
        uploads.close();
      }),
      { numRuns: 400 },
    );
  });
});

test("nothing but its proof makes a door count as reached, whatever it says and however it is cut", async () => {
  const nonce = "0".repeat(32);
  const key = "1".repeat(32);
  const proof = `PROBE_OK ${proofOf(key, nonce)}\n`;
  const said = fc.oneof(
    mutated(anyReply.map(encodeReply)),
    mutated(fc.constant(proof)),
    fc.constant(proof),
    fc.string(),
  );
  await fc.assert(
    fc.asyncProperty(counted(said), fc.nat(20), async (text, slice) => {
      const clock = createVirtualClock();
      const net = createNet();
      const { outcome } = createReachability({ connect: net.connect, clock, newNonce: () => nonce }).probe(
        { ip: "192.0.2.2", port: 2 },
        key,
      );
      const all = Buffer.from(text);
      for (let at = 0; at < all.length; at += slice + 1) net.dialled[0]?.say(all.subarray(at, at + slice + 1));
      await clock.advance(PROBE_SECONDS_MAX * 1000);
      const line = text.split("\n", 1)[0]?.replace(/\r$/, "");
      expect(await outcome).toBe(text.includes("\n") && `${line}\n` === proof ? "reached" : "unreached");
      expect(clock.pending).toBe(0);
    }),
    { numRuns: 600 },
  );
});

test("a range of addresses is read strictly or not at all", () => {
  fc.assert(
    fc.property(counted(fc.oneof(mutated(fc.constant("10.20.0.0/16")), fc.string())), (text) => {
      const range = parseRange(text);
      if (isFault(range)) return;
      expect(`${range.ip}/${range.bits}`).toBe(text);
      expect(isIn(range.ip, range)).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test("a set of pieces never grows, and a bit beyond it is not set", () => {
  fc.assert(
    fc.property(counted(fc.uint8Array({ maxLength: 40 })), fc.nat(2000), (bits, index) => {
      const length = bits.length;
      const before = hasBit(bits, index);
      setBit(bits, index);
      expect(bits.length).toBe(length);
      expect(hasBit(bits, index)).toBe(before || index < length * 8);
    }),
    { numRuns: 1000 },
  );
});
