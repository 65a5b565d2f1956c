// The subcommand get: the names that are wanted, and their downloads as one queue.
// Invariant: each name ends done, here, failed or interrupted, and is counted once; the exit code is that of the worst.
// Never: reads the keyboard, or a file.

import type { Done } from "../peer/requests.ts";
import type { Address } from "../protocol/address.ts";
import { type Fault, type FaultCode, fault, isFault } from "../protocol/fault.ts";
import { parseWords } from "../protocol/fields.ts";
import { FIND_COUNT_MAX, FIND_OFFSET_MAX } from "../protocol/limits.ts";
import { type ActionContext, PLAY_KEY } from "./actions.ts";
import { parsePattern } from "./name-pattern.ts";
import { play, stayForPlayer } from "./play.ts";
import type { QueueView } from "./queue-lines.ts";
import { EXIT } from "./shutdown.ts";
import { isStop, type Stop } from "./terminal/questions.ts";
import { type Complaint, nameComplaint, WORDLESS } from "./text/complaints.ts";

export type Wanted = {
  readonly names: readonly string[];
  /** `names` are words: every file is wanted that has them all in its name. */
  readonly byWords?: boolean;
  /** Every file whose name is like this is wanted. */
  readonly match?: string | undefined;
  readonly folder: string;
  readonly from: Address | undefined;
  readonly sharing: "folder" | "downloads" | "nothing";
  /** The first of them is opened in a player. */
  readonly isPlayed?: boolean;
  /** What no peer has is waited for, and what failed is tried again. */
  readonly keepsTrying?: boolean;
};

/** Of several files the code is that of the one that went worst: these, from good to bad. */
const WORSE: readonly number[] = [EXIT.done, EXIT.exists, EXIT.rejected, EXIT.notFound, EXIT.failed];

/** What a peer answers that has the file, or should have, and does not send it. */
const REJECTIONS: readonly FaultCode[] = ["BUSY", "REFUSED", "NOT_SHARED"];

function codeOf(ended: Done | Fault): number {
  if (!isFault(ended)) return EXIT.done;
  if (ended.fault === "FILE_EXISTS") return EXIT.exists;
  if (ended.fault === "NO_SOURCE") return EXIT.notFound;
  return REJECTIONS.includes(ended.fault) ? EXIT.rejected : EXIT.failed;
}

/** Why these cannot be wanted, before anything is asked of the network. */
export function wantedComplaint({ names, byWords, match }: Wanted): Complaint | undefined {
  if (match !== undefined) {
    const pattern = parsePattern(match);
    return "cause" in pattern ? pattern : undefined;
  }
  if (byWords) return isFault(parseWords(names.join(" "))) ? WORDLESS : undefined;
  return names.map(nameComplaint).find((complaint) => complaint !== undefined);
}

/** The names that are wanted, each once; FIND says them where they are not told. A fault has been shown. */
export async function namesOf(
  { peer, report, life, server }: ActionContext,
  { names, byWords, match }: Wanted,
): Promise<readonly string[] | Fault | Stop> {
  const pattern = match === undefined ? undefined : parsePattern(match);
  if (!byWords && pattern === undefined) return [...new Set(names.map((name) => name.normalize("NFC")))];
  if (pattern !== undefined && "cause" in pattern) return fault("USAGE", "ours");
  const words = pattern?.words ?? names.join(" ");
  report.working("Procurando...");
  const found = await life.during(peer.find(words, FIND_OFFSET_MAX + FIND_COUNT_MAX));
  report.settled();
  if (isStop(found)) return found;
  if (isFault(found)) {
    report.failed(found, { server });
    return found;
  }
  const all = [...new Set(found.found.map(({ name }) => name))];
  const wanted = pattern === undefined ? all : all.filter(pattern.matches);
  if (found.isCut || found.more > 0) report.warn(CUT);
  if (wanted.length > 0) return wanted;
  const none = fault("NO_SOURCE", "theirs");
  report.failed(none, { name: match ?? words });
  return none;
}

