// The words of names as the catalog sees them: which names have them all. The index lies in a thread of its own.
// Invariant: a question is answered from every name that was there when it was asked.
// Never: costs anything before the first question: until then there is no thread, and nobody keeps words.

import { FIND_NAMES_MAX } from "../protocol/limits.ts";
import { type Job, runInSlices } from "./slices.ts";
import type { WordsAnswer, WordsOrder } from "./words-worker.ts";

export type Words = {
  /** A name is there, or is no more. */
  spelled(id: number, name: string | undefined): void;
  /** Ids of up to FIND_NAMES_MAX names in which each word begins a word, whatever the case and the accents. */
  find(text: string): Promise<readonly number[]>;
  close(): void;
};

/** Names in one message, so that neither thread is held up by one. */
const BATCH = 256;

/** `limit` and `nameText` tell every name there is, for the first question. */
export function createWords(limit: () => number, nameText: (id: number) => string | undefined): Words {
  let worker: Worker | undefined;
  let learned: Promise<void> | undefined;
  const asked: ((ids: WordsAnswer) => void)[] = [];
  let ids: number[] = [];
  let names: (string | undefined)[] = [];

  const post = (order: WordsOrder): void => worker?.postMessage(order);

  function flush(): void {
    if (ids.length > 0) post({ type: "names", ids, names });
    ids = [];
    names = [];
  }

  function spelled(id: number, name: string | undefined): void {
    if (worker === undefined) return;
    ids.push(id);
    names.push(name);
    if (ids.length >= BATCH) flush();
  }

  function start(): Promise<void> {
    worker = new Worker(new URL("./words-worker.ts", import.meta.url).href);
    worker.unref();
    worker.onmessage = ({ data }: MessageEvent<WordsAnswer>) => asked.shift()?.(data);
    worker.onerror = giveUp;
    return runInSlices(learnAll());
  }

  function* learnAll(): Job<void> {
    for (let id = 0; id < limit(); id++) {
      const name = nameText(id);
      if (name !== undefined) spelled(id, name);
      if (id % 64 === 63) yield;
    }
  }

  /** Nobody waits for a thread that is gone; the next question starts another. */
  function giveUp(): void {
    worker?.terminate();
    worker = undefined;
    learned = undefined;
    for (const answer of asked.splice(0)) answer([]);
  }

  return {
    spelled,
    async find(text) {
      learned ??= start();
      await learned;
      flush();
      const words = text.normalize("NFC").match(/[\p{L}\p{N}\p{M}\p{Co}]+/gu) ?? [];
      const { promise, resolve } = Promise.withResolvers<WordsAnswer>();
      asked.push(resolve);
      post({ type: "find", words, most: FIND_NAMES_MAX });
      return promise;
    },
    close: giveUp,
  };
}
