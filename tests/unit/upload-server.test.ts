// Serving files to other peers, over real sockets from a real folder, on a clock that stands still.
// Invariant: only what was listed is served, and every slot comes back whatever its holder does.
// Never: waits for time to pass.

import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listFolder } from "../../src/content/folder.ts";
import { readable } from "../../src/content/positioned-io.ts";
import { diskFault, openShare } from "../../src/content/safe-files.ts";
import type { Address } from "../../src/protocol/address.ts";
import { fault } from "../../src/protocol/fault.ts";
import {
  LANES_PER_TICKET_MAX,
  PROBE_ONLY_CONNECTIONS_MAX,
  PROBE_SECONDS_MAX,
  QUEUE_MAX,
  UNJOINED_SECONDS_MAX,
  UPLOAD_BYTES_PER_SECOND_MIN,
  UPLOAD_CONNECTIONS_MAX,
  UPLOAD_CONNECTIONS_PER_ADDRESS_MAX,
  UPLOAD_IDLE_SECONDS_MAX,
  UPLOAD_RATE_SECONDS,
} from "../../src/protocol/limits.ts";
import { proofOf } from "../../src/protocol/proof.ts";
import { listen } from "../../src/transport/tcp.ts";
import { createFairRate } from "../../src/upload/fair-rate.ts";
import { createMinRate } from "../../src/upload/min-rate.ts";
import { createProbeOnly } from "../../src/upload/probe-only.ts";
import { createShareIndex, type ReadableFile, type ShareIndex } from "../../src/upload/share-index.ts";
import { createUploadServer, type UploadPolicy, type UploadsEvent } from "../../src/upload/upload-server.ts";
import type { Listed } from "../../src/upload/upload-worker.ts";
import { createVirtualClock, turn, type VirtualClock } from "../support/clock.ts";
import { closeAfterTest } from "../support/closing.ts";
import { good } from "../support/good.ts";
import { createFarEnd, type FarEnd } from "../support/net.ts";
import type { Raw } from "../support/raw.ts";
import { dial } from "../support/servidor.ts";
import { contentOf, hashOf } from "../support/sharer.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const root = fs.mkdtempSync(join(tmpdir(), "napster-uploads-"));
const SIZE = 3_000_000;
const CONTENT = contentOf(SIZE);
let folder = root;
let made = 0;

