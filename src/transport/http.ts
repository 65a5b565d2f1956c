// The operator's door: a small HTTP server for texts that are made when they are asked for.
// Invariant: GET and HEAD only; whatever the request says, nothing changes.
// Never: serves a peer.

import type { Address } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import type { Listener } from "./connection.ts";
import { errorCode, LISTEN_FAULTS } from "./tcp.ts";

export type Page = { readonly status: number; readonly type: string; readonly text: string };

const MISSING: Page = { status: 404, type: "text/plain; charset=utf-8", text: "not found\n" };

/** Serves `pageOf(path)`; faults as those of listen. Port 0 takes any free one. */
export function serveText(at: Address, pageOf: (path: string) => Page | undefined): Listener | Fault {
  try {
    const server = Bun.serve({
      hostname: at.ip,
      port: at.port,
      fetch(request) {
        if (request.method !== "GET" && request.method !== "HEAD") return new Response("GET only\n", { status: 405 });
        const { status, type, text } = pageOf(new URL(request.url).pathname) ?? MISSING;
        return new Response(text, { status, headers: { "Content-Type": type } });
      },
    });
    return { address: { ip: at.ip, port: server.port ?? at.port }, close: () => void server.stop(true) };
  } catch (error) {
    const code = errorCode(error);
    return fault(LISTEN_FAULTS[code] ?? "HOST_UNAVAILABLE", "ours", `${at.ip}:${at.port} ${code}`);
  }
}
