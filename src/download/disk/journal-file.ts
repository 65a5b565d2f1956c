// The journal on the disk: read once, headed, and then only added to.
// Invariant: records lie one after another, in the order in which they were given, each where the last good one ended.
// Never: decides what a record says or when it may be said (part-file.ts does).

import type { WorkFile } from "../../content/part-workspace.ts";
import { type Fault, isFault } from "../../protocol/fault.ts";
import type { Root } from "../../protocol/messages.ts";
import { decodeJournal, encodeHead, type JournalContent, type JournalHead, journalLength } from "./journal.ts";

export type JournalFile = {
  /** What an earlier run left; undefined when there is nothing that can be used. */
  resume(): Promise<JournalContent | undefined | Fault>;
  /** Forgets every record; resolves when the disk has it so. */
  begin(head: JournalHead): Promise<Fault | undefined>;
  /** The records stand, under another head; resolves when the disk has it so. */
  retitle(head: JournalHead): Promise<Fault | undefined>;
  /** From now on the journal is of this content, where it was of none in particular. */
  identify(root: Root): Promise<void>;
  /** Adds records (journal.ts). What the disk refuses is written over by the next. */
  append(records: readonly Uint8Array[]): Promise<Fault | undefined>;
  /** The same; resolves when the disk has them, and all before them. */
  appendSynced(records: readonly Uint8Array[]): Promise<Fault | undefined>;
  /** Once nothing is under way with it. */
  close(): Promise<void>;
};

export function createJournalFile(file: WorkFile): JournalFile {
  let head: JournalHead | undefined;
  let tail = 0; // where the next record goes
  let last: Promise<unknown> = Promise.resolve(); // one write after another

  function inTurn<T>(action: () => Promise<T>): Promise<T> {
    const done = last.then(action);
    last = done;
    return done;
  }

  async function put(bytes: Uint8Array): Promise<Fault | undefined> {
    const failed = await file.writeAt(bytes, tail);
    if (failed === undefined) tail += bytes.length;
    return failed;
  }

  /** Others may append while the sync lasts, which may be seconds. */
  async function appendSynced(records: readonly Uint8Array[]): Promise<Fault | undefined> {
    const bytes = Buffer.concat(records);
    let end = 0;
    const unwritten = await inTurn(async () => {
      const failed = await put(bytes);
      end = tail;
      return failed;
    });
    if (unwritten !== undefined) return unwritten;
    const unsynced = await file.sync();
    // Tried again and again, these records must not fill the disk. Where others follow already, they are there twice.
    if (unsynced !== undefined)
      await inTurn(async () => {
        if (tail === end) tail -= bytes.length;
      });
    return unsynced;
  }

  return {
    async resume() {
      const bytes = await file.readAll();
      if (isFault(bytes)) return bytes;
      tail = journalLength(bytes.length);
      const found = decodeJournal(bytes);
      head = found?.head;
      return found;
    },
    begin(wanted) {
      return inTurn(async () => {
        head = wanted;
        const encoded = encodeHead(wanted);
        tail = encoded.length;
        return (await file.truncate(0)) ?? (await file.writeAt(encoded, 0)) ?? (await file.sync());
      });
    },
    retitle(wanted) {
      return inTurn(async () => {
        head = wanted;
        return (await file.writeAt(encodeHead(wanted), 0)) ?? (await file.sync());
      });
    },
    identify(root) {
      return inTurn(async () => {
        if (head === undefined || head.root !== undefined) return;
        const named = { ...head, root };
        // After a failure the journal is still of no content in particular, and the next run compares every piece.
        if ((await file.writeAt(encodeHead(named), 0)) === undefined) head = named;
      });
    },
    append: (records) => inTurn(() => put(Buffer.concat(records))),
    appendSynced,
    async close() {
      await last;
      await file.close();
    },
  };
}
