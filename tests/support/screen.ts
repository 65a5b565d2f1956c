// A small terminal: takes the bytes that a program writes and says what a person would see, scrolled-off lines included.
// It knows what @clack/prompts and our progress bar use: CR, LF, BS, TAB, wrapping, cursor moves, erasing, scrolling.
// It ignores colours, and of the modes it knows wrapping. An escape sequence that moves or erases and is unknown here throws.

export type Screen = {
  feed(text: string): void;
  /** The window gets another size: rows are wrapped anew, as most terminals do, or cut, as xterm does. */
  resize(columns: number, rows: number, how: "wrap" | "cut"): void;
  /** All lines without trailing blanks, and without blank lines at the end. */
  lines(): string[];
  /** The same, with rows that only the width has parted put together again. */
  paragraphs(): string[];
};

const SEQUENCE =
  /^\u001b(?:\[([?>=]?)([\d;:]*)([@-~])|\]([^\u0007\u001b]*)(?:\u0007|\u001b\\)|([78=>cDEHM]|[()][A-Z0-9]))/;
const UNFINISHED = /^\u001b(?:\[[?>=]?[\d;:]*|\][^\u0007\u001b]*\u001b?|[()])?$/;

export function createScreen(columns = 80, rows = 24): Screen {
  /** `goesOn`: the next row is the rest of this one. */
  type Row = string[] & { goesOn?: boolean };
  let cells: Row[] = [[]];
  let wrapping = true;
  let row = 0; // from the very first line, scrolled-off ones included
  let column = 0;
  let saved = { row: 0, column: 0 };
  let rest = "";

  const top = () => Math.max(0, cells.length - rows);
  const line = () => {
    while (cells.length <= row) cells.push([]);
    return cells[row] as Row;
  };
  const moveTo = (toRow: number, toColumn: number) => {
    row = Math.min(Math.max(toRow, top()), top() + rows - 1);
    column = Math.min(Math.max(toColumn, 0), columns - 1);
    line();
  };
  const newline = () => {
    row += 1;
    line();
  };
  const put = (character: string) => {
    if (column >= columns && !wrapping) column = columns - 1;
    if (column >= columns) {
      line().goesOn = true;
      column = 0;
      newline();
    }
    const target = line();
    while (target.length < column) target.push(" ");
    target[column] = character;
    column += 1;
  };
  const eraseLine = (mode: number) => {
    const target = line();
    if (mode === 0) target.length = Math.min(target.length, column);
    else if (mode === 1) target.fill(" ", 0, column + 1);
    else target.length = 0;
    if (mode !== 1) target.goesOn = false;
  };
  const eraseScreen = (mode: number) => {
    eraseLine(mode);
    const [from, to] = mode === 0 ? [row + 1, cells.length] : mode === 1 ? [top(), row] : [top(), cells.length];
    for (let index = from; index < to; index++) cells[index] = [];
  };

  function control(letter: string, parameters: readonly number[]): void {
    const count = Math.max(1, parameters[0] ?? 1);
    switch (letter) {
      case "A":
        return moveTo(row - count, column);
      case "B":
        return moveTo(row + count, column);
      case "C":
        return moveTo(row, column + count);
      case "D":
        return moveTo(row, Math.min(column, columns - 1) - count);
      case "E":
        return moveTo(row + count, 0);
      case "F":
        return moveTo(row - count, 0);
      case "G":
        return moveTo(row, count - 1);
      case "H":
      case "f":
        return moveTo(top() + count - 1, Math.max(1, parameters[1] ?? 1) - 1);
      case "J":
        return eraseScreen(parameters[0] ?? 0);
      case "K":
        return eraseLine(parameters[0] ?? 0);
      case "s":
        saved = { row, column };
        return;
      case "u":
        return moveTo(saved.row, saved.column);
      case "m":
      case "h":
      case "l":
      case "n":
      case "c":
      case "t":
      case "q":
        return; // colours, modes, reports: nothing moves
      default:
        throw new Error(`this screen does not know CSI ${parameters.join(";")}${letter}`);
    }
  }

  function obey(match: RegExpExecArray): void {
    const [, prefix, parameters, letter, , single] = match;
    if (prefix === "?" && parameters === "7") wrapping = letter === "h";
    if (letter !== undefined && prefix === "")
      control(letter, parameters === "" ? [] : (parameters ?? "").split(/[;:]/).map(Number));
    else if (single === "7") saved = { row, column };
    else if (single === "8") moveTo(saved.row, saved.column);
  }

  /** Rows that the width has parted, put together; and where the cursor is in them. */
  function unwrap(): { whole: string[][]; at: number; offset: number } {
    const whole: string[][] = [];
    let [at, offset] = [0, 0];
    let before: string[] | undefined;
    for (const [index, target] of cells.entries()) {
      if (before === undefined) whole.push([]);
      const joined = whole.at(-1) ?? [];
      if (index === row) [at, offset] = [whole.length - 1, joined.length + column];
      joined.push(...target);
      before = target.goesOn ? joined : undefined;
    }
    return { whole, at, offset };
  }

  function wrapAnew(width: number): void {
    const { whole, at, offset } = unwrap();
    while (whole.length > at + 1 && whole.at(-1)?.length === 0) whole.pop();
    cells = [];
    for (const [index, joined] of whole.entries()) {
      if (index === at) [row, column] = [cells.length + Math.floor(offset / width), offset % width];
      const pieces = Math.max(1, Math.ceil(joined.length / width));
      for (let piece = 0; piece < pieces; piece++) {
        const part: Row = joined.slice(piece * width, (piece + 1) * width);
        part.goesOn = piece < pieces - 1;
        cells.push(part);
      }
    }
    line();
  }

  const trimmed = (all: readonly (readonly string[])[]): string[] => {
    const texts = all.map((target) => target.join("").trimEnd());
    while (texts.at(-1) === "") texts.pop();
    return texts;
  };

  return {
    resize(width, height, how) {
      if (how === "wrap" && width !== columns) wrapAnew(width);
      else for (const target of cells) target.length = Math.min(target.length, width);
      // A lower window loses rows below the cursor before others scroll off, as tmux has it.
      while (cells.length > Math.max(height, row + 1)) cells.pop();
      column = Math.min(column, width - 1);
      [columns, rows] = [width, height];
    },
    paragraphs: () => trimmed(unwrap().whole),
    feed(text) {
      let todo = rest + text;
      rest = "";
      while (todo !== "") {
        if (todo.startsWith("\u001b")) {
          const match = SEQUENCE.exec(todo);
          if (match !== null) obey(match);
          else if (UNFINISHED.test(todo)) {
            rest = todo;
            return;
          }
          todo = todo.slice(match?.[0].length ?? 1);
          continue;
        }
        const character = String.fromCodePoint(todo.codePointAt(0) ?? 0);
        todo = todo.slice(character.length);
        if (character === "\r") column = 0;
        else if (character === "\n") newline();
        else if (character === "\b") column = Math.max(0, Math.min(column, columns - 1) - 1);
        else if (character === "\t") column = Math.min(columns - 1, (Math.floor(column / 8) + 1) * 8);
        else if (character >= " ") put(character);
      }
    },
    lines: () => trimmed(cells),
  };
}
