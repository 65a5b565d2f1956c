// Whole peers against a whole server, threads and all, in one process.
// Invariant: what the network answers agrees with what lies in the peers' folders.
// Never: waits for time to pass.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMemoryCatalog } from "../../src/catalog/memory.ts";
import { Peer, type PeerEvent, type PeerOptions } from "../../src/peer.ts";
import type { Address } from "../../src/protocol/address.ts";
import type { Fault } from "../../src/protocol/fault.ts";
import type { Holder } from "../../src/protocol/messages.ts";
import { LIMITS } from "../../src/protocol/server-limits.ts";
import { closeAfterTest } from "../support/closing.ts";
import { codeOf, good } from "../support/good.ts";
import { dial, type Running, startServidor } from "../support/servidor.ts";
import { contentOf, hashOf, startSharer } from "../support/sharer.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const before = { cache: process.env.NAPSTER_CACHE };
const root = fs.mkdtempSync(join(tmpdir(), "napster-peer-"));
process.env.NAPSTER_CACHE = join(root, "cache");
let turn = 0;

afterAll(() => {
  if (before.cache === undefined) delete process.env.NAPSTER_CACHE;
  else process.env.NAPSTER_CACHE = before.cache;
  fs.rmSync(root, { recursive: true, force: true });
});

const startServer = (port = 0, catalog = createMemoryCatalog()): Running =>
  startServidor({ at: { ip: "127.0.0.1", port }, catalog });

function folderOf(files: Record<string, string | Uint8Array> = {}): string {
  const folder = join(root, `pasta ${turn++}`);
  fs.mkdirSync(folder);
  for (const [name, content] of Object.entries(files)) fs.writeFileSync(join(folder, name), content);
  return folder;
}

type Member = { peer: Peer; events: PeerEvent[]; folder: string; address: Address };
const UPLOADS = { maxUploads: 8, rejectAll: false, maxUploadRate: undefined };
function makePeer(server: Address, options: Partial<PeerOptions> = {}): { peer: Peer; events: PeerEvent[] } {
  const events: PeerEvent[] = [];
  const onEvent = (event: PeerEvent) => void events.push(event);
  const peer = new Peer({ server, uploads: UPLOADS, onEvent, ...options });
  closeAfterTest(() => peer.leave());
  return { peer, events };
}
async function enter(
  server: Address,
  files: Record<string, string | Uint8Array> = {},
  options: Partial<PeerOptions> = {},
): Promise<Member> {
  const folder = folderOf(files);
  const { peer, events } = makePeer(server, options);
  const { address } = good(await peer.join({ host: "127.0.0.1", port: 0, folder }));
  return { peer, events, folder, address };
}
const sameBytes = (path: string, content: Uint8Array) => Buffer.compare(fs.readFileSync(path), content) === 0;
const inFolder = ({ folder }: Member, name: string) => join(folder, name);

