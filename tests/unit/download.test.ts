// A download from its first question to its final name, over real sockets, from sources that tell the truth or do not.
// Invariant: the final name appears only with the source's bytes; whatever went wrong, what was kept can be resumed.
// Never: waits for time to pass; lanes run in this thread.

import { afterAll, afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPieceHasher, HASH_BYTES, type Hashed, pieceBytesFor } from "../../src/content/hashing/merkle.ts";
import { watched } from "../../src/content/overwrite-watch.ts";
import { openPartWorkspace } from "../../src/content/part-workspace.ts";
import { readAt, writeAt } from "../../src/content/positioned-io.ts";
import { decodeJournal } from "../../src/download/disk/journal.ts";
import { download } from "../../src/download/download.ts";
import { createLane } from "../../src/download/lanes/lane.ts";
import type { OpenLane } from "../../src/download/lanes/lane-threads.ts";
import type { DownloadFiles, DownloadNetwork, DownloadOptions, DownloadRequest } from "../../src/download/options.ts";
import type { Progress } from "../../src/download/progress.ts";
import type { Address } from "../../src/protocol/address.ts";
import { type Fault, fault } from "../../src/protocol/fault.ts";
import { type Clock, systemClock } from "../../src/shared/clock.ts";
import { createSharedRate, sharedBucketOf } from "../../src/shared/shared-rate.ts";
import type { Env } from "../../src/transport/env.ts";
import { connect } from "../../src/transport/tcp.ts";
import { codeOf, good } from "../support/good.ts";
import { contentOf, data, type Get, hashOf, type Script, type Sharer, startSharer } from "../support/sharer.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const PIECE = 256 * 1024;
const BLOCK = 16 * 1024;
const NAME = "aula.mp4";
const cache = process.env.XDG_CACHE_HOME;
const root = fs.mkdtempSync(join(tmpdir(), "napster-download-"));
process.env.XDG_CACHE_HOME = join(root, "cache");
let folder = root;
let turn = 0;
const sharers: Sharer[] = [];

