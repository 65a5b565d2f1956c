// The page's server at 127.0.0.1: the page's files, its operations, and the stream of events.
// Invariant: every answer carries the headers of guard.ts; without the token nothing of the program is told or done.
// Never: listens at any other address.

import { randomBytes } from "node:crypto";
import { formatAddress, LOOPBACK } from "../protocol/address.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import { servePage } from "../transport/http.ts";
import { isAuthorized, refusalOf, SAFE_HEADERS } from "./guard.ts";
import { type PageFiles, pageFiles } from "./page-files.ts";
import { isOperation, operate, type Shell } from "./shell.ts";
import { createStreams, type Streams } from "./streams.ts";

/** Of one request: the longest that an operation needs is a name or a folder. */
const BODY_BYTES_MAX = 32 * 1024;
const TOKEN_BYTES = 16;
/** A browser has six of them for all its windows. All come from this machine. */
const CONNECTIONS = { connections: 64, ofAddress: 64 };

export type WebServer = {
  /** What the person opens: it carries the token behind #, which no browser sends. */
  readonly url: string;
  /** An event of the CLI's JSON, for every open page. */
  tell(json: string): void;
  close(): void;
};

type Site = { readonly shell: Shell; readonly files: PageFiles; readonly token: string; readonly streams: Streams };

const answer = (status: number, body: object | string = ""): Response =>
  typeof body === "string"
    ? new Response(body, { status, headers: { ...SAFE_HEADERS, "Content-Type": "text/plain; charset=utf-8" } })
    : Response.json(body, { status, headers: SAFE_HEADERS });

type ReadBody = () => Promise<string | undefined>;

async function api({ shell, streams }: Site, path: string, request: Request, read: ReadBody): Promise<Response> {
  if (path === "events" && request.method === "GET") {
    const first = JSON.stringify({ event: "state", ...shell.state() });
    // A stream that is ended takes its connection along: nothing else ends one that has no timeout.
    const headers = { ...SAFE_HEADERS, "Content-Type": "text/event-stream", Connection: "close" };
    return new Response(streams.open(first), { headers });
  }
  if (!isOperation(path)) return answer(404);
  if (request.method !== "POST") return answer(405);
  const type = request.headers.get("content-type") ?? "";
  if (!/^application\/json\s*(?:;|$)/i.test(type)) return answer(415);
  const body = await read();
  if (body === undefined) return answer(413);
  const result = await operate(shell, path, parse(body));
  return "done" in result ? answer(200, result.done) : answer(422, result.problem);
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function serveFile(files: PageFiles, path: string, method: string): Response {
  const file = files.get(path);
  if (file === undefined) return answer(404);
  if (method !== "GET" && method !== "HEAD") return answer(405);
  return new Response(file.body, { headers: { ...SAFE_HEADERS, "Content-Type": file.type } });
}

/** Serves the page of `shell`. Port 0 takes any free one. Faults as those of listen. */
export async function createWebServer(shell: Shell, port: number): Promise<WebServer | Fault> {
  const token = randomBytes(TOKEN_BYTES).toString("hex");
  const site: Site = { shell, files: await pageFiles(), token, streams: createStreams() };
  let origin = "";
  const listener = await servePage(
    { ip: LOOPBACK, port },
    {
      bodyBytesMax: BODY_BYTES_MAX,
      limits: CONNECTIONS,
      answerTo(request, body) {
        const refusal = refusalOf(request.headers, origin);
        if (refusal !== undefined) return answer(refusal);
        const { pathname } = new URL(request.url);
        if (!pathname.startsWith("/api/")) return serveFile(site.files, pathname, request.method);
        if (!isAuthorized(request.headers, token)) return answer(401);
        return api(site, pathname.slice("/api/".length), request, body);
      },
    },
  );
  if (isFault(listener)) return listener;
  origin = `http://${formatAddress(listener.address)}`;
  const unsubscribe = shell.subscribe((change) => site.streams.tell(JSON.stringify(change)));
  return {
    url: `${origin}/#${token}`,
    tell: site.streams.tell,
    close() {
      unsubscribe();
      site.streams.close();
      listener.close();
    },
  };
}
