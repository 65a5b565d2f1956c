// A download's progress as one line of text.
// Invariant: the line is plain ASCII apart from the words, and shorter than the terminal is wide.
// Never: prints; keeps time.

import { type Address, formatAddress } from "../protocol/address.ts";

/** Why nothing moves just now. */
export type Waiting =
  | { readonly for: "slot"; readonly from: Address; readonly position: number }
  | { readonly for: "data" | "root"; readonly from: Address }
  | { readonly for: "disk"; readonly full: boolean; readonly slow?: boolean }
  | { readonly for: "check" };

/** Structurally what Peer.download reports. */
export type Progress = {
  readonly bytes: number;
  readonly size: number;
  /** Bytes a second over the last seconds. */
  readonly rate: number;
  readonly etaSeconds?: number | undefined;
  readonly sources: number;
  readonly waiting?: Waiting | undefined;
};

const BAR_COLUMNS_MAX = 30;
const BAR_COLUMNS_MIN = 10;

/** `[#####-----]  50%  1,2 GB de 2,4 GB  110 MB/s  falta 11 s`, at most `columns` - 1 wide. */
export function progressLine(progress: Progress, columns: number): string {
  const { bytes, size, rate, etaSeconds, sources, waiting } = progress;
  if (waiting?.for === "slot") return waitingWords(waiting).slice(0, Math.max(1, columns - 1));
  // The last column stays free: a full row makes some consoles scroll.
  const width = Math.max(1, columns - 1);
  const part = size > 0 ? Math.min(1, bytes / size) : 1;
  const pace =
    waiting !== undefined
      ? waitingWords(waiting)
      : `${showBytes(rate)}/s${etaSeconds === undefined ? "" : `  falta ${showSeconds(etaSeconds)}`}${sources > 1 ? `  ${sources} peers` : ""}`;
  const percent = `${Math.floor(part * 100)}%`.padStart(4);
  const words = `${percent}  ${showBytes(bytes)} de ${showBytes(size)}  ${pace}`;
  const room = Math.min(BAR_COLUMNS_MAX, width - words.length - 3);
  if (room < BAR_COLUMNS_MIN) return `${percent}  ${pace}`.slice(0, width);
  const done = Math.floor(part * room);
  return `[${"#".repeat(done)}${"-".repeat(room - done)}] ${words}`;
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

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** Powers of ten, as file managers and network cards count; three digits at most before the comma. */
export function showBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits).replace(".", ",")} ${UNITS[unit]}`;
}

export function showSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