describe("JOIN", () => {
  test("announces the folder's files, sorted, sub-folders left out, and waits for JOIN_OK (SPEC 5.b, 5.i)", async () => {
    const server = startServer();
    const folder = folderOf({ "b c.mp4": "b", "a.mp4": "a", "x.part": "ours" });
    fs.mkdirSync(join(folder, "sub.mp4"));
    const { peer, events } = makePeer(server.address);
    const { address, names } = good(await peer.join({ host: "127.0.0.1", port: 0, folder }));
    expect(names).toEqual(["a.mp4", "b c.mp4"]);
    expect(server.events[0]).toEqual({ type: "joined", address, names: ["a.mp4", "b c.mp4"] });
    expect(events).toContainEqual({ type: "skipped", files: [{ name: "x.part", reason: "ours" }] });
  });

  test("without a chosen IP takes the one that the server sees where a router stands between, and never against the person's choice", async () => {
    const declared: string[] = [];
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket, chunk) {
          const text = chunk.toString();
          const [, ip = "", port = ""] = /^JOIN ([\d.]+):(\d+) /m.exec(text) ?? [];
          if (text.includes("HELLO")) socket.write("HELLO 1\n");
          if (ip !== "") declared.push(ip);
          if (ip === "0.0.0.0") socket.write(`JOIN_OK 203.0.113.7:${port}\n`);
          else if (ip !== "") socket.write("ERROR ADDRESS_MISMATCH final seen elsewhere\n");
        },
      },
    });
    closeAfterTest(() => listener.stop(true));
    const { peer } = makePeer({ ip: "127.0.0.1", port: listener.port });
    const at = { port: 0, folder: folderOf() };
    expect(good(await peer.join({ ...at, host: undefined })).address.ip).toBe("203.0.113.7");
    expect(declared).toEqual(["127.0.0.1", "0.0.0.0"]);
    expect(codeOf(await peer.join({ ...at, host: "127.0.0.2" }))).toBe("ADDRESS_MISMATCH");
    expect(declared).toEqual(["127.0.0.1", "0.0.0.0", "127.0.0.2"]);
  });

  test("with a missing folder, a port in use, a foreign IP or no server says so, and may be tried again", async () => {
    const server = startServer();
    const folder = folderOf({ "a.mp4": "a" });
    const { peer } = makePeer(server.address);
    const at = { host: "127.0.0.1", port: 0, folder };
    expect(codeOf(await peer.join({ ...at, folder: join(folder, "nowhere") }))).toBe("FOLDER_MISSING");
    expect(codeOf(await peer.join({ ...at, port: server.address.port }))).toBe("PORT_IN_USE");
    expect(codeOf(await peer.join({ ...at, host: "203.0.113.1" }))).toBe("HOST_UNAVAILABLE");
    expect(codeOf(await peer.search("a.mp4"))).toBe("NOT_JOINED");
    expect(good(await peer.join(at)).names).toEqual(["a.mp4"]);
    const alone = makePeer({ ip: "127.0.0.1", port: 1 });
    expect(codeOf(await alone.peer.join(at))).toBe("SERVER_UNREACHABLE");
  });

  test("that the server refuses says which address it was about, with the port that the system chose", async () => {
    const refusing = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { data: (socket) => void socket.write("HELLO 1\nERROR ADDRESS_TAKEN retry taken\n") },
    });
    closeAfterTest(() => refusing.stop(true));
    const { peer } = makePeer({ ip: "127.0.0.1", port: refusing.port });
    const refused = await peer.join({ host: "127.0.0.1", port: 0, folder: undefined });
    expect(codeOf(refused)).toBe("ADDRESS_TAKEN");
    expect("at" in refused ? refused.at?.port : 0).toBeGreaterThan(0);
  });

  test("again shares no file that was deleted meanwhile, and what was put there", async () => {
    const server = startServer();
    const one = await enter(server.address, { "a.mp4": "a", "b.mp4": "b" });
    const other = await enter(server.address);
    fs.rmSync(inFolder(one, "a.mp4"));
    fs.writeFileSync(inFolder(one, "c.mp4"), "c");
    const at = { host: "127.0.0.1", port: one.address.port, folder: one.folder };
    expect(good(await one.peer.join(at)).names).toEqual(["b.mp4", "c.mp4"]);
    const found = async (name: string) => good(await other.peer.search(name)).length;
    expect([await found("a.mp4"), await found("b.mp4"), await found("c.mp4")]).toEqual([0, 1, 1]);
  });

  test("again moves to the new folder and port; when it fails, all is as it was", async () => {
    const server = startServer();
    const one = await enter(server.address, { "a.mp4": "a" });
    const other = await enter(server.address);
    const next = folderOf({ "b.mp4": "b" });
    const bad = await one.peer.join({ host: "127.0.0.1", port: other.address.port, folder: next });
    expect(codeOf(bad)).toBe("PORT_IN_USE");
    expect(await other.peer.search("a.mp4")).toEqual([one.address]);
    good(await other.peer.download(one.address, { name: "a.mp4" }));
    const moved = good(await one.peer.join({ host: "127.0.0.1", port: 0, folder: next }));
    expect(await other.peer.search("a.mp4")).toEqual([other.address]);
    expect(await other.peer.search("b.mp4")).toEqual([moved.address]);
    good(await other.peer.download(moved.address));
  });

  test("again while a download is under way leaves it on offer, at the new address", async () => {
    const catalog = createMemoryCatalog();
    const server = startServer(0, catalog);
    const sharer = startSharer(contentOf(3_000_000), {
      get: (_, count) => (count > 2 ? new Uint8Array(0) : undefined),
    });
    closeAfterTest(() => sharer.close());
    const { peer, folder } = await enter(server.address);
    const person = new AbortController();
    const ended = peer.download(sharer.address, { name: "a.mp4", signal: person.signal });
    const holders = () => catalog.sources(sharer.hashed.root);
    await until("the offer", async () => (await holders()).length === 1);
    const { address } = good(await peer.join({ host: "127.0.0.1", port: 0, folder }));
    await until("the offer again", async () => (await holders()).length === 1);
    expect(await holders()).toEqual([{ address, complete: false }]);
    person.abort();
    expect(codeOf(await ended)).toBe("CANCELLED");
    await until("no offer", async () => (await holders()).length === 0);
  });
});

