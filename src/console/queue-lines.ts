// How a queue of many downloads stands, as lines on the screen and as one sentence at its end.
// Invariant: each line is shorter than the terminal is wide; a name is cut before a number is.
// Never: prints; keeps time.

import type { DownloadView } from "../peer/downloads.ts";
import type { FaultCode } from "../protocol/fault.ts";
import { showBytes } from "../shared/amounts.ts";
import { progressLine } from "./terminal/progress.ts";
import { showFile } from "./text/lines.ts";

export type QueueView = {
  readonly files: number;
  readonly done: number;
  /** In the folder before, with the same content. */
  readonly here: number;
  readonly failed: readonly { readonly name: string; readonly code: FaultCode }[];
  /** They wait for a source, or for another try. */
  readonly waiting: number;
  readonly running: readonly DownloadView[];
  /** Of those that are done. */
  readonly bytes: number;
};

/** Below it a line of progress says too little beside a name. */
const PROGRESS_COLUMNS_MIN = 44;
const NAME_COLUMNS_MAX = 30;

/** One line for the whole, and one for each download that is under way. */
export function queueLines(queue: QueueView, columns: number): string[] {
  const width = Math.max(1, columns - 1);
  const { files, done, here, failed, waiting, running } = queue;
  const over = done + here + failed.length;
  const arrived = running.reduce((sum, { progress }) => sum + (progress?.bytes ?? 0), queue.bytes);
  const rate = running.reduce((sum, { progress }) => sum + (progress?.rate ?? 0), 0);
  const parts = [
    `${over} de ${files} arquivos`,
    showBytes(arrived),
    `${showBytes(rate)}/s`,
    ...(here > 0 ? [`${here} já na pasta`] : []),
    ...(waiting > 0 ? [`${waiting} esperando`] : []),
    ...(failed.length > 0 ? [`${failed.length} sem sucesso`] : []),
  ];
  return [parts.join("  ").slice(0, width), ...running.map((one) => fileLine(one, width))];
}

function fileLine({ name, progress }: DownloadView, width: number): string {
  const room = Math.max(1, Math.min(NAME_COLUMNS_MAX, width - PROGRESS_COLUMNS_MIN - 2));
  const shown = showFile(name);
  const short = Bun.stringWidth(shown) > room ? `${Bun.sliceAnsi(shown, 0, Math.max(0, room - 1))}~` : shown;
  const padded = short + " ".repeat(Math.max(0, room - Bun.stringWidth(short)));
  if (progress === undefined) return Bun.sliceAnsi(`${padded}  procurando`, 0, width);
  return Bun.sliceAnsi(`${padded}  ${progressLine(progress, width - room - 1)}`, 0, width);
}

/** Failures that are named in the sentence at the end; programs are told of all. */
const NAMED_MAX = 10;

/** What came of it all. */
export function summaryNote({ files, done, here, failed, bytes }: QueueView): string {
  const left = files - done - here - failed.length;
  const parts = [
    `${done} ${done === 1 ? "baixado" : "baixados"} (${showBytes(bytes)})`,
    `${here} já na pasta`,
    `${failed.length} sem sucesso`,
    ...(left > 0 ? [`${left} por começar`] : []),
  ];
  const named = failed.slice(0, NAMED_MAX).map(({ name, code }) => `\n  ${showFile(name)} [${code}]`);
  const more = failed.length > NAMED_MAX ? [`\n  e mais ${failed.length - NAMED_MAX}`] : [];
  return `aviso: de ${files} arquivos, ${parts.join(", ")} [SUMMARY]${[...named, ...more].join("")}`;
}