const CUT: Complaint = {
  cause: "há mais arquivos do que o servidor mostra de uma vez",
  code: "TOO_MANY",
  hint: "peça os outros com mais palavras, ou pelo nome",
};

/** Time to write down what has arrived. */
const CANCEL_MS_MAX = 2000;

/** Downloads them all, and says what came of it; the exit code. */
export async function getAll(context: ActionContext, names: readonly string[], wanted: Wanted): Promise<number> {
  const { peer, report, life, policy, follower, onKey } = context;
  const { downloads } = peer;
  const { folder, from, isPlayed } = wanted;
  const keepsTrying = wanted.keepsTrying || ("found" as const);
  const [first = ""] = names;
  // What is in the folder is watched as it is.
  const played = isPlayed ? await play(context, first) : undefined;
  if (isStop(played)) return EXIT.failed;
  const isWatched = played !== undefined && !isFault(played);
  const isAlone = names.length === 1;
  const keys = onKey === undefined ? "" : "P assiste · ";
  const count = createCount(names.length);
  const cancelAll = (): void => {
    for (const name of names) downloads.cancel(name);
  };
  const release = life.cancellable(cancelAll);
  let isToPlay = isPlayed === true && !isWatched;
  const unsubscribe = downloads.subscribe((event) => {
    if (isToPlay && event.type === "asking" && event.name === first) {
      isToPlay = false; // from now on a player can wait for it
      void play(context, first);
    }
    if (event.type === "changed" || event.type === "progress") count.see(event.download);
    if (!isAlone) report.queue(count.view(), `${keys}Ctrl+C cancela tudo`);
  });
  let watched = isPlayed ? first : undefined;
  const unhear = onKey?.(PLAY_KEY, () => {
    const isOn = names.find((name) => downloads.get(name)?.state === "running");
    if (isOn === undefined) return;
    watched = isOn;
    void play(context, isOn);
  });
  if (isAlone && !isWatched) {
    const hint = `${keys}Ctrl+C cancela`;
    report.working("Procurando...", hint);
    follower.show(first, hint);
  }
  const getting = names.map(async (name) => {
    if (isWatched && name === first) return count.end(name, "watched");
    count.end(name, await follower.start({ ...policy, name, from, keepsTrying }, folder));
  });
  const all = Promise.all(getting);
  const ended = await life.during(all);
  if (isStop(ended)) {
    cancelAll();
    await Promise.race([all, Bun.sleep(CANCEL_MS_MAX)]);
  }
  release();
  unhear?.();
  unsubscribe();
  follower.show();
  if (!isAlone) {
    report.settled();
    report.summary(count.view());
  }
  if (watched !== undefined && !life.leaving.aborted) await stayForPlayer(context, watched);
  return isStop(ended) ? EXIT.failed : (WORSE[count.worst()] ?? EXIT.failed);
}

/** What has become of the files of a queue. */
function createCount(files: number) {
  const under = new Map<string, QueueView["running"][number]>();
  const waits = new Set<string>();
  const failed: { name: string; code: FaultCode }[] = [];
  let [done, here, bytes, worst] = [0, 0, 0, 0];
  return {
    see(download: QueueView["running"][number]): void {
      const { name, state } = download;
      if (state === "running") under.set(name, download);
      else under.delete(name);
      if (state === "waiting") waits.add(name);
      else waits.delete(name);
    },
    end(name: string, ended: Done | Fault | "watched"): void {
      under.delete(name);
      waits.delete(name);
      if (ended === "watched") here += 1;
      else if (!isFault(ended)) {
        here += Number(ended.isHere === true);
        done += Number(ended.isHere !== true);
        bytes += ended.isHere ? 0 : ended.bytes;
      } else if (ended.fault !== "CANCELLED") failed.push({ name, code: ended.fault });
      if (ended !== "watched") worst = Math.max(worst, WORSE.indexOf(codeOf(ended)));
    },
    view: (): QueueView => ({
      files,
      done,
      here,
      failed,
      waiting: waits.size,
      running: [...under.values()],
      bytes,
    }),
    worst: () => worst,
  };
}