beforeEach(() => {
  folder = join(root, `pasta ${turn++}`);
  fs.mkdirSync(folder);
});
afterEach(() => {
  for (const sharer of sharers.splice(0)) sharer.close();
});
afterAll(() => {
  if (cache === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = cache;
  fs.rmSync(root, { recursive: true, force: true });
});

function share(content: Uint8Array, script: Script = {}, port = 0): Sharer {
  const sharer = startSharer(content, script, port);
  sharers.push(sharer);
  return sharer;
}

const faster = (times: number): Clock => ({
  now: () => systemClock.now() * times,
  after: (ms, then) => systemClock.after(ms / times, then),
});
// The seconds in which a lost source may return pass in milliseconds.
const quick = faster(100);
// On a busy machine an answer that comes is not late yet.
const brisk = faster(50);

const openLane: OpenLane = ({ source, ticket, size, pieceBytes, fd, watch }, onEvent) =>
  createLane({
    source,
    ticket,
    connect,
    clock: systemClock,
    bucket: sharedBucketOf(createSharedRate(undefined), systemClock),
    part: {
      hasher: createPieceHasher(size, pieceBytes),
      write: (chunk, offset) => watched(watch, fd, () => writeAt(fd, chunk, offset)),
      read: (into, offset) => readAt(fd, into, offset),
    },
    onEvent,
  });

async function hashPieces(fd: number, head: { size: number; pieceBytes: number }, first: number, pieces: number) {
  const hasher = createPieceHasher(head.size, head.pieceBytes);
  const layer = new Uint8Array(pieces * HASH_BYTES);
  for (let i = 0; i < pieces; i++) {
    const offset = (first + i) * head.pieceBytes;
    const into = new Uint8Array(Math.min(head.pieceBytes, head.size - offset));
    const read = good(readAt(fd, into, offset));
    hasher.update(into.subarray(0, read));
    hasher.finish(layer.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
  }
  return layer;
}

type Fields = DownloadRequest & DownloadFiles & DownloadNetwork & Pick<DownloadOptions, "name" | "others"> & Env;

/** Downloads from that peer alone, with `fields` in whichever part of the options they belong. */
function fetchFrom(from: Address, fields: Partial<Fields> = {}): Promise<Hashed | Fault> {
  const { name = NAME, others = [] } = fields;
  return download({
    name,
    from,
    others,
    request: { only: true, maxWaitSeconds: 60, ...fields },
    env: { connect, clock: quick, random: () => 0.5, ...fields },
    files: {
      openPartWorkspace: (wanted, apart) => openPartWorkspace(folder, wanted, apart),
      hashPieces: (fd) => (head, first, pieces) => hashPieces(fd, head, first, pieces),
      ...fields,
    },
    network: {
      self: { ip: "127.0.0.1", port: 9 },
      openLane,
      findHolders: async () => [],
      maxDownloadRate: () => undefined,
      offer: () => ({ have() {}, end() {} }),
      ...fields,
    },
  });
}

const path = (name: string) => join(folder, name);
const there = () => fs.readdirSync(folder).sort();
const PART = `${NAME}.part`;
const JOURNAL = `${NAME}.part.journal`;

const SILENCE = new Uint8Array(0);
const journaled = (): number =>
  fs.existsSync(path(JOURNAL)) ? (decodeJournal(fs.readFileSync(path(JOURNAL)))?.pieces.size ?? 0) : 0;

/** A download whose source says nothing of what comes after the first `kept` pieces, and dies once those are journaled. */
async function interrupted(content: Uint8Array, kept: number): Promise<void> {
  const source = share(content, { get: ({ offset }) => (offset >= kept * PIECE ? SILENCE : undefined) });
  const ended = fetchFrom(source.address);
  await until(`${kept} pieces in the journal`, () => journaled() === kept);
  source.close();
  expect(codeOf(await ended)).not.toBe("no fault");
  expect(there()).toEqual([PART, JOURNAL]);
}

function expectWhole(content: Uint8Array): void {
  expect(there()).toEqual([NAME]);
  expect(Buffer.compare(fs.readFileSync(path(NAME)), content)).toBe(0);
}

describe("whole files", () => {
  for (const size of [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE + 17]) {
    test(`a file of ${size} bytes arrives whole, with its root (SPEC 5.f, 5.h)`, async () => {
      const content = contentOf(size);
      const source = share(content);
      expect(good(await fetchFrom(source.address))).toEqual(hashOf(content));
      expectWhole(content);
      await until("the source to be left", () => source.open === 0);
    });

    test(`a file of ${size} bytes whose root is not known at first arrives whole`, async () => {
      const content = contentOf(size);
      let asked = 0;
      const layer = () => (++asked < 4 ? "ERROR NOT_READY retry hashing" : hashOf(content).layer);
      const source = share(content, { rootKnown: false, layer });
      expect(good(await fetchFrom(source.address)).root).toBe(hashOf(content).root);
      expectWhole(content);
    });
  }

  test("a file is told of as it comes: bytes never shrink, and end at the size", async () => {
    const content = contentOf(6 * PIECE);
    const told: Progress[] = [];
    good(await fetchFrom(share(content).address, { onProgress: (progress) => told.push(progress) }));
    expect(told.length).toBeGreaterThan(0);
    for (let i = 1; i < told.length; i++) expect(told[i]?.bytes).toBeGreaterThanOrEqual(told[i - 1]?.bytes ?? 0);
    expect(told.at(-1)).toMatchObject({ bytes: content.length, size: content.length, waiting: undefined });
  });

  test("a file under a name that is taken is FILE_EXISTS, and the file that has it stays", async () => {
    fs.writeFileSync(path(NAME), "mine");
    expect(codeOf(await fetchFrom(share(contentOf(10)).address))).toBe("FILE_EXISTS");
    expect(there()).toEqual([NAME]);
    expect(fs.readFileSync(path(NAME), "utf8")).toBe("mine");
  });

  test("a file whose name is taken meanwhile is FILE_EXISTS, and the .part stays", async () => {
    const content = contentOf(3 * PIECE);
    const source = share(content, {
      get: () => {
        fs.writeFileSync(path(NAME), "mine");
        return undefined;
      },
    });
    expect(codeOf(await fetchFrom(source.address))).toBe("FILE_EXISTS");
    expect(fs.readFileSync(path(NAME), "utf8")).toBe("mine");
    expect(there()).toContain(PART);
  });

  test("a file under a name that leads out of the folder is BAD_NAME, and nothing is made", async () => {
    const source = share(contentOf(10));
    for (const name of ["../x", "..\\x", "/tmp/x", "CON", "x.part", "a\u0000b"])
      expect(codeOf(await fetchFrom(source.address, { name }))).not.toBe("no fault");
    expect(there()).toEqual([]);
  });

  test("a file that is being downloaded already is IN_USE", async () => {
    const content = contentOf(3 * PIECE);
    const second: string[] = [];
    const source = share(content);
    const progress = async () => {
      if (second.length > 0) return;
      second.push("asked");
      second.push(codeOf(await fetchFrom(source.address)));
    };
    good(await fetchFrom(source.address, { onProgress: () => void progress() }));
    await until("the second answer", () => second.length === 2);
    expect(second[1]).toBe("IN_USE");
    expectWhole(content);
  });
});

describe("refusals", () => {
  for (const code of ["BUSY", "REFUSED", "NOT_SHARED", "CHANGED"] as const) {
    test(`a source that refuses with ${code} is heard, and nothing is made`, async () => {
      const source = share(contentOf(10), { grant: () => `REJECT ${code} final no` });
      expect(codeOf(await fetchFrom(source.address))).toBe(code);
      expect(there()).toEqual([]);
    });
  }

  test("a source that is not there is PEER_UNREACHABLE", async () => {
    const source = share(contentOf(10));
    source.close();
    expect(codeOf(await fetchFrom(source.address))).toBe("PEER_UNREACHABLE");
    expect(there()).toEqual([]);
  });
});

describe("lies", () => {
  const content = contentOf(4 * PIECE + 5);
  const { layer } = hashOf(content);
  const flipped = ({ offset, length }: { offset: number; length: number }): Uint8Array => {
    const bytes = content.slice(offset, offset + length);
    bytes[length >> 1] = (bytes[length >> 1] as number) ^ 1;
    return data(offset, bytes);
  };

  test("a source that lies about one bit is CORRUPT, and nothing has the final name", async () => {
    const source = share(content, { get: (get) => (get.offset === 2 * PIECE ? flipped(get) : undefined) });
    expect(codeOf(await fetchFrom(source.address))).toBe("CORRUPT");
    expect(there()).not.toContain(NAME);
  });

  test("a source that lies about one bit while its root is not known is CORRUPT once the layer is there", async () => {
    let ready = false;
    const source = share(content, {
      rootKnown: false,
      layer: () => (ready ? layer : "ERROR NOT_READY retry hashing"),
      get: (get, count) => {
        ready ||= count > 4;
        return get.offset === PIECE ? flipped(get) : undefined;
      },
    });
    expect(codeOf(await fetchFrom(source.address))).toBe("CORRUPT");
    expect(there()).not.toContain(NAME);
  });

  const layers: readonly (readonly [string, Uint8Array, string])[] = [
    ["too short", layer.subarray(HASH_BYTES), "CORRUPT"],
    ["too long", Buffer.concat([layer, layer.subarray(0, HASH_BYTES)]), "BAD_REPLY"],
    ["of another content", hashOf(contentOf(content.length, 9)).layer, "CORRUPT"],
    ["empty", new Uint8Array(0), "CORRUPT"],
  ];
  for (const [what, wrong, code] of layers) {
    test(`a source with a layer that is ${what} is ${code}`, async () => {
      const source = share(content, { layer: () => wrong });
      expect(codeOf(await fetchFrom(source.address))).toBe(code);
      expect(there()).not.toContain(NAME);
    });

    test(`a source with a layer that is ${what}, its root not said, ends with a fault`, async () => {
      const source = share(content, { rootKnown: false, layer: () => wrong });
      expect(codeOf(await fetchFrom(source.address))).toBe(code);
      expect(there()).not.toContain(NAME);
    });
  }

  const answers: readonly (readonly [string, (get: { offset: number; length: number }) => Uint8Array])[] = [
    ["more bytes than asked", ({ offset, length }) => data(offset, new Uint8Array(length + 1))],
    ["fewer bytes than asked", ({ offset, length }) => data(offset, content.subarray(offset, offset + length - 1))],
    ["the wrong offset", ({ offset, length }) => data(offset + 1, content.subarray(offset, offset + length))],
    ["a reply that is none here", () => Buffer.from("JOIN_OK 1.2.3.4:5\n")],
    ["no protocol at all", () => Buffer.from("HTTP/1.1 200 OK\r\n\r\n")],
    ["a line without an end", () => new Uint8Array(5000).fill(120)],
  ];
  for (const [what, said] of answers) {
    test(`a source that answers with ${what} ends the download with a fault, and nothing has the final name`, async () => {
      const source = share(content, { get: said });
      expect(codeOf(await fetchFrom(source.address))).toMatch(/^(?:BAD_REPLY|LINE_TOO_LONG|CORRUPT)$/);
      expect(there()).not.toContain(NAME);
    });
  }

  test("a source that hangs up before it answers is PEER_UNREACHABLE: no download was under way that could have broken off", async () => {
    const mute = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: (socket) => void socket.end() } });
    expect(codeOf(await fetchFrom({ ip: "127.0.0.1", port: mute.port }))).toBe("PEER_UNREACHABLE");
    mute.stop(true);
  });

  const TB = 2 ** 40;
  const grants: readonly (readonly [string, number, number, string])[] = [
    ["7 TB, for which there is no room", 7 * TB, pieceBytesFor(7 * TB), "DISK_FULL"],
    ["8 PiB", Number.MAX_SAFE_INTEGER, pieceBytesFor(Number.MAX_SAFE_INTEGER), "BAD_REPLY"],
    ["pieces of another length than its size asks for", 4 * PIECE, 2 * PIECE, "BAD_REPLY"],
    ["pieces of 100 bytes", 4 * PIECE, 100, "BAD_REPLY"],
    ["more than 2^53 bytes", 2 ** 53, 2 ** 24, "BAD_REPLY"],
  ];
  for (const [what, size, pieceBytes, code] of grants) {
    test(`a source that lies about its file, which has ${what}, is ${code}, and nothing is left on the disk`, async () => {
      const source = share(content, { grant: (ticket) => `ACCEPT ${ticket} ${size} ${pieceBytes} ${"a".repeat(64)}` });
      expect(codeOf(await fetchFrom(source.address))).toBe(code);
      expect(there()).toEqual([]);
    });
  }
});