beforeEach(() => {
  folder = join(root, `pasta ${made++}`);
  fs.mkdirSync(folder);
  fs.writeFileSync(join(folder, "a.mp4"), CONTENT);
  fs.writeFileSync(join(folder, "b.mp4"), "b");
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

type Responder = {
  address: Address;
  index: ShareIndex<Listed>;
  events: UploadsEvent[];
  clock: VirtualClock;
  /** Files open now. */
  readonly files: number;
};

async function serve(policy: Partial<UploadPolicy> = {}): Promise<Responder> {
  const clock = createVirtualClock();
  const events: UploadsEvent[] = [];
  let files = 0;
  const index = createShareIndex<Listed>(async (listed) => {
    const file = await openShare(folder, listed as Extract<Listed, { file: string }>);
    if ("fault" in file) return file;
    files++;
    const open = readable(file);
    let closed = false;
    const counted: ReadableFile = {
      ...open,
      close() {
        expect(closed).toBe(false); // a second close could close somebody else's file
        closed = true;
        files--;
        open.close();
      },
    };
    return counted;
  });
  const { layer, root: hash, pieceBytes } = hashOf(CONTENT);
  for (const local of good(await listFolder(folder)).shares) {
    const known = local.name === "a.mp4";
    const share = { name: local.name, size: local.size, root: known ? hash : undefined };
    index.put({ share, pieceBytes, layer: known ? layer : undefined, listed: { ...local, folder } });
  }
  let tickets = 0;
  const uploads = createUploadServer({
    shares: index,
    clock,
    newTicket: () => (++tickets).toString(16).padStart(32, "0"),
    policy: { maxUploads: 8, rejectAll: false, maxUploadRate: undefined, ...policy },
    onEvent: (event) => events.push(event),
  });
  const listener = good(listen({ ip: "127.0.0.1", port: 0 }, (connection) => uploads.accept(connection)));
  closeAfterTest(() => {
    listener.close();
    uploads.close();
  });
  return {
    address: listener.address,
    index,
    events,
    clock,
    get files() {
      return files;
    },
  };
}

/** The first words of the next line. */
const words = async (raw: Raw, count = 2): Promise<string> => (await raw.line()).split(" ").slice(0, count).join(" ");

async function grant(serving: Responder, name = "a.mp4"): Promise<{ raw: Raw; ticket: string }> {
  const raw = await dial(serving);
  raw.send(`DOWNLOAD ${name}\n`);
  const line = await raw.line();
  expect(line).toStartWith("ACCEPT ");
  return { raw, ticket: line.split(" ")[1] as string };
}

async function lane(serving: Responder, ticket: string): Promise<Raw> {
  const raw = await dial(serving);
  raw.send(`LANE ${ticket}\n`);
  expect(await raw.line()).toBe("LANE_OK");
  return raw;
}

async function get(raw: Raw, offset: number, length: number): Promise<Uint8Array> {
  raw.send(`GET ${offset} ${length}\n`);
  expect(await raw.line()).toBe(`DATA ${offset} ${length}`);
  return raw.bytes(length);
}

const right = (bytes: Uint8Array, offset: number) =>
  expect(Buffer.compare(bytes, CONTENT.subarray(offset, offset + bytes.length))).toBe(0);

describe("DOWNLOAD", () => {
  test("DOWNLOAD of what is shared is accepted, with size, piece length and root, and the bytes follow a GET (SPEC 5.g)", async () => {
    const serving = await serve();
    const raw = await dial(serving);
    raw.send("HELLO 1\nDOWNLOAD a.mp4\n");
    expect(await raw.lines(2)).toEqual([
      "HELLO 1",
      `ACCEPT ${"1".padStart(32, "0")} ${SIZE} 262144 ${hashOf(CONTENT).root} 0 8`,
    ]);
    right(await get(raw, 0, SIZE), 0);
    right(await get(raw, 1_000_001, 7), 1_000_001);
    raw.send("PING\n");
    expect(await raw.line()).toBe("PONG");
  });

  test("DOWNLOAD in single bytes, or with its GETs in one segment, is answered the same", async () => {
    const serving = await serve();
    const drip = await dial(serving);
    for (const byte of Buffer.from("DOWNLOAD a.mp4\nGET 5 3\n")) {
      drip.send(Uint8Array.of(byte));
      await turn();
    }
    expect(await words(drip, 1)).toBe("ACCEPT");
    expect(await drip.line()).toBe("DATA 5 3");
    right(await drip.bytes(3), 5);
    const burst = await dial(serving);
    burst.send("DOWNLOAD a.mp4\nGET 0 600000\nGET 9 1\nLAYER\n");
    burst.shutdown();
    expect(await words(burst, 1)).toBe("ACCEPT");
    expect(await burst.line()).toBe("DATA 0 600000");
    right(await burst.bytes(600_000), 0);
    expect(await burst.line()).toBe("DATA 9 1");
    right(await burst.bytes(1), 9);
    expect(await burst.line()).toBe("LAYER_OK 384");
    expect(Buffer.compare(await burst.bytes(384), hashOf(CONTENT).layer)).toBe(0);
    await burst.over();
  });

  test("DOWNLOAD by content is served as by name", async () => {
    const serving = await serve();
    const raw = await dial(serving);
    raw.send(`FETCH ${hashOf(CONTENT).root}\n`);
    expect(await words(raw, 1)).toBe("ACCEPT");
    right(await get(raw, 2, 2), 2);
    const other = await dial(serving);
    other.send(`FETCH ${"a".repeat(64)}\n`);
    expect(await words(other)).toBe("REJECT NOT_SHARED");
  });

  test("DOWNLOAD of a file that is not hashed yet asks for it to be, and says NOT_READY of its layer", async () => {
    const serving = await serve();
    const { raw } = await grant(serving, "b.mp4");
    expect(serving.events).toEqual([{ type: "wanted", name: "b.mp4" }]);
    raw.send("LAYER\n");
    expect(await words(raw, 3)).toBe("ERROR NOT_READY retry");
    expect(Buffer.from(await get(raw, 0, 1)).toString()).toBe("b");
  });

  test("DOWNLOAD of what is not shared is NOT_SHARED, of what is no name BAD_NAME, however it is put", async () => {
    const serving = await serve();
    fs.writeFileSync(join(folder, "later.mp4"), "not listed");
    fs.writeFileSync(join(root, "segredo"), "outside");
    const raw = await dial(serving);
    const asked: readonly (readonly [string, string])[] = [
      ["later.mp4", "REJECT NOT_SHARED"],
      ["A.mp4", "REJECT NOT_SHARED"],
      ["a.mp4x", "REJECT NOT_SHARED"],
      ["__proto__", "REJECT NOT_SHARED"],
      ["..\\..\\segredo", "ERROR BAD_NAME"],
      ["../segredo", "ERROR BAD_NAME"],
      ["/etc/passwd", "ERROR BAD_NAME"],
      ["./a.mp4", "ERROR BAD_NAME"],
      ["a.mp4\u0000", "ERROR BAD_NAME"],
      ["a.mp4.part", "ERROR BAD_NAME"],
      ["", "ERROR BAD_NAME"],
    ];
    for (const [name, said] of asked) {
      raw.send(`DOWNLOAD ${name}\n`);
      expect(await words(raw)).toBe(said);
    }
    raw.send("DOWNLOAD a.mp4\n");
    expect(await words(raw, 1)).toBe("ACCEPT");
  });

  test("DOWNLOAD is REFUSED by a peer that rejects all, whatever is asked", async () => {
    const raw = await dial(await serve({ rejectAll: true }));
    raw.send("DOWNLOAD a.mp4\nDOWNLOAD nothing.mp4\n");
    expect([await words(raw, 3), await words(raw, 3)]).toEqual(["REJECT REFUSED final", "REJECT REFUSED final"]);
  });
});

describe("slots", () => {
  test("beyond --max-uploads one waits, is told its place, and gets in when a slot comes free", async () => {
    const serving = await serve({ maxUploads: 1 });
    const first = await grant(serving);
    const second = await dial(serving);
    const third = await dial(serving);
    second.send("DOWNLOAD a.mp4\n");
    expect(await second.line()).toBe(`WAIT 1 ${hashOf(CONTENT).root}`);
    third.send("DOWNLOAD a.mp4\n");
    expect(await third.line()).toBe(`WAIT 2 ${hashOf(CONTENT).root}`);
    first.raw.destroy();
    expect(await words(second, 1)).toBe("ACCEPT");
    await serving.clock.advance(1000);
    expect(await third.line()).toBe(`WAIT 1 ${hashOf(CONTENT).root}`);
    second.destroy();
    expect(await words(third, 1)).toBe("ACCEPT");
  });

  test("one that leaves the queue makes way, and never gets a slot", async () => {
    const serving = await serve({ maxUploads: 1 });
    const first = await grant(serving);
    const second = await dial(serving);
    second.send("DOWNLOAD a.mp4\n");
    expect(await second.line()).toBe(`WAIT 1 ${hashOf(CONTENT).root}`);
    const third = await dial(serving);
    third.send("DOWNLOAD a.mp4\n");
    expect(await third.line()).toBe(`WAIT 2 ${hashOf(CONTENT).root}`);
    second.destroy();
    await until("the place to be 1", async () => {
      await serving.clock.advance(300);
      return third.received > `WAIT 2 ${hashOf(CONTENT).root}\n`.length;
    });
    expect(await third.line()).toBe(`WAIT 1 ${hashOf(CONTENT).root}`);
    first.raw.destroy();
    expect(await words(third, 1)).toBe("ACCEPT");
    await until("one file to be open", () => serving.files === 1);
  });

  test("when even the queue is full it is BUSY, and may be tried again", async () => {
    const serving = await serve({ maxUploads: 1 });
    await grant(serving);
    const waiting = await Promise.all(Array.from({ length: QUEUE_MAX }, () => dial(serving)));
    for (const raw of waiting) raw.send("DOWNLOAD a.mp4\n");
    for (const raw of waiting) expect(await words(raw, 1)).toBe("WAIT");
    const late = await dial(serving);
    late.send("DOWNLOAD a.mp4\n");
    expect(await words(late, 3)).toBe("REJECT BUSY retry");
  });

  test("an upload that is broken off gives its slot back, and the peer uploads again, and again", async () => {
    const serving = await serve({ maxUploads: 1 });
    for (let round = 0; round < 20; round++) {
      const { raw, ticket } = await grant(serving);
      const second = await lane(serving, ticket);
      second.pause();
      second.send(`GET 0 ${SIZE}\n`.repeat(5));
      right(await get(raw, 0, 1000), 0);
      if (round % 2 === 0) raw.destroy();
      else raw.shutdown();
      await second.over().catch(() => undefined);
    }
    const { raw } = await grant(serving);
    right(await get(raw, 0, SIZE), 0);
    const uploaded = serving.events.filter((event) => event.type === "uploaded");
    expect(uploaded.length).toBe(20);
    expect(serving.files).toBe(1);
  });

  test("one that was granted and fetches nothing loses its slot after UPLOAD_IDLE_SECONDS_MAX", async () => {
    const serving = await serve({ maxUploads: 1 });
    const { raw, ticket } = await grant(serving);
    const second = await lane(serving, ticket);
    await serving.clock.advance((UPLOAD_IDLE_SECONDS_MAX + 2) * 1000);
    await Promise.all([raw.over(), second.over()]);
    await until("the file to be closed", () => serving.files === 0);
    await grant(serving);
  });

  test("one that asked and reads nothing loses its slot as well", async () => {
    const serving = await serve({ maxUploads: 1 });
    const { raw } = await grant(serving);
    raw.pause();
    raw.send("GET 0 3000000\n".repeat(50));
    const other = await dial(serving);
    for (let second = 0; second < UPLOAD_IDLE_SECONDS_MAX + 5; second++) {
      other.send("PING\n"); // the bytes that the system takes have been sent by the time this is answered
      await other.line().catch(() => "");
      await serving.clock.advance(1000);
      if (other.isOver) break;
    }
    await serving.clock.advance((UPLOAD_IDLE_SECONDS_MAX + 2) * 1000);
    await until("the slot to be free", () => serving.files === 0);
    await grant(serving);
  });

  test("one that takes next to nothing of what it asked for is too slow, but not when our own limit is the reason", () => {
    const second = (from: number, to: number, rate: number, share = Number.POSITIVE_INFINITY, isDue = true) => {
      const pace = createMinRate(0, () => share);
      const due = isDue ? "theirs" : "free";
      return Array.from({ length: to }, (_, i) => pace.tooSlow((i + 1) * 1000, (i + 1) * rate, due, 0)).indexOf(
        true,
        from,
      );
    };
    expect(second(0, 3 * UPLOAD_RATE_SECONDS, UPLOAD_BYTES_PER_SECOND_MIN / 2)).toBe(UPLOAD_RATE_SECONDS - 1);
    expect(second(0, 3 * UPLOAD_RATE_SECONDS, UPLOAD_BYTES_PER_SECOND_MIN)).toBe(-1);
    expect(second(0, 3 * UPLOAD_RATE_SECONDS, 0, Number.POSITIVE_INFINITY, false)).toBe(-1);
    expect(second(0, 3 * UPLOAD_RATE_SECONDS, 600, 1000)).toBe(-1);
    expect(second(0, 3 * UPLOAD_RATE_SECONDS, 400, 1000)).toBe(UPLOAD_RATE_SECONDS - 1);
  });

  test("one that takes less than the person allows loses its slot", async () => {
    const pace = createMinRate(0, () => Number.POSITIVE_INFINITY, 1_000_000);
    expect(pace.tooSlow(UPLOAD_RATE_SECONDS * 1000, 800_000 * UPLOAD_RATE_SECONDS, "theirs", 0)).toBe(true);
    expect(pace.tooSlow(2 * UPLOAD_RATE_SECONDS * 1000, 2_000_000 * UPLOAD_RATE_SECONDS, "theirs", 0)).toBe(false);
    const serving = await serve({ maxUploads: 1, minUploadRate: 1e12 });
    const { raw } = await grant(serving);
    raw.pause();
    raw.send("GET 0 3000000\n".repeat(50));
    for (let second = 0; second < UPLOAD_RATE_SECONDS + 5; second += 5) {
      const other = await dial(serving);
      other.send("PING\n"); // the bytes that the system takes have been sent by the time this is answered
      await other.line();
      await serving.clock.advance(5000);
    }
    await until("the slot to be free", () => serving.files === 0);
  });

  test("more connections of one address than UPLOAD_CONNECTIONS_PER_ADDRESS_MAX are told TOO_MANY, and the others go on", async () => {
    const uploads = createUploadServer({
      shares: createShareIndex<Listed>(async () => fault("FILE_MISSING", "disk")),
      clock: createVirtualClock(),
      newTicket: () => "0".repeat(32),
      policy: { maxUploads: 8, rejectAll: false, maxUploadRate: undefined },
      onEvent() {},
    });
    const come = (ip: string) => createFarEnd({ ip, port: 1 }, (connection) => uploads.accept(connection))[1];
    const asks = async (far: FarEnd) => {
      far.say("DOWNLOAD a.mp4\n");
      await turn();
      return far.take();
    };
    const crowd = Array.from({ length: UPLOAD_CONNECTIONS_PER_ADDRESS_MAX }, () => come("10.0.0.1"));
    const [first, last] = [crowd[0] as FarEnd, crowd.at(-1) as FarEnd];
    const late = come("10.0.0.1");
    expect(await asks(late)).toBe("ERROR TOO_MANY retry connections\n");
    expect(late.state).toBe("ended");
    for (const welcome of [first, last, come("10.0.0.2")])
      expect(await asks(welcome)).toStartWith("REJECT NOT_SHARED ");
    first.close();
    expect(await asks(come("10.0.0.1"))).toStartWith("REJECT NOT_SHARED ");
  });

  test("one that holds its slot with PING alone loses it as well", async () => {
    const serving = await serve({ maxUploads: 1 });
    const { raw } = await grant(serving);
    for (let second = 0; second < 2 * UPLOAD_IDLE_SECONDS_MAX && !raw.isOver; second += 20) {
      raw.send("PING\n");
      await raw.line().catch(() => "");
      await serving.clock.advance(20_000);
    }
    await until("the slot to be free", () => serving.files === 0);
  });

  test("one that never asks is closed after UNJOINED_SECONDS_MAX, PING or not", async () => {
    const serving = await serve();
    const [silent, chatty] = [await dial(serving), await dial(serving)];
    for (let second = 0; second < UNJOINED_SECONDS_MAX + 2; second++) {
      if (!chatty.isOver) chatty.send("PING\n");
      await chatty.line().catch(() => "");
      await serving.clock.advance(1000);
    }
    await Promise.all([silent.over(), chatty.over()]);
  });
});

describe("the server's PROBE", () => {
  const KEY = "0123456789abcdef".repeat(2);
  const NONCE = "f".repeat(32);
  const door = (key?: string) =>
    createUploadServer({
      shares: createShareIndex<Listed>(async () => fault("FILE_MISSING", "disk")),
      clock: createVirtualClock(),
      newTicket: () => "0".repeat(32),
      ...(key !== undefined && { key }),
      policy: { maxUploads: 0, rejectAll: true, maxUploadRate: undefined },
      onEvent() {},
    });
  const enter = (uploads: ReturnType<typeof door>, ip: string) =>
    createFarEnd({ ip, port: 1 }, (connection) => uploads.accept(connection))[1];

  test("the server's PROBE is answered with the proof of the key, never with the key; without one, with the nonce", async () => {
    for (const key of [KEY, undefined]) {
      const far = enter(door(key), "10.0.0.1");
      far.say(`PROBE ${NONCE}\nPING\n`);
      await turn();
      expect(far.sent).toBe(`PROBE_OK ${proofOf(key, NONCE)}\nPONG\n`);
      expect(far.sent).not.toContain(KEY);
    }
  });

  const full: readonly (readonly [string, (i: number) => string, string])[] = [
    [
      "one address has taken half of the room",
      (i) => `10.0.0.${i < UPLOAD_CONNECTIONS_PER_ADDRESS_MAX ? 1 : i % 200}`,
      "10.0.0.1",
    ],
    ["many addresses have taken all of it", (i) => `10.0.${i >> 8}.${i & 255}`, "10.1.0.1"],
  ];
  for (const [what, address, ip] of full) {
    test(`the server's PROBE is answered although ${what}; whatever else is asked there is TOO_MANY`, async () => {
      const uploads = door(KEY);
      for (let i = 0; i < UPLOAD_CONNECTIONS_MAX; i++) enter(uploads, address(i));
      const far = enter(uploads, ip);
      expect(far.sent).toBe("");
      far.say(`PROBE ${NONCE}\n`);
      expect(far.sent).toBe(`PROBE_OK ${proofOf(KEY, NONCE)}\n`);
      expect(far.state).toBe("ended");
      const other = enter(uploads, ip);
      other.say("HELLO 1\nDOWNLOAD a.mp4\n");
      expect(other.sent).toBe("ERROR TOO_MANY retry connections\n");
      expect(other.state).toBe("ended");
    });
  }

  test("the server's PROBE and all else of a newcomer's address is answered although two addresses have taken all the room: the larger gives way", async () => {
    const uploads = door(KEY);
    const crowd = Array.from({ length: UPLOAD_CONNECTIONS_MAX }, (_, i) => enter(uploads, `10.0.0.${i % 2}`));
    const far = enter(uploads, "10.0.0.3");
    far.say("HELLO 1\n");
    await turn();
    expect(far.sent).toBe("HELLO 1\n");
    expect(crowd.filter(({ state }) => state !== "open").length).toBe(1);
  });

  test("connections beyond the limit wait for PROBE_SECONDS_MAX, and only so many of them", async () => {
    const clock = createVirtualClock();
    const probeOnly = createProbeOnly(KEY, clock, createFairRate(undefined, clock));
    const come = () => createFarEnd({ ip: "10.0.0.1", port: 1 }, (connection) => probeOnly.accept(connection))[1];
    const waiting = Array.from({ length: PROBE_ONLY_CONNECTIONS_MAX }, come);
    const full = "ERROR TOO_MANY retry connections\n";
    expect(come().sent).toBe(full);
    waiting[0]?.close();
    expect(come().sent).toBe("");
    await clock.advance(PROBE_SECONDS_MAX * 1000);
    for (const far of waiting.slice(1)) expect(far.sent).toBe(full);
    expect(come().sent).toBe("");
  });
});

describe("lanes", () => {
  test("lanes serve pieces side by side, at most LANES_PER_TICKET_MAX of them", async () => {
    const serving = await serve();
    const { ticket } = await grant(serving);
    const lanes = await Promise.all(Array.from({ length: LANES_PER_TICKET_MAX }, () => lane(serving, ticket)));
    await Promise.all(lanes.map(async (one, i) => right(await get(one, i * 1000, 300_000), i * 1000)));
    const more = await dial(serving);
    more.send(`LANE ${ticket}\n`);
    expect(await words(more)).toBe("ERROR TOO_MANY");
    lanes[0]?.destroy();
    await until("a lane to be free", async () => {
      more.send(`LANE ${ticket}\n`);
      return (await more.line()) === "LANE_OK";
    });
  });

  test("lanes need a ticket that lives", async () => {
    const serving = await serve();
    const raw = await dial(serving);
    raw.send(`LANE ${"f".repeat(32)}\n`);
    expect(await words(raw)).toBe("ERROR BAD_STATE");
    const { raw: control, ticket } = await grant(serving);
    const open = await lane(serving, ticket);
    control.destroy();
    await open.over();
    const late = await dial(serving);
    late.send(`LANE ${ticket}\nGET 0 1\n`);
    expect([await words(late), await words(late)]).toEqual(["ERROR BAD_STATE", "ERROR BAD_STATE"]);
  });

  test("lanes end with their control connection, in the middle of a GET too", async () => {
    const serving = await serve();
    const { raw, ticket } = await grant(serving);
    const open = await lane(serving, ticket);
    open.pause();
    open.send("GET 0 3000000\n".repeat(20));
    right(await get(raw, 0, 10), 0);
    raw.destroy();
    await until("the file to be closed", () => serving.files === 0);
    open.resume();
    await open.over();
  });
});

describe("GET", () => {
  test("GET past the end is BAD_RANGE, and the connection goes on", async () => {
    const { raw } = await grant(await serve());
    for (const [offset, length] of [
      [SIZE, 1],
      [SIZE - 1, 2],
      [Number.MAX_SAFE_INTEGER, 1],
      [2 ** 40, 16],
    ]) {
      raw.send(`GET ${offset} ${length}\n`);
      expect(await words(raw)).toBe("ERROR BAD_RANGE");
    }
    right(await get(raw, SIZE - 1, 1), SIZE - 1);
  });

  test("GET before DOWNLOAD is BAD_STATE; of 0 or of too many bytes BAD_REQUEST", async () => {
    const raw = await dial(await serve());
    raw.send("GET 0 1\nLAYER\nPIECES\nDOWNLOAD a.mp4\nGET 0 0\nGET 0 16777217\nGET -1 1\nDOWNLOAD a.mp4\n");
    const said = [];
    for (let i = 0; i < 8; i++) said.push(await words(raw));
    expect(said.filter((line) => !line.startsWith("ACCEPT"))).toEqual([
      "ERROR BAD_STATE",
      "ERROR BAD_STATE",
      "ERROR BAD_STATE",
      "ERROR BAD_REQUEST",
      "ERROR BAD_REQUEST",
      "ERROR BAD_REQUEST",
      "ERROR BAD_STATE",
    ]);
  });
});

test("a file that cannot be opened or read for a moment is not to be had now, and is not said to have changed", async () => {
  for (const code of ["EMFILE", "ENFILE", "EBUSY", "EACCES", "EIO"]) {
    const why = diskFault(Object.assign(new Error(code), { code }), "open");
    const events: UploadsEvent[] = [];
    let opens = 0;
    const index = createShareIndex<Listed>(async () => {
      if (opens++ === 0) return why;
      return { read: () => why, look: () => ({ unchanged: true, named: true }), close() {} };
    });
    const share = { name: "a.mp4", size: SIZE, root: undefined };
    index.put({
      share,
      pieceBytes: 262_144,
      layer: undefined,
      listed: { folder, part: "a.mp4", identity: { dev: 0n, ino: 0n } },
    });
    const uploads = createUploadServer({
      shares: index,
      clock: createVirtualClock(),
      newTicket: () => "0".repeat(32),
      policy: { maxUploads: 1, rejectAll: false, maxUploadRate: undefined },
      onEvent: (event) => events.push(event),
    });
    const come = () => createFarEnd({ ip: "10.0.0.1", port: 1 }, (connection) => uploads.accept(connection))[1];
    const [first, second] = [come(), come()];
    first.say("DOWNLOAD a.mp4\n");
    await turn();
    expect(first.take()).toStartWith("REJECT BUSY retry ");
    second.say("DOWNLOAD a.mp4\nGET 0 1000\n"); // the slot is free
    await turn();
    expect(second.sent).toStartWith("ACCEPT ");
    expect(second.state).toBe("closed");
    expect(events.filter(({ type }) => type === "changed")).toEqual([]);
  }
});

describe("a file that is not what it was", () => {
  const spoilings: readonly (readonly [string, (path: string) => void])[] = [
    ["edited", (path) => fs.writeFileSync(path, contentOf(SIZE, 5))],
    ["longer", (path) => fs.appendFileSync(path, "x")],
    ["shorter", (path) => fs.truncateSync(path, 100)],
    ["deleted", (path) => fs.rmSync(path)],
    [
      "replaced by one of the same size",
      (path) => {
        fs.writeFileSync(`${path}.new`, contentOf(SIZE, 6));
        fs.renameSync(`${path}.new`, path);
      },
    ],
    [
      "replaced by a symlink",
      (path) => {
        fs.renameSync(path, join(folder, "elsewhere"));
        fs.symlinkSync(join(folder, "elsewhere"), path);
      },
    ],
    [
      "replaced by a folder",
      (path) => {
        fs.rmSync(path);
        fs.mkdirSync(path);
      },
    ],
  ];
  for (const [what, spoil] of spoilings) {
    test(`${what} between listing and DOWNLOAD is CHANGED, and told of`, async () => {
      const serving = await serve();
      spoil(join(folder, "a.mp4"));
      const raw = await dial(serving);
      raw.send("DOWNLOAD a.mp4\n");
      expect(await words(raw, 3)).toBe("REJECT CHANGED final");
      expect(serving.events).toEqual([{ type: "changed", name: "a.mp4" }]);
      expect(serving.files).toBe(0);
      await grant(serving, "b.mp4");
    });
  }

  test("a file that is not what it was is CHANGED to the other side whatever our disk says of it: its codes are ours", async () => {
    for (const why of [
      fault("DISK_ERROR", "ours", "not a regular file"),
      fault("FILE_MISSING", "disk", "gone"),
      fault("PART_BLOCKED", "ours", "a pipe"),
    ]) {
      const serving = await serve();
      serving.index.open = async () => why;
      const raw = await dial(serving);
      raw.send("DOWNLOAD a.mp4\n");
      expect(await words(raw, 3)).toBe("REJECT CHANGED final");
    }
  });

  for (const [what, spoil] of spoilings.slice(0, 3)) {
    test(`${what} during an upload: no byte of it is sent on, and it is told of`, async () => {
      const serving = await serve();
      const { raw } = await grant(serving);
      right(await get(raw, 0, 1000), 0);
      spoil(join(folder, "a.mp4"));
      raw.send("GET 2000 1000\nGET 3000 1000\nPING\n"); // as a lane asks, several ahead
      expect(await words(raw, 3)).toBe("ERROR CHANGED final");
      await raw.over();
      raw.send("PING\n");
      raw.destroy();
      expect(serving.events).toContainEqual({ type: "changed", name: "a.mp4" });
      await until("the file to be closed", () => serving.files === 0);
      await grant(serving, "b.mp4");
    });
  }

  test("a file deleted or replaced during an upload is sent as it was to the peer that has it already", async () => {
    const serving = await serve();
    const { raw } = await grant(serving);
    fs.renameSync(join(folder, "a.mp4"), join(folder, "gone.mp4"));
    right(await get(raw, 1000, 5000), 1000);
  });

  test("a file deleted during an upload is told of, while the upload goes on to its end", async () => {
    const serving = await serve();
    const { raw } = await grant(serving);
    right(await get(raw, 0, 1000), 0);
    expect(serving.events).toEqual([]);
    fs.unlinkSync(join(folder, "a.mp4"));
    right(await get(raw, 1000, 5000), 1000);
    expect(serving.events).toEqual([{ type: "changed", name: "a.mp4" }]);
  });

  test("a file cut in the middle of a GET breaks the connection off: what was announced follows, or nothing does", async () => {
    const serving = await serve();
    const { raw } = await grant(serving);
    raw.pause();
    raw.send("GET 0 3000000\n".repeat(4));
    const other = await dial(serving);
    other.send("PING\n");
    await other.line();
    fs.truncateSync(join(folder, "a.mp4"), 10);
    raw.resume();
    await raw.over();
    await until("it to be told of", () => serving.events.some(({ type }) => type === "changed"));
    expect(raw.received).toBeLessThan(4 * SIZE);
  });
});

describe("out of bounds", () => {
  test("a line without an end is LINE_TOO_LONG and ends the connection; the others go on", async () => {
    const serving = await serve();
    const raw = await dial(serving);
    raw.send("x".repeat(100_000));
    expect(await raw.rest()).toMatch(/^ERROR LINE_TOO_LONG final [^\n]*\n$/);
    right(await get((await grant(serving)).raw, 0, 1000), 0);
  });

  test("nothing that comes after the end is kept", async () => {
    const serving = await serve();
    const raw = await dial(serving);
    raw.send("x".repeat(100_000));
    await raw.over();
    const before = process.memoryUsage().rss;
    const block = Buffer.alloc(1024 * 1024, "x");
    for (let sent = 0; sent < 256; sent++) raw.send(block);
    const { raw: other } = await grant(serving);
    for (let i = 0; i < 50; i++) right(await get(other, i, 1), i);
    Bun.gc(true);
    expect(process.memoryUsage().rss - before).toBeLessThan(128 * 1024 * 1024);
  });

  test("a thousand requests of one that does not read are not answered into memory", async () => {
    const serving = await serve();
    const { raw } = await grant(serving);
    raw.pause();
    const before = process.memoryUsage().rss;
    raw.send("GET 0 3000000\n".repeat(1000));
    const other = await grant(serving);
    for (let i = 0; i < 50; i++) right(await get(other.raw, i, 1), i);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  });

  test("random bytes do no harm", async () => {
    const serving = await serve();
    for (let round = 0; round < 20; round++) {
      const raw = await dial(serving);
      raw.send(contentOf(3000, round));
      raw.shutdown();
      await raw.rest();
    }
    right(await get((await grant(serving)).raw, 0, SIZE), 0);
  });
});
