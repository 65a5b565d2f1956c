// The words of names as the catalog sees them: which names have them all. The index lies in a thread of its own.
// Invariant: a question is answered from every name that was there when it was asked. What waits for the thread is
// numbers of names, each at most once, however often they change meanwhile.
// Never: costs anything before the first question: until then there is no thread, and no word is kept.

import { FIND_NAMES_MAX, FIND_WORDS_MAX } from "../../protocol/limits.ts";
import { type Job, runInSlices } from "../time-slices.ts";
import { createIdQueue } from "./id-queue.ts";
import type { WordsAnswer, WordsOrder } from "./words-worker.ts";

export type Words = {
  /** A name is there, or is no more. */
  spelled(id: number): void;
  /** Ids of up to FIND_NAMES_MAX names in which each word begins a word, whatever the case and the accents. */
  find(text: string): Promise<readonly number[]>;
  close(): void;
  /** Names that the index does not know yet. */
  readonly waiting: number;
};

/** Names in one message; the next one follows when they are learned. */
const BATCH = 256;

type Question = {
  readonly words: readonly string[];
  readonly resolve: (ids: readonly number[]) => void;
  /** It is asked when so many names have been learned in all. */
  readonly after: number;
};

/** `limit` and `nameText` tell every name there is, now. */
export function createWords(limit: () => number, nameText: (id: number) => string | undefined): Words {
  let worker: Worker | undefined;
  let started: Promise<void> | undefined;
  const changed = createIdQueue(); // in the order in which they changed first
  let underWay = 0; // of these, sent and not learned yet
  let learned = 0;
  let questions: Question[] = [];
  const asked = new Map<number, Question["resolve"]>();
  let asking = 0;

  const post = (order: WordsOrder): void => worker?.postMessage(order);

  /** Sends the next names if none are under way: what changes meanwhile is looked up when its turn comes. */
  function sendNext(): void {
    if (underWay > 0 || worker === undefined) return;
    questions = questions.filter((question) => question.after > learned || ask(question));
    const ids = changed.take(BATCH);
    if (ids.length === 0) return;
    underWay = ids.length;
    post({ type: "names", ids, names: ids.map(nameText) });
  }

  function ask({ words, resolve }: Question): false {
    asking++;
    asked.set(asking, resolve);
    post({ type: "find", number: asking, words, most: FIND_NAMES_MAX });
    return false;
  }

  function hear(answer: WordsAnswer): void {
    if (answer.type === "found") {
      asked.get(answer.number)?.(answer.ids);
      asked.delete(answer.number);
      return;
    }
    learned += underWay;
    underWay = 0;
    sendNext();
  }

  function spelled(id: number): void {
    if (worker === undefined) return;
    changed.add(id);
    sendNext();
  }

  function start(): Promise<void> {
    worker = new Worker(new URL("./words-worker.ts", import.meta.url).href);
    worker.unref();
    worker.onmessage = ({ data }: MessageEvent<WordsAnswer>) => hear(data);
    worker.onerror = giveUp;
    return runInSlices(learnAll());
  }

  function* learnAll(): Job<void> {
    for (let id = 0; id < limit(); id++) {
      spelled(id);
      if (id % 1024 === 1023) yield;
    }
  }

  /** The thread is gone: each question is answered with nothing, and the next one starts another thread. */
  function giveUp(): void {
    worker?.terminate();
    worker = undefined;
    started = undefined;
    changed.clear();
    underWay = 0;
    for (const { resolve } of questions.splice(0)) resolve([]);
    for (const resolve of asked.values()) resolve([]);
    asked.clear();
  }

  return {
    spelled,
    async find(text) {
      started ??= start();
      await started;
      if (worker === undefined) return [];
      const { promise, resolve } = Promise.withResolvers<readonly number[]>();
      questions.push({ words: wordsOf(text), resolve, after: learned + underWay + changed.size });
      sendNext();
      return promise;
    },
    close: giveUp,
    get waiting() {
      return changed.size + underWay;
    },
  };
}

/** Each word once, and none that begins another one. Of more than FIND_WORDS_MAX the longest count. */
function wordsOf(text: string): readonly string[] {
  const words = text.normalize("NFC").match(/[\p{L}\p{N}\p{M}\p{Co}]+/gu) ?? [];
  const byFolded = new Map(words.map((word) => [word.toLowerCase(), word]));
  const all = [...byFolded].sort(([a], [b]) => b.length - a.length);
  const begins = ([word]: (typeof all)[0], i: number) => all.slice(0, i).some(([longer]) => longer.startsWith(word));
  const needed = all.filter((word, i) => !begins(word, i));
  return needed.slice(0, FIND_WORDS_MAX).map(([, word]) => word);
}
