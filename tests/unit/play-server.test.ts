// A player's request over real HTTP: ranges, refusals, waiting, and what a closed player leaves.

import { afterAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createPlayFile } from "../../src/play/play-file.ts";
import { createPlayServer } from "../../src/play/play-server.ts";
import { createBitfield } from "../../src/shared/bitfield.ts";
import { systemClock } from "../../src/shared/clock.ts";
import { mediaTypeOf } from "../../src/shared/media-types.ts";
import { rangeOf } from "../../src/shared/range.ts";
import { serveStreams } from "../../src/transport/http.ts";
import { good } from "../support/good.ts";
import { until } from "../support/until.ts";

describe("a Range header", () => {
  const CASES: readonly (readonly [string | undefined, unknown])[] = [
    [undefined, undefined],
    ["bytes=0-", { start: 0, end: 100 }],
    ["bytes=10-19", { start: 10, end: 20 }],
    ["Bytes = 10 - 19", { start: 10, end: 20 }],
    ["bytes=99-", { start: 99, end: 100 }],
    ["bytes=50-1000", { start: 50, end: 100 }],
    ["bytes=-10", { start: 90, end: 100 }],
    ["bytes=-1000", { start: 0, end: 100 }],
    ["bytes=100-", "unsatisfiable"],
    ["bytes=100-200", "unsatisfiable"],
    ["bytes=-0", "unsatisfiable"],
    ["bytes=20-10", undefined],
    ["bytes=-", undefined],
    ["bytes=0-1,5-6", undefined],
    ["bytes=-5-10", undefined],
    ["bytes=a-b", undefined],
    ["bytes=1e1-", undefined],
    ["bytes=99999999999999999-", undefined],
    ["items=0-5", undefined],
    ["", undefined],
  ];
  for (const [header, asked] of CASES)
    test(`${header === undefined ? "that is missing" : `"${header}"`} of 100 bytes is ${JSON.stringify(asked) ?? "all"}`, () =>
      expect(rangeOf(header, 100)).toEqual(asked as ReturnType<typeof rangeOf>));

  test("asks for nothing outside the file, whatever it says", () => {
    const number = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constant("")).map(String);
    const header = fc.oneof(
      fc.tuple(number, number).map(([a, b]) => `bytes=${a}-${b}`),
      fc.string(),
    );
    fc.assert(
      fc.property(header, fc.oneof(fc.nat(), fc.maxSafeNat()), (text, size) => {
        const range = rangeOf(text, size);
        if (range === undefined || range === "unsatisfiable") return;
        expect(range.start).toBeLessThan(range.end);
        expect(range.end).toBeLessThanOrEqual(size);
      }),
    );
  });
});

test("only the extension says what a file is, and nothing that a browser would run", () => {
  expect(mediaTypeOf("Aula 1.MP4")).toBe("video/mp4");
  expect(mediaTypeOf("a.mp4.mkv")).toBe("video/x-matroska");
  for (const name of ["a.html", "a.svg", "a.js", "mp4", "a.constructor", "a.mp4 ", "a.", "<script>.htm"])
    expect(mediaTypeOf(name)).toBe("application/octet-stream");
});

const PIECE = 256 * 1024;
const SIZE = 8 * PIECE;
const CONTENT = crypto.getRandomValues(new Uint8Array(65_536));
const NAME = `O que é? 100% #1 "<aula>".mp4`;
const TOKEN = "0123456789abcdef0123456789abcdef";
const STREAMS_MAX = 4;
const LIMITS = { connections: 2000, ofAddress: 2000 };

