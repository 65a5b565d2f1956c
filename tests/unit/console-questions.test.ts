import { describe, expect, test } from "bun:test";
import type { Complaint } from "../../src/console/complaints.ts";
import { BACKSPACE, CTRL_C, DOWN, ENTER, ESCAPE, splitKeys, UP } from "../../src/console/keys.ts";
import { createPicker, createPipedAsker, type Question, readLines } from "../../src/console/questions.ts";
import { createScreen as createRegion } from "../../src/console/screen.ts";
import { createScreen } from "../support/screen.ts";

const COMMANDS = ["JOIN", "SEARCH", "DOWNLOAD"] as const;
const even: Question = {
  message: "Par",
  fallback: "2",
  check: (answer): Complaint | undefined =>
    Number(answer) % 2 === 0 ? undefined : { cause: "ímpar", code: "USAGE", hint: "par" },
};

async function* bytes(...chunks: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk;
}

function piped(text: string) {
  const errors: string[] = [];
  return { asker: createPipedAsker(readLines(bytes(text)), (error) => errors.push(error)), errors };
}

test("an answer may have blanks after it, as CMD's echo sends them", async () => {
  const { asker, errors } = piped(" \n4 \n");
  expect([await asker.ask(even), await asker.ask(even)]).toEqual(["2", "4"]);
  expect(errors).toEqual([]);
});

describe("lines of an input that is not a terminal", () => {
  const lines = (...chunks: (string | Uint8Array)[]) => Array.fromAsync(readLines(bytes(...chunks)));

  test("end in LF or CRLF, and the last one in nothing", async () => {
    expect(await lines("a\r\nb\n\nc")).toEqual(["a", "b", "", "c"]);
    expect(await lines("a\n")).toEqual(["a"]);
    expect(await lines("")).toEqual([]);
  });

  test("may come byte by byte, a byte order mark first", async () => {
    const whole = new TextEncoder().encode("\ufeffvídeo.mp4\r\n日本\n");
    expect(await lines(...Array.from(whole, (byte) => new Uint8Array([byte])))).toEqual(["vídeo.mp4", "日本"]);
  });

  test("are cut where they are longer than any answer", async () => {
    const [line = "", next] = await lines("x".repeat(50_000), "x".repeat(50_000), "\nb\n");
    expect([line.length, next]).toEqual([40_000, "b"]);
  });
});

describe("the piped asker", () => {
  test("takes an empty line for the default and asks again after a wrong answer", async () => {
    const { asker, errors } = piped("3\n4\n\n");
    expect(await asker.ask(even)).toBe("4");
    expect(errors).toEqual(["erro: ímpar [USAGE]\ndica: par\n"]);
    expect(await asker.ask(even)).toBe("2");
    expect(await asker.ask(even)).toEqual({ stop: "end" });
  });

  test("tells an end after a wrong answer from an end", async () => {
    expect(await piped("3").asker.ask(even)).toEqual({ stop: "refused-end" });
  });

  test("takes a menu word in any case, passes over blank lines, and refuses the rest", async () => {
    const { asker, errors } = piped("\n update \nsearch\r\n DownLoad\n");
    expect(await asker.choose("?", COMMANDS)).toBe("SEARCH");
    expect(await asker.choose("?", COMMANDS)).toBe("DOWNLOAD");
    expect(errors.join("")).toBe('erro: " update " não está no menu [USAGE]\ndica: use JOIN, SEARCH ou DOWNLOAD\n');
  });

  test("passes over the answers of a command that never asked, and over no command", async () => {
    const { asker, errors } = piped("1.2.3.4\n80\nJOIN\nx\nSEARCH\n");
    expect(await asker.choose("?", COMMANDS, 2)).toBe("JOIN");
    expect(errors).toEqual([]);
    expect(await asker.choose("?", COMMANDS)).toBe("SEARCH");
    expect(errors.length).toBe(1);
  });

  test("lets others have their turn while an input without end says nothing, and stops when it is closed", async () => {
    async function* endless() {
      const blank = new TextEncoder().encode("\n".repeat(1000));
      for (;;) yield blank;
    }
    const asker = createPipedAsker(readLines(endless()), () => {});
    setImmediate(() => asker.close());
    expect(await asker.choose("?", COMMANDS)).toEqual({ stop: "leave" });
  });

  test("stops at once when it is closed", async () => {
    const never = { next: () => new Promise<never>(() => {}) } as AsyncIterator<string>;
    const asker = createPipedAsker(never, () => {});
    const asking = asker.ask(even);
    asker.close();
    expect(await asking).toEqual({ stop: "leave" });
  });
});