describe("a JOIN that is refused changes nothing", () => {
  /** A server that takes JOINs until it is told otherwise; each line that it got. */
  function startScripted() {
    const script = { join: (address: string) => `JOIN_OK ${address}`, lines: [] as string[] };
    const server = Bun.listen<{ rest: string }>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: (socket) => {
          socket.data = { rest: "" };
        },
        data(socket, chunk) {
          const lines = (socket.data.rest + chunk.toString()).split("\n");
          socket.data.rest = lines.pop() as string;
          for (const line of lines) {
            const [verb, address] = line.split(" ");
            script.lines.push(line);
            if (verb === "HELLO") socket.write("HELLO 1\n");
            if (verb === "JOIN") socket.write(`${script.join(address as string)}\n`);
            if (verb === "UPDATE" || verb === "WITHDRAW" || verb === "LEAVE") socket.write(`${verb}_OK\n`);
          }
        },
      },
    });
    closeAfterTest(() => server.stop(true));
    return { script, address: { ip: "127.0.0.1", port: server.port } };
  }
  const canListen = (port: number, hostname = "127.0.0.1"): boolean => {
    try {
      Bun.listen({ hostname, port, socket: { data() {} }, exclusive: true }).stop(true);
      return true;
    } catch {
      return false;
    }
  };
  const REFUSED = "ERROR ADDRESS_MISMATCH final no";

  test("the port is free again at once, and may be tried again, on another of this machine's addresses too", async () => {
    const { script, address } = startScripted();
    const { peer } = makePeer(address);
    script.join = () => REFUSED;
    const folder = folderOf({ "a.mp4": "a" });
    const refused = await peer.join({ host: "127.0.0.1", port: 0, folder });
    expect(codeOf(refused)).toBe("ADDRESS_MISMATCH");
    const port = ("at" in refused && refused.at?.port) || 0;
    expect(canListen(port)).toBe(true);
    for (const host of ["127.0.0.1", "0.0.0.0", "127.0.0.2", "127.0.0.1"]) {
      expect(codeOf(await peer.join({ host, port, folder }))).toBe("ADDRESS_MISMATCH");
      expect(canListen(port, host)).toBe(true);
    }
    script.join = (at) => `JOIN_OK ${at}`;
    expect(good(await peer.join({ host: "127.0.0.1", port, folder })).address.port).toBe(port);
  });

  test("with no server to be reached the port is free again too", async () => {
    const { peer } = makePeer({ ip: "127.0.0.1", port: 1 });
    const gone = await peer.join({ host: "127.0.0.1", port: 0, folder: undefined });
    expect(codeOf(gone)).toBe("SERVER_UNREACHABLE");
    expect(canListen(("at" in gone && gone.at?.port) || 0)).toBe(true);
  });

  for (const host of ["127.0.0.1", "127.0.0.2", "0.0.0.0"])
    test(`moving to ${host} at the same port: what was served is served as before, at the same place, all the while`, async () => {
      const { script, address } = startScripted();
      const { peer } = makePeer(address);
      const content = contentOf(300_000);
      const folder = folderOf({ "a.mp4": content });
      const here = good(await peer.join({ host: "127.0.0.1", port: 0, folder })).address;
      script.join = () => REFUSED;
      const next = folderOf({ "b.mp4": "b", "a.mp4": "another" });
      expect(codeOf(await peer.join({ host, port: here.port, folder: next }))).toBe("ADDRESS_MISMATCH");
      const other = await enter(startServer().address);
      good(await other.peer.download(here, { name: "a.mp4" }));
      expect(sameBytes(inFolder(other, "a.mp4"), content)).toBe(true);
      expect(codeOf(await other.peer.download(here, { name: "b.mp4" }))).toBe("NOT_SHARED");
      expect(script.lines.filter((line) => line.startsWith("UPDATE")).every((line) => line.endsWith(" a.mp4"))).toBe(
        true,
      );
    });

  test("two JOINs at once are one after the other, and the last one counts", async () => {
    const server = startServer();
    const { peer } = makePeer(server.address);
    const [first, second] = [folderOf({ "a.mp4": "a" }), folderOf({ "b.mp4": "b" })];
    const [one, two] = await Promise.all(
      [first, second].map((folder) => peer.join({ host: "127.0.0.1", port: 0, folder }).then(good)),
    );
    expect(await peer.search("a.mp4")).toEqual([]);
    expect(await peer.search("b.mp4")).toEqual([two?.address as Address]);
    expect(canListen(one?.address.port as number)).toBe(true);
  });
});

