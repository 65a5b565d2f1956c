// The page's side of the conversation with the program: operations, and the stream of events.
// Invariant: every request carries the token; after a break the whole state is heard anew.
// Never: asks again and again for what an event would tell.

import type { Change, Operation, Operations, Problem } from "../contract.ts";

/** An event of the CLI's JSON, or of the page's own. */
export type Heard =
  | Change
  | { readonly event: "cli"; readonly name: string; readonly values: Readonly<Record<string, unknown>> };
export type Line = "open" | "closed" | "refused";

const RETRY_MS = 1000;
const RETRY_MS_MAX = 30_000;
const TOKEN = "napster-token";
const OWN: ReadonlySet<string> = new Set(["state", "standing", "download", "download-removed", "uploads", "limits"]);

/** The token behind # of the address that the program showed; it is taken out of the address bar. */
export function takeToken(): string | undefined {
  const given = /^#([0-9a-f]{32})$/.exec(location.hash)?.[1];
  if (given !== undefined) {
    sessionStorage.setItem(TOKEN, given);
    history.replaceState(null, "", location.pathname);
  }
  return given ?? sessionStorage.getItem(TOKEN) ?? undefined;
}

export type Talk = {
  /** Answers with a problem as the program tells it. */
  ask<Name extends Operation>(
    name: Name,
    given: Operations[Name]["in"],
  ): Promise<Operations[Name]["out"] | { problem: Problem }>;
};

export function createTalk(token: string): Talk {
  return {
    async ask(name, given) {
      const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
      try {
        const response = await fetch(`/api/${name}`, { method: "POST", headers, body: JSON.stringify(given) });
        const body = await response.json();
        return response.ok ? body : { problem: body };
      } catch {
        return { problem: { code: "SERVER_GONE", message: "", hint: "" } };
      }
    },
  };
}

/** Hears every event until the token is refused; comes back by itself when the program does. */
export async function listen(
  token: string,
  onEvent: (heard: Heard) => void,
  onLine: (line: Line) => void,
): Promise<void> {
  for (let pause = RETRY_MS; ; pause = Math.min(pause * 2, RETRY_MS_MAX)) {
    await shown();
    const left = new AbortController();
    const leave = (): void => {
      if (document.hidden) left.abort();
    };
    document.addEventListener("visibilitychange", leave);
    try {
      const headers = { Authorization: `Bearer ${token}` };
      const response = await fetch("/api/events", { headers, signal: left.signal });
      if (response.status === 401) return onLine("refused");
      if (response.ok && response.body !== null) {
        onLine("open");
        pause = RETRY_MS / 2;
        await read(response.body, onEvent);
      }
    } catch {} // the program is not there, or the page is hidden
    document.removeEventListener("visibilitychange", leave);
    if (left.signal.aborted) continue;
    onLine("closed");
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** A browser has six connections to one place, for all its windows: one that is not looked at leaves them to others. */
async function shown(): Promise<void> {
  while (document.hidden)
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

async function read(body: ReadableStream<Uint8Array>, onEvent: (heard: Heard) => void): Promise<void> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) if (event.startsWith("data: ")) onEvent(parse(event.slice("data: ".length)));
  }
}

function parse(json: string): Heard {
  const value = JSON.parse(json) as { event: string };
  if (OWN.has(value.event)) return value as Change;
  const { event: name, ...values } = value;
  return { event: "cli", name, values };
}
