// HTTP: texts that are made when an operator asks for them, and answers that may stand still for as long as it takes.
// Invariant: an answer has as many bytes as it promised, or its connection breaks.
// Never: serves a peer.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Address } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { createConnectionLimit } from "../shared/connection-limit.ts";
import type { Listener } from "./connection.ts";
import { nextDescriptor, SCARCE_FROM } from "./descriptors.ts";
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
      // Without this, and outside of development, another program of this user may take the same port too.
      reusePort: false,
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

/** How long a connection may take to say what it wants, or may be open without asking. */
const REQUEST_MS_MAX = 10_000;

/** Connections that are open at once, in all and from each address. */
export type HttpLimits = { readonly connections: number; readonly ofAddress: number };

const isScarce = (): boolean => (nextDescriptor() ?? SCARCE_FROM) >= SCARCE_FROM;

/**
 * Keeps the connections of `server` within the limits, and the last descriptors free: for one more, the one that has been
 * without a request for longest is ended, of the same address where that has too many. With none such the new one is ended.
 */
function limitConnections(server: Server, { connections, ofAddress }: HttpLimits): void {
  const limit = createConnectionLimit(connections, ofAddress);
  const open = new Map<Socket, string>();
  const idle = new Set<Socket>();

  function forget(socket: Socket): void {
    const ip = open.get(socket);
    if (ip === undefined) return;
    open.delete(socket);
    idle.delete(socket);
    limit.release(ip);
  }

  function evict(ip: string | undefined): void {
    for (const socket of idle) {
      if (ip !== undefined && open.get(socket) !== ip) continue;
      forget(socket);
      return void socket.destroy();
    }
  }

  server.on("connection", (socket: Socket) => {
    const ip = socket.remoteAddress ?? "";
    if (isScarce()) evict(undefined);
    if (!limit.admit(ip)) {
      evict(limit.size < connections ? ip : undefined);
      if (!limit.admit(ip)) return void socket.destroy();
    }
    open.set(socket, ip);
    idle.add(socket);
    socket.on("close", () => forget(socket));
    if (isScarce()) {
      forget(socket);
      socket.destroy();
    }
  });
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    idle.delete(socket);
    response.on("close", () => {
      if (open.has(socket)) idle.add(socket);
    });
  });
}

// Bun.serve would keep the head back until there are bytes, and leave the length out.
/** Serves with node:http, whose answers keep their Content-Length whatever they are made of. Faults as those of listen. */
export function listenHttp(
  at: Address,
  serve: (request: IncomingMessage, response: ServerResponse) => void,
  limits: HttpLimits,
): Promise<Listener | Fault> {
  const { promise, resolve } = Promise.withResolvers<Listener | Fault>();
  const times = { headersTimeout: REQUEST_MS_MAX, requestTimeout: REQUEST_MS_MAX, keepAliveTimeout: REQUEST_MS_MAX };
  const server = createServer(times);
  limitConnections(server, limits);
  server.on("request", serve);
  server.on("error", (error) => {
    const code = errorCode(error);
    resolve(fault(LISTEN_FAULTS[code] ?? "HOST_UNAVAILABLE", "ours", `${at.ip}:${at.port} ${code}`));
  });
  server.listen(at.port, at.ip, () => {
    const listening = server.address();
    const port = typeof listening === "object" && listening !== null ? listening.port : at.port;
    resolve({
      address: { ip: at.ip, port },
      close() {
        server.close();
        server.closeAllConnections();
      },
    });
  });
  return promise;
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

/** Serves what `answerTo` says, the head at once and its body when it comes. Port 0 takes any free one; faults as those of listen. */
export function serveStreams(
  at: Address,
  answerTo: (asked: Asked) => Answer,
  limits: HttpLimits,
): Promise<Listener | Fault> {
  function serve(request: IncomingMessage, response: ServerResponse): void {
    const { method = "", url: target = "", headers } = request;
    const answer = answerTo({ method, target, header: (name) => headers[name] as string | undefined });
    response.writeHead(answer.status, { ...answer.headers, "Content-Length": answer.bytes });
    if (answer.body === undefined) response.end();
    else void sendBody(response, answer.body, answer.bytes);
  }
  return listenHttp(at, serve, limits);
}

export type PageServerOptions = {
  /** A request without its body, and what reads that: undefined when it is longer than `bodyBytesMax`. */
  readonly answerTo: (request: Request, body: () => Promise<string | undefined>) => Response | Promise<Response>;
  readonly bodyBytesMax: number;
  readonly limits: HttpLimits;
};

/** Serves a page, its operations and its events. Port 0 takes any free one; faults as those of listen. */
export function servePage(at: Address, options: PageServerOptions): Promise<Listener | Fault> {
  const { answerTo, bodyBytesMax, limits } = options;

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = incoming;
    const at = new URL(url, `http://${headers.host}`).href;
    const request = new Request(at, { method, headers: new Headers(headers as Record<string, string>) });
    const answer = await answerTo(request, () => bodyOf(incoming, bodyBytesMax));
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.flushHeaders();
    const reader = answer.body?.getReader();
    response.on("close", () => void reader?.cancel());
    for (;;) {
      const { value, done } = (await reader?.read()) ?? { done: true };
      if (done || response.destroyed) break;
      if (!response.write(value)) await drained(response);
    }
    response.end();
  }
  const refuse = (response: ServerResponse): void => {
    if (!response.headersSent) response.writeHead(400, { Connection: "close" });
    response.end();
  };
  return listenHttp(at, (incoming, response) => void serve(incoming, response).catch(() => refuse(response)), limits);
}

async function bodyOf(incoming: IncomingMessage, bytesMax: number): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > bytesMax) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Until the system takes more of the answer, or its reader is gone. */
export function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      response.off("close", end);
      response.off("drain", end);
      resolve();
    };
    response.on("close", end);
    response.on("drain", end);
  });
}

async function sendBody(response: ServerResponse, body: Body, bytes: number): Promise<void> {
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
