import { expect, test } from "bun:test";
import { createScreen } from "./screen.ts";

function shown(bytes: string, columns = 20, rows = 4): string[] {
  const whole = createScreen(columns, rows);
  whole.feed(bytes);
  const single = createScreen(columns, rows);
  for (const character of bytes) single.feed(character);
  expect(single.lines()).toEqual(whole.lines());
  return whole.lines();
}

test("text stays where it was written", () => {
  expect(shown("um\r\ndois\r\n")).toEqual(["um", "dois"]);
});

test("a line that goes back up and is erased leaves nothing", () => {
  expect(shown("fica\r\nmenu\r\n> JOIN\r\n\u001b[2A\u001b[1G\u001b[J")).toEqual(["fica"]);
});

test("a progress bar that rewrites its line and erases it leaves nothing", () => {
  expect(shown("\u001b[?25l10%\r50%\r\u001b[2K\u001b[?25hArquivo")).toEqual(["Arquivo"]);
});

test("colours are not text", () => {
  expect(shown("\u001b[1;32mok\u001b[0m")).toEqual(["ok"]);
});

test("a line longer than the screen wraps, and the cursor can climb over both halves", () => {
  expect(shown("abcdefghijklmnopqrstuvwxyz")).toEqual(["abcdefghijklmnopqrst", "uvwxyz"]);
  expect(shown("abcdefghijklmnopqrstuvwxyz\r\u001b[1A\u001b[J")).toEqual([]);
});

test("what has scrolled off is out of the cursor's reach", () => {
  expect(shown("1\r\n2\r\n3\r\n4\r\n5\r\n6\u001b[9A\r\u001b[J")).toEqual(["1", "2"]);
});

test("an erasing sequence that is unknown is an error, never ignored", () => {
  expect(() => shown("a\u001b[3P")).toThrow("CSI 3P");
});
