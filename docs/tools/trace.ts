// Records what `napster-peer get` says and hears, through relays, and writes it into docs/EXCHANGE.md: `bun docs/tools/trace.ts`.
// The programs run from the source, on loopback, at free ports; ports, tickets and long roots are written in short.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Socket } from "bun";
import { isFault } from "../../src/protocol/fault.ts";
import { createReader } from "../../src/protocol/reader.ts";
import { decodeReply } from "../../src/protocol/replies.ts";
import { Servidor } from "../../src/servidor.ts";

const ROOT = join(import.meta.dir, "..", "..");
const DOCUMENT = join(ROOT, "docs", "EXCHANGE.md");
const BLOCK = /(<!-- recorded: trace -->\n```\n)[\s\S]*?(```\n<!-- \/recorded -->)/;
const NAME = "maior.mp4";
const SIZE = 300_000;

/** One message: on which connection, which way, its line, and how many bytes followed it. */
export type Said = { readonly on: string; readonly way: ">" | "<"; readonly line: string };

/** Lines out of a stream; what a line announces is skipped and counted. */
function createEar(hear: (line: string) => void, isReply: boolean): (chunk: Uint8Array) => void {
  const reader = createReader();
  let pending: { line: string; left: number } | undefined;
  return (chunk) => {
    reader.push(chunk);
    for (;;) {
      if (pending !== undefined) {
        const some = reader.some(pending.left);
        if (some === undefined) return;
        pending = { ...pending, left: pending.left - some.length };
        if (pending.left > 0) continue;
        hear(pending.line);
        pending = undefined;
        continue;
      }
      const line = reader.line();
      if (line === undefined || isFault(line)) return;
      const reply = isReply ? decodeReply(line) : undefined;
      const left = reply !== undefined && !isFault(reply) && "payloadBytes" in reply ? reply.payloadBytes : 0;
      if (left > 0) pending = { line: `${line} + ${left} bytes`, left };
      else hear(line);
    }
  };
}

/** Listens at a free port and passes everything on to `port`, telling each message. `named` names a connection by its first verbs. */
function relay(port: () => number, named: (lines: readonly string[]) => string, tell: (said: Said) => void) {
  type Side = { out: Socket | undefined; waiting: Uint8Array[]; asked: (chunk: Uint8Array) => void };
  return Bun.listen<Side>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        const lines: string[] = [];
        const early: Said[] = [];
        const note = (way: ">" | "<") => (line: string) => {
          if (way === ">") lines.push(line);
          const on = named(lines);
          // What a connection is shows by its second line.
          if (on === "") return void early.push({ on, way, line });
          for (const said of early.splice(0)) tell({ ...said, on });
          tell({ on, way, line });
        };
        const answered = createEar(note("<"), true);
        socket.data = { out: undefined, waiting: [], asked: createEar(note(">"), false) };
        void Bun.connect({
          hostname: "127.0.0.1",
          port: port(),
          socket: {
            data(_, chunk) {
              answered(chunk);
              socket.write(chunk);
            },
            close: () => void socket.end(),
          },
        }).then((out) => {
          socket.data.out = out;
          for (const chunk of socket.data.waiting) out.write(chunk);
        });
      },
      data(socket, chunk) {
        const { out, waiting, asked } = socket.data;
        asked(chunk);
        if (out === undefined) waiting.push(chunk);
        else out.write(chunk);
      },
      close: ({ data }) => void data.out?.end(),
    },
  });
}

/** Runs a server, a sharer and a `get`, and returns what the `get` said and heard, in the order in which it was seen. */
export async function record(): Promise<Said[]> {
  const folder = mkdtempSync(join(tmpdir(), "napster-trace-"));
  const env = { ...process.env, NAPSTER_SERVER: "", HOME: folder, XDG_CACHE_HOME: folder };
  const said: Said[] = [];
  const tell = (one: Said) => void said.push(one);
  // The sharer is in a network of its own, so that this one names the relay in its place.
  const at = { ip: "127.0.0.1", port: 0 };
  const servers = [0, 1].map(() => new Servidor({ at, probe: false, onEvent: () => {} }));
  const [home, away] = servers.map((server) => server.listen());
  if (home === undefined || away === undefined || isFault(home) || isFault(away)) throw new Error("cannot listen");
  const start = (...args: string[]) =>
    Bun.spawn([process.execPath, join(ROOT, "src", "napster-peer.ts"), ...args], {
      env,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
  const videos = join(folder, "videos");
  const copies = join(folder, "copies");
  await Bun.write(
    join(videos, NAME),
    new Uint8Array(SIZE).map((_, index) => index % 251),
  );
  mkdirSync(copies);
  const sharer = start("share", "--dir", videos, "--json", "--server", `127.0.0.1:${home.port}`);
  try {
    let sharerPort = 0;
    let root = "";
    let text = "";
    for await (const chunk of sharer.stdout) {
      text += Buffer.from(chunk).toString();
      sharerPort = Number(/"joined"[^}]*"port":(\d+)/.exec(text)?.[1] ?? 0);
      root = /"root":"([0-9a-f]{64})"/.exec(text)?.[1] ?? "";
      if (sharerPort > 0 && root !== "") break;
    }
    const peers = relay(
      () => sharerPort,
      (lines) => {
        const second = lines[1];
        if (second === undefined) return "";
        return second.startsWith("LANE") ? "lane   " : "control";
      },
      tell,
    );
    const toServer = relay(
      () => away.port,
      () => "server ",
      tell,
    );
    const line = `${SIZE} ${root} ${NAME}\n`;
    const listed = await Bun.connect({ hostname: "127.0.0.1", port: away.port, socket: { data() {} } });
    listed.write(`JOIN 127.0.0.1:${peers.port} ${line.length}\n${line}`);
    const get = start("get", NAME, "--dir", copies, "--server", `127.0.0.1:${toServer.port}`);
    const code = await get.exited;
    if (code !== 0) throw new Error(`get ended with ${code}: ${await new Response(get.stderr).text()}`);
    const own = said.map(({ line: one }) => /^JOIN_OK 127\.0\.0\.1:(\d+)/.exec(one)?.[1]).find(Boolean) ?? "";
    listed.end();
    for (const one of [peers, toServer]) one.stop(true);
    return said.map((one) => ({
      ...one,
      line: one.line
        .replaceAll(`:${peers.port}`, ":8776")
        .replaceAll(`:${own}`, ":8777")
        .replace(/\b([0-9a-f]{8})[0-9a-f]{20,52}([0-9a-f]{4})\b/g, "$1…$2"),
    }));
  } finally {
    sharer.kill();
    await sharer.exited;
    await Promise.all(servers.map((server) => server.close()));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The trace as it stands in the document. */
export const written = (): string => BLOCK.exec(readFileSync(DOCUMENT, "utf8"))?.[0] ?? "";

if (import.meta.main) {
  const lines = (await record()).map(({ on, way, line }) => `${on} ${way} ${line}\n`);
  const text = readFileSync(DOCUMENT, "utf8");
  writeFileSync(
    DOCUMENT,
    text.replace(BLOCK, (_, open: string, close: string) => `${open}${lines.join("")}${close}`),
  );
  console.log(`${lines.length} lines written`);
}