describe("sources that break", () => {
  test("a source that breaks in the middle ends with a fault; the .part and the journal stay, the final name does not appear", async () => {
    await interrupted(contentOf(6 * PIECE), 3);
  });

  test("a source that breaks in the middle of a piece ends with a fault too", async () => {
    const content = contentOf(3 * PIECE);
    let source: Sharer;
    source = share(content, {
      get({ offset, length }) {
        if (offset < PIECE) return undefined;
        setImmediate(() => source.close());
        return data(offset, content.subarray(offset, offset + length)).subarray(0, length >> 1);
      },
    });
    expect(codeOf(await fetchFrom(source.address))).not.toBe("no fault");
    expect(there()).not.toContain(NAME);
  });

  for (const blocks of [4, 5, 15])
    test(`a source that breaks after every ${blocks} blocks of 16 KiB sends each block once, and the file arrives`, async () => {
      const content = contentOf(8 * PIECE + 100);
      let sent = 0;
      let cut = false;
      const source: Sharer = share(content, {
        get({ offset, length }) {
          if (cut) return SILENCE;
          const bytes = Math.min(length, blocks * BLOCK);
          sent += bytes;
          if (bytes < length) {
            cut = true;
            setImmediate(() => {
              source.hangUp();
              cut = false;
            });
          }
          return data(offset, content.subarray(offset, offset + length)).subarray(
            0,
            `DATA ${offset} ${length}\n`.length + bytes,
          );
        },
      });
      good(await fetchFrom(source.address));
      expectWhole(content);
      expect(sent).toBe(content.length);
    });

  test("a source that breaks in the middle of a piece, as our program does then, costs no block that had come", async () => {
    const content = contentOf(3 * PIECE);
    const abort = new AbortController();
    const half = PIECE / 2 + 1000; // a block that is not whole does not count
    let isBroken = false; // what it said afterwards would be taken for the rest of that piece
    const first = share(content, {
      get({ offset, length }) {
        if (isBroken) return SILENCE;
        isBroken = offset >= PIECE;
        const said = data(offset, content.subarray(offset, offset + length));
        return isBroken ? said.subarray(0, said.length - length + half) : said;
      },
    });
    const moved = { bytes: 0 };
    const stopped = fetchFrom(first.address, {
      signal: abort.signal,
      openLane: (start, onEvent) =>
        openLane(start, (event) => {
          if (event.type === "moved") moved.bytes += event.bytes;
          onEvent(event);
        }),
    });
    await until("a piece and a half", () => moved.bytes >= PIECE + half);
    abort.abort();
    expect(codeOf(await stopped)).toBe("CANCELLED");
    expect(there()).toEqual([PART, JOURNAL]);

    const second = share(content);
    good(await fetchFrom(second.address));
    expectWhole(content);
    const fetched = second.gets.reduce((sum, { length }) => sum + length, 0);
    expect(fetched).toBeLessThanOrEqual(content.length - PIECE - PIECE / 2);
  });

  test("a source that breaks off and comes back within seconds is taken up again, and the download goes on by itself, unless no time may pass", async () => {
    const content = contentOf(6 * PIECE);
    const breaking = (): Sharer => {
      let died = false;
      return share(content, {
        get: (_, count) => {
          if (count !== 3 || died) return undefined;
          died = true;
          return "die";
        },
      });
    };
    expect(codeOf(await fetchFrom(breaking().address, { maxWaitSeconds: 0 }))).toBe("PEER_GONE");
    good(await fetchFrom(breaking().address));
    expectWhole(content);
  });

  test("a source that breaks at every lane, while it goes on granting, ends with a fault in the end", async () => {
    const source = share(contentOf(6 * PIECE), { lane: () => "die" });
    const ended = await Promise.race([
      fetchFrom(source.address),
      until("the download to end, after a thousand tries", () => source.asked.length > 5000 && "endless", 30),
    ]);
    expect(codeOf(ended)).not.toBe("no fault");
  });

  for (const code of ["BAD_STATE", "TOO_MANY", "CHANGED", "LUNCH"])
    test(`a source that breaks its word by a final ${code} in answer to LANE is not asked for another`, async () => {
      const source = share(contentOf(6 * PIECE), { lane: () => `ERROR ${code} final no` });
      expect(codeOf(await fetchFrom(source.address))).not.toBe("no fault");
      const count = (verb: string) => source.asked.filter((line) => line.startsWith(verb)).length;
      expect(count("DOWNLOAD")).toBe(1);
      expect(count("LANE")).toBeLessThanOrEqual(4); // asked for at once, as the clock makes it seem far
    });

  test("a source that has started anew, where our ticket is worth nothing, is asked for a new one", async () => {
    const content = contentOf(6 * PIECE);
    let lanes = 0;
    const source = share(content, {
      get: (_, count) => (count === 3 ? "die" : undefined),
      lane() {
        if (++lanes !== 2) return undefined;
        setImmediate(() => source.hangUp());
        return "ERROR BAD_STATE final no such ticket";
      },
    });
    good(await fetchFrom(source.address));
    expectWhole(content);
  });

  test("a source that refuses for good when it is asked again is not asked a third time", async () => {
    const content = contentOf(6 * PIECE);
    let asked = 0;
    const source = share(content, {
      get: ({ offset }) => (offset >= 3 * PIECE ? "die" : undefined),
      grant: () => (++asked === 1 ? undefined : "REJECT REFUSED final no"),
    });
    expect(codeOf(await fetchFrom(source.address))).not.toBe("no fault");
    expect(asked).toBe(2);
  });

  test("a source that breaks off and comes back with another content is CHANGED, and never mixed", async () => {
    const content = contentOf(6 * PIECE);
    const first = share(content, { get: ({ offset }) => (offset >= 3 * PIECE ? "die" : undefined) });
    let asked = 0;
    first.script.grant = (ticket) =>
      ++asked === 1 ? undefined : `ACCEPT ${ticket} ${content.length} ${PIECE} ${"b".repeat(64)}`;
    expect(codeOf(await fetchFrom(first.address))).toBe("CHANGED");
    expect(there()).not.toContain(NAME);
  });
});

