// An address as a QR code (ISO/IEC 18004), for the camera of a phone: byte mode, level L, versions 1 to 5.
// Invariant: each of these has one block of error correction and one alignment pattern at most, which keeps this short.
// Never: encodes what does not fit version 5.

/** Codewords of data and of error correction, from version 1 on. */
const VERSIONS = [
  { data: 19, correction: 7 },
  { data: 34, correction: 10 },
  { data: 55, correction: 15 },
  { data: 80, correction: 20 },
  { data: 108, correction: 26 },
] as const;

/** Mode and length go before the text. */
const HEAD_BYTES = 2;
export const QR_BYTES_MAX = 108 - HEAD_BYTES;
/** White around the code, without which a camera does not find it. */
const QUIET = 2;

type Grid = { readonly size: number; readonly dark: Uint8Array; readonly fixed: Uint8Array };

/** Rows of modules, true where dark; undefined for a text of more than QR_BYTES_MAX bytes. */
export function qrCode(text: string): readonly (readonly boolean[])[] | undefined {
  const bytes = new TextEncoder().encode(text);
  const version = VERSIONS.findIndex(({ data }) => bytes.length + HEAD_BYTES <= data) + 1;
  const shape = VERSIONS[version - 1];
  if (shape === undefined) return undefined;
  const codewords = withCorrection(dataOf(bytes, shape.data), shape.correction);
  const masked = Array.from({ length: MASKS.length }, (_, mask) => {
    const grid = emptyGrid(version);
    drawFormat(grid, mask);
    drawCodewords(grid, codewords, mask);
    return grid;
  });
  const best = masked.reduce((a, b) => (penaltyOf(b) < penaltyOf(a) ? b : a));
  return Array.from({ length: best.size }, (_, y) => Array.from({ length: best.size }, (_, x) => isDark(best, x, y)));
}

/** The code as lines of a terminal, two rows of modules a line, black on white whatever the terminal's colours are. */
export function qrLines(text: string): readonly string[] {
  const rows = qrCode(text) ?? [];
  const at = (x: number, y: number): boolean => rows[y]?.[x] ?? false;
  const lines: string[] = [];
  for (let y = -QUIET; y < rows.length + QUIET; y += 2) {
    let line = "";
    for (let x = -QUIET; x < rows.length + QUIET; x++) {
      const [upper, lower] = [at(x, y), at(x, y + 1)];
      line += upper ? (lower ? " " : "▄") : lower ? "▀" : "█";
    }
    lines.push(`\u001b[97;40m${line}\u001b[0m`);
  }
  return lines;
}

function dataOf(bytes: Uint8Array, room: number): Uint8Array {
  const data = new Uint8Array(room);
  // Four bits of mode, eight of length: from there on every byte stands across two codewords.
  const shifted = [
    0x4,
    bytes.length >> 4,
    bytes.length & 0xf,
    ...[...bytes].flatMap((byte) => [byte >> 4, byte & 0xf]),
    0,
  ];
  shifted.forEach((nibble, index) => {
    data[index >> 1] = (data[index >> 1] ?? 0) | (index % 2 === 0 ? nibble << 4 : nibble);
  });
  for (let i = bytes.length + HEAD_BYTES, pad = 0xec; i < room; i++, pad ^= 0xec ^ 0x11) data[i] = pad;
  return data;
}

/** Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) {
    product = (product << 1) ^ ((product >> 7) * 0x11d);
    product ^= ((b >> bit) & 1) * a;
  }
  return product;
}

function withCorrection(data: Uint8Array, length: number): Uint8Array {
  const divisor = new Uint8Array(length);
  divisor[length - 1] = 1;
  for (let i = 0, root = 1; i < length; i++, root = multiply(root, 2))
    for (let j = 0; j < length; j++) divisor[j] = multiply(divisor[j] ?? 0, root) ^ (divisor[j + 1] ?? 0);
  const rest = new Uint8Array(length);
  for (const byte of data) {
    const factor = byte ^ (rest[0] ?? 0);
    rest.copyWithin(0, 1);
    rest[length - 1] = 0;
    for (let j = 0; j < length; j++) rest[j] = (rest[j] ?? 0) ^ multiply(divisor[j] ?? 0, factor);
  }
  return Uint8Array.of(...data, ...rest);
}

const isDark = ({ size, dark }: Grid, x: number, y: number): boolean => dark[y * size + x] === 1;

function fix({ size, dark, fixed }: Grid, [x, y]: readonly [number, number], isOn: boolean): void {
  if (x < 0 || y < 0 || x >= size || y >= size) return;
  dark[y * size + x] = isOn ? 1 : 0;
  fixed[y * size + x] = 1;
}

/** Squares in squares around a centre; `light` is the ring that stays white. */
function drawSquares(grid: Grid, [x, y]: readonly [number, number], radius: number, light: readonly number[]): void {
  for (let dy = -radius; dy <= radius; dy++)
    for (let dx = -radius; dx <= radius; dx++)
      fix(grid, [x + dx, y + dy], !light.includes(Math.max(Math.abs(dx), Math.abs(dy))));
}

