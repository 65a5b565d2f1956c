// HTTP: texts that are made when an operator asks for them, and answers that may stand still for as long as it takes.
// Invariant: an answer has as many bytes as it promised, or its connection breaks.
// Never: serves a peer.

import * as http from "node:http";
import type { Address } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { Listener } from "./connection.ts";
import { errorCode, LISTEN_FAULTS } from "./tcp.ts";

export type Page = { readonly status: number; readonly type: string; readonly text: string };

const MISSING: Page = { status: 404, type: "text/plain; charset=utf-8", text: "not found\n" };

const NOT_ALLOWED: Page = { status: 405, type: "text/plain; charset=utf-8", text: "GET only\n" };
const BROKEN: Page = { status: 500, type: "text/plain; charset=utf-8", text: "internal error\n" };

const respond = ({ status, type, text }: Page): Response =>
  new Response(text, { status, headers: { "Content-Type": type, Connection: "close" } });

/** The path of a request's target. Without a Host header, as HTTP/1.0 allows, Bun's `url` is the bare path. */
const pathOf = (url: string): string => /^(?:[a-z]+:\/\/[^/?#]*)?([^?#]*)/i.exec(url)?.[1] || "/";

/** Serves `pageOf(path)` to GET and HEAD; faults as those of listen. Port 0 takes any free one. */
export function serveText(at: Address, pageOf: (path: string) => Page | undefined): Listener | Fault {
  try {
    const server = Bun.serve({
      hostname: at.ip,
      port: at.port,
      // The runtime's own page for an error shows paths, source lines and a stack.
      development: false,
      error: () => respond(BROKEN),
      fetch(request) {
        if (request.method !== "GET" && request.method !== "HEAD") return respond(NOT_ALLOWED);
        try {
          return respond(pageOf(pathOf(request.url)) ?? MISSING);
        } catch {
          return respond(BROKEN);
        }
      },
    });
    return { address: { ip: at.ip, port: server.port ?? at.port }, close: () => void server.stop(true) };
  } catch (error) {
    const code = errorCode(error);
    return fault(LISTEN_FAULTS[code] ?? "HOST_UNAVAILABLE", "ours", `${at.ip}:${at.port} ${code}`);
  }
}

/** What a request says. `target` is as it came, with its query. */
export type Asked = {
  readonly method: string;
  readonly target: string;
  readonly header: (name: "host" | "range" | "if-range") => string | undefined;
};

/** What an answer's bytes are read from, as fast as the other side takes them. Undefined at the end. */
export type Body = { next(): Promise<Uint8Array | Fault | undefined>; close(): void };

/** `bytes`: how many there are, also where `body` is left out because none was asked for. */
export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: number;
  readonly body?: Body;
};

// Bun.serve would keep the head back until there are bytes, and leave the length out.
/** Serves what `answerTo` says, the head at once and its body when it comes. Port 0 takes any free one; faults as those of listen. */
export async function serveStreams(at: Address, answerTo: (asked: Asked) => Answer): Promise<Listener | Fault> {
  const server = http.createServer((request, response) => {
    const { method = "", url: target = "", headers } = request;
    const answer = answerTo({ method, target, header: (name) => headers[name] as string | undefined });
    response.writeHead(answer.status, { ...answer.headers, "Content-Length": answer.bytes });
    if (answer.body === undefined) response.end();
    else void sendBody(response, answer.body, answer.bytes);
  });
  const { promise: listening, resolve } = Promise.withResolvers<Fault | undefined>();
  server.on("error", (error) => {
    const code = errorCode(error);
    resolve(fault(LISTEN_FAULTS[code] ?? "HOST_UNAVAILABLE", "ours", `${at.ip}:${at.port} ${code}`));
  });
  server.listen(at.port, at.ip, () => resolve(undefined));
  const failed = await listening;
  if (failed !== undefined) return failed;
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : at.port;
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { address: { ip: at.ip, port }, close };
}

async function sendBody(response: http.ServerResponse, body: Body, bytes: number): Promise<void> {
  let left = bytes;
  let isGone = false;
  let goOn = (): void => {};
  response.on("close", () => {
    isGone = true;
    body.close();
    goOn();
  });
  response.on("drain", () => goOn());
  response.flushHeaders();
  while (!isGone && left > 0) {
    const chunk = await body.next();
    if (chunk === undefined || isFault(chunk)) break;
    left -= chunk.length;
    if (!isGone && !response.write(chunk)) await new Promise<void>((resolve) => (goOn = resolve));
  }
  body.close();
  if (left > 0) response.destroy();
  else response.end();
}