describe("resuming", () => {
  const content = contentOf(8 * PIECE + 100);

  test("a resumed download is told of from what was there: the first report counts that", async () => {
    await interrupted(content, 4);
    const told: Progress[] = [];
    good(await fetchFrom(share(content).address, { onProgress: (progress) => told.push(progress) }));
    expect(told[0]?.bytes).toBeGreaterThanOrEqual(4 * PIECE);
    expectWhole(content);
  });

  test("a resumed download fetches no journaled piece twice", async () => {
    await interrupted(content, 4);
    const second = share(content);
    good(await fetchFrom(second.address));
    expectWhole(content);
    expect(second.gets.length).toBe(9 - 4);
    expect(new Set(second.gets.map(({ offset }) => offset)).size).toBe(second.gets.length);
  });

  test("a resumed download goes on from another peer that has the same content", async () => {
    await interrupted(content, 4);
    const second = share(content);
    good(await fetchFrom(second.address));
    expectWhole(content);
    expect(second.gets.length).toBeLessThan(9);
  });

  test("a resumed download does not believe the journal where the .part was changed", async () => {
    await interrupted(content, 4);
    const fd = fs.openSync(path(PART), "r+");
    fs.writeSync(fd, "changed by another", 100);
    fs.closeSync(fd);
    good(await fetchFrom(share(content).address));
    expectWhole(content);
  });

  test("a resumed download does not believe the journal beyond what the .part holds", async () => {
    await interrupted(content, 4);
    fs.truncateSync(path(PART), PIECE + 10);
    good(await fetchFrom(share(content).address));
    expectWhole(content);
  });

  const spoilings: readonly (readonly [string, (journal: Buffer) => Uint8Array])[] = [
    ["garbage", (journal) => contentOf(journal.length, 7)],
    ["empty", () => new Uint8Array(0)],
    ["cut in its head", (journal) => journal.subarray(0, 60)],
    ["cut in a record", (journal) => journal.subarray(0, journal.length - 7)],
    ["followed by garbage", (journal) => Buffer.concat([journal, contentOf(333, 3)])],
    [
      "of another piece length",
      (journal) => Buffer.from(journal.toString("latin1").replace("262144", "524288"), "latin1"),
    ],
    [
      "telling lies with good sums",
      (journal) => Buffer.concat([journal.subarray(0, 128), journal.subarray(168, 208), journal.subarray(128, 168)]),
    ],
  ];
  for (const [what, spoil] of spoilings) {
    test(`a resumed download with a journal that is ${what} ends with the source's bytes`, async () => {
      await interrupted(content, 4);
      fs.writeFileSync(path(JOURNAL), spoil(fs.readFileSync(path(JOURNAL))));
      good(await fetchFrom(share(content).address));
      expectWhole(content);
    });
  }

  test("a resumed download with a lost journal waits a little for a source that is not ready to say what is right, and fetches the rest only", async () => {
    fs.writeFileSync(path(PART), content.subarray(0, 7 * PIECE));
    let asked = 0;
    const layer = () => (++asked < 4 ? "ERROR NOT_READY retry hashing" : hashOf(content).layer);
    const source = share(content, { rootKnown: false, layer });
    good(await fetchFrom(source.address));
    expectWhole(content);
    expect(source.gets.map(({ offset }) => offset / PIECE).sort()).toEqual([7, 8]);
  });

  test("a resumed download with a lost journal throws nothing away for a source that breaks off before it has said what is right", async () => {
    fs.writeFileSync(path(PART), content.subarray(0, 7 * PIECE));
    const first = share(content, {
      layer() {
        first.close();
        return "ERROR NOT_READY retry hashing";
      },
    });
    expect(codeOf(await fetchFrom(first.address))).toBe("PEER_GONE");
    expect(Buffer.compare(fs.readFileSync(path(PART)), content.subarray(0, 7 * PIECE))).toBe(0);
    const second = share(content);
    good(await fetchFrom(second.address));
    expectWhole(content);
    expect(second.gets.map(({ offset }) => offset / PIECE).sort()).toEqual([7, 8]);
  });

  test("a resumed download with a .part that is garbage and no journal ends with the source's bytes", async () => {
    fs.writeFileSync(path(PART), contentOf(3 * PIECE, 5));
    good(await fetchFrom(share(content).address));
    expectWhole(content);
  });

  test("a resumed download of another content under the same name goes into files of its own, and what was kept stays", async () => {
    await interrupted(content, 4);
    const before = fs.readFileSync(path(PART));
    const other = contentOf(content.length, 2);
    good(await fetchFrom(share(other).address));
    expect(there()).toEqual([NAME, PART, JOURNAL]);
    expect(Buffer.compare(fs.readFileSync(path(NAME)), other)).toBe(0);
    expect(Buffer.compare(fs.readFileSync(path(PART)), before)).toBe(0);

    fs.renameSync(path(NAME), path("outra.mp4"));
    const source = share(content);
    good(await fetchFrom(source.address));
    expect(Buffer.compare(fs.readFileSync(path(NAME)), content)).toBe(0);
    expect(source.gets.length).toBe(9 - 4);
  });

  for (const size of [content.length, 5 * PIECE])
    test(`a resumed download of another content of ${size} bytes, whose root is not said, goes into files of its own too`, async () => {
      await interrupted(content, 4);
      const other = contentOf(size, 2);
      let asked = 0;
      const layer = () => (++asked < 4 ? "ERROR NOT_READY retry hashing" : hashOf(other).layer);
      good(await fetchFrom(share(other, { rootKnown: false, layer }).address));
      expect(Buffer.compare(fs.readFileSync(path(NAME)), other)).toBe(0);
      fs.rmSync(path(NAME));
      const source = share(content);
      good(await fetchFrom(source.address));
      expectWhole(content);
      expect(source.gets.length).toBe(9 - 4);
    });

  test("a resumed download never touches what a symlink in the .part's place leads to", async () => {
    const outside = join(root, `outside ${turn}`);
    fs.writeFileSync(outside, "outside");
    fs.symlinkSync(outside, path(PART));
    expect(codeOf(await fetchFrom(share(content).address))).toBe("PART_BLOCKED");
    expect(fs.readFileSync(outside, "utf8")).toBe("outside");
  });
});

