// Amounts as a person reads them: bytes and seconds, with the same digits on the console and on every page.
// Invariant: three digits at most before the decimal mark, unless there are more petabytes.
// Never: a word of a language; only the decimal mark differs.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** Powers of ten, as file managers and network cards count. `mark` stands before the decimal. */
export function showBytes(bytes: number, mark = ","): string {
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits).replace(".", mark)} ${UNITS[unit]}`;
}

/** Rounded up. */
export function showSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
