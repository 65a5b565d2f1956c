// The frame of both programs: outputs, screen, input and signals set up once, and one way out.
// Invariant: however a run ends, the terminal is as it was, what was said has been written, and the exit code is set.
// Never: shows a stack trace.

import { isatty } from "node:tty";
import { fault } from "../protocol/fault.ts";
import { showName } from "../protocol/names.ts";
import { createLife, EXIT, inForeground, type Life, watchSignals, watchSuspension } from "./shutdown.ts";
import { createKeys, type Keys } from "./terminal/keys.ts";
import { createOutput, errAtOnce, type Output, sharesScreen, type Writer } from "./terminal/output.ts";
import { type Asker, createPipedAsker, createTerminalAsker, readLines } from "./terminal/questions.ts";
import { createScreen, type Screen } from "./terminal/screen.ts";
import { type Complaint, complaintOf, complaintText, fewDescriptorsComplaint } from "./text/complaints.ts";
import { createTeller, type ReportOptions } from "./text/report.ts";

/** How long the last words may wait for their reader. */
const FLUSH_MS_MAX = 1000;
const DETAIL_CHARACTERS_MAX = 200;

export type Program = {
  readonly output: Output;
  readonly screen: Screen;
  readonly life: Life;
  /** For createReport. `watched`: a person answers at stdin and sees stderr. */
  readonly reportOptions: ReportOptions;
  /** Says lasting lines on stderr. */
  readonly tell: Writer;
  /** The keyboard, or the piped input; opened at the first call, and given back when the run ends. */
  openAsker(): Asker;
  /** The same where a person is there and nothing else has the keyboard: a program in the background must not touch it. */
  openIfOurs(): Promise<Asker | undefined>;
};

/** A window that does not tell its size is the one that CMD.EXE opens. */
const sizeOfTerminal = () => ({
  columns: process.stderr.columns || process.stdout.columns || 80,
  rows: process.stderr.rows || process.stdout.rows || 24,
});

/** Exits with an error where the system grants the process fewer than `least` descriptors: nothing else would work. */
export function requireDescriptors(granted: number, least: number): void {
  if (granted >= least) return;
  errAtOnce(`${complaintText(fewDescriptorsComplaint(granted, least))}\n`);
  process.exit(EXIT.failed);
}

/** Runs `body` to its exit code, and exits. */
export async function runProgram(body: (program: Program) => Promise<number>): Promise<never> {
  const output = createOutput({ ordered: sharesScreen() });
  const escapes = process.env.TERM !== "dumb";
  // An answer may be edited there too: readline, under clack, gives that up at this word alone.
  if (!escapes) delete process.env.TERM;
  const screen = createScreen(output.err, { size: sizeOfTerminal, escapes, sparing: process.platform === "win32" });
  let keys: Keys | undefined;
  const errIsTerminal = isatty(2);
  const reportOptions: ReportOptions = {
    output,
    screen,
    columns: () => sizeOfTerminal().columns,
    watched: errIsTerminal,
    errIsTerminal,
    now: () => performance.now(),
  };
  const tell = createTeller(reportOptions);
  const life = createLife();
  let asker: Asker | undefined;

  async function exit(code: number): Promise<never> {
    asker?.close();
    screen.close();
    await output.flush(FLUSH_MS_MAX);
    process.exit(code);
  }
  function crash(error: unknown): Promise<never> {
    tell(complaintText(bugComplaint(error)));
    return exit(EXIT.failed);
  }
  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);
  watchSignals(life);
  process.stderr.on("resize", screen.resized);
  async function pause(): Promise<void> {
    screen.pause();
    keys?.pause();
    await output.flush(FLUSH_MS_MAX);
  }
  function resume(): void {
    keys?.resume();
    screen.resume();
  }
  const suspended = isatty(0) || isatty(2) ? watchSuspension(pause, resume) : undefined;

  function openTerminal(): Asker {
    keys = createKeys(process.stdin, { interrupted: life.interrupt, suspended, ended: life.leave });
    return createTerminalAsker(keys, screen);
  }
  const openAsker = (): Asker => {
    if (asker !== undefined) return asker;
    const opened = isatty(0) ? openTerminal() : createPipedAsker(readLines(process.stdin), tell);
    life.leaving.addEventListener("abort", opened.close);
    asker = opened;
    return opened;
  };
  const openIfOurs = async (): Promise<Asker | undefined> => {
    if (asker !== undefined) return asker;
    return reportOptions.watched && (await inForeground()) ? openAsker() : undefined;
  };
  try {
    return await exit(await body({ output, screen, life, reportOptions, tell, openAsker, openIfOurs }));
  } catch (error) {
    return crash(error);
  }
}

/** As systems and the runtime say it, which throws where it opens a file of its own. */
const OUT_OF_DESCRIPTORS = /\b(?:EMFILE|ENFILE|ProcessFdQuotaExceeded|SystemFdQuotaExceeded)\b|out of file descriptors/;

/** A bug in one line that a person can report; the stack stays out. */
function bugComplaint(error: unknown): Complaint {
  if (OUT_OF_DESCRIPTORS.test(String(error))) return complaintOf(fault("NO_DESCRIPTORS", "ours"));
  const words = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return {
    cause: `falha interna do programa: ${showName(words.replace(/\s+/g, " "), DETAIL_CHARACTERS_MAX)}`,
    code: "INTERNAL",
    hint: "tente de novo; se continuar, relate o defeito com esta linha",
  };
}

/** What --help, --version and a mistake in the command line come to. */
export async function answerAndExit(
  program: string,
  asked: { asked: "help" | "version" } | { usage: string },
  texts: { help: string; version: string },
): Promise<never> {
  return runProgram(async ({ output, tell }) => {
    if ("usage" in asked) {
      const cause = showName(asked.usage, DETAIL_CHARACTERS_MAX);
      tell(complaintText({ cause, code: "USAGE", hint: `${program} --help mostra o uso` }));
      return EXIT.usage;
    }
    output.out(asked.asked === "help" ? texts.help : `${texts.version}\n`);
    return EXIT.done;
  });
}
