// Who may talk to the page's server: this machine's page with its token, and no other page, program or machine.
// Invariant: a request passes only with the exact Host, no foreign Origin, and for the program's data the token.
// Never: trusts a cookie; all ports of a machine share them.

import { timingSafeEqual } from "node:crypto";

/** Beside these no script, style, picture or frame is loaded; `play` is the server of videos, at another port. */
const POLICY = [
  "default-src 'self'",
  "media-src 'self' http://127.0.0.1:*",
  "img-src 'self' data:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** In every answer, refusals among them. */
export const SAFE_HEADERS: Readonly<Record<string, string>> = {
  "Content-Security-Policy": POLICY,
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cache-Control": "no-store",
};

/** The status of a refusal; undefined when the request comes from where the page comes from. */
export function refusalOf(headers: Headers, origin: string): number | undefined {
  if (headers.get("host") !== new URL(origin).host) return 421;
  const from = headers.get("origin");
  if (from !== null && from !== origin) return 403;
  const site = headers.get("sec-fetch-site");
  // Typed, opened by this program, or the page itself; another port of this machine is "same-site".
  if (site !== null && site !== "none" && site !== "same-origin" && headers.get("sec-fetch-mode") !== "navigate")
    return 403;
  return undefined;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Whether the Authorization header carries this token. Takes as long for every wrong one. */
export function isAuthorized(headers: Headers, token: string): boolean {
  const given = bytes(headers.get("authorization") ?? "");
  const wanted = bytes(`Bearer ${token}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}