describe("a file that rotted on the disk", () => {
  /** Other bytes in a piece, the file's time as it was. */
  function rot({ folder }: Member, name: string, at: number): void {
    const path = join(folder, name);
    const { atime, mtime } = fs.statSync(path);
    const fd = fs.openSync(path, "r+");
    fs.writeSync(fd, new Uint8Array([1, 2, 3]), 0, 3, at);
    fs.closeSync(fd);
    fs.utimesSync(path, atime, mtime);
  }
  async function sharing(content: Uint8Array): Promise<{ server: Running; source: Member }> {
    const server = startServer();
    const folder = folderOf({ "a.mp4": content });
    fs.utimesSync(join(folder, "a.mp4"), 1_000_000, 1_000_000);
    const { peer, events } = makePeer(server.address);
    const { address } = good(await peer.join({ host: "127.0.0.1", port: 0, folder }));
    await until("its root", () => events.some(({ type }) => type === "hashed"));
    return { server, source: { peer, events, folder, address } };
  }

  test("is looked at when a downloader says so, and shared no longer; what is right stays shared", async () => {
    const { server, source } = await sharing(contentOf(1_000_000));
    rot(source, "a.mp4", 600_000);
    const raw = await dial(source);
    raw.send("HELLO 1\nDOWNLOAD a.mp4\nDAMAGED 4\nDAMAGED 2\n");
    expect(await raw.line()).toBe("HELLO 1");
    expect(await raw.line()).toStartWith("ACCEPT");
    expect(await raw.line()).toStartWith("ERROR BAD_RANGE");
    expect(await raw.line()).toBe("DAMAGED_OK");
    await until("the damage", () => source.events.some(({ type }) => type === "damaged"));
    expect(source.events).toContainEqual({ type: "damaged", name: "a.mp4", piece: 2 });
    const other = await enter(server.address);
    expect(await other.peer.search("a.mp4")).toEqual([]);
  });

  test("is not announced under its old root for long, once somebody has tried to download it", async () => {
    const { server, source } = await sharing(contentOf(1_000_000));
    rot(source, "a.mp4", 600_000);
    const target = await enter(server.address);
    const root = source.events.find((event) => event.type === "hashed")?.root;
    const person = new AbortController();
    const ended = target.peer.download(source.address, { name: "a.mp4", signal: person.signal });
    await until("the sharer to know", () =>
      source.events.some((e) => e.type === "damaged" || (e.type === "hashed" && e.root !== root)),
    );
    person.abort();
    expect(codeOf(await ended)).not.toBe("no fault");
  });
});

describe("UPDATE", () => {
  test("that the server refuses is told once with its reason, and the file is served all the same (SPEC 5.c)", async () => {
    const server = startServidor({ catalog: createMemoryCatalog(undefined, 1), limits: { ...LIMITS, names: 1 } });
    const source = await enter(server.address, { "new.mp4": contentOf(300_000) });
    const target = await enter(server.address, { "old.mp4": "o" });
    good(await target.peer.download(source.address, { name: "new.mp4" }));
    const told = () => target.events.filter(({ type }) => type === "refused");
    expect(told()).toMatchObject([{ name: "new.mp4", why: { fault: "TOO_MANY" } }]);
    expect(await target.peer.search("new.mp4")).toEqual([source.address]);
    // Once there is room again it is told again, without anybody's doing.
    fs.rmSync(inFolder(target, "old.mp4"));
    expect(codeOf(await source.peer.download(target.address, { name: "old.mp4" }))).toBe("CHANGED");
    await until("new.mp4 to be listed", async () => {
      const found = await source.peer.search("new.mp4");
      return Array.isArray(found) && found.length === 2;
    });
    expect(told().length).toBe(1);
  });
});

