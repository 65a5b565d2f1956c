// The subcommand hash: roots of files, or a folder held against its record; no server, no other peer.
// Invariant: every file that was named gets its line or its error, and the exit code is 0 only when all is well.
// Never: reads a file itself; the results come in as they are found.

import type { HashedFile, UnhashedFile, Verdict } from "../content/hashing/verify.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import type { Life } from "./shutdown.ts";
import { EXIT } from "./shutdown.ts";
import { isStop } from "./terminal/questions.ts";
import { damagedComplaint, unreadComplaint } from "./text/hash-complaints.ts";
import type { Report } from "./text/report.ts";

type HashOptions = { readonly report: Report; readonly life: Life };

/** Shows each result as it comes, until all have or the person leaves. False from `show` makes the exit code 1. */
async function showAll<T>(
  { report, life }: HashOptions,
  results: AsyncIterable<T>,
  total: number,
  show: (result: T) => boolean,
): Promise<number> {
  async function work(): Promise<number> {
    let code: number = EXIT.done;
    let done = 0;
    const working = () => report.working(`Lendo arquivos: ${done} de ${total}... (Ctrl+C sai)`);
    working();
    for await (const result of results) {
      if (life.leaving.aborted) break;
      if (!show(result)) code = EXIT.failed;
      done += 1;
      working();
    }
    return code;
  }
  const code = await life.during(work());
  report.settled();
  return isStop(code) ? EXIT.failed : code;
}

/** `hash FILE…`. */
export function runHash(
  options: HashOptions,
  files: AsyncIterable<HashedFile | UnhashedFile>,
  total: number,
): Promise<number> {
  return showAll(options, files, total, (file) => {
    if (!("fault" in file)) options.report.file(file);
    else options.report.complain(unreadComplaint(file.path, file.fault));
    return !("fault" in file);
  });
}

type Verified = {
  readonly listing: { readonly shares: readonly unknown[] };
  readonly verdicts: AsyncIterable<Verdict>;
};

/** `hash --verify FOLDER`. */
export async function runVerify(options: HashOptions, folder: string, verified: Verified | Fault): Promise<number> {
  const { report } = options;
  if (isFault(verified)) {
    report.failed(verified, { folder });
    return EXIT.failed;
  }
  const total = verified.listing.shares.length;
  let damaged = 0;
  const code = await showAll(options, verified.verdicts, total, (verdict) => {
    report.verdict(verdict);
    if (verdict.verdict === "unread") report.complain(unreadComplaint(verdict.name, verdict.fault));
    if (verdict.verdict === "damaged") damaged += 1;
    return verdict.verdict !== "damaged" && verdict.verdict !== "unread";
  });
  if (damaged > 0) report.complain(damagedComplaint(damaged, total));
  return code;
}