/** What every code of this version has: timing, finders, alignment, and room for the format. */
function emptyGrid(version: number): Grid {
  const size = 17 + 4 * version;
  const grid = { size, dark: new Uint8Array(size * size), fixed: new Uint8Array(size * size) };
  for (let i = 0; i < size; i++) {
    fix(grid, [6, i], i % 2 === 0);
    fix(grid, [i, 6], i % 2 === 0);
  }
  for (const centre of [
    [3, 3],
    [size - 4, 3],
    [3, size - 4],
  ] as const)
    drawSquares(grid, centre, 4, [2, 4]);
  if (version > 1) drawSquares(grid, [size - 7, size - 7], 2, [1]);
  return grid;
}

/** Level L and the mask, twice, with 10 bits of error correction. */
function drawFormat(grid: Grid, mask: number): void {
  const { size } = grid;
  const data = (1 << 3) | mask;
  let rest = data;
  for (let i = 0; i < 10; i++) rest = (rest << 1) ^ ((rest >> 9) * 0x537);
  const bits = ((data << 10) | rest) ^ 0x5412;
  const bit = (i: number): boolean => ((bits >> i) & 1) === 1;
  for (let i = 0; i <= 5; i++) fix(grid, [8, i], bit(i));
  fix(grid, [8, 7], bit(6));
  fix(grid, [8, 8], bit(7));
  fix(grid, [7, 8], bit(8));
  for (let i = 9; i < 15; i++) fix(grid, [14 - i, 8], bit(i));
  for (let i = 0; i < 8; i++) fix(grid, [size - 1 - i, 8], bit(i));
  for (let i = 8; i < 15; i++) fix(grid, [8, size - 15 + i], bit(i));
  fix(grid, [8, size - 8], true);
}

const MASKS: readonly ((x: number, y: number) => number)[] = [
  (x, y) => (x + y) % 2,
  (_, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

/** Two columns at a time, from the right, up and down in turn; the rest of the modules stays light before the mask. */
function drawCodewords(grid: Grid, codewords: Uint8Array, mask: number): void {
  const { size, dark, fixed } = grid;
  let index = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step++) {
      const y = ((right + 1) & 2) === 0 ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (fixed[y * size + x] === 1) continue;
        const bit = ((codewords[index >> 3] ?? 0) >> (7 - (index & 7))) & 1;
        dark[y * size + x] = bit ^ (MASKS[mask]?.(x, y) === 0 ? 1 : 0);
        index++;
      }
    }
  }
}

/** How hard a camera finds it: long runs, blocks of one colour, and more of one colour than of the other. */
function penaltyOf(grid: Grid): number {
  const { size, dark } = grid;
  let penalty = 0;
  for (let a = 0; a < size; a++)
    for (const at of [(b: number) => isDark(grid, b, a), (b: number) => isDark(grid, a, b)]) {
      let run = 0;
      for (let b = 0; b < size; b++) {
        run = b > 0 && at(b) === at(b - 1) ? run + 1 : 1;
        if (run === 5) penalty += 3;
        else if (run > 5) penalty += 1;
      }
    }
  for (let y = 1; y < size; y++)
    for (let x = 1; x < size; x++) {
      const one = isDark(grid, x, y);
      if (one === isDark(grid, x - 1, y) && one === isDark(grid, x, y - 1) && one === isDark(grid, x - 1, y - 1))
        penalty += 3;
    }
  const part = dark.reduce((sum, module) => sum + module, 0) / dark.length;
  return penalty + Math.floor(Math.abs(part - 0.5) * 20) * 10;
}