describe("what is shared", () => {
  const PRIVATE = "private.pdf";
  async function enterSharing(sharing: "downloads" | "nothing", server: Running) {
    const { peer } = makePeer(server.address);
    const folder = folderOf({ [PRIVATE]: "segredo" });
    const { address, names } = good(await peer.join({ host: "127.0.0.1", port: 0, folder, sharing }));
    return { peer, address, names };
  }
  const downloadOf = async (stranger: Member, from: Address, name: string) =>
    codeOf(await stranger.peer.download(from, { name }));

  test("of a folder that downloads go to are the downloads, and no file that lies there", async () => {
    const server = startServer();
    const source = await enter(server.address, { "a.mp4": "a" });
    const { peer, address, names } = await enterSharing("downloads", server);
    expect(names).toEqual([]);
    const stranger = await enter(server.address);
    expect(await stranger.peer.search(PRIVATE)).toEqual([]);
    expect(await downloadOf(stranger, address, PRIVATE)).toBe("NOT_SHARED");
    good(await peer.download(source.address, { name: "a.mp4" }));
    expect(await stranger.peer.search("a.mp4")).toEqual([source.address, address]);
    expect(await downloadOf(stranger, address, PRIVATE)).toBe("NOT_SHARED");
    good(await stranger.peer.download(address, { name: "a.mp4" }));
  });

  test("of a folder that downloads go to follows the downloads: one that is deleted is withdrawn, no other file joins them", async () => {
    const server = startServer();
    const source = await enter(server.address, { "a.mp4": "a", "b.mp4": "b" });
    const folder = folderOf();
    const { peer, events } = makePeer(server.address);
    const { address } = good(await peer.join({ host: "127.0.0.1", port: 0, folder, sharing: "downloads" }));
    for (const name of ["a.mp4", "b.mp4"]) good(await peer.download(source.address, { name }));
    fs.writeFileSync(join(folder, PRIVATE), "segredo");
    fs.rmSync(join(folder, "a.mp4"));
    fs.appendFileSync(join(folder, "b.mp4"), "more");
    await until("b.mp4 to be back", () => events.some(({ type }) => type === "returned"));
    const told = events.flatMap((one) => ("names" in one ? one.names.map((name) => `${one.type} ${name}`) : []));
    expect(told.sort()).toEqual(["returned b.mp4", "withdrawn a.mp4", "withdrawn b.mp4"]);
    const stranger = await enter(server.address);
    await until("a.mp4 to be withdrawn", async () => good(await stranger.peer.search("a.mp4")).length === 1);
    expect(await stranger.peer.search(PRIVATE)).toEqual([]);
    good(await stranger.peer.download(address, { name: "b.mp4" }));
  });

  test("is never a dot file, downloaded or not", async () => {
    const server = startServer();
    const sharer = startSharer(contentOf(1000));
    closeAfterTest(() => sharer.close());
    const { peer, address } = await enter(server.address, { ".segredo.mp4": "s" });
    good(await peer.download(sharer.address, { name: ".a.mp4" }));
    const stranger = await enter(server.address);
    for (const name of [".segredo.mp4", ".a.mp4"]) {
      expect(await stranger.peer.search(name)).toEqual([]);
      expect(await downloadOf(stranger, address, name)).toBe("NOT_SHARED");
    }
  });

  test("may be nothing: not a piece of a download under way, nor the download", async () => {
    const catalog = createMemoryCatalog();
    const server = startServer(0, catalog);
    const [name, content] = ["a.mp4", contentOf(3_000_000)];
    const reached = Promise.withResolvers<void>();
    const sharer = startSharer(content, { get: (_, count) => void (count > 2 && reached.resolve()) });
    closeAfterTest(() => sharer.close());
    const { peer, address } = await enterSharing("nothing", server);
    const ended = peer.download(sharer.address, { name });
    await reached.promise;
    expect(catalog.sources(sharer.hashed.root)).toEqual([]);
    good(await ended);
    const stranger = await enter(server.address);
    expect(await stranger.peer.search(name)).toEqual([]);
    expect(await downloadOf(stranger, address, name)).toBe("NOT_SHARED");
    expect(await downloadOf(stranger, address, PRIVATE)).toBe("NOT_SHARED");
  });

  test("is what fits where the folder has more files, or longer names, than the server takes; the others are counted", async () => {
    const files = Object.fromEntries("edcba".split("").map((letter) => [`${letter}.mp4`, letter]));
    const three = startServidor({ limits: { names: 3 } });
    const { events, peer, address } = await enter(three.address, files);
    expect(events).toContainEqual({ type: "left-out", shared: 3, count: 2 });
    const [asked, ...others] = three.events.filter(({ type }) => type === "joined");
    expect([asked, others]).toEqual([{ type: "joined", address, names: ["a.mp4", "b.mp4", "c.mp4"] }, []]);
    expect([await peer.search("c.mp4"), await peer.search("d.mp4")]).toEqual([[address], []]);

    const bytes = startServidor({ limits: { joinBytes: 1024 } });
    const long = Object.fromEntries("abcdefgh".split("").map((letter) => [`${letter.repeat(200)}.mp4`, letter]));
    const { events: told } = await enter(bytes.address, long);
    expect(told).toContainEqual({ type: "left-out", shared: 3, count: 5 });
    const fitting = await enter(startServidor({ limits: { names: 5 } }).address, files);
    expect(fitting.events.filter(({ type }) => type === "left-out")).toEqual([]);
  });
});