describe("other programs in the folder", () => {
  const content = contentOf(8 * PIECE);

  for (const [what, swap] of [
    ["a link", () => fs.symlinkSync(join(root, "evil"), path(PART))],
    ["another file", () => fs.writeFileSync(path(PART), "evil")],
    ["a folder", () => fs.mkdirSync(path(PART))],
    ["nothing", () => {}],
  ] as const) {
    test(`another program's ${what} in the .part's place gets no final name for it: PART_LOST`, async () => {
      fs.writeFileSync(join(root, "evil"), "evil");
      let swapped = false;
      const get = ({ offset, length }: Get) => {
        if (!swapped) {
          swapped = true;
          fs.rmSync(path(PART));
          swap();
        }
        return data(offset, content.subarray(offset, offset + length));
      };
      expect(codeOf(await fetchFrom(share(content, { get }).address))).toBe("PART_LOST");
      expect(there()).not.toContain(NAME);
      good(await fetchAgain());
    });
  }

  const overwrite = (at: number) => {
    const fd = fs.openSync(path(PART), "r+");
    fs.writeSync(fd, "evil", at);
    fs.closeSync(fd);
  };
  const long = contentOf(40 * PIECE);
  /** Whether the first piece is in the .part. */
  function isBegun(): boolean {
    const fd = fs.openSync(path(PART), "r");
    const begin = Buffer.alloc(64);
    fs.readSync(fd, begin, 0, 64, PIECE - 64);
    fs.closeSync(fd);
    return Buffer.compare(begin, long.subarray(PIECE - 64, PIECE)) === 0;
  }
  /** A source that has `touch` done once while the .part grows, over bytes that are there. */
  function touchedOnce(touch: () => void) {
    const seen = { gets: 0, touched: false };
    const source = share(long, {
      get() {
        seen.gets += 1;
        if (!seen.touched && seen.gets > 8 && isBegun()) {
          seen.touched = true;
          touch();
        }
        return undefined;
      },
    });
    return { source, seen };
  }

  for (const [what, touch] of [
    ["cuts the .part to nothing", () => fs.truncateSync(path(PART), 0)],
    ["writes over what is there", () => overwrite(0)],
    [
      "writes over it, and sets its time back",
      () => {
        overwrite(9);
        fs.utimesSync(path(PART), 1, 1);
      },
    ],
    ["makes it longer", () => fs.appendFileSync(path(PART), "evil".repeat(60 * PIECE))],
  ] as const) {
    test.skipIf(process.platform !== "linux")(
      `and ${what}, while it grows, costs what it spoiled a second fetch`,
      async () => {
        const { source, seen } = touchedOnce(touch);
        good(await fetchFrom(source.address));
        expect(seen.touched).toBe(true);
        expectWhole(long);
        expect(seen.gets).toBeLessThanOrEqual(40 + 39);
      },
    );
  }

  test("a program that goes on writing into the .part for ever ends as PART_CHANGED, and the next try finishes", async () => {
    const source = share(content, {
      get({ offset }) {
        if (offset > 0) overwrite(0);
        return undefined;
      },
    });
    const reads = { count: 0 };
    const hashing: DownloadFiles["hashPieces"] = (fd) => (head, first, pieces) => {
      reads.count += 1;
      overwrite(PIECE); // while it is read
      return hashPieces(fd, head, first, pieces);
    };
    expect(codeOf(await fetchFrom(source.address, { hashPieces: hashing }))).toBe("PART_CHANGED");
    expect(there()).not.toContain(NAME);
    expect(reads.count).toBeLessThanOrEqual(4);
    source.script = {};
    good(await fetchFrom(source.address));
    expectWhole(content);
  });

  test("a change of the .part is found by --paranoid also where the system tells nothing of it", async () => {
    const blind: OpenLane = (start, onEvent) => openLane({ ...start, watch: undefined }, onEvent);
    const hidden = async (paranoid: boolean) => {
      const { source, seen } = touchedOnce(() => overwrite(0));
      const openUndoubted = async (name: string) => {
        const opened = await openPartWorkspace(folder, name);
        return "fault" in opened ? opened : { ...opened, doubt: async () => false };
      };
      good(await fetchFrom(source.address, { openLane: blind, openPartWorkspace: openUndoubted, paranoid }));
      expect(seen.touched).toBe(true);
    };
    await hidden(true);
    expectWhole(long);
    fs.rmSync(path(NAME));
    await hidden(false); // or this test shows nothing
    expect(Buffer.compare(fs.readFileSync(path(NAME)), long)).not.toBe(0);
  });

  test("a download asks for nothing to be read again where nothing speaks against the file", async () => {
    let reads = 0;
    const hashing: DownloadFiles["hashPieces"] = (fd) => (head, first, pieces) => {
      reads += 1;
      return hashPieces(fd, head, first, pieces);
    };
    good(await fetchFrom(share(content).address, { hashPieces: hashing }));
    expect(reads).toBe(0);
    fs.rmSync(path(NAME));
    good(await fetchFrom(share(content).address, { hashPieces: hashing, paranoid: true }));
    expect(reads).toBe(1);
  });

  test.skipIf(process.platform !== "linux")(
    "a name that is the same in NFC is taken, however the disk spells it",
    async () => {
      const [composed, decomposed] = ["A\u00e7\u00e3o.mp4", "Ac\u0327a\u0303o.mp4"];
      fs.writeFileSync(path(decomposed), "old");
      const source = share(content);
      expect(codeOf(await fetchFrom(source.address, { name: composed }))).toBe("FILE_EXISTS");
      expect(there()).toEqual([decomposed]);
      fs.rmSync(path(decomposed));
      source.script = {
        get: ({ offset }) => (offset === 0 ? fs.writeFileSync(path(decomposed), "late") : undefined) as undefined,
      };
      expect(codeOf(await fetchFrom(source.address, { name: composed }))).toBe("FILE_EXISTS");
      expect(there()).not.toContain(composed);
    },
  );

  test("a disk that does not say what room it has is DISK_ERROR, and leaves nothing", async () => {
    const lost = async () => {
      const opened = await openPartWorkspace(folder, NAME);
      if ("fault" in opened) return opened;
      return { ...opened, freeBytes: async () => fault("DISK_ERROR", "disk", "statfs: EIO") };
    };
    expect(codeOf(await fetchFrom(share(content).address, { openPartWorkspace: lost }))).toBe("DISK_ERROR");
    expect(there()).toEqual([]);
  });

  /** What a person does who has read the error: clears the place and asks again. */
  async function fetchAgain() {
    fs.rmSync(path(PART), { recursive: true, force: true });
    const again = await fetchFrom(share(content).address);
    expectWhole(content);
    return again;
  }

  test("a change of the file at the source, which then shares the file no more, is CHANGED: asking again as it is would not help", async () => {
    const source = share(content, {
      get() {
        source.script = { grant: () => "REJECT NOT_SHARED final" };
        return "die";
      },
    });
    expect(codeOf(await fetchFrom(source.address))).toBe("CHANGED");
  });

  test("a download with a journal of many gigabytes does not have it read into memory", async () => {
    fs.writeFileSync(path(JOURNAL), "");
    fs.truncateSync(path(JOURNAL), 8 * 2 ** 30);
    good(await fetchFrom(share(content).address));
    expectWhole(content);
  });
});

