// A thread of its own for the words of names: SQLite's full-text index over every name that is announced.
// Invariant: orders are done in the order in which they came, so that a question knows every name told before it.
// Never: keeps a name; the index has its words only, and answers with numbers.

import { Database } from "bun:sqlite";

export type WordsOrder =
  /** A name is undefined where the number means nothing any more. */
  | { readonly type: "names"; readonly ids: readonly number[]; readonly names: readonly (string | undefined)[] }
  /** Words without any mark or space in them; each must begin a word of the name. */
  | { readonly type: "find"; readonly words: readonly string[]; readonly most: number };
export type WordsAnswer = readonly number[];

declare const self: Worker & { onmessage: (event: MessageEvent<WordsOrder>) => void };

const db = new Database(":memory:");
// Case and accents are folded by the tokenizer; positions are not kept, because no phrase is ever asked for.
db.run(
  `CREATE VIRTUAL TABLE names USING fts5(name, content='', contentless_delete=1, detail='none',
   tokenize="unicode61 remove_diacritics 2")`,
);
const put = db.prepare("INSERT OR REPLACE INTO names(rowid, name) VALUES (?, ?)");
const remove = db.prepare("DELETE FROM names WHERE rowid = ?");
const find = db.prepare<{ rowid: number }, [string, number]>("SELECT rowid FROM names WHERE names MATCH ? LIMIT ?");

const learn = db.transaction((ids: readonly number[], names: readonly (string | undefined)[]) => {
  for (const [i, id] of ids.entries()) {
    const name = names[i];
    if (name === undefined) remove.run(id + 1);
    else put.run(id + 1, name);
  }
});

function answer(words: readonly string[], most: number): WordsAnswer {
  try {
    return find.all(words.map((word) => `"${word}"*`).join(" "), most).map(({ rowid }) => rowid - 1);
  } catch {
    return []; // words that the tokenizer cuts further, which no name can have
  }
}

self.onmessage = ({ data: order }: MessageEvent<WordsOrder>) => {
  if (order.type === "names") learn(order.ids, order.names);
  else self.postMessage(answer(order.words, order.most));
};
