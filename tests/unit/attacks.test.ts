// An automated attacker at the three HTTP servers: the page's, the players' and the guests'.

import { afterEach, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { createPlayServer } from "../../src/play/play-server.ts";
import { isFault } from "../../src/protocol/fault.ts";
import { systemClock } from "../../src/shared/clock.ts";
import { type HttpLimits, listenHttp, serveStreams } from "../../src/transport/http.ts";
import { createFairRate } from "../../src/upload/fair-rate.ts";
import { createGuestServer } from "../../src/upload/guests/guests.ts";
import { createShareIndex } from "../../src/upload/share-index.ts";
import { createSlotQueue } from "../../src/upload/slot-queue.ts";
import { createWebServer } from "../../src/web/web-server.ts";
import { ATTACKS } from "../support/attacks.ts";
import { good } from "../support/good.ts";
import { createFakeShell } from "../support/web.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
const LIMITS: HttpLimits = { connections: 64, ofAddress: 64 };
const HERE = { ip: "127.0.0.1", port: 0 };

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

type Attacked = {
  readonly host: string;
  readonly path: string;
  readonly extra: string;
  readonly touched: () => unknown;
};

async function page(): Promise<Attacked> {
  const shell = createFakeShell();
  const server = await createWebServer(shell, 0);
  if (isFault(server)) throw new Error(server.detail);
  closing.push(server.close);
  const [origin = "", token = ""] = server.url.split("/#");
  const extra = `Authorization: Bearer ${token}\r\nContent-Type: application/json\r\n`;
  return { host: origin.slice("http://".length), path: "/api/verify", extra, touched: () => shell.asked };
}

async function guests(): Promise<Attacked> {
  const opened: string[] = [];
  const shares = createShareIndex<string>(async (name) => {
    opened.push(name);
    return { read: (into) => into.length, look: () => ({ unchanged: true, named: true }), close() {} };
  });
  const share = { name: "a.mp4", size: 100, root: "ab".repeat(32) };
  shares.put({ share, pieceBytes: 16384, layer: undefined, listed: "a.mp4" });
  let host = "";
  const server = createGuestServer({
    shares,
    uploads: { queue: createSlotQueue(4, systemClock), rates: createFairRate(undefined, systemClock), wake() {} },
    clock: systemClock,
    token: TOKEN,
    host: () => host,
    rejectAll: false,
    onEvent() {},
  });
  const listener = good(await listenHttp(HERE, server.serve, LIMITS));
  closing.push(server.close, listener.close);
  host = `127.0.0.1:${listener.address.port}`;
  return { host, path: `/${TOKEN}/a.mp4`, extra: "", touched: () => opened };
}

async function players(): Promise<Attacked> {
  const read: number[] = [];
  let host = "";
  const server = createPlayServer({ host: () => host, streamsMax: 8 });
  const listener = good(await serveStreams(HERE, server.answerTo, LIMITS));
  closing.push(server.clear, listener.close);
  host = `127.0.0.1:${listener.address.port}`;
  const stream = (start: number) => {
    read.push(start);
    return { next: async () => undefined, close() {} };
  };
  const file = { size: 100, stream, have() {}, lost() {}, whole() {}, close() {} };
  server.put(TOKEN, { name: "a.mp4", tag: '"x"', file: file as never });
  return { host, path: `/${TOKEN}/a.mp4`, extra: "", touched: () => read };
}

/** All that comes back until the server hangs up, or has answered `answers` requests. */
function say(host: string, text: string, answers = 1): Promise<string> {
  const [ip = "", port = ""] = host.split(":");
  return new Promise((resolve) => {
    let heard = "";
    const socket = connect(Number(port), ip, () => socket.end(Buffer.from(text, "latin1")));
    socket.on("data", (chunk) => {
      heard += chunk.toString("latin1");
      if (heard.split("HTTP/1.1 ").length > answers && heard.endsWith("\r\n")) socket.destroy();
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(heard));
  });
}

for (const [name, open] of Object.entries({ page, guests, players }))
  describe(`the server of ${name}`, () => {
    test("does nothing for requests that two readers would read in two ways, or that are no requests, and goes on", async () => {
      const { host, path, extra, touched } = await open();
      for (const [what, text] of Object.entries(ATTACKS)) {
        const made = text.replaceAll("HOST", host).replaceAll("PATH", path);
        const heard = await say(host, made);
        for (const [, status] of heard.matchAll(/^HTTP\/1\.1 (\d+)/gm))
          expect(Number(status), what).toBeWithin(400, 500);
        expect(heard, what).not.toMatch(/\/work\/|node_modules|\.ts:\d/);
      }
      expect(touched()).toEqual([]);
      const method = name === "page" ? "POST" : "GET";
      const whole = `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${extra}Content-Length: 2\r\nConnection: close\r\n\r\n{}`;
      expect(await say(host, whole)).toStartWith("HTTP/1.1 200 ");
    });

    test("answers one request at a time, however many come at once, and takes no upgrade", async () => {
      const { host, path } = await open();
      const many = `GET ${path}x HTTP/1.1\r\nHost: ${host}\r\n\r\n`.repeat(50);
      const heard = await say(host, many, 50);
      expect(heard.split("HTTP/1.1 ").length - 1).toBeWithin(1, 51);
      const upgrade = `GET ${path}x HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`;
      expect(await say(host, upgrade)).toMatch(/^(?:HTTP\/1\.1 4\d\d |$)/);
    });
  });
