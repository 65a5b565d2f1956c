// The subcommands share, search, find and get: the whole job from flags, for scripts and services.
// Invariant: every run ends in one of the exit codes of EXIT, and every failure has been shown before.
// Never: reads the keyboard.

import { fault, isFault } from "../protocol/fault.ts";
import { parseWords } from "../protocol/fields.ts";
import { type ActionContext, join, search } from "./actions.ts";
import { getAll, namesOf, type Wanted, wantedComplaint } from "./get.ts";
import { EXIT } from "./shutdown.ts";
import { isStop } from "./terminal/questions.ts";
import { nameComplaint, WORDLESS, wideComplaint } from "./text/complaints.ts";

type Where = { readonly host: string | undefined; readonly port: number | undefined };

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

async function get(context: ActionContext, where: Where, wanted: Wanted): Promise<number> {
  const { folder, sharing } = wanted;
  const flaw = wantedComplaint(wanted);
  if (flaw !== undefined) {
    context.report.complain(flaw);
    return EXIT.usage;
  }
  // Its own file comes first; others find what it has as soon as that is asked for.
  if (sharing === "folder") warnOfWide(context, folder);
  const listing = sharing === "nothing" ? "never" : "later";
  const self = await join(context, { ...at(where, folder), listing, sharing });
  if (isFault(self) || isStop(self)) return EXIT.failed;
  const names = await namesOf(context, wanted);
  if (isStop(names)) return EXIT.failed;
  if (isFault(names)) return names.fault === "NO_SOURCE" ? EXIT.notFound : EXIT.failed;
  return getAll(context, names, wanted);
}
