// The thread that players are served from: it owns the HTTP server and the descriptors that it reads from.
// Invariant: everything that crosses the thread border is plain data of the two types below.
// Never: holds logic of its own; listens anywhere but at 127.0.0.1.

import type { PartOf } from "../content/part-workspace.ts";
import { readable } from "../content/positioned-io.ts";
import { openGrowing, openShare, type Stamp } from "../content/safe-files.ts";
import { LOOPBACK } from "../protocol/address.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import { systemClock } from "../shared/clock.ts";
import { serveStreams } from "../transport/http.ts";
import { createPlayFile } from "./play-file.ts";
import { createPlayServer } from "./play-server.ts";

/** A share that was listed, or the .part of a download that is to have the played name in the end. */
export type PlayedFile = (Stamp & { readonly folder: string; readonly file: string }) | PartOf;

/** What is to be played, under the secret `token`. */
export type Playing = {
  readonly token: string;
  readonly name: string;
  readonly size: number;
  readonly pieceBytes: number;
  /** What tells this content from another: its root, or what stands for it. */
  readonly tag: string;
  /** Verified pieces, as a bit each; undefined for a whole file. */
  readonly pieces: Uint8Array | undefined;
  readonly file: PlayedFile;
};

/** Main thread -> play. */
export type PlayMessage =
  | ({ readonly type: "open" } & Playing)
  | { readonly type: "have" | "lost"; readonly token: string; readonly indexes: readonly number[] }
  | { readonly type: "whole" | "close"; readonly token: string }
  | { readonly type: "stop" };

/** Play -> main thread. `positions`: in bytes, of streams that ask; `open`: how many there are. */
export type PlayReport =
  | { readonly type: "listening"; readonly port: number | Fault }
  | { readonly type: "opened" }
  | { readonly type: "streams"; readonly token: string; readonly positions: readonly number[]; readonly open: number }
  | { readonly type: "stopped" };

declare const self: Worker & { onmessage: (event: MessageEvent<PlayMessage>) => void };

/** A person plays one or two; each stream holds a descriptor's share and half a megabyte. */
const STREAMS_MAX = 32;

/** More than streams: each refusal needs one too. All come from this machine. */
const CONNECTIONS = { connections: 2 * STREAMS_MAX, ofAddress: 2 * STREAMS_MAX };

const report = (message: PlayReport) => self.postMessage(message);

let host = "";
const players = createPlayServer({ host: () => host, streamsMax: STREAMS_MAX });
const listening = serveStreams({ ip: LOOPBACK, port: 0 }, players.answerTo, CONNECTIONS);
void listening.then((listener) => {
  if (!isFault(listener)) host = `${LOOPBACK}:${listener.address.port}`;
  report({ type: "listening", port: isFault(listener) ? listener : listener.address.port });
});

function open({ token, name, size, pieceBytes, tag, pieces, file }: Playing): void {
  const played = createPlayFile({
    size,
    pieceBytes,
    pieces,
    async open() {
      const opened = await ("part" in file
        ? openGrowing(file.folder, file.part, name, file.identity)
        : openShare(file.folder, file));
      return isFault(opened) ? opened : readable(opened);
    },
    clock: systemClock,
    onStreams: (positions, count) => report({ type: "streams", token, positions, open: count }),
  });
  players.put(token, { name, tag: `"${tag}"`, file: played });
  report({ type: "opened" });
}

self.onmessage = ({ data: message }) => {
  switch (message.type) {
    case "open":
      return open(message);
    case "have":
      return players.get(message.token)?.file.have(message.indexes);
    case "lost":
      return players.get(message.token)?.file.lost(message.indexes);
    case "whole":
      return players.get(message.token)?.file.whole();
    case "close":
      return players.remove(message.token);
    case "stop":
      void listening.then((listener) => {
        players.clear();
        if (!isFault(listener)) listener.close();
        report({ type: "stopped" });
      });
  }
};
