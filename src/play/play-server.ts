// A player's HTTP request, answered: which file, which bytes of it, as a stream that waits for what is still to come.
// Invariant: a file is found by its secret path alone, and by a request that names this server as its host.
// Never: promises fewer bytes than were asked for (players take a short answer for the end), or changes anything.

import { mediaTypeOf } from "../shared/media-types.ts";
import { rangeOf } from "../shared/range.ts";
import type { Answer, Asked, Body } from "../transport/http.ts";
import type { PlayFile } from "./play-file.ts";

export type PlayServerOptions = {
  /** What the Host header must be: IP and port where it listens. */
  readonly host: () => string;
  /** Answers open at once, of all files together. */
  readonly streamsMax: number;
};

export type Played = { readonly name: string; readonly tag: string; readonly file: PlayFile };

export type PlayServer = {
  /** From now on `/token/name` is this file. `token`: 32 hexadecimal digits. */
  put(token: string, played: Played): void;
  get(token: string): Played | undefined;
  /** Forgets the file, and ends its streams. */
  remove(token: string): void;
  /** Forgets all. */
  clear(): void;
  answerTo(asked: Asked): Answer;
};

// The browser believes the type, and keeps nothing of it on its disk. The path is the secret: to a browser another port of
// an IP is another site, and this peer's own page is there.
const HEADERS = {
  "Accept-Ranges": "bytes",
  "Cache-Control": "no-store",
  "Cross-Origin-Resource-Policy": "cross-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
} as const;

const TARGET = /^\/([0-9a-f]{32})\/([^/?#]+)(?:\?.*)?$/;

const refuse = (status: number, headers: Readonly<Record<string, string>> = {}): Answer => ({
  status,
  headers: { ...HEADERS, ...headers, Connection: "close" },
  bytes: 0,
});

export function createPlayServer({ host, streamsMax }: PlayServerOptions): PlayServer {
  const files = new Map<string, Played>();
  let streams = 0;

  function find(target: string): Played | undefined {
    const [, token = "", name = ""] = TARGET.exec(target) ?? [];
    const played = files.get(token);
    // Players spell the same name in several ways.
    return played !== undefined && decoded(name) === played.name.normalize("NFC") ? played : undefined;
  }

  function answerTo({ method, target, header }: Asked): Answer {
    // Another name that leads to this machine is a page that wants to pass for this server (DNS rebinding).
    if (header("host") !== host()) return refuse(421);
    const played = find(target);
    if (played === undefined) return refuse(404);
    if (method !== "GET" && method !== "HEAD") return refuse(405, { Allow: "GET, HEAD" });
    const { size } = played.file;
    const isSame = (header("if-range") ?? played.tag) === played.tag;
    const range = isSame ? rangeOf(header("range"), size) : undefined;
    if (range === "unsatisfiable") return refuse(416, { "Content-Range": `bytes */${size}` });
    const { start, end } = range ?? { start: 0, end: size };
    const bytes = end - start;
    if (method === "GET" && bytes > 0 && streams >= streamsMax) return refuse(503, { "Retry-After": "1" });
    return {
      status: range === undefined ? 200 : 206,
      headers: {
        ...HEADERS,
        "Content-Type": mediaTypeOf(played.name),
        ETag: played.tag,
        ...(range !== undefined && { "Content-Range": `bytes ${start}-${end - 1}/${size}` }),
      },
      bytes,
      ...(method === "GET" && bytes > 0 && { body: counted(played.file.stream(start, end)) }),
    };
  }

  function counted(stream: Body): Body {
    let isOpen = true;
    streams++;
    return {
      next: stream.next,
      close() {
        if (isOpen) streams--;
        isOpen = false;
        stream.close();
      },
    };
  }

  function remove(token: string): void {
    files.get(token)?.file.close();
    files.delete(token);
  }

  return {
    put(token, played) {
      remove(token);
      files.set(token, played);
    },
    get: (token) => files.get(token),
    remove,
    clear() {
      for (const token of [...files.keys()]) remove(token);
    },
    answerTo,
  };
}

function decoded(name: string): string | undefined {
  try {
    return decodeURIComponent(name).normalize("NFC");
  } catch {
    return undefined;
  }
}
