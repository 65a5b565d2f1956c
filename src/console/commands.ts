// The subcommands share, search, find and get: the whole job from flags, for scripts and services.
// Invariant: every run ends in one of the exit codes of EXIT, and every failure has been shown before.
// Never: reads the keyboard.

import { type Address, sameAddress } from "../protocol/address.ts";
import { type Fault, type FaultCode, fault, isFault } from "../protocol/fault.ts";
import { parseWords } from "../protocol/fields.ts";
import { type ActionContext, download, join, search } from "./actions.ts";
import { play, stayForPlayer } from "./play.ts";
import { isStop } from "./terminal/questions.ts";
import { nameComplaint, WORDLESS, wideComplaint } from "./text/complaints.ts";

/** Documented in --help; scripts rely on them. */
export const EXIT = { done: 0, failed: 1, usage: 2, notFound: 3, rejected: 4, exists: 5 } as const;

/** Of several files the code is that of the one that went worst: these, from good to bad. */
const WORSE: readonly number[] = [EXIT.done, EXIT.exists, EXIT.rejected, EXIT.notFound, EXIT.failed];

type Where = { readonly host: string | undefined; readonly port: number | undefined };

type Wanted = {
  readonly names: readonly string[];
  readonly folder: string;
  readonly from: Address | undefined;
  readonly sharing: "folder" | "downloads" | "nothing";
  /** The first of them is opened in a player. */
  readonly isPlayed?: boolean;
};

export type Task = Where &
  (
    | { readonly command: "share"; readonly folder: string }
    | { readonly command: "search"; readonly name: string }
    | { readonly command: "find"; readonly words: string; readonly limit: number }
    | ({ readonly command: "get" } & Wanted)
  );

/** Runs one subcommand to its exit code. */
export async function runTask(context: ActionContext, task: Task): Promise<number> {
  switch (task.command) {
    case "share":
      return share(context, task, task.folder);
    case "search":
      return find(context, task, task.name);
    case "find":
      return findByWords(context, task, task);
    case "get":
      return get(context, task, task);
  }
}

/** What a subcommand takes where no flag says otherwise: the address that reaches the server, any free port. */
const at = ({ host, port }: Where, folder: string | undefined) => ({
  host,
  port: port ?? 0,
  folder,
});

/** A command that only asks shares nothing and need not be found, so the server need not dial it back first. */
const toAsk = (where: Where) => ({ ...at(where, undefined), listing: "never" as const });

function warnOfWide({ isWide, report }: ActionContext, folder: string): void {
  if (isWide(folder)) report.warn(wideComplaint(folder));
}

async function share(context: ActionContext, where: Where, folder: string): Promise<number> {
  warnOfWide(context, folder);
  const joined = await join(context, at(where, folder));
  if (isFault(joined)) return EXIT.failed;
  if (!isStop(joined)) await context.life.during(new Promise<never>(() => {}));
  return EXIT.done;
}

async function find(context: ActionContext, where: Where, name: string): Promise<number> {
  const flaw = nameComplaint(name);
  if (flaw !== undefined) {
    context.report.complain(flaw);
    return EXIT.usage;
  }
  // It has nothing to share, but the server answers only peers that have joined.
  const joined = await join(context, toAsk(where));
  if (isFault(joined) || isStop(joined)) return EXIT.failed;
  const found = await search(context, name);
  if (isFault(found) || isStop(found)) return EXIT.failed;
  if (found.length > 0) return EXIT.done;
  context.report.failed(fault("NO_SOURCE", "theirs"), { name });
  return EXIT.notFound;
}

type Words = { readonly words: string; readonly limit: number };

async function findByWords(context: ActionContext, where: Where, { words, limit }: Words): Promise<number> {
  if (isFault(parseWords(words))) {
    context.report.complain(WORDLESS);
    return EXIT.usage;
  }
  const joined = await join(context, toAsk(where));
  if (isFault(joined) || isStop(joined)) return EXIT.failed;
  const { peer, report, life, server } = context;
  report.working("Procurando...");
  const found = await life.during(peer.find(words, limit));
  report.settled();
  if (isStop(found)) return EXIT.failed;
  if (isFault(found)) {
    report.failed(found, { server });
    return EXIT.failed;
  }
  report.contents(words, found);
  return found.found.length > 0 ? EXIT.done : EXIT.notFound;
}

/** What a peer answers that has the file, or should have, and does not send it. */
const REJECTIONS: readonly FaultCode[] = ["BUSY", "REFUSED", "NOT_SHARED"];

function codeOf({ fault }: Fault): number {
  if (fault === "FILE_EXISTS") return EXIT.exists;
  return REJECTIONS.includes(fault) ? EXIT.rejected : EXIT.failed;
}

async function get(context: ActionContext, where: Where, wanted: Wanted): Promise<number> {
  const { names, folder, from, sharing } = wanted;
  const flaw = names.map(nameComplaint).find((complaint) => complaint !== undefined);
  if (flaw !== undefined) {
    context.report.complain(flaw);
    return EXIT.usage;
  }
  // Its own file comes first; others find what it has as soon as that is asked for.
  if (sharing === "folder") warnOfWide(context, folder);
  const listing = sharing === "nothing" ? "never" : "later";
  const self = await join(context, { ...at(where, folder), listing, sharing });
  if (isFault(self) || isStop(self)) return EXIT.failed;
  let worst = 0;
  for (const name of new Set(names)) {
    const isPlayed = wanted.isPlayed === true && name === names[0];
    const ended = await getOne(context, { name, folder, from, self, isPlayed });
    worst = Math.max(worst, WORSE.indexOf(ended.code));
    if (ended.isOver) break;
  }
  if (wanted.isPlayed && !context.life.leaving.aborted) await stayForPlayer(context, names[0] as string);
  return WORSE[worst] ?? EXIT.failed;
}

type One = {
  readonly name: string;
  readonly folder: string;
  readonly from: Address | undefined;
  readonly self: Address;
  readonly isPlayed: boolean;
};

/** `isOver`: the person wants no more, of the files behind it neither. */
type Ended = { readonly code: number; readonly isOver?: boolean };

async function getOne(context: ActionContext, { name, folder, from, self, isPlayed }: One): Promise<Ended> {
  // What is in the folder is watched as it is.
  const played = isPlayed ? await play(context, name) : undefined;
  if (played !== undefined && !isFault(played))
    return isStop(played) ? { code: EXIT.failed, isOver: true } : { code: EXIT.done };
  const found = await search(context, name);
  if (isStop(found)) return { code: EXIT.failed, isOver: true };
  if (isFault(found)) return { code: EXIT.failed };
  const others = found.filter((source) => !sameAddress(source, self));
  // Only this peer has it: asking it says so better (the file is here already) than "no peer has it".
  const source = from ?? others[0] ?? found[0];
  if (source !== undefined) {
    const done = await download(context, { from: source, name, folder, isPlayed }); // it turns to the others by itself
    if (isStop(done)) return { code: EXIT.failed, isOver: true };
    return isFault(done) ? { code: codeOf(done), isOver: done.fault === "CANCELLED" } : { code: EXIT.done };
  }
  context.report.failed(fault("NO_SOURCE", "theirs"), { name });
  return { code: EXIT.notFound };
}