test("a file that appears where the server takes no more is refused, told once; those that were left out at JOIN are not told again", async () => {
  const server = startServidor({ limits: { names: 2 }, catalog: createMemoryCatalog(undefined, 2) });
  const one = await enter(server.address, { "a.mp4": "a", "b.mp4": "b", "c.mp4": "c" });
  expect(one.events).toContainEqual({ type: "left-out", shared: 2, count: 1 });
  fs.writeFileSync(inFolder(one, "d.mp4"), "d");
  await until("the refusal", () => one.events.some(({ type }) => type === "refused"));
  const names = one.events.flatMap((event) =>
    event.type === "refused" ? [event.name] : event.type === "shared" ? event.names : [],
  );
  expect([...names].sort()).toEqual(["d.mp4", "d.mp4"]);
  fs.rmSync(inFolder(one, "a.mp4"));
  await until("d.mp4 to be listed", async () => good(await one.peer.search("d.mp4")).length === 1);
});

describe("SEARCH and DOWNLOAD", () => {
  test("find a file by its exact name and bring it whole; UPDATE follows by itself (SPEC 5.c, 5.d, 5.f, 5.h)", async () => {
    const server = startServer();
    const content = contentOf(1_500_000);
    const source = await enter(server.address, { "vídeo 1.mp4": content });
    const target = await enter(server.address);
    expect(await target.peer.search("vídeo 2.mp4")).toEqual([]);
    expect(await target.peer.search("vídeo 1.mp4")).toEqual([source.address]);
    const done = good(await target.peer.download(source.address));
    expect(done).toEqual({ name: "vídeo 1.mp4", folder: target.folder, bytes: 1_500_000 });
    expect(sameBytes(inFolder(target, "vídeo 1.mp4"), content)).toBe(true);
    expect(fs.readdirSync(target.folder)).toEqual(["vídeo 1.mp4"]);
    expect(await source.peer.search("vídeo 1.mp4")).toEqual([source.address, target.address]);
    const third = await enter(server.address);
    good(await third.peer.download(target.address, { name: "vídeo 1.mp4" }));
    expect(sameBytes(inFolder(third, "vídeo 1.mp4"), content)).toBe(true);
  });

  test("a decomposed name finds the composed one", async () => {
    const server = startServer();
    const source = await enter(server.address, { "v\u00eddeo.mp4": "x" });
    expect(await source.peer.search("vi\u0301deo.mp4")).toEqual([source.address]);
  });

  test("before JOIN are NOT_JOINED, DOWNLOAD before SEARCH is NOT_SEARCHED, of a bad name BAD_NAME", async () => {
    const server = startServer();
    const { peer } = makePeer(server.address);
    expect(codeOf(await peer.search("a.mp4"))).toBe("NOT_JOINED");
    expect(codeOf(await peer.download(server.address))).toBe("NOT_JOINED");
    good(await peer.join({ host: "127.0.0.1", port: 0, folder: folderOf() }));
    expect(codeOf(await peer.download(server.address))).toBe("NOT_SEARCHED");
    for (const name of ["", "../x", "a\nb", "x".repeat(300), "CON"]) {
      expect(codeOf(await peer.search(name))).toBe("BAD_NAME");
      expect(codeOf(await peer.download(server.address, { name }))).toBe("BAD_NAME");
    }
  });

  test("of a file that went away since SEARCH is refused, and the sharer withdraws it", async () => {
    const server = startServer();
    const source = await enter(server.address, { "a.mp4": "a", "b.mp4": "b" });
    const target = await enter(server.address);
    // Else hashing may find first that it is gone.
    await until("both to be hashed", () => source.events.filter(({ type }) => type === "hashed").length === 2);
    fs.rmSync(inFolder(source, "a.mp4"));
    expect(codeOf(await target.peer.download(source.address, { name: "a.mp4" }))).toBe("CHANGED");
    await until("a.mp4 to be withdrawn", async () => {
      const found = await target.peer.search("a.mp4");
      return Array.isArray(found) && found.length === 0;
    });
    expect(codeOf(await target.peer.download(source.address, { name: "a.mp4" }))).toBe("NOT_SHARED");
    good(await target.peer.download(source.address, { name: "b.mp4" }));
    fs.writeFileSync(inFolder(source, "a.mp4"), "a again");
    await until("a.mp4 to be shared again", async () => {
      const found = await target.peer.search("a.mp4");
      return Array.isArray(found) && found.length === 1;
    });
    expect(source.events).toContainEqual({ type: "returned", names: ["a.mp4"], total: 2 });
    good(await target.peer.download(source.address, { name: "a.mp4" }));
  });

  test("from a peer that rejects all is REFUSED, from one that is gone PEER_UNREACHABLE or PEER_GONE", async () => {
    const server = startServer();
    const source = await enter(server.address, { "a.mp4": "a" }, { uploads: { ...UPLOADS, rejectAll: true } });
    const target = await enter(server.address);
    expect(codeOf(await target.peer.download(source.address, { name: "a.mp4" }))).toBe("REFUSED");
    await source.peer.leave();
    expect(await target.peer.search("a.mp4")).toEqual([]);
    // Its thread may still hold the port for a moment.
    expect(codeOf(await target.peer.download(source.address))).toMatch(/^PEER_(?:UNREACHABLE|GONE)$/);
    expect(fs.readdirSync(target.folder)).toEqual([]);
  });

  test("of one's own file, or of a name that is there already, is FILE_EXISTS", async () => {
    const server = startServer();
    const source = await enter(server.address, { "a.mp4": "theirs" });
    const target = await enter(server.address, { "a.mp4": "mine" });
    for (const from of [source.address, target.address])
      expect(codeOf(await target.peer.download(from, { name: "a.mp4" }))).toBe("FILE_EXISTS");
    expect(fs.readFileSync(inFolder(target, "a.mp4"), "utf8")).toBe("mine");
  });

  test("of what is there already with the content that the chosen peer has downloads nothing, and says so", async () => {
    const catalog = createMemoryCatalog();
    const server = startServer(0, catalog);
    const content = contentOf(300_000);
    const source = await enter(server.address, { "a.mp4": content });
    const holders = () => catalog.sources(hashOf(content).root) as readonly Holder[];
    await until("the server to know the root", () => holders().length > 0);
    const target = await enter(server.address, { "a.mp4": content });
    expect(good(await target.peer.download(source.address, { name: "a.mp4" }))).toEqual({
      name: "a.mp4",
      folder: target.folder,
      bytes: 300_000,
      isHere: true,
    });
    expect(source.events.filter(({ type }) => type === "uploaded")).toEqual([]);
  });

  test("that breaks in the middle is a fault, without UPDATE, without the final name", async () => {
    const server = startServer();
    const sharer = startSharer(contentOf(3_000_000), { get: (_, count) => (count > 2 ? "die" : undefined) });
    closeAfterTest(() => sharer.close());
    const target = await enter(server.address);
    sharer.script.lane = () => (sharer.gets.length > 2 ? "ERROR BAD_STATE final no" : undefined);
    sharer.script.grant = () => (sharer.gets.length > 2 ? "REJECT NOT_SHARED final gone" : undefined);
    expect(codeOf(await target.peer.download(sharer.address, { name: "a.mp4" }))).not.toBe("no fault");
    expect(await target.peer.search("a.mp4")).toEqual([]);
    expect(fs.readdirSync(target.folder)).not.toContain("a.mp4");
  });

  test("several at once from one peer all arrive, and each is told as uploaded", async () => {
    const server = startServer();
    const files = Object.fromEntries([1, 2, 3, 4].map((i) => [`${i}.mp4`, contentOf(700_000 + i, i)]));
    const source = await enter(server.address, files);
    const targets = await Promise.all([1, 2, 3, 4].map(() => enter(server.address)));
    await Promise.all(targets.map(({ peer }, i) => peer.download(source.address, { name: `${i + 1}.mp4` }).then(good)));
    for (const [i, target] of targets.entries())
      expect(sameBytes(inFolder(target, `${i + 1}.mp4`), files[`${i + 1}.mp4`] as Uint8Array)).toBe(true);
    await until("four uploads to be told", () => source.events.filter(({ type }) => type === "uploaded").length >= 4);
  });
});

