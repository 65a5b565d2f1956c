// One request to a router's HTTP server and its answer, bounded in size and time.
// Invariant: nothing is kept beyond ANSWER_BYTES_MAX, and ROUTER_SECONDS_MAX after the dial all is over.
// Never: dials anything but the router, or follows a redirect.

import { isFault } from "../protocol/fault.ts";
import type { Clock } from "../shared/clock.ts";
import type { Connect, Connection } from "../transport/connection.ts";

/** Ten times what routers describe themselves with. */
export const ANSWER_BYTES_MAX = 256 * 1024;
export const ROUTER_SECONDS_MAX = 3;
const HEAD_BYTES_MAX = 8 * 1024;

export type RouterRequest = {
  readonly router: string;
  readonly port: number;
  readonly path: string;
  /** A call: its header and its text. Without it the page is read. */
  readonly call?: { readonly action: string; readonly text: string };
};

export type RouterAnswer = { readonly status: number; readonly body: string };

/** Undefined where the router does not answer, not in time, or with too much. */
export async function askRouter(
  { router, port, path, call }: RouterRequest,
  connect: Connect,
  clock: Clock,
): Promise<RouterAnswer | undefined> {
  const { promise, resolve } = Promise.withResolvers<RouterAnswer | undefined>();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  /** All that it announces; not known before its head is there, and where only its end tells. */
  let wanted: number | undefined;
  let isHeadRead = false;
  let connection: Connection | undefined;
  const stop = clock.after(ROUTER_SECONDS_MAX * 1000, () => finish(undefined));
  const finish = (answer: RouterAnswer | undefined): void => {
    stop();
    resolve(answer);
    connection?.destroy();
  };
  const all = (): string => Buffer.concat(chunks).toString("latin1");
  function readHead(): void {
    const text = all();
    const end = headEnd(text);
    isHeadRead = end > 0;
    const length = /^content-length: *(\d{1,9}) *$/im.exec(text.slice(0, end))?.[1];
    if (isHeadRead && length !== undefined) wanted = end + 4 + Number(length);
    if (!isHeadRead && bytes > HEAD_BYTES_MAX) finish(undefined);
  }
  const dialled = await Promise.race([
    connect({ ip: router, port }, (opened) => {
      connection = opened;
      opened.send(requestText({ router, port, path, ...(call && { call }) }));
      return {
        data(chunk) {
          bytes += chunk.length;
          if (bytes > ANSWER_BYTES_MAX) return finish(undefined);
          chunks.push(chunk.slice());
          if (!isHeadRead) readHead();
          if (wanted !== undefined && bytes >= wanted) finish(answerIn(all()));
        },
        drain() {},
        end: () => finish(answerIn(all())),
        close: () => finish(answerIn(all())),
      };
    }),
    promise,
  ]);
  if (isFault(dialled)) finish(undefined);
  return promise;
}

function requestText({ router, port, path, call }: RouterRequest): string {
  const head = [`HOST: ${router}:${port}`, "CONNECTION: close", "USER-AGENT: napster UPnP/1.1"];
  if (call === undefined) return [`GET ${path} HTTP/1.1`, ...head, "", ""].join("\r\n");
  const { action, text } = call;
  return [
    `POST ${path} HTTP/1.1`,
    ...head,
    'CONTENT-TYPE: text/xml; charset="utf-8"',
    `SOAPACTION: ${action}`,
    `CONTENT-LENGTH: ${Buffer.byteLength(text)}`,
    "",
    text,
  ].join("\r\n");
}

/** Where the head ends; 0 while it has not. */
const headEnd = (text: string): number => Math.max(0, text.indexOf("\r\n\r\n"));

/** What has come so far; undefined while its head is not whole. */
function answerIn(text: string): RouterAnswer | undefined {
  const [, digits] = /^HTTP\/1\.[01] (\d{3})/.exec(text) ?? [];
  const end = headEnd(text);
  if (digits === undefined || end === 0) return undefined;
  const isChunked = /^transfer-encoding: *chunked/im.test(text.slice(0, end));
  const body = text.slice(end + 4);
  return { status: Number(digits), body: isChunked ? joined(body) : body };
}

/** A body in chunks, as far as it is there. */
function joined(body: string): string {
  const parts: string[] = [];
  for (let at = 0; at < body.length; ) {
    const end = body.indexOf("\r\n", at);
    const digits = end < 0 || end - at > 8 ? "" : body.slice(at, end);
    const size = /^[0-9a-f]+$/i.test(digits) ? Number.parseInt(digits, 16) : 0;
    if (size === 0) break;
    parts.push(body.slice(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
  return parts.join("");
}
