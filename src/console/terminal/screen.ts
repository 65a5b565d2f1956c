// The part of the terminal below the last lasting line: a question, the menu, progress and the quiet line, drawn now and
// gone later.
// Invariant: while something is drawn the cursor stands at its first cell, and no drawn row wraps. So erasing from the cursor
// to the end takes all of it away, whatever became of the window since, whether the terminal wraps rows anew or cuts them.
// Never: remembers how wide a row was drawn, or asks the terminal anything.

import { EventEmitter } from "node:events";
import type { Writable } from "node:stream";
import { styleText } from "node:util";
import { unicode } from "@clack/prompts";
import type { Writer } from "./output.ts";

export type Screen = {
  /** A stream for one question of clack's: what it holds is shown. */
  canvas(hint: string): Writable;
  /**
   * Shows these lines in place of what is shown. `focus`: the one that matters most where there is no room for all.
   * `hint` joins the quiet line, if there is one.
   */
  show(lines: readonly string[], focus?: number, hint?: string): void;
  /** A line, asked for at each redraw, below everything else; called again when it has changed. */
  quiet(line: () => string): void;
  /** Takes away what is shown; the quiet line stays. */
  clear(): void;
  /** Puts lasting lines above. */
  above(write: () => void): void;
  /** The window has another size. */
  resized(): void;
  /** Leaves the terminal to others, with nothing drawn on it, until `resume`. */
  pause(): void;
  resume(): void;
  /** For good. */
  close(): void;
};

export type Size = () => { readonly columns: number; readonly rows: number };

export type ScreenOptions = {
  /** Asked at each use, because windows change. */
  readonly size: Size;
  /** Escape sequences are understood: no TERM=dumb. */
  readonly escapes?: boolean;
  /** One row is drawn with blanks alone while the window keeps its size: a Windows console may know no sequences. */
  readonly sparing?: boolean;
  /** Runs `then` in `ms` unless what it returns is called before. */
  readonly after?: (ms: number, then: () => void) => () => void;
};

function afterTimeout(ms: number, then: () => void): () => void {
  const timer = setTimeout(then, ms);
  return () => clearTimeout(timer);
}

const HIDE = "\x1b[?25l";
const SHOW = "\x1b[?25h";
// Without wrapping a row that no longer fits, because the window has just become narrower, is cut at the edge.
const CUT = "\x1b[?7l";
const WRAP = "\x1b[?7h";

// A blank first: erasing from the very first cell of a screen would move all of it to tmux's history.
const ERASE = "\r \x1b[J\r";

/** While a window is dragged rows are this short: none is parted, and tmux need not push rows into its history for it. */
const SETTLING_COLUMNS = 19;
/** A window that has kept its size for so long is no longer dragged. tmux tells of a new size every 250 ms. */
const SETTLED_MS = 400;

/** `err` reaches the terminal. */
export function createScreen(err: Writer, options: ScreenOptions): Screen {
  const { size, escapes = true, sparing = false, after = afterTimeout } = options;
  let content: readonly string[] = [];
  let focused = 0;
  let hinted = "";
  let quiet: (() => string) | undefined;
  let painted: { readonly rows: readonly string[]; readonly columns: number; readonly bare: boolean } | undefined;
  let settling: (() => void) | undefined;
  let planned = false;
  let paused = false;
  let closed = false;

  function rowsNow(): string[] {
    const last = quiet === undefined ? "" : [quiet(), hinted].filter((part) => part !== "").join(" · ");
    const quietLines = last === "" ? [] : [styleText("dim", last)];
    const { columns, rows } = size();
    // The last column stays free: a full row makes some consoles scroll.
    const width = Math.max(1, columns - 1);
    if (settling !== undefined && escapes) {
      const cut = (line: string): string => Bun.sliceAnsi(line, 0, Math.min(width, SETTLING_COLUMNS));
      return [...content, ...quietLines].slice(0, rows).map(cut);
    }
    return layOut({ content, focused, quietLines }, width, escapes ? rows : 1);
  }

  /** Blanks over the one row that is drawn, where that is all it takes. */
  const blanks = (columns: number): string | undefined =>
    painted?.bare && (!escapes || painted.columns === columns)
      ? `\r${" ".repeat(Math.min(Bun.stringWidth(painted.rows[0] ?? ""), Math.max(1, columns - 1)))}\r`
      : undefined;

  function erase(): void {
    if (painted === undefined) return;
    err(blanks(size().columns) ?? ERASE + SHOW);
    painted = undefined;
  }

  function paint(): void {
    planned = false;
    if (paused || closed) return;
    const rows = rowsNow();
    const { columns } = size();
    const bare = rows.length === 1 && (sparing || !escapes);
    if (rows.length === 0) return erase();
    if (painted?.columns === columns && Bun.deepEquals(painted.rows, rows)) return;
    if (bare && (painted === undefined || blanks(columns) !== undefined)) {
      const row = escapes ? (rows[0] ?? "") : Bun.stripANSI(rows[0] ?? "");
      const rest = Bun.stringWidth(painted?.rows[0] ?? "") - Bun.stringWidth(row);
      err(`\r${row}${" ".repeat(Math.max(0, Math.min(rest, columns - 1 - Bun.stringWidth(row))))}\r`);
      painted = { rows: [row], columns, bare };
      return;
    }
    err(frame(rows));
    painted = { rows, columns, bare: false };
  }

  /** Once for all that is drawn in one go: a paste changes a question a thousand times. */
  function plan(): void {
    if (planned) return;
    planned = true;
    setImmediate(paint);
  }

  function show(lines: readonly string[], focus = 0, hint = ""): void {
    content = lines;
    focused = focus;
    hinted = hint;
    plan();
  }

  return {
    canvas: (hint) => createCanvas((lines) => show(lines, 1, hint)),
    show,
    quiet(line) {
      quiet = line;
      plan();
    },
    clear() {
      content = [];
      hinted = "";
      erase();
      if (quiet !== undefined) plan();
    },
    above(write) {
      erase();
      write();
      plan();
    },
    resized() {
      // What is drawn begins where it did, cut, wrapped or shortened: drawn again it is whole.
      if (painted !== undefined) painted = { ...painted, columns: 0 };
      settling?.();
      settling = after(SETTLED_MS, () => {
        settling = undefined;
        plan();
      });
      plan();
    },
    pause() {
      erase();
      paused = true;
    },
    resume() {
      paused = false;
      painted = undefined;
      plan();
    },
    close() {
      erase();
      closed = true;
      settling?.();
    },
  };
}

