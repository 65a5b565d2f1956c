// How many connections an HTTP server of ours holds, and which of them gives its place to a new one.

import { afterEach, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { type HttpLimits, listenHttp } from "../../src/transport/http.ts";
import { good } from "../support/good.ts";
import { rawHttp } from "../support/http.ts";
import { until } from "../support/until.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

type Client = { readonly socket: Socket; isClosed: boolean; text: string };

async function serve(limits: HttpLimits) {
  let begun = 0;
  const listener = good(
    await listenHttp(
      { ip: "127.0.0.1", port: 0 },
      ({ url }, response) => {
        begun++;
        if (url === "/stays") response.flushHeaders();
        else response.end("here");
      },
      limits,
    ),
  );
  closing.push(listener.close);
  const { port } = listener.address;
  /** Says `text`, and is there once the server has taken it in. */
  function client(text: string, from = "127.0.0.1"): Client {
    const socket = connect({ port, host: "127.0.0.1", localAddress: from }, () => socket.write(text));
    const one: Client = { socket, isClosed: false, text: "" };
    socket.on("data", (chunk) => (one.text += chunk));
    socket.on("error", () => {});
    socket.on("close", () => (one.isClosed = true));
    closing.push(() => socket.destroy());
    return one;
  }
  return { at: `127.0.0.1:${port}`, client, begun: () => begun };
}

const HALF = "GET / HT";
const WHOLE = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const STAYS = "GET /stays HTTP/1.1\r\nHost: a\r\n\r\n";

test("the connection that has asked nothing for longest gives its place to a new one; one that is answered keeps it", async () => {
  const { at, client, begun } = await serve({ connections: 8, ofAddress: 8 });
  const streams = [client(STAYS), client(STAYS)];
  await until("both streams", () => begun() === 2);
  const silent = Array.from({ length: 200 }, () => client(HALF));
  await until("the flood turned away", () => silent.filter(({ isClosed }) => isClosed).length >= 194);
  expect(await rawHttp(at, WHOLE)).toMatch(/^HTTP\/1\.1 200 /);
  expect(streams.map(({ isClosed }) => isClosed)).toEqual([false, false]);
  const more = Array.from({ length: 6 }, () => client(STAYS));
  await until("all places taken by answers", () => begun() === 9);
  const late = client(WHOLE);
  await until("the late one turned away", () => late.isClosed);
  expect([late.text, ...more.map(({ isClosed }) => isClosed)]).toEqual(["", ...more.map(() => false)]);
});

test("one address that floods takes no place of another", async () => {
  if (process.platform !== "linux") return; // elsewhere 127.0.0.2 is no address of this machine
  const { client } = await serve({ connections: 8, ofAddress: 4 });
  const others = [client(HALF, "127.0.0.2"), client(HALF, "127.0.0.2")];
  const flood = Array.from({ length: 50 }, () => client(HALF));
  await until("the flood turned away", () => flood.filter(({ isClosed }) => isClosed).length >= 46);
  expect(others.map(({ isClosed }) => isClosed)).toEqual([false, false]);
  for (const { socket } of others) socket.write(WHOLE.slice(HALF.length));
  await until("their answers", () => others.every(({ text }) => text.endsWith("here")));
});