describe("cancelling", () => {
  const content = contentOf(8 * PIECE);

  test("a download that is cancelled before it begins is CANCELLED", async () => {
    expect(codeOf(await fetchFrom(share(content).address, { signal: AbortSignal.abort() }))).toBe("CANCELLED");
    expect(there()).not.toContain(NAME);
  });

  test("a download that is cancelled in the middle is CANCELLED, leaves the source, and can be resumed", async () => {
    const stop = new AbortController();
    const source = share(content, {
      get: (_, count) => {
        if (count === 5) stop.abort();
        return undefined;
      },
    });
    expect(codeOf(await fetchFrom(source.address, { signal: stop.signal }))).toBe("CANCELLED");
    await until("the source to be left", () => source.open === 0);
    expect(there()).not.toContain(NAME);
    source.script = {};
    good(await fetchFrom(source.address));
    expectWhole(content);
  });

  test("a download that is cancelled while bytes without a journal are read again is CANCELLED, and those bytes stay", async () => {
    const left = content.subarray(0, 7 * PIECE);
    fs.writeFileSync(path(PART), left);
    const stop = new AbortController();
    const hashing: DownloadFiles["hashPieces"] = () => () => {
      stop.abort();
      return new Promise(() => {});
    };
    const source = share(content, { get: () => SILENCE });
    const fields = { hashPieces: hashing, signal: stop.signal };
    expect(codeOf(await fetchFrom(source.address, fields))).toBe("CANCELLED");
    expect(Buffer.compare(fs.readFileSync(path(PART)), left)).toBe(0);
  });

  test("a download that the chosen peer keeps in its queue takes the content that it waits for from another holder, and leaves the queue", async () => {
    const free = share(content);
    const wait = (): string => `WAIT 3 ${free.hashed.root}`;
    const [chosen, full] = [1, 2].map(() => share(content, { grant: wait, layer: wait })) as [Sharer, Sharer];
    const findHolders = async () => [chosen, full, free].map(({ address }) => ({ address, complete: true }));
    expect(await fetchFrom(chosen.address, { only: false, findHolders })).toMatchObject({ root: free.hashed.root });
    await until("both queues to be left", () => chosen.open + full.open === 0);
  });

  test("a download that the chosen peer alone may serve stays in its queue, whoever else has the content", async () => {
    const free = share(content);
    const chosen = share(content, { grant: () => `WAIT 1 ${free.hashed.root}` });
    const stop = new AbortController();
    let looked = 0;
    const findHolders = async () => {
      looked++;
      return [{ address: free.address, complete: true }];
    };
    const onProgress = () => stop.abort();
    expect(codeOf(await fetchFrom(chosen.address, { findHolders, onProgress, signal: stop.signal }))).toBe("CANCELLED");
    expect(looked).toBe(0);
  });

  test("a download that is cancelled in the queue is CANCELLED at once, and leaves the queue", async () => {
    const stop = new AbortController();
    const source = share(content, { grant: () => "WAIT 3" });
    const told: Progress[] = [];
    const ended = fetchFrom(source.address, {
      signal: stop.signal,
      onProgress: (progress) => {
        told.push(progress);
        stop.abort();
      },
    });
    expect(codeOf(await ended)).toBe("CANCELLED");
    expect(told.length).toBeGreaterThan(0);
    await until("the queue to be left", () => source.open === 0);
    expect(there()).toEqual([]);
  });

  test.each([
    ["does not answer", ""],
    ["keeps us in its queue, and answers a half-closed connection", "WAIT 1\n"],
  ])("a download that is cancelled while the peer %s is CANCELLED at once", async (_, answer) => {
    const stop = new AbortController();
    const left = Promise.withResolvers<void>();
    let heard = "";
    using peer = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      allowHalfOpen: true,
      socket: {
        data(socket, bytes) {
          heard += bytes.toString();
          if (!heard.includes("DOWNLOAD")) return;
          socket.write(`HELLO 1\n${answer}`);
          stop.abort();
        },
        close: () => left.resolve(),
      },
    });
    expect(codeOf(await fetchFrom({ ip: "127.0.0.1", port: peer.port }, { signal: stop.signal }))).toBe("CANCELLED");
    if (answer !== "") await left.promise;
    expect(there()).toEqual([]);
  });
});

