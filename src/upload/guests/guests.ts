// Guests: browsers in the same network that see what is shared and download or play it, without this program.
// Invariant: a guest reads what the share index has, by name and under the secret path, and pays for it as a downloader
// does: one slot for each address, its bytes by the upload rate.
// Never: changes anything, or answers a machine with a public address.

import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { isPrivate } from "../../protocol/address.ts";
import { type Fault, isFault } from "../../protocol/fault.ts";
import type { Share } from "../../protocol/messages.ts";
import { type Clock, whileOn } from "../../shared/clock.ts";
import { mediaTypeOf, OTHER_TYPE } from "../../shared/media-types.ts";
import { type Range, rangeOf } from "../../shared/range.ts";
import { drained } from "../../transport/http.ts";
import type { FairRate } from "../fair-rate.ts";
import type { Uploading, UploadsEvent } from "../responder.ts";
import type { ReadableFile, ShareEntry, ShareIndex } from "../share-index.ts";
import type { SlotQueue } from "../slot-queue.ts";
import type { Claim } from "../slots.ts";
import { type GuestFile, guestNote, guestPage, STYLE } from "./guest-page.ts";

export type GuestOptions = {
  readonly shares: ShareIndex;
  /** What guests share with downloaders: slots and rate. `wake`: a guest begins to read. */
  readonly uploads: { readonly queue: SlotQueue; readonly rates: FairRate; readonly wake: () => void };
  readonly clock: Clock;
  /** The first part of every path; not to be guessed. */
  readonly token: string;
  /** What the Host header must be. */
  readonly host: () => string;
  readonly rejectAll: boolean;
  readonly onEvent: (event: UploadsEvent) => void;
};

export type GuestServer = {
  serve(request: IncomingMessage, response: ServerResponse): void;
  /** What guests read now; port 0 stands for a browser's, of which there are several. */
  list(): readonly Uploading[];
  close(): void;
};

const CHUNK_BYTES = 256 * 1024;
/** Files that one address reads at once: a player has two or three. */
export const RESPONSES_PER_GUEST_MAX = 8;
/** Addresses at once. */
export const GUESTS_MAX = 64;
/** A guest waits so long for a slot before it is told to come back. */
const SLOT_MS_MAX = 20_000;
/** A player that is paused gives its slot up after so long without taking a byte; it asks again where it stopped. */
export const PAUSED_MS_MAX = 60_000;
const SWEEP_MS = 1000;

const hashOf = (text: string): string => createHash("sha256").update(text).digest("base64");
const HEADERS: Readonly<Record<string, string>> = {
  "Content-Security-Policy": `default-src 'none'; style-src 'sha256-${hashOf(STYLE)}'; img-src data:; media-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`,
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cache-Control": "no-store",
};

/** One address that reads: its slot, and what it was sent. */
type Guest = {
  readonly claim: Claim;
  readonly turn: Promise<Fault | undefined>;
  readonly responses: Set<ServerResponse>;
  /** By name, since it came. */
  readonly sent: Map<string, Uploading & { bytes: number }>;
  movedAt: number;
};