async function serving(there: Uint8Array | undefined = undefined) {
  let host = "";
  let open = 0;
  const players = createPlayServer({ host: () => host, streamsMax: STREAMS_MAX });
  const listener = good(await serveStreams({ ip: "127.0.0.1", port: 0 }, players.answerTo, LIMITS));
  host = `127.0.0.1:${listener.address.port}`;
  const reads: number[] = [];
  const file = createPlayFile({
    size: SIZE,
    pieceBytes: PIECE,
    pieces: there,
    open: async () => ({
      async read(into, offset) {
        reads.push(offset);
        for (let at = 0; at < into.length; at++) into[at] = CONTENT[(offset + at) % CONTENT.length] as number;
        return into.length;
      },
      close() {},
    }),
    clock: systemClock,
    onStreams: (_, count) => (open = count),
  });
  players.put(TOKEN, { name: NAME, tag: '"root"', file });
  closing.push(listener.close);
  const url = `http://${host}/${TOKEN}/${encodeURIComponent(NAME)}`;
  const ask = (headers: Record<string, string> = {}, method = "GET") => fetch(url, { method, headers });
  return { host, url, ask, file, players, reads, open: () => open };
}

const closing: (() => void)[] = [];
afterAll(() => {
  for (const close of closing) close();
});

const slice = (start: number, end: number) =>
  Uint8Array.from({ length: end - start }, (_, at) => CONTENT[(start + at) % CONTENT.length] as number);
const bytesOf = async (response: Response) => new Uint8Array(await response.arrayBuffer());

