// The keyboard of a terminal: one key at a time, to the question that is asked at the moment.
// Invariant: a key typed or pasted before its question is kept (within a bound) and answers it; Ctrl+C is seen at once,
// also while nothing is asked.
// Never: echoes; leaves the terminal in raw mode after close().

import type { ReadStream } from "node:tty";

/** Keys that may wait for a question; what a person pastes is far below it. */
const KEYS_WAITING_MAX = 4096;

export const CTRL_C = "\x03";
export const CTRL_D = "\x04";
export const CTRL_U = "\x15";
const CTRL_Z = "\x1a";
export const ESCAPE = "\x1b";
export const ENTER = "\r";
export const BACKSPACE = "\x7f";
export const UP = "\x1b[A";
export const DOWN = "\x1b[B";

export type Keys = {
  /** Hands over key after key until the returned function is called. One taker at a time. */
  take(taker: (key: string) => void): () => void;
  /**
   * Calls `then` for this key, in either case, while there is no taker, until the returned function is called. Not for one
   * that came with others, or behind others that wait: those were typed or pasted ahead.
   */
  hear(key: string, then: () => void): () => void;
  /** Gives the terminal to the shell, and takes it again as the shell left it. */
  pause(): void;
  resume(): void;
  /** Gives the terminal back. */
  close(): void;
};

// A sequence is one key: CSI and SS3 as ECMA-48 spells them, Alt with a key, or a single character.
const KEY = /\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|\x1b[^[O]|\r\n|[\s\S]/gu;

/** What a chunk of input holds, with Enter spelled one way. */
export function splitKeys(text: string): string[] {
  return (text.match(KEY) ?? []).map((key) => (key === "\n" || key === "\r\n" ? ENTER : key));
}

export type KeysOptions = {
  /** A Ctrl+C that no taker is there to receive. */
  readonly interrupted: () => void;
  /** Ctrl+Z; undefined where the system stops no programs. */
  readonly suspended: (() => void) | undefined;
  /** The terminal has gone. */
  readonly ended: () => void;
};

/** Reads `stdin`, a terminal, in raw mode. */
export function createKeys(stdin: ReadStream, { interrupted, suspended, ended }: KeysOptions): Keys {
  let taker: ((key: string) => void) | undefined;
  let waiting: string[] = [];
  let handing = false;
  const heard = new Map<string, () => void>();

  function handOver(): void {
    if (handing) return;
    handing = true;
    while (taker !== undefined) {
      const key = waiting.shift();
      if (key === undefined) break;
      taker(key);
    }
    handing = false;
  }

  function receive(chunk: string): void {
    const keys = splitKeys(chunk);
    for (const key of keys) {
      const hears = keys.length === 1 && taker === undefined && waiting.length === 0 && heard.get(key.toLowerCase());
      if (key === CTRL_C) {
        // What was typed ahead was meant for what is now cancelled.
        waiting = [];
        if (taker === undefined) interrupted();
        else waiting.push(key);
      } else if (key === CTRL_Z) suspended?.();
      else if (hears) hears();
      else if (waiting.length < KEYS_WAITING_MAX) waiting.push(key);
      handOver();
    }
  }

  stdin.setEncoding("utf8");
  stdin.setRawMode(true);
  stdin.on("data", receive);
  stdin.on("end", ended);
  stdin.on("error", ended);
  stdin.resume();

  return {
    take(next) {
      taker = next;
      // The asker goes on in a microtask after an answer; keys that wait must not find the question half built.
      queueMicrotask(handOver);
      return () => {
        if (taker === next) taker = undefined;
      };
    },
    hear(key, then) {
      heard.set(key, then);
      return () => {
        if (heard.get(key) === then) heard.delete(key);
      };
    },
    pause() {
      stdin.setRawMode(false);
      stdin.pause();
    },
    resume() {
      stdin.setRawMode(true);
      stdin.resume();
    },
    close() {
      taker = undefined;
      stdin.off("data", receive);
      stdin.off("end", ended);
      stdin.setRawMode(false);
      stdin.pause();
      stdin.unref();
    },
  };
}
