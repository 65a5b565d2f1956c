// A thread of its own for the words of names: SQLite's full-text index over every name that is announced.
// Invariant: a question knows every name that was learned before it came, unless it costs more than FIND_MS_MAX: then
// it is answered with what was found by then. What came long ago and has cost little goes on first.
// Never: keeps a name; the index has its words only, and answers with numbers.

import { Database, type Statement } from "bun:sqlite";
import { FIND_MS_MAX } from "../../protocol/limits.ts";

export type WordsOrder =
  /** A name is undefined where the number means nothing any more. Answered by "learned". */
  | { readonly type: "names"; readonly ids: readonly number[]; readonly names: readonly (string | undefined)[] }
  /** Words without any mark or space in them; each must begin a word of the name. Answered by "found", under its number. */
  | { readonly type: "find"; readonly number: number; readonly words: readonly string[]; readonly most: number };
export type WordsAnswer =
  | { readonly type: "learned" }
  | { readonly type: "found"; readonly number: number; readonly ids: readonly number[] };

declare const self: Worker & { onmessage: (event: MessageEvent<WordsOrder>) => void };

/** Names of so many numbers have a table of their own: a question looks into one after another and can stop between two. */
const SHARD_BITS = 11;
const SHARD_IDS = 1 << SHARD_BITS;

type Shard = {
  /** Which of its numbers have a name. */
  readonly used: Uint8Array;
  count: number;
  readonly put: Statement;
  readonly remove: Statement;
  readonly clear: Statement;
  readonly find: Statement<{ rowid: number }, [string, number]>;
};

type Question = {
  readonly number: number;
  readonly match: string;
  readonly most: number;
  readonly ids: number[];
  /** The next shard to look into. */
  shard: number;
  spentMs: number;
  /** When it came, later by a millisecond for each word. The least of this and of what it has cost goes first. */
  readonly from: number;
};

const db = new Database(":memory:");
const shards: Shard[] = [];
const questions = new Set<Question>();

function openShard(): Shard {
  const table = `names${shards.length}`;
  // Case and accents are folded by the tokenizer; positions are not kept, because no phrase is ever asked for.
  db.run(
    `CREATE VIRTUAL TABLE ${table} USING fts5(name, content='', contentless_delete=1, detail='none',
     tokenize="unicode61 remove_diacritics 2")`,
  );
  return {
    used: new Uint8Array(SHARD_IDS),
    count: 0,
    put: db.prepare(`INSERT OR REPLACE INTO ${table}(rowid, name) VALUES (?, ?)`),
    remove: db.prepare(`DELETE FROM ${table} WHERE rowid = ?`),
    clear: db.prepare(`INSERT INTO ${table}(${table}) VALUES ('delete-all')`),
    find: db.prepare(`SELECT rowid FROM ${table} WHERE ${table} MATCH ? LIMIT ?`),
  };
}

function shardOf(id: number): Shard {
  while (shards.length <= id >>> SHARD_BITS) shards.push(openShard());
  return shards[id >>> SHARD_BITS] as Shard;
}

const learn = db.transaction((ids: readonly number[], names: readonly (string | undefined)[]) => {
  for (const [i, id] of ids.entries()) {
    const name = names[i];
    const shard = shardOf(id);
    const at = id & (SHARD_IDS - 1);
    shard.count += Number(name !== undefined) - (shard.used[at] as number);
    shard.used[at] = Number(name !== undefined);
    if (name !== undefined) shard.put.run(id + 1, name);
    else if (shard.count > 0) shard.remove.run(id + 1);
    else shard.clear.run(); // what was deleted one by one is kept until a merge
  }
});

/** New questions never hold up an older one for long: one that came later by what the older has cost goes behind it. */
const rankOf = ({ from, spentMs }: Question): number => from + spentMs;

/** Lets the question of the least rank look into one more shard, and answers it if that was all. */
function step(): void {
  let next: Question | undefined;
  for (const question of questions) if (next === undefined || rankOf(question) < rankOf(next)) next = question;
  if (next === undefined) return;
  const shard = shards[next.shard++];
  if (shard !== undefined && shard.count > 0) look(next, shard);
  if (shard === undefined || next.ids.length >= next.most || next.spentMs >= FIND_MS_MAX) {
    questions.delete(next);
    say({ type: "found", number: next.number, ids: next.ids });
  }
  if (questions.size > 0) setImmediate(step);
}

function look(question: Question, shard: Shard): void {
  const from = performance.now();
  try {
    for (const { rowid } of shard.find.all(question.match, question.most - question.ids.length))
      question.ids.push(rowid - 1);
  } catch {
    question.shard = shards.length; // words that the tokenizer cuts further, which no name can have
  }
  question.spentMs += performance.now() - from;
}

const say = (answer: WordsAnswer): void => self.postMessage(answer);

self.onmessage = ({ data: order }: MessageEvent<WordsOrder>) => {
  if (order.type === "names") {
    learn(order.ids, order.names);
    return say({ type: "learned" });
  }
  const match = order.words.map((word) => `"${word}"*`).join(" ");
  questions.add({
    number: order.number,
    match,
    most: order.most,
    ids: [],
    shard: 0,
    spentMs: 0,
    from: performance.now() + order.words.length,
  });
  if (questions.size === 1) setImmediate(step);
};
