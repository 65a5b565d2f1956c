// A small HTTP server for the operator: texts that are made when they are asked for.
// Invariant: GET and HEAD only; whatever the request says, nothing changes.
// Never: serves a peer.

import type { Address } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
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

/** Serves `pageOf(path)`; faults as those of listen. Port 0 takes any free one. */
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
