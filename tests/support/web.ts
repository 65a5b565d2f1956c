// A shell without a peer behind it: what the page asked is kept, what it hears is told by the test.

import type { Change, Download, State } from "../../src/web/contract.ts";
import type { Shell } from "../../src/web/shell.ts";

export const DOWNLOAD: Download = {
  name: "Aula 3 – Redes.mp4",
  state: "running",
  bytes: 734_003_200,
  size: 1_980_000_000,
  rate: 5_200_000,
  etaSeconds: 240,
  sources: [
    { address: "192.168.0.12:8776", bytes: 500_000_000 },
    { address: "192.168.0.17:8777", bytes: 234_003_200 },
  ],
  pieces: Buffer.from(Uint8Array.from({ length: 60 }, (_, i) => (i < 18 ? 255 : i % 7 === 0 ? 0xf0 : 0))).toString(
    "base64",
  ),
  pieceCount: 473,
};

export const STATE: State = {
  version: "0.1.0",
  standing: {
    server: "192.168.0.10:1099",
    address: "192.168.0.11:8776",
    folder: "/videos",
    away: false,
    reached: true,
  },
  downloads: [DOWNLOAD],
  uploads: [{ id: "1", name: "Aula 1.mp4", to: "192.168.0.17:40312", bytes: 10_000_000, size: 90_000_000 }],
  limits: { maxUploads: 4, maxDownloads: 3, maxUploadRate: 5_000_000 },
};

export type FakeShell = Shell & {
  readonly asked: { readonly name: string; readonly given: object }[];
  tell(change: Change): void;
  current: State;
};

/** Answers every operation with what `answers` has for it, else with an empty object. */
export function createFakeShell(first: State = STATE, answers: Record<string, unknown> = {}): FakeShell {
  const listeners = new Set<(change: Change) => void>();
  const asked: FakeShell["asked"] = [];
  const operation = (name: string) => async (given: object) => {
    asked.push({ name, given });
    const answer = answers[name] ?? {};
    return typeof answer === "function" ? answer(given) : answer;
  };
  const shell = {
    asked,
    current: first,
    state: () => shell.current,
    subscribe(tell: (change: Change) => void) {
      listeners.add(tell);
      return () => void listeners.delete(tell);
    },
    complaint: () => ({ cause: "não deu", code: "USAGE", hint: "tente de novo" }),
    tell: (change: Change) => {
      for (const tell of listeners) tell(change);
    },
    ...Object.fromEntries(
      ["join", "search", "find", "files", "verify", "start", "pause", "resume", "cancel", "play", "limits"].map(
        (name) => [name, operation(name)],
      ),
    ),
  };
  return shell as unknown as FakeShell;
}