describe("the next candidate", () => {
  const content = contentOf(6 * PIECE + 100);
  const lie = contentOf(6 * PIECE + 100, 2);
  const refusal = (line: string): Script => ({ grant: () => `REJECT ${line}` });
  const grants = (size: number, pieceBytes: number) => ({
    grant: (ticket: string) => `ACCEPT ${ticket} ${size} ${pieceBytes} ${"c".repeat(64)}`,
  });
  const flipped = ({ offset, length }: Get): Uint8Array => {
    const bytes = data(offset, content.subarray(offset, offset + length));
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    return bytes;
  };
  type First = { of?: Uint8Array; script?: Script; told?: string };
  const FIRSTS: Record<string, First> = {
    "claims 8 TB": { script: grants(8e12, 4 * 1024 * 1024), told: "DISK_FULL" },
    "begins a layer and does not end it": {
      of: lie,
      script: { layer: () => `LAYER_OK ${7 * HASH_BYTES}` },
      told: "NOT_READY",
    },
    "says CHANGED": { script: refusal("CHANGED final it was"), told: "CHANGED" },
    "says INTERNAL": { script: refusal("INTERNAL final bug"), told: "INTERNAL" },
    "says TOO_MANY": { script: refusal("TOO_MANY retry later"), told: "TOO_MANY" },
    "says BUSY": { script: refusal("BUSY retry later"), told: "BUSY" },
    "says REFUSED": { script: refusal("REFUSED final no"), told: "REFUSED" },
    "says NOT_SHARED": { script: refusal("NOT_SHARED final no"), told: "NOT_SHARED" },
    "says SHUTTING_DOWN": { script: refusal("SHUTTING_DOWN retry bye"), told: "SHUTTING_DOWN" },
    "says a code of a later version": { script: refusal("LUNCH retry bye") },
    "speaks no protocol": { script: { grant: () => "SSH-2.0-OpenSSH_9" }, told: "BAD_REPLY" },
    "says nothing": { script: { grant: () => "", layer: () => "" }, told: "TIMEOUT" },
    "goes silent in its queue": { script: { grant: () => "WAIT 3", layer: () => "WAIT 3" }, told: "TIMEOUT" },
    "sends wrong bytes": { script: { get: flipped }, told: "CORRUPT" },
    "has a root of its own and never sends a byte": { of: lie, script: { get: () => SILENCE }, told: "STALLED" },
    "has a root of its own, sends two pieces and no more": {
      of: lie,
      script: { get: (_, count) => (count > 2 ? SILENCE : undefined) },
      told: "STALLED",
    },
    "has a root of its own, and takes no lane": { of: lie, script: { lane: () => "ERROR INTERNAL final no" } },
    "has a root of its own, and no layer that leads to it": { of: lie, script: { layer: () => hashOf(content).layer } },
    "hashes for ever": {
      script: { rootKnown: false, layer: () => "ERROR NOT_READY retry hashing" },
      told: "NOT_READY",
    },
    "hashes a lie for ever": {
      of: lie,
      script: { rootKnown: false, layer: () => "ERROR NOT_READY retry hashing" },
      told: "NOT_READY",
    },
    "hashes a longer lie for ever": {
      of: contentOf(9 * PIECE, 3),
      script: { rootKnown: false, layer: () => "ERROR NOT_READY retry hashing" },
      told: "NOT_READY",
    },
  };

  for (const [what, { of = content, script = {}, told }] of Object.entries(FIRSTS))
    test(`a first source that fails as it ${what} does not keep the second one from sending the file`, async () => {
      const first = share(of, script);
      const second = share(content);
      const failed: string[] = [];
      const asked: number[] = [];
      const begun = brisk.now();
      // One that answers is not waited for, and on a busy machine its answer must not come too late.
      const answers = /^(?:says (?!nothing)|claims|speaks)/.test(what);
      const done = await fetchFrom(first.address, {
        clock: answers ? systemClock : brisk,
        only: false,
        others: [second.address],
        onAsk: ({ port }) => asked.push(port),
        onFailed: (_, why) => failed.push(why.fault),
      });
      expect(good(done).root).toBe(second.hashed.root);
      expect(Buffer.compare(fs.readFileSync(path(NAME)), content)).toBe(0);
      expect(asked.slice(0, 2)).toEqual([first.address.port, second.address.port]);
      if (told !== undefined) expect(failed[0]).toBe(told);
      expect(brisk.now() - begun).toBeLessThan(240_000);
    });

  test("where a second source fails as well, the last one's reason is told", async () => {
    const others = [share(content, refusal("CHANGED final it was")), share(content, refusal("BUSY retry no"))];
    const gone = share(content);
    gone.close();
    const failed: string[] = [];
    const done = await fetchFrom(gone.address, {
      only: false,
      others: others.map(({ address }) => address),
      onFailed: ({ port }, why) => failed.push(`${port} ${why.fault}`),
    });
    expect(codeOf(done)).toBe("BUSY");
    expect(failed).toEqual([`${gone.address.port} PEER_UNREACHABLE`, `${others[0]?.address.port} CHANGED`]);
  });

  test("a first source that fails is the only one to be asked when the person says so", async () => {
    const second = share(content);
    const first = share(content, refusal("CHANGED final it was"));
    expect(codeOf(await fetchFrom(first.address, { only: true, others: [second.address] }))).toBe("CHANGED");
    expect(second.asked).toEqual([]);
  });

  test("a download for which three sources say that there is no room here asks no further one", async () => {
    const eightTB = grants(8e12, 4 * 1024 * 1024);
    const [first, ...others] = [1, 2, 3, 4, 5].map(() => share(content, eightTB));
    const done = await fetchFrom((first as Sharer).address, {
      only: false,
      others: others.map(({ address }) => address),
    });
    expect(codeOf(done)).toBe("DISK_FULL");
    expect(others.map(({ asked }) => asked.some((line) => line.startsWith("DOWNLOAD")))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(there()).toEqual([]);
  });

  test("a first source that fails ends the download where the fault is this machine's", async () => {
    fs.writeFileSync(path(NAME), "mine");
    const second = share(content);
    const done = await fetchFrom(share(content).address, { only: false, others: [second.address] });
    expect(codeOf(done)).toBe("FILE_EXISTS");
    expect(second.asked).toEqual([]);
  });

  test("a first source with another content goes after the one whose content is here already, which sends the rest only", async () => {
    await interrupted(content, 4);
    const second = share(content);
    good(await fetchFrom(share(lie).address, { only: false, others: [second.address] }));
    expectWhole(content);
    expect(second.gets.length).toBe(7 - 4);
  });
});
