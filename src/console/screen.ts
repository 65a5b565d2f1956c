// The part of the terminal below the last lasting line: a prompt or a progress line, drawn now and gone later.
// Invariant: what was drawn through here is known row by row, so that it can be taken away without a trace, and
// a lasting line can be put above it.
// Never: touches a row that it did not draw itself; asks the terminal anything.

import { EventEmitter } from "node:events";
import type { Writable } from "node:stream";
import type { Writer } from "./output.ts";

export type Screen = {
  /** A stream for clack to draw on. What it draws belongs to the region. */
  readonly canvas: Writable;
  /** Shows one line, already cut to the width, in place of what the region holds. */
  show(line: string): void;
  /** Takes the region away. */
  clear(): void;
  /** Puts lasting lines above the region. */
  above(write: () => void): void;
};

export type Size = () => { readonly columns: number; readonly rows: number };

// What clack writes besides text: cursor up and down, cursor to a column, erase below, erase line, show and hide cursor.
const SEQUENCE = /\x1b\[(\?25[hl]|\d*[A-HJK]|\d*;\d*H|[\d;]*m)|\r|\n|[^\x1b\r\n]+|\x1b/g;
const COLOUR = /m$/;

/** `err` reaches the terminal; `size` is asked at each use, because windows change. */
export function createScreen(err: Writer, size: Size): Screen {
  let rows: string[] = [""];
  let row = 0;

  /** Follows the cursor from row to row. Columns do not matter: clack redraws whole lines. */
  function follow(text: string): void {
    for (const [token, sequence] of text.matchAll(SEQUENCE)) {
      if (token === "\n") {
        row += 1;
        rows[row] ??= "";
      } else if (sequence === undefined || COLOUR.test(sequence)) {
        if (token !== "\r") rows[row] = (rows[row] ?? "") + token;
      } else {
        const count = Number.parseInt(sequence, 10) || 1;
        if (sequence.endsWith("A")) row = Math.max(0, row - count);
        if (sequence.endsWith("B")) row = Math.min(rows.length - 1, row + count);
        if (sequence.endsWith("J")) rows = [...rows.slice(0, row), ""];
        if (sequence.endsWith("K")) rows[row] = "";
      }
    }
  }

  function draw(text: string): void {
    follow(text);
    err(text);
  }

  /** Up to the region's first row, then everything from there on goes. A lone row needs no escape sequence. */
  function clear(): void {
    const [only = ""] = rows;
    if (rows.length > 1) err(`\r${row > 0 ? `\x1b[${row}A` : ""}\x1b[J`);
    else if (only !== "") err(`\r${" ".repeat(Bun.stringWidth(only))}\r`);
    rows = [""];
    row = 0;
  }

  return {
    canvas: createCanvas(draw, size),
    clear,
    show(line) {
      if (rows.length > 1) clear();
      const shorter = Math.max(0, Bun.stringWidth(rows[0] ?? "") - Bun.stringWidth(line));
      err(`\r${line}${" ".repeat(shorter)}`);
      rows = [line + " ".repeat(shorter)];
    },
    above(write) {
      const [drawn, at] = [rows, row];
      clear();
      write();
      const up = drawn.length - 1 - at;
      if (drawn.length > 1 || drawn[0] !== "") err(drawn.join("\n") + (up > 0 ? `\x1b[${up}A` : ""));
      rows = drawn;
      row = at;
    },
  };
}

/** As much of a terminal's output stream as clack uses. */
function createCanvas(draw: Writer, size: Size): Writable {
  const canvas = Object.assign(new EventEmitter(), {
    isTTY: true,
    write(text: string | Uint8Array): boolean {
      draw(typeof text === "string" ? text : new TextDecoder().decode(text));
      return true;
    },
  });
  Object.defineProperty(canvas, "columns", { get: () => size().columns });
  Object.defineProperty(canvas, "rows", { get: () => size().rows });
  // Clack writes, listens to "resize" and reads the size; the rest of a Writable is not asked for.
  return canvas as unknown as Writable;
}