describe("a player's request", () => {
  test("without a range gets the whole file, and with one exactly that, with all that a player wants to know", async () => {
    const { ask } = await serving();
    const whole = await ask();
    expect([whole.status, whole.headers.get("Content-Type"), whole.headers.get("Accept-Ranges")]).toEqual([
      200,
      "video/mp4",
      "bytes",
    ]);
    expect(Buffer.compare(await bytesOf(whole), slice(0, SIZE))).toBe(0);
    const part = await ask({ Range: `bytes=${PIECE - 5}-${PIECE + 4}` });
    expect([part.status, part.headers.get("Content-Range")]).toEqual([206, `bytes ${PIECE - 5}-${PIECE + 4}/${SIZE}`]);
    expect(await bytesOf(part)).toEqual(slice(PIECE - 5, PIECE + 5));
    const end = await ask({ Range: "bytes=-3" });
    expect(await bytesOf(end)).toEqual(slice(SIZE - 3, SIZE));
    const beyond = await ask({ Range: `bytes=${SIZE}-` });
    expect([beyond.status, beyond.headers.get("Content-Range")]).toEqual([416, `bytes */${SIZE}`]);
  });

  test("HEAD learns the length and reads nothing", async () => {
    const { ask, reads } = await serving();
    const head = await ask({}, "HEAD");
    expect([head.status, head.headers.get("Content-Length"), (await bytesOf(head)).length]).toEqual([
      200,
      String(SIZE),
      0,
    ]);
    const part = await ask({ Range: "bytes=1-3" }, "HEAD");
    expect([part.status, part.headers.get("Content-Length")]).toEqual([206, "3"]);
    expect(reads).toEqual([]);
  });

  test("goes on with a range only where If-Range names this content", async () => {
    const { ask } = await serving();
    expect((await ask({ Range: "bytes=1-3", "If-Range": '"root"' })).status).toBe(206);
    const other = await ask({ Range: "bytes=1-3", "If-Range": '"other"' });
    expect([other.status, (await bytesOf(other)).length]).toEqual([200, SIZE]);
  });

  test("lets no page of another site read it, guess its type, or keep it", async () => {
    const { ask } = await serving();
    const { headers } = await ask({ Origin: "http://evil.example" });
    expect(headers.get("X-Content-Type-Options")).toBe("nosniff");
    expect(headers.get("Cross-Origin-Resource-Policy")).toBe("cross-origin");
    expect(headers.get("Cache-Control")).toBe("no-store");
    expect([...headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  const WRONG: Readonly<
    Record<string, readonly [status: number, path: (name: string) => string, host?: string, method?: string]>
  > = {
    "another host, as a page would that had its name lead here": [421, (name) => `/${TOKEN}/${name}`, "evil.example"],
    "localhost in the host's place": [421, (name) => `/${TOKEN}/${name}`, "localhost"],
    "no host": [421, (name) => `/${TOKEN}/${name}`, ""],
    "another token": [404, (name) => `/${"f".repeat(32)}/${name}`],
    "no token": [404, (name) => `/${name}`],
    "the token alone": [404, () => `/${TOKEN}`],
    "another name": [404, () => `/${TOKEN}/passwd`],
    "a way up": [404, (name) => `/${TOKEN}/../${name}`],
    "a name that is no text": [404, () => `/${TOKEN}/%ff%fe`],
    "a name with a slash": [404, (name) => `/${TOKEN}/x%2f${name}`],
    POST: [405, (name) => `/${TOKEN}/${name}`, undefined, "POST"],
    DELETE: [405, (name) => `/${TOKEN}/${name}`, undefined, "DELETE"],
  };
  for (const [what, [status, path, host, method]] of Object.entries(WRONG))
    test(`with ${what} is refused with ${status}`, async () => {
      const served = await serving();
      const { promise, resolve } = Promise.withResolvers<string>();
      const [ip, port] = served.host.split(":") as [string, string];
      const head = `${method ?? "GET"} ${path(encodeURIComponent(NAME))} HTTP/1.1\r\nHost: ${host ?? served.host}\r\n\r\n`;
      let text = "";
      const socket = await Bun.connect({
        hostname: ip,
        port: Number(port),
        socket: {
          data(_, chunk) {
            text += chunk;
            if (text.includes("\r\n")) resolve(text);
          },
          close: () => resolve(text),
        },
      });
      socket.write(host === "" ? head.replace(/Host: \r\n/, "") : head);
      const line = (await promise).split("\r\n", 1)[0];
      // Without a host the runtime may refuse it before we do.
      expect(line).toMatch(host === "" ? /^HTTP\/1\.1 4\d\d / : new RegExp(`^HTTP/1\\.1 ${status} `));
      socket.end();
      expect(served.reads).toEqual([]);
    });

  test("for bytes that are not there yet is promised them at once, and gets them when they come", async () => {
    const { ask, file } = await serving(createBitfield(8));
    const answer = await ask({ Range: `bytes=${3 * PIECE}-${3 * PIECE + 9}` });
    expect([answer.status, answer.headers.get("Content-Range")]).toEqual([
      206,
      `bytes ${3 * PIECE}-${3 * PIECE + 9}/${SIZE}`,
    ]);
    const bytes = bytesOf(answer);
    file.have([3]);
    expect(await bytes).toEqual(slice(3 * PIECE, 3 * PIECE + 10));
  });

  test("that was broken off by its player is forgotten at once, also while it waits", async () => {
    const { url, open, file } = await serving(createBitfield(8));
    const abort = new AbortController();
    const answer = await fetch(url, { signal: abort.signal });
    void answer.arrayBuffer().catch(() => {});
    await until("the stream", () => open() === 1);
    abort.abort();
    await until("its end", () => open() === 0);
    file.whole();
  });

  test("is read no further than its player takes", async () => {
    const { ask, reads } = await serving();
    const answer = await ask();
    const reader = answer.body?.getReader();
    await reader?.read();
    await until("a read", () => reads.length > 0);
    expect(reads.length).toBeLessThanOrEqual(8);
    await reader?.cancel();
  });

  test("beyond those that may be open is told to come back, and is served once another has ended", async () => {
    const { url, ask, open } = await serving(createBitfield(8));
    const aborts = Array.from({ length: STREAMS_MAX }, () => new AbortController());
    for (const { signal } of aborts)
      void fetch(url, { signal })
        .then((answer) => answer.arrayBuffer())
        .catch(() => {});
    await until("all streams", () => open() === STREAMS_MAX);
    const answers = await Promise.all(Array.from({ length: 1000 }, () => ask()));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]));
    aborts[0]?.abort();
    await until("the end of one", () => open() === STREAMS_MAX - 1);
    const { status, body } = await ask();
    expect(status).toBe(200);
    await body?.cancel();
    for (const abort of aborts) abort.abort();
  });

  test("of a file that is taken away breaks off, and never looks whole", async () => {
    const { ask, players, open } = await serving(createBitfield(8));
    const answer = await ask();
    await until("the stream", () => open() === 1);
    players.remove(TOKEN);
    expect(
      await bytesOf(answer).then(
        () => "whole",
        () => "broken off",
      ),
    ).toBe("broken off");
    expect((await ask()).status).toBe(404);
  });
});