describe("keys", () => {
  test("are single characters and whole sequences, with Enter spelled one way", () => {
    expect(splitKeys(`aé😀${UP}\r\n\n\r${ESCAPE}`)).toEqual(["a", "é", "😀", UP, ENTER, ENTER, ENTER, ESCAPE]);
    expect(splitKeys(`\x1bOP\x1b[1;5C\x1bx${CTRL_C}`)).toEqual(["\x1bOP", "\x1b[1;5C", "\x1bx", CTRL_C]);
  });

  test("of a typed word move the mark to it", () => {
    const type = (word: string) => [...word].flatMap(createPicker(COMMANDS)).length;
    expect(["JOIN", "search", "D", "DOWNLOAD", "xyz"].map(type)).toEqual([0, 1, 2, 2, 0]);
    const pick = createPicker(COMMANDS);
    expect(pick(DOWN)).toEqual([DOWN]);
    expect(pick("j")).toEqual([DOWN, DOWN]);
    expect(pick(UP)).toEqual([DOWN, DOWN]);
    expect(pick(ENTER)).toEqual([ENTER]);
  });

  test("Enter after a word that is no option chooses nothing, and the next word is read anew", () => {
    const pick = createPicker(COMMANDS);
    expect([..."xyz"].flatMap(pick)).toEqual([]);
    expect(pick(ENTER)).toEqual([]);
    expect([..."search"].flatMap(pick)).toEqual([DOWN]);
    expect(pick(ENTER)).toEqual([ENTER]);
    expect([..."xs"].flatMap(pick)).toEqual([]);
    expect(pick(BACKSPACE)).toEqual([]);
    expect(pick(ENTER)).toEqual([ENTER]);
  });
});

describe("the region below the lasting lines", () => {
  function terminal(columns = 20, rows = 6) {
    const seen = createScreen(columns, rows);
    const write = (text: string) => seen.feed(text.replaceAll("\n", "\r\n"));
    return { seen, write, region: createRegion(write, () => ({ columns, rows })) };
  }

  test("vanishes whole, also when it scrolled", () => {
    const { seen, write, region } = terminal();
    for (const line of ["1", "2", "3", "4", "5"]) write(`${line}\n`);
    region.canvas.write("a\nb\nc\n");
    region.clear();
    expect(seen.lines()).toEqual(["1", "2", "3", "4", "5"]);
  });

  test("makes way for a lasting line and comes back below it", () => {
    const { seen, write, region } = terminal();
    region.canvas.write("a\nb\nc");
    region.canvas.write("\x1b[999D\x1b[2A\x1b[1B\x1b[2K\x1b[GB");
    region.above(() => write("fica\n"));
    expect(seen.lines()).toEqual(["fica", "a", "B", "c"]);
    region.clear();
    expect(seen.lines()).toEqual(["fica"]);
  });

  test("shows a lone line without any escape sequence", () => {
    const written: string[] = [];
    const region = createRegion(
      (text) => written.push(text),
      () => ({ columns: 80, rows: 24 }),
    );
    region.show("12345");
    region.show("123");
    region.clear();
    expect(written).toEqual(["\r12345", "\r123  ", "\r     \r"]);
  });
});