export function createGuestServer(options: GuestOptions): GuestServer {
  const { shares, token, host } = options;
  const guests = createGuestList(options);

  function serve(request: IncomingMessage, response: ServerResponse): void {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    const ip = ipOf(request);
    // Another name that leads to this machine is a page that wants to pass for this server (DNS rebinding).
    if (ip === undefined || !isPrivate(ip) || request.headers.host !== host()) return end(response, 421);
    if (request.method !== "GET" && request.method !== "HEAD") return end(response, 405);
    const [, name, query = ""] = new RegExp(`^/${token}/([^/?#]*)(?:\\?([^#]*))?$`).exec(request.url ?? "") ?? [];
    if (name === undefined) return end(response, 404);
    if (name === "") return sendPage(request, response, Number(/^from=(\d{1,9})$/.exec(query)?.[1] ?? 0));
    const entry = shares.byName(decoded(name));
    if (entry === undefined || options.rejectAll)
      return sendHtml(request, response, 404, guestNote("gone", languagesOf(request)));
    void sendFile({ request, response, entry, ip }, query === "save").catch(() => response.destroy());
  }

  function sendPage(request: IncomingMessage, response: ServerResponse, offset: number): void {
    const files: GuestFile[] = options.rejectAll ? [] : [...shares.all()].map(({ share }) => share);
    files.sort((a, b) => a.name.localeCompare(b.name));
    sendHtml(request, response, 200, guestPage(files, offset, languagesOf(request)));
  }

  async function sendFile({ request, response, entry, ip }: Sending, isToSave: boolean): Promise<void> {
    const range = describe(request, response, entry, isToSave);
    if (range === undefined || request.method === "HEAD") return void response.end();
    const guest = guests.enter(ip, response);
    const refused = guest === undefined || (await guest.isIn());
    const file = refused ? undefined : await shares.open(entry);
    if (file === undefined || isFault(file)) {
      for (const name of response.getHeaderNames()) if (!(name in HEADERS_LOWER)) response.removeHeader(name);
      if (refused) response.setHeader("Retry-After", "30");
      return sendHtml(
        request,
        response,
        refused ? 503 : 404,
        guestNote(refused ? "busy" : "gone", languagesOf(request)),
      );
    }
    try {
      await guest?.send(file, entry.share, range);
    } finally {
      file.close();
    }
  }

  return { serve, list: guests.list, close: guests.close };
}

type Sending = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly entry: ShareEntry;
  readonly ip: string;
};

const HEADERS_LOWER = Object.fromEntries(Object.keys(HEADERS).map((name) => [name.toLowerCase(), true]));
const languagesOf = ({ headers }: IncomingMessage): string | undefined => headers["accept-language"];
const ipOf = ({ socket }: IncomingMessage): string | undefined => socket.remoteAddress?.replace(/^::ffff:/, "");

function decoded(name: string): string {
  try {
    return decodeURIComponent(name).normalize("NFC");
  } catch {
    return "";
  }
}

function end(response: ServerResponse, status: number): void {
  response.writeHead(status, { Connection: "close" });
  response.end();
}

function sendHtml({ method }: IncomingMessage, response: ServerResponse, status: number, html: string): void {
  response.writeHead(status, { "Content-Type": "text/html; charset=utf-8", "Content-Length": Buffer.byteLength(html) });
  response.end(method === "HEAD" ? undefined : html);
}

/** Status and headers for what is asked of this file. Undefined where no byte of it is to follow. */
function describe(
  { headers }: IncomingMessage,
  response: ServerResponse,
  { share }: ShareEntry,
  isToSave: boolean,
): Range | undefined {
  const { name, size, root } = share;
  const tag = root === undefined ? undefined : `"${root}"`;
  const type = mediaTypeOf(name);
  const saves = isToSave || type === OTHER_TYPE;
  response.setHeader("Accept-Ranges", "bytes");
  if (tag !== undefined) response.setHeader("ETag", tag);
  if (tag !== undefined && headers["if-none-match"] === tag) {
    response.statusCode = 304;
    return undefined;
  }
  const condition = headers["if-range"];
  const range = condition === undefined || condition === tag ? rangeOf(headers.range, size) : undefined;
  if (range === "unsatisfiable") {
    response.statusCode = 416;
    response.setHeader("Content-Range", `bytes */${size}`);
    return undefined;
  }
  const { start, end } = range ?? { start: 0, end: size };
  response.statusCode = range === undefined ? 200 : 206;
  if (range !== undefined) response.setHeader("Content-Range", `bytes ${start}-${end - 1}/${size}`);
  response.setHeader("Content-Type", type);
  response.setHeader("Content-Length", end - start);
  response.setHeader(
    "Content-Disposition",
    `${saves ? "attachment" : "inline"}; filename*=UTF-8''${encodeURIComponent(name).replace(/['()*]/g, percent)}`,
  );
  return { start, end };
}

