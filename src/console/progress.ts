// A download's progress as one line of text.
// Invariant: the line is plain ASCII apart from the words, and shorter than the terminal is wide.
// Never: prints; keeps time.

import { showName } from "../protocol/names.ts";

/** Structurally what Peer.download reports. */
export type Progress = {
  readonly bytes: number;
  readonly size: number;
  /** Bytes a second over the last seconds. */
  readonly rate: number;
  readonly etaSeconds?: number | undefined;
  readonly sources: number;
  /** The source that sends nothing at the moment. */
  readonly waiting?: string | undefined;
};

const BAR_COLUMNS_MAX = 30;
const BAR_COLUMNS_MIN = 10;

/** `[#####-----]  50%  1,2 GB de 2,4 GB  110 MB/s  falta 11 s`, at most `columns` - 1 wide. */
export function progressLine(progress: Progress, columns: number): string {
  const { bytes, size, rate, etaSeconds, waiting } = progress;
  // The last column stays free: a full row makes some consoles scroll.
  const width = Math.max(1, columns - 1);
  const part = size > 0 ? Math.min(1, bytes / size) : 1;
  const pace =
    waiting !== undefined
      ? `sem dados de ${showName(waiting, 24)}`
      : `${showBytes(rate)}/s${etaSeconds === undefined ? "" : `  falta ${showSeconds(etaSeconds)}`}`;
  const percent = `${Math.floor(part * 100)}%`.padStart(4);
  const words = `${percent}  ${showBytes(bytes)} de ${showBytes(size)}  ${pace}`;
  const room = Math.min(BAR_COLUMNS_MAX, width - words.length - 3);
  if (room < BAR_COLUMNS_MIN) return `${percent}  ${pace}`.slice(0, width);
  const done = Math.floor(part * room);
  return `[${"#".repeat(done)}${"-".repeat(room - done)}] ${words}`;
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