describe("the server", () => {
  test("that goes away and comes back at its port is joined again, downloads of the meantime included", async () => {
    const first = startServer();
    const source = await enter(first.address, { "a.mp4": "aaa" });
    const target = await enter(first.address);
    await first.servidor.close();
    await until("both to notice", () =>
      [source, target].every(({ events }) => events.some((e) => e.type === "server-lost")),
    );
    expect(codeOf(await target.peer.search("a.mp4"))).toBe("SERVER_GONE");
    good(await target.peer.download(source.address, { name: "a.mp4" }));
    const second = startServer(first.address.port);
    await until("both to be back", () => second.events.filter(({ type }) => type === "joined").length === 2);
    await until("both to know", () =>
      [source, target].every(({ events }) => events.some((e) => e.type === "server-back")),
    );
    const found = good(await source.peer.search("a.mp4"));
    expect([...found].map(({ port }) => port).sort()).toEqual([source.address.port, target.address.port].sort());
  });

  test("forgets a peer that leaves at once", async () => {
    const server = startServer();
    const gone = await enter(server.address, { "a.mp4": "a" });
    const watcher = await enter(server.address);
    await gone.peer.leave();
    expect(await watcher.peer.search("a.mp4")).toEqual([]);
  });

  test("learns the root of every file, once it is hashed", async () => {
    const catalog = createMemoryCatalog();
    const files = { "a.mp4": contentOf(300_000), "b.mp4": contentOf(10) };
    const { address } = await enter(startServer(0, catalog).address, files);
    for (const content of Object.values(files)) {
      const holders = () => catalog.sources(hashOf(content).root) as readonly Holder[];
      await until("the server to know the root", () => holders().length > 0);
      expect(holders()).toEqual([{ address, complete: true }]);
    }
  });
});

