// The page's server: who is refused, what an operation may carry, and what open pages hear.

import { afterEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fault, isFault } from "../../src/protocol/fault.ts";
import { QR_BYTES_MAX, qrCode, qrLines } from "../../src/web/qr.ts";
import { createStreams, STREAMS_MAX } from "../../src/web/streams.ts";
import { createWebServer, type WebServer } from "../../src/web/web-server.ts";
import { rawHttp } from "../support/http.ts";
import { until } from "../support/until.ts";
import { createFakeShell, DOWNLOAD, type FakeShell } from "../support/web.ts";

/** Of the picture that zbarimg 0.23.92 read. */
const QR_CRC = 2226449619;

const open: WebServer[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

/** The first `count` of an open stream, which is then let go. */
async function firstEvents(page: Response, count: number) {
  let text = "";
  for await (const chunk of page.body?.pipeThrough(new TextDecoderStream() as never) ?? []) {
    text += chunk;
    if (text.split("\n\n").length > count) break;
  }
  const events = text.split("\n\n").slice(0, count);
  return events.map((event) => JSON.parse(event.replace(/^data: /, "")));
}

async function serve(shell: FakeShell = createFakeShell()) {
  const server = await createWebServer(shell, 0);
  if (isFault(server)) throw new Error(server.detail);
  open.push(server);
  const [origin = "", token = ""] = server.url.split("/#");
  const host = origin.slice("http://".length);
  const ask = (path: string, body: unknown = {}, headers: Record<string, string> = {}) =>
    fetch(`${origin}/api/${path}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  return { server, shell, origin, host, token, ask };
}

describe("the page's server refuses", () => {
  test("every Host but its own, also that of a name that leads here", async () => {
    const { host, token } = await serve();
    const port = host.split(":")[1];
    for (const other of [
      "example.org",
      `example.org:${port}`,
      `localhost:${port}`,
      "127.0.0.1",
      `127.0.0.1:${port}.`,
      "",
    ]) {
      const answer = await rawHttp(host, `GET / HTTP/1.1\r\nHost: ${other}\r\nAuthorization: Bearer ${token}\r\n\r\n`);
      expect(answer, other).toMatch(/^HTTP\/1\.1 (?:421|400) /);
    }
    expect(await rawHttp(host, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 200 /);
  });

  test("a page of another origin, and one of another port of this machine, with the token too", async () => {
    const { shell, ask } = await serve();
    for (const origin of ["http://example.org", "null", "http://127.0.0.1:1", "https://127.0.0.1"])
      expect((await ask("pause", { name: "a.mp4" }, { Origin: origin })).status).toBe(403);
    for (const site of ["cross-site", "same-site"])
      expect((await ask("pause", { name: "a.mp4" }, { "Sec-Fetch-Site": site })).status).toBe(403);
    expect(shell.asked).toEqual([]);
  });

  test("no token, a guessed one, one in the address or in a cookie", async () => {
    const { shell, origin, token } = await serve();
    const wrong: Record<string, string>[] = [
      {},
      { Authorization: "Bearer " },
      { Authorization: `Bearer ${token.slice(0, -1)}0g` },
      { Authorization: token },
      { Cookie: `token=${token}` },
    ];
    for (const headers of wrong)
      for (const path of ["events", "files", "state", `files?token=${token}`])
        expect((await fetch(`${origin}/api/${path}`, { method: "POST", headers })).status).toBe(401);
    expect(shell.asked).toEqual([]);
  });

  test("paths that are not its own, however they are written", async () => {
    const { host } = await serve();
    const paths = [
      "/../package.json",
      "/..%2f..%2fetc/passwd",
      "//etc/passwd",
      "/%00",
      "/C:\\x",
      "/api",
      "/$bunfs/root/x",
      "/style.css%00",
    ];
    for (const path of paths)
      expect(await rawHttp(host, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`), path).toMatch(/^HTTP\/1\.1 4\d\d /);
  });

  test("operations that it does not have, other methods, other types, bodies that are none or too long", async () => {
    const { shell, origin, token, ask } = await serve();
    expect((await ask("constructor")).status).toBe(404);
    expect((await ask("state")).status).toBe(404);
    expect((await fetch(`${origin}/api/pause`, { headers: { Authorization: `Bearer ${token}` } })).status).toBe(405);
    expect((await fetch(`${origin}/`, { method: "DELETE" })).status).toBe(405);
    expect((await ask("pause", "name=a", { "Content-Type": "application/x-www-form-urlencoded" })).status).toBe(415);
    const bad = ["", "[]", "null", "7", "{", { name: 7 }, { name: "" }, { name: "a".repeat(5000) }, {}];
    for (const body of bad) expect((await ask("pause", body)).status).toBe(422);
    expect((await ask("pause", { name: "a".repeat(100_000) })).status).toBe(413);
    for (const limits of [
      { maxUploads: null },
      { maxUploads: -1 },
      { maxUploadRate: 0 },
      { maxUploads: 1.5 },
      { other: 1 },
      { maxDownloads: 0 },
    ])
      expect((await ask("limits", limits)).status).toBe(422);
    expect(shell.asked).toEqual([]);
  });

  test("to say anything without the headers that keep a browser from trusting it", async () => {
    const { origin, ask } = await serve();
    const answers = [
      await fetch(origin),
      await fetch(`${origin}/nothing`),
      await ask("files"),
      await ask("pause"),
      await fetch(`${origin}/api/files`),
    ];
    for (const { headers } of answers) {
      expect(headers.get("content-security-policy")).toMatch(/^default-src 'self'; .*frame-ancestors 'none'$/);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("referrer-policy")).toBe("no-referrer");
      expect(headers.get("access-control-allow-origin")).toBeNull();
      expect(headers.get("set-cookie")).toBeNull();
    }
  });
});

