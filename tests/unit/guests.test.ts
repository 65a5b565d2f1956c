// Guests' browsers: what they are shown, what they may read, and what it costs the peer.

import { afterEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { isPrivate } from "../../src/protocol/address.ts";
import { isFault } from "../../src/protocol/fault.ts";
import type { Listener } from "../../src/transport/connection.ts";
import { listenHttp } from "../../src/transport/http.ts";
import { createFairRate } from "../../src/upload/fair-rate.ts";
import { createGuestServer, type GuestServer, RESPONSES_PER_GUEST_MAX } from "../../src/upload/guests/guests.ts";
import { createShareIndex } from "../../src/upload/share-index.ts";
import { createSlotQueue } from "../../src/upload/slot-queue.ts";
import type { UploadsEvent } from "../../src/upload/upload-server.ts";
import { createVirtualClock } from "../support/clock.ts";
import { rawHttp } from "../support/http.ts";
import { openRaw } from "../support/raw.ts";
import { until } from "../support/until.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
const ROOT = "ab".repeat(32);
const HOSTILE = `<img src=x onerror="alert(1)">'&.mp4`;

const open: (GuestServer | Listener)[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

type Given = {
  readonly files?: Readonly<Record<string, Uint8Array>>;
  readonly slots?: number;
  readonly rejectAll?: boolean;
  /** In bytes per second of the virtual clock. */
  readonly rate?: number;
  /** Whether a file stays as it was listed. */
  readonly unchanged?: () => boolean;
};

async function serve({ files = {}, slots = 4, rejectAll = false, rate, unchanged = () => true }: Given = {}) {
  let filesOpen = 0;
  const shares = createShareIndex<Uint8Array>(async (bytes) => {
    filesOpen++;
    return {
      read(into, offset) {
        const part = bytes.subarray(offset, offset + into.length);
        into.set(part);
        return part.length;
      },
      look: () => ({ unchanged: unchanged(), named: true }),
      close: () => void filesOpen--,
    };
  });
  for (const [name, listed] of Object.entries(files))
    shares.put({ share: { name, size: listed.length, root: ROOT }, pieceBytes: 16384, layer: undefined, listed });
  const clock = createVirtualClock();
  const queue = createSlotQueue(slots, clock);
  const events: UploadsEvent[] = [];
  let host = "";
  const guests = createGuestServer({
    shares,
    uploads: { queue, rates: createFairRate(rate, clock), wake() {} },
    clock,
    token: TOKEN,
    host: () => host,
    rejectAll,
    onEvent: (event) => events.push(event),
  });
  const listener = await listenHttp({ ip: "127.0.0.1", port: 0 }, guests.serve, { connections: 1000, ofAddress: 1000 });
  if (isFault(listener)) throw new Error(listener.detail);
  open.push(guests, listener);
  host = `127.0.0.1:${listener.address.port}`;
  const at = `http://${host}/${TOKEN}`;
  const get = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    fetch(`${at}/${path}`, { method, headers: { Connection: "close", ...headers } });
  return { host, at, get, guests, events, queue, clock, filesOpen: () => filesOpen };
}

const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index * 7 + (index >> 8));
const digest = (data: Uint8Array | ArrayBuffer): string =>
  createHash("sha256").update(new Uint8Array(data)).digest("hex");

describe("a guest's page", () => {
  test("lists what is shared, with names as text, in the browser's language, and without a script", async () => {
    const { get } = await serve({ files: { [HOSTILE]: bytes(5), "Aula 1 #2?.mp4": bytes(1500) } });
    const page = await get("");
    const html = await page.text();
    expect(html).toContain("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&#39;&amp;.mp4");
    expect(html).not.toMatch(/<img|<script|onerror="/);
    expect(html).toContain(`href="./${encodeURIComponent("Aula 1 #2?.mp4")}"`);
    expect(html).toContain("não é cifrada");
    expect(page.headers.get("content-security-policy")).toMatch(/^default-src 'none'; style-src 'sha256-/);
    expect(await (await get("", { "Accept-Language": "en-GB,pt" })).text()).toContain("not encrypted");
  });

  test("is not found without its path, and answers no other Host, method or machine", async () => {
    const { host, at } = await serve({ files: { "a.mp4": bytes(5) } });
    for (const path of ["/", "/a.mp4", `/${TOKEN}`, `/${TOKEN.slice(0, -1)}0/`, `/x/${TOKEN}/`])
      expect((await fetch(`http://${host}${path}`)).status, path).toBe(404);
    expect((await fetch(`${at}/`, { method: "POST" })).status).toBe(405);
    expect(await rawHttp(host, `GET /${TOKEN}/ HTTP/1.1\r\nHost: example.org\r\n\r\n`)).toMatch(/^HTTP\/1\.1 421 /);
    for (const ip of ["10.1.2.3", "172.31.0.1", "192.168.7.9", "127.0.0.1"]) expect(isPrivate(ip)).toBeTrue();
    for (const ip of ["8.8.8.8", "172.32.0.1", "192.169.0.1", "0.0.0.0", "::1"]) expect(isPrivate(ip)).toBeFalse();
  });

  test("shows and gives nothing where every download is refused", async () => {
    const { get } = await serve({ files: { "a.mp4": bytes(5) }, rejectAll: true });
    expect(await (await get("")).text()).not.toContain("a.mp4");
    expect((await get("a.mp4")).status).toBe(404);
  });
});

describe("a guest's download", () => {
  const video = bytes(700_001);

  test("is the file, with its length, its root as ETag, a type that is never run, and one upload told", async () => {
    const { get, events } = await serve({ files: { "a.mp4": video, "page.html": video } });
    const whole = await get("a.mp4");
    expect(whole.headers.get("content-length")).toBe("700001");
    expect(whole.headers.get("etag")).toBe(`"${ROOT}"`);
    expect(whole.headers.get("content-type")).toBe("video/mp4");
    expect(digest(await whole.arrayBuffer())).toBe(digest(video));
    await until("the upload", () => events.length > 0);
    expect(events).toEqual([{ type: "uploaded", name: "a.mp4", to: { ip: "127.0.0.1", port: 0 }, bytes: 700_001 }]);
    const page = await get("page.html", {}, "HEAD");
    expect(page.headers.get("content-type")).toBe("application/octet-stream");
    expect(page.headers.get("content-disposition")).toMatch(/^attachment;/);
    expect((await get("a.mp4?save", {}, "HEAD")).headers.get("content-disposition")).toMatch(/^attachment;/);
  });

  test("is listed while it goes on, as one entry for all that one guest reads of a file", async () => {
    const { get, guests } = await serve({ files: { "a.mp4": new Uint8Array(12 * 1024 * 1024) } });
    const [one, two] = await Promise.all([get("a.mp4"), get("a.mp4", { Range: "bytes=100-" })]);
    await until("bytes", () => (guests.list()[0]?.bytes ?? 0) > 0);
    expect(guests.list()).toMatchObject([{ name: "a.mp4", to: { ip: "127.0.0.1", port: 0 }, size: 12 * 1024 * 1024 }]);
    await Promise.all([one.body?.cancel(), two.body?.cancel()]);
    await until("the end", () => guests.list().length === 0);
  });

  test("is offered to be watched where its name says that a browser may play it", async () => {
    const { get } = await serve({
      files: { "a.mp4": bytes(1), "b.zip": bytes(1), "c.avi": bytes(1), "d.MKV": bytes(1) },
    });
    const html = await (await get("")).text();
    expect([...html.matchAll(/Assistir: ([^"]+)"/g)].map(([, name]) => name)).toEqual(["a.mp4", "d.MKV"]);
    expect([...html.matchAll(/Baixar: ([^"]+)"/g)]).toHaveLength(4);
  });

  test("goes on where it was, only of the same content; ranges that make no sense get the whole or 416", async () => {
    const { get } = await serve({ files: { "a.mp4": video } });
    const rest = await get("a.mp4", { Range: "bytes=600000-", "If-Range": `"${ROOT}"` });
    expect(rest.status).toBe(206);
    expect(rest.headers.get("content-range")).toBe("bytes 600000-700000/700001");
    expect(digest(await rest.arrayBuffer())).toBe(digest(video.subarray(600_000)));
    expect((await get("a.mp4", { Range: "bytes=600000-", "If-Range": '"other"' })).status).toBe(200);
    for (const range of ["bytes=700001-", "bytes=-0"]) expect((await get("a.mp4", { Range: range })).status).toBe(416);
    for (const range of [
      "bytes=5-2",
      "bytes=a-b",
      "lines=1-2",
      "bytes=0-1,4-5",
      "bytes=-",
      `bytes=${"9".repeat(400)}-`,
    ])
      expect((await get("a.mp4", { Range: range }, "HEAD")).status, range).toBe(200);
    expect((await get("a.mp4", { "If-None-Match": `"${ROOT}"` })).status).toBe(304);
  });

  test("leads to no other file, however the path is written", async () => {
    const { host } = await serve({ files: { "a.mp4": video } });
    for (const path of [
      "../a.mp4",
      "..%2fa.mp4",
      "%2e%2e/etc/passwd",
      "a.mp4/",
      "a.mp4%00",
      "%ff",
      "./a.mp4",
      "constructor",
    ])
      expect(await rawHttp(host, `GET /${TOKEN}/${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`), path).toMatch(
        /^HTTP\/1\.1 404 /,
      );
  });

  test("takes a slot: with none free the guest is asked to come back", async () => {
    const { get, queue, clock } = await serve({ files: { "a.mp4": video }, slots: 1 });
    queue.enter({ transport: { remote: { ip: "10.0.0.9", port: 1 } }, gone: false, reply() {} });
    const waiting = get("a.mp4");
    await until("the guest in the queue", () => queue.isWanted);
    await clock.advance(20_000);
    const busy = await waiting;
    expect(busy.status).toBe(503);
    expect(busy.headers.get("retry-after")).toBe("30");
    expect(busy.headers.get("content-length")).not.toBe("700001");
    expect(await busy.text()).toContain("vagas");
    await until("the guest gone", () => !queue.isWanted);
  });

  test("ends in the middle when the file changes, so that it does not look whole", async () => {
    let reads = 0;
    const { get } = await serve({ files: { "a.mp4": bytes(3_000_000) }, unchanged: () => ++reads < 3 });
    const cut = await get("a.mp4");
    expect(cut.status).toBe(200);
    await expect(cut.arrayBuffer()).rejects.toThrow();
  });

  test("a guest that takes nothing loses its slot, and one address has a bounded number of answers", async () => {
    const giant = new Uint8Array(12 * 1024 * 1024);
    const { get, queue, clock } = await serve({ files: { "a.mp4": giant }, slots: 1 });
    const paused = await Promise.all(Array.from({ length: RESPONSES_PER_GUEST_MAX }, () => get("a.mp4")));
    expect(paused.every(({ status }) => status === 200)).toBeTrue();
    expect((await get("a.mp4")).status).toBe(503);
    let isIn = false;
    const other = queue.enter({ transport: { remote: { ip: "10.0.0.9", port: 1 } }, gone: false, reply() {} });
    if (!isFault(other)) void other.turn.then(() => (isIn = true));
    await clock.advance(61_000);
    await clock.advance(1000);
    await until("the slot", () => isIn);
  });

  test("a guest that leaves while it waits for its part of the rate leaves no file open", async () => {
    const { host, filesOpen } = await serve({ files: { "a.mp4": bytes(1_000_000) }, rate: 1000 });
    const [ip = "", port = ""] = host.split(":");
    const seeks = Array.from({ length: RESPONSES_PER_GUEST_MAX }, async () => {
      const raw = await openRaw({ ip, port: Number(port) });
      raw.send(`GET /${TOKEN}/a.mp4 HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      return raw;
    });
    const raws = await Promise.all(seeks);
    await until("the files open", () => filesOpen() === raws.length);
    for (const raw of raws) raw.destroy();
    await until("the files closed", () => filesOpen() === 0, 5);
  });
});