type Shown = {
  readonly content: readonly string[];
  readonly focused: number;
  readonly quietLines: readonly string[];
};

/** The rows to draw, no wider than `width`; where more than `rowsMax` would be needed, one with what matters first. */
function layOut({ content, focused, quietLines }: Shown, width: number, rowsMax: number): string[] {
  const wrap = (line: string): string[] => Bun.wrapAnsi(line, width, { hard: true, trim: false }).split("\n");
  const wrapped = [...content, ...quietLines].flatMap(wrap);
  if (wrapped.length <= rowsMax) return wrapped;
  const [main = "", ...after] = content.slice(focused);
  const others = [...after, ...content.slice(0, focused), ...quietLines].map((line) => line.trim());
  const all = [Bun.sliceAnsi(main, -width), ...others].filter((line) => line !== "");
  return [Bun.sliceAnsi(all.join("  "), 0, width)];
}

/** Draws rows from the cursor's row on and goes back to their first cell. */
function frame([first = "", ...others]: readonly string[]): string {
  const below = others.map((row) => `\r\n${row}`).join("");
  const up = others.length > 0 ? `\x1b[${others.length}A` : "";
  return `${HIDE}${CUT}\r${first === "" ? " " : first}\x1b[J${below}${up}\r${WRAP}`;
}

// What clack writes besides text: cursor up and down, cursor to a column, erase below, erase line, show and hide cursor.
const SEQUENCE = /\x1b\[(\?25[hl]|\d*[A-HJK]|\d*;\d*H|[\d;]*m)|\r|\n|[^\x1b\r\n]+|\x1b/g;
const COLOUR = /m$/;

/** Where typed text goes on; clack shows a block also where the console has no such sign. */
export const CURSOR = unicode ? "█" : "_";

/** Wider than any answer, so that clack never wraps: the window's width is known here alone. */
const CANVAS_COLUMNS = 1_000_000;

/** As much of a terminal's output stream as clack uses. `changed` gets the lines that it has drawn so far. */
function createCanvas(changed: (lines: readonly string[]) => void): Writable {
  let lines: string[] = [""];
  let at = 0;

  /** Follows the cursor from line to line. Columns do not matter: clack redraws whole lines. */
  function follow(text: string): void {
    for (const [token, sequence] of text.matchAll(SEQUENCE)) {
      if (token === "\n") {
        at += 1;
        lines[at] ??= "";
      } else if (sequence === undefined || COLOUR.test(sequence)) {
        if (token !== "\r") lines[at] = (lines[at] ?? "") + token.replaceAll("█", CURSOR);
      } else {
        const count = Number.parseInt(sequence, 10) || 1;
        if (sequence.endsWith("A")) at = Math.max(0, at - count);
        if (sequence.endsWith("B")) at = Math.min(lines.length - 1, at + count);
        if (sequence.endsWith("J")) lines = [...lines.slice(0, at), ""];
        if (sequence.endsWith("K")) lines[at] = "";
      }
    }
  }

  const canvas = Object.assign(new EventEmitter(), {
    isTTY: true,
    columns: CANVAS_COLUMNS,
    rows: CANVAS_COLUMNS,
    write(text: string | Uint8Array): boolean {
      follow(typeof text === "string" ? text : new TextDecoder().decode(text));
      changed(lines.slice(0, lines.findLastIndex((line) => line !== "") + 1));
      return true;
    },
  });
  // Clack writes, listens to "resize" and reads the size; the rest of a Writable is not asked for.
  return canvas as unknown as Writable;
}