describe("the page's server", () => {
  test("serves the page, its script and its style, and nothing from another place", async () => {
    const { origin } = await serve();
    const page = await (await fetch(origin)).text();
    const links = [...page.matchAll(/(?:src|href)="([^"#]+)"/g)]
      .map(([, link = ""]) => link)
      .filter((link) => !link.startsWith("data:"));
    expect(links.length).toBeGreaterThan(1);
    for (const link of links) {
      expect(link).toMatch(/^\.?\/[\w.-]+$/);
      const file = await fetch(new URL(link, origin));
      expect(file.status).toBe(200);
      expect(file.headers.get("content-type")).toMatch(link.endsWith(".css") ? /^text\/css/ : /javascript/);
    }
  });

  test("hands an operation's arguments on, and tells a fault as the CLI's JSON does", async () => {
    const shell = createFakeShell(undefined, {
      search: { peers: ["127.0.0.1:1"] },
      start: () => fault("NO_SOURCE", "theirs"),
    });
    const { ask } = await serve(shell);
    expect(await (await ask("search", { name: "Aula.mp4", other: 1 })).json()).toEqual({ peers: ["127.0.0.1:1"] });
    const failed = await ask("start", { name: "Aula.mp4" });
    expect(failed.status).toBe(422);
    expect(Object.keys((await failed.json()) as object)).toEqual(["code", "message", "hint"]);
    await ask("limits", { maxUploadRate: null, maxUploads: 0 });
    expect(shell.asked).toEqual([
      { name: "search", given: { name: "Aula.mp4" } },
      { name: "start", given: { name: "Aula.mp4", from: undefined } },
      { name: "limits", given: { maxUploadRate: null, maxUploads: 0 } },
    ]);
  });

  test("tells every page the whole state first, then each change and each event, in order", async () => {
    const { server, shell, origin, token } = await serve();
    const headers = { Authorization: `Bearer ${token}` };
    const pages = await Promise.all([1, 2].map(() => fetch(`${origin}/api/events`, { headers })));
    shell.tell({ event: "download", download: { ...DOWNLOAD, name: "a\n\ndata: b" } });
    server.tell('{"event":"hashed","name":"a"}');
    for (const page of pages) {
      const events = await firstEvents(page, 3);
      expect(events.map(({ event }) => event)).toEqual(["state", "download", "hashed"]);
      expect(events[1].download.name).toBe("a\n\ndata: b");
    }
  });

  test("a thousand pages at once leave the last ones open, a thousand without the key none", async () => {
    const { origin, token, shell } = await serve();
    const headers = { Authorization: `Bearer ${token}` };
    const refused = await Promise.all(Array.from({ length: 1000 }, () => fetch(`${origin}/api/events`)));
    expect(new Set(refused.map(({ status }) => status))).toEqual(new Set([401]));
    const all = await Promise.all(Array.from({ length: 1000 }, () => fetch(`${origin}/api/events`, { headers })));
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set([200]));
    const last = await fetch(`${origin}/api/events`, { headers });
    shell.tell({ event: "download-removed", name: "x" });
    expect((await firstEvents(last, 2)).map(({ event }) => event)).toEqual(["state", "download-removed"]);
    await Promise.all(all.map(({ body }) => body?.cancel()));
  });

  test("a port that is taken is a fault", async () => {
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    expect(await createWebServer(createFakeShell(), taken.port)).toMatchObject({ fault: "PORT_IN_USE" });
    taken.stop(true);
    const { host } = await serve();
    expect(await createWebServer(createFakeShell(), Number(host.split(":")[1]))).toMatchObject({
      fault: "PORT_IN_USE",
    });
  });

  test("a page that is ended for a newer one is hung up on", async () => {
    const { origin, host, token } = await serve();
    const headers = `Host: ${host}\r\nAuthorization: Bearer ${token}`;
    const oldest = rawHttp(host, `GET /api/events HTTP/1.1\r\n${headers}\r\n\r\n`, Number.POSITIVE_INFINITY);
    const page = () => fetch(`${origin}/api/events`, { headers: { Authorization: `Bearer ${token}` } });
    const pages: Response[] = [];
    let heard: string | undefined;
    void oldest.then((text) => (heard = text));
    await until("the end of the oldest", async () => {
      pages.push(await page());
      return heard;
    });
    expect(heard).toEndWith("0\r\n\r\n");
    await Promise.all(pages.map(({ body }) => body?.cancel()));
  });
});

describe("open pages", () => {
  test("are bounded: a new one ends the oldest", async () => {
    const streams = createStreams();
    const all = Array.from({ length: 1000 }, () => streams.open("{}"));
    expect(streams.count).toBe(STREAMS_MAX);
    expect(await new Response(all[0]).text()).toBe("data: {}\n\n");
    streams.close();
    expect(streams.count).toBe(0);
  });

  test("one that does not read is ended, and the others hear on", async () => {
    const streams = createStreams();
    const [stopped, reader] = [streams.open("{}"), streams.open("{}").getReader()];
    const long = JSON.stringify("x".repeat(1024 * 1024));
    for (let i = 0; i < 8; i++) {
      streams.tell(long);
      await reader.read();
    }
    expect(streams.count).toBe(1);
    expect((await new Response(stopped).text()).length).toBeLessThan(5 * 1024 * 1024);
    await reader.cancel();
    expect(streams.count).toBe(0);
  });
});

describe("the code for a camera", () => {
  test("is what zbarimg reads as the address", () => {
    const rows = qrCode("http://192.168.0.12:40123/") ?? [];
    const picture = rows.map((row) => row.map((dark) => (dark ? "#" : ".")).join("")).join("\n");
    expect(rows.length).toBe(25);
    expect(Bun.hash.crc32(picture)).toBe(QR_CRC);
    expect(qrLines("http://192.168.0.12:40123/").length).toBe(15);
    expect(qrCode("x".repeat(QR_BYTES_MAX))?.length).toBe(37);
    expect(qrCode("x".repeat(QR_BYTES_MAX + 1))).toBeUndefined();
  });
});

describe("the page's colours", () => {
  const style = readFileSync(join(import.meta.dir, "../../src/web/page/style.css"), "utf8");
  const colours = (name: string): readonly string[] => {
    const [, light = "", dark = ""] = new RegExp(`--${name}: light-dark\\((#\\w+), (#\\w+)\\)`).exec(style) ?? [];
    return [light, dark];
  };
  const luminance = (colour: string): number => {
    const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
      const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string): number => {
    const [less = 0, more = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (more + 0.05) / (less + 0.05);
  };

  test("stand apart as WCAG's AA wants, light and dark", () => {
    for (const ground of ["page", "card"])
      for (const text of ["text", "soft", "link", "good", "bad"])
        for (const scheme of [0, 1])
          expect(
            contrast(colours(ground)[scheme] ?? "", colours(text)[scheme] ?? ""),
            `${text} on ${ground}`,
          ).toBeGreaterThan(4.5);
    for (const strong of colours("strong")) expect(contrast(strong, "#ffffff")).toBeGreaterThan(4.5);
  });
});
