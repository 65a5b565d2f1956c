// The thread that serves players, seen from the main thread.
// Invariant: what `open` has resolved for is served from the first request on.
// Never: sees a byte of a file.

import { type Fault, fault } from "../protocol/fault.ts";
import type { Playing, PlayMessage, PlayReport } from "./play-worker.ts";

export type PlayThread = {
  /** The port at 127.0.0.1. */
  readonly port: Promise<number | Fault>;
  /** Takes the place of what the token stood for. Resolves when it is served. */
  open(playing: Playing): Promise<void>;
  /** These pieces of what was opened are verified. */
  have(token: string, indexes: readonly number[]): void;
  /** The disk may have lost these. */
  lost(token: string, indexes: readonly number[]): void;
  /** All of it is verified. */
  whole(token: string): void;
  close(token: string): void;
  /** Ends every stream, and the thread. */
  stop(): Promise<void>;
};

/** Where the streams of a file stand that ask, in bytes, and how many are open. */
export type OnStreams = (token: string, positions: readonly number[], open: number) => void;

export function startPlayThread(onStreams: OnStreams): PlayThread {
  const worker = new Worker(new URL("./play-worker.ts", import.meta.url).href);
  const { promise: port, resolve: listening } = Promise.withResolvers<number | Fault>();
  const { promise: stopped, resolve: stop } = Promise.withResolvers<void>();
  const opening: (() => void)[] = [];
  const post = (message: PlayMessage) => worker.postMessage(message);
  worker.onmessage = ({ data: message }: MessageEvent<PlayReport>) => {
    if (message.type === "listening") listening(message.port);
    else if (message.type === "opened") opening.shift()?.();
    else if (message.type === "streams") onStreams(message.token, message.positions, message.open);
    else stop();
  };
  worker.onerror = (event) => {
    listening(fault("INTERNAL", "ours", `play thread: ${event.message}`));
    stop();
    for (const resolve of opening.splice(0)) resolve();
    throw new Error(`play thread: ${event.message}`);
  };
  return {
    port,
    open(playing) {
      post({ type: "open", ...playing });
      return new Promise((resolve) => opening.push(resolve));
    },
    have: (token, indexes) => post({ type: "have", token, indexes }),
    lost: (token, indexes) => post({ type: "lost", token, indexes }),
    whole: (token) => post({ type: "whole", token }),
    close: (token) => post({ type: "close", token }),
    stop() {
      post({ type: "stop" });
      return stopped.finally(() => worker.terminate());
    },
  };
}