const percent = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;

/** Who reads now: a slot for each address, and an end for one that takes nothing. */
function createGuestList({ uploads, clock, onEvent }: GuestOptions) {
  const { queue, rates, wake } = uploads;
  const guests = new Map<string, Guest>();
  let ids = 0;

  function find(ip: string): Guest | undefined {
    const known = guests.get(ip);
    if (known !== undefined || guests.size >= GUESTS_MAX) return known;
    const waiter = { transport: { remote: { ip, port: 0 } }, reply: () => undefined, gone: false };
    const entered = queue.enter(waiter);
    if (isFault(entered)) return undefined;
    const guest = {
      ...entered,
      responses: new Set<ServerResponse>(),
      sent: new Map<string, Uploading & { bytes: number }>(),
      movedAt: clock.now(),
    };
    guests.set(ip, guest);
    sweeping.wake();
    return guest;
  }

  function leave(ip: string, guest: Guest, response: ServerResponse): void {
    guest.responses.delete(response);
    if (guest.responses.size > 0 || guests.get(ip) !== guest) return;
    guests.delete(ip);
    guest.claim.leave();
    for (const { name, to, bytes } of guest.sent.values()) onEvent({ type: "uploaded", name, to, bytes });
  }

  /** Takes part in the slot of `ip` until the response is over. Undefined when there is no room. */
  function enter(ip: string, response: ServerResponse) {
    const guest = find(ip);
    if (guest === undefined || guest.responses.size >= RESPONSES_PER_GUEST_MAX) return undefined;
    guest.responses.add(response);
    const payer = rates.payer(ip);
    response.on("close", () => {
      payer.leave();
      leave(ip, guest, response);
    });
    return {
      /** Undefined once it is its turn; a fault, or true, when that has taken too long. */
      async isIn(): Promise<Fault | true | undefined> {
        const tooLate = Promise.withResolvers<true>();
        const cancel = clock.after(SLOT_MS_MAX, () => tooLate.resolve(true));
        const result = await Promise.race([guest.turn, tooLate.promise]);
        cancel();
        guest.movedAt = clock.now();
        return result;
      },
      /** All of the range, as fast as it is taken and the rate allows. A file that changes ends it in the middle. */
      async send(file: ReadableFile, { name, size }: Share, range: Range): Promise<void> {
        const sent = guest.sent.get(name) ?? { id: `guest ${ids++}`, name, to: { ip, port: 0 }, bytes: 0, size };
        guest.sent.set(name, sent);
        wake();
        for (let at = range.start; at < range.end && !response.destroyed; ) {
          const chunk = new Uint8Array(await payer.take(Math.min(CHUNK_BYTES, range.end - at)));
          if (response.destroyed) break;
          const read = await file.read(chunk, at);
          const look = await file.look();
          if (isFault(read) || read < chunk.length || isFault(look) || !look.unchanged) return void response.destroy();
          if (!response.write(chunk) && !response.destroyed) await drained(response);
          at += chunk.length;
          sent.bytes += chunk.length;
          guest.movedAt = clock.now();
        }
        response.end();
      },
    };
  }

  /** A slot that others wait for is not kept by one that takes nothing, nor for longer than a turn. */
  function sweep(): void {
    const overdue = queue.overdue();
    for (const guest of [...guests.values()]) {
      const isIdle = clock.now() - guest.movedAt > PAUSED_MS_MAX;
      if (isIdle || guest.claim === overdue) for (const response of [...guest.responses]) response.destroy();
    }
  }
  const sweeping = whileOn(clock, SWEEP_MS, () => guests.size > 0, sweep);

  return {
    enter,
    list: () => [...guests.values()].flatMap(({ sent }) => [...sent.values()].map((one) => ({ ...one }))),
    close() {
      sweeping.stop();
      for (const guest of [...guests.values()]) for (const response of [...guest.responses]) response.destroy();
    },
  };
}
