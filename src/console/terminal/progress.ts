// A download's progress as one line of text.
// Invariant: the line is plain ASCII apart from the words, and shorter than the terminal is wide.
// Never: prints; keeps time.

import type { Progress, Waiting } from "../../download/progress.ts";
import { formatAddress } from "../../protocol/address.ts";
import { showBytes, showSeconds } from "../../shared/amounts.ts";

const BAR_COLUMNS_MAX = 30;
const BAR_COLUMNS_MIN = 10;

// Each text has columns of its own, wide enough for the longest, so that nothing moves but what changes.
const BYTES_COLUMNS = "99,9 MB".length;
const RATE_COLUMNS = "99,9 MB/s".length;
const LEFT_COLUMNS = "falta 59 min 59 s".length;
const PEERS_COLUMNS = "9 peers".length;
const GAP = "  ";

/**
 * `[#####-----]  50%   1,2 GB de 2,4 GB   110 MB/s  falta 11 s`, at most `columns` - 1 wide. Where there is no room the
 * bar goes first, then the amount, then what stands at the end.
 */
export function progressLine(progress: Progress, columns: number): string {
  const { bytes, size, rate, etaSeconds, sources, waiting } = progress;
  // The last column stays free: a full row makes some consoles scroll.
  const width = Math.max(1, columns - 1);
  if (waiting?.for === "slot") return waitingWords(waiting).slice(0, width);
  const part = size > 0 ? Math.min(1, bytes / size) : 1;
  const percent = `${Math.floor(part * 100)}%`.padStart(4);
  const amount = `${showBytes(bytes).padStart(BYTES_COLUMNS)} de ${showBytes(size)}`;
  const speed = `${showBytes(rate)}/s`.padStart(RATE_COLUMNS);
  const left = etaSeconds === undefined ? "" : `falta ${showSeconds(etaSeconds)}`;
  const peers = sources > 1 ? `${sources} peers` : "";
  const pace = waiting === undefined ? [speed, left.padEnd(LEFT_COLUMNS), peers] : [waitingWords(waiting)];
  // The same at every moment of one download: the window and the size count, and no text.
  const longest = [RATE_COLUMNS, LEFT_COLUMNS, PEERS_COLUMNS].reduce((sum, field) => sum + GAP.length + field, 0);
  const spoken = percent.length + GAP.length + amount.length;
  const room = Math.min(BAR_COLUMNS_MAX, width - spoken - longest - "[] ".length);
  const done = Math.floor(part * room);
  if (room >= BAR_COLUMNS_MIN)
    return fit([`[${"#".repeat(done)}${"-".repeat(room - done)}] ${percent}`, amount, ...pace], width);
  const next = waiting === undefined ? RATE_COLUMNS : (pace[0]?.length ?? 0);
  return fit(width < spoken + GAP.length + next ? [percent, ...pace] : [percent, amount, ...pace], width);
}

/** As many of the texts as fit whole, and of the second as much as fits. */
function fit(texts: readonly string[], width: number): string {
  let line = texts[0] ?? "";
  for (const [index, text] of texts.slice(1).entries()) {
    const longer = `${line}${GAP}${text}`.trimEnd();
    if (index > 0 && longer.length > width) break;
    line = `${line}${GAP}${text}`;
  }
  return line.trimEnd().slice(0, width);
}

/** Why nothing moves, for the person. */
export function waitingWords(waiting: Waiting): string {
  switch (waiting.for) {
    case "slot":
      return `na fila de ${formatAddress(waiting.from)}, posição ${waiting.position}`;
    case "data":
      return `sem dados de ${formatAddress(waiting.from)}`;
    case "root":
      return `${formatAddress(waiting.from)} ainda calcula a verificação`;
    case "check":
      return "conferindo o que já tinha sido baixado";
    case "disk":
      if (waiting.slow) return "esperando o disco terminar de gravar";
      return waiting.full ? "disco cheio, esperando espaço" : "o disco recusou a escrita, tentando de novo";
  }
}