describe("a chosen peer that fails", () => {
  /** Somebody who downloads, one who shares `a.mp4`, and one that answers DOWNLOAD with this line. */
  async function scene(line: string) {
    const server = startServer();
    const content = contentOf(700_000);
    const honest = await enter(server.address, { "a.mp4": content });
    const sharer = startSharer(content, { grant: () => line, layer: () => "" });
    closeAfterTest(() => sharer.close());
    const { peer, folder } = await enter(server.address);
    return { peer, folder, content, honest: honest.address, chosen: sharer.address };
  }

  test("is asked first, and then the others that SEARCH found, each of which is told", async () => {
    const { peer, folder, content, honest, chosen } = await scene("REJECT REFUSED final no");
    expect(good(await peer.search("a.mp4"))).toEqual([honest]);
    const told: string[] = [];
    const onAsk = ({ port }: Address) => told.push(`asks ${port}`);
    const onFailed = ({ port }: Address, why: Fault) => told.push(`${port} ${why.fault}`);
    good(await peer.download(chosen, { onAsk, onFailed }));
    expect(told).toEqual([`asks ${chosen.port}`, `${chosen.port} REFUSED`, `asks ${honest.port}`]);
    expect(sameBytes(join(folder, "a.mp4"), content)).toBe(true);
  });

  test("is the only one with `only`, and where SEARCH was for another file", async () => {
    const { peer, chosen } = await scene("REJECT REFUSED final no");
    good(await peer.search("a.mp4"));
    expect(codeOf(await peer.download(chosen, { only: true }))).toBe("REFUSED");
    good(await peer.search("b.mp4"));
    expect(codeOf(await peer.download(chosen, { name: "a.mp4" }))).toBe("REFUSED");
  });
});
