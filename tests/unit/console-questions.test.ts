import { describe, expect, test } from "bun:test";
import { createChooser } from "../../src/console/chooser.ts";
import { BACKSPACE, CTRL_C, DOWN, ENTER, ESCAPE, splitKeys, UP } from "../../src/console/terminal/keys.ts";
import { createPipedAsker, type Question, readLines } from "../../src/console/terminal/questions.ts";
import { createScreen as createRegion } from "../../src/console/terminal/screen.ts";
import type { Complaint } from "../../src/console/text/complaints.ts";
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

  test("lines of an input that is not a terminal end in LF or CRLF, and the last one in nothing", async () => {
    expect(await lines("a\r\nb\n\nc")).toEqual(["a", "b", "", "c"]);
    expect(await lines("a\n")).toEqual(["a"]);
    expect(await lines("")).toEqual([]);
  });

  test("lines of an input that is not a terminal may come byte by byte, a byte order mark first", async () => {
    const whole = new TextEncoder().encode("\ufeffvídeo.mp4\r\n日本\n");
    expect(await lines(...Array.from(whole, (byte) => new Uint8Array([byte])))).toEqual(["vídeo.mp4", "日本"]);
  });

  test("lines of an input that is not a terminal are cut where they are longer than any answer", async () => {
    const [line = "", next] = await lines("x".repeat(50_000), "x".repeat(50_000), "\nb\n");
    expect([line.length, next]).toEqual([40_000, "b"]);
  });
});

describe("the piped asker", () => {
  test("the piped asker takes an empty line for the default and asks again after a wrong answer", async () => {
    const { asker, errors } = piped("3\n4\n\n");
    expect(await asker.ask(even)).toBe("4");
    expect(errors).toEqual(["erro: ímpar [USAGE]\ndica: par"]);
    expect(await asker.ask(even)).toBe("2");
    expect(await asker.ask(even)).toEqual({ stop: "end" });
  });

  test("the piped asker tells an end after a wrong answer from an end", async () => {
    expect(await piped("3").asker.ask(even)).toEqual({ stop: "refused-end" });
  });

  test("the piped asker takes a menu word in any case, passes over blank lines, and refuses the rest", async () => {
    const { asker, errors } = piped("\n update \nsearch\r\n DownLoad\n");
    expect(await asker.choose("?", COMMANDS)).toBe("SEARCH");
    expect(await asker.choose("?", COMMANDS)).toBe("DOWNLOAD");
    expect(errors.join("")).toBe('erro: " update " não está no menu [USAGE]\ndica: use JOIN, SEARCH ou DOWNLOAD');
  });

  test("the piped asker passes over the answers of a command that never asked, and over no command", async () => {
    const { asker, errors } = piped("1.2.3.4\n80\nJOIN\nx\nSEARCH\n");
    expect(await asker.choose("?", COMMANDS, { unused: 2 })).toBe("JOIN");
    expect(errors).toEqual([]);
    expect(await asker.choose("?", COMMANDS)).toBe("SEARCH");
    expect(errors.length).toBe(1);
  });

  test("the piped asker lets others have their turn while an input without end says nothing, and stops when it is closed", async () => {
    async function* endless() {
      const blank = new TextEncoder().encode("\n".repeat(1000));
      for (;;) yield blank;
    }
    const asker = createPipedAsker(readLines(endless()), () => {});
    setImmediate(() => asker.close());
    expect(await asker.choose("?", COMMANDS)).toEqual({ stop: "leave" });
  });

  test("the piped asker stops at once when it is closed", async () => {
    const never = { next: () => new Promise<never>(() => {}) } as AsyncIterator<string>;
    const asker = createPipedAsker(never, () => {});
    const asking = asker.ask(even);
    asker.close();
    expect(await asking).toEqual({ stop: "leave" });
  });
});

describe("keys", () => {
  test("keys are single characters and whole sequences, with Enter spelled one way", () => {
    expect(splitKeys(`aé😀${UP}\r\n\n\r${ESCAPE}`)).toEqual(["a", "é", "😀", UP, ENTER, ENTER, ENTER, ESCAPE]);
    expect(splitKeys(`\x1bOP\x1b[1;5C\x1bx${CTRL_C}`)).toEqual(["\x1bOP", "\x1b[1;5C", "\x1bx", CTRL_C]);
  });
});

describe("the menu's keys", () => {
  test("a key of its own acts while nothing is typed, and the question stays", () => {
    let opened = 0;
    const keys = { W: () => void opened++ };
    const made = createChooser("O que fazer?", COMMANDS, { keys });
    expect(made.press("w")).toBeUndefined();
    expect(made.press("W")).toBeUndefined();
    expect(opened).toBe(2);
    for (const key of "sw") expect(made.press(key)).toBeUndefined();
    expect(opened).toBe(2);
    expect(made.press(ENTER)).toBeUndefined();
    expect(made.press(ENTER)).toBe("SEARCH");
  });

  function chooser(marked?: (typeof COMMANDS)[number]) {
    const made = createChooser("O que fazer?", COMMANDS, { marked, help: "ajuda!" });
    const press = (...keys: string[]) => keys.map((key) => made.press(key)).at(-1);
    const seen = () => made.lines().lines.map((line) => Bun.stripANSI(line));
    return { press, seen, type: (word: string) => press(...word, ENTER) };
  }

  test("the menu's keys take what is marked, the first option or the one that is likely", () => {
    expect([chooser().press(ENTER), chooser("DOWNLOAD").press(ENTER)]).toEqual(["JOIN", "DOWNLOAD"]);
    expect([chooser().press(DOWN, ENTER), chooser().press(UP, ENTER), chooser("DOWNLOAD").press(DOWN, ENTER)]).toEqual([
      "SEARCH",
      "DOWNLOAD",
      "JOIN",
    ]);
  });

  test("the menu's keys take a word in any case, its beginning, or its number", () => {
    const words = ["join", "SEARCH", "Down", "s", "2", " 3 "];
    expect(words.map((word) => chooser().type(word))).toEqual([
      "JOIN",
      "SEARCH",
      "DOWNLOAD",
      "SEARCH",
      "SEARCH",
      "DOWNLOAD",
    ]);
  });

  test("the menu's keys understand the words that leave", () => {
    for (const word of ["sair", "q", "EXIT", "quit", "fim"])
      expect(chooser("SEARCH").type(word)).toEqual({ stop: "leave" });
  });

  test("the menu's keys answer any other word with one line, and choose nothing by it", () => {
    const { press, seen, type } = chooser();
    for (const word of ["ajuda", "?", "voltar"]) {
      expect(type(word)).toBeUndefined();
      expect(seen().at(-1)).toBe("ajuda!");
    }
    for (const word of ["xyz", "joined", "4", "0", "日本"]) {
      expect(type(word)).toBeUndefined();
      expect(seen().at(-1)).toBe(`"${word}" não está no menu: use JOIN, SEARCH ou DOWNLOAD`);
    }
    press(DOWN);
    expect(seen().length).toBe(4);
  });

  test("the menu's keys show what is typed, and the option that it begins", () => {
    const { press, seen } = chooser();
    press("d", "o");
    expect(seen()[0]).toMatch(/O que fazer\? do[█_]$/);
    expect(seen()[3]).toMatch(/^[●>] DOWNLOAD/);
    press(BACKSPACE, BACKSPACE);
    expect(seen()[0]).toEndWith("O que fazer?");
    press("x", ESCAPE);
    expect(press(ENTER)).toBe("DOWNLOAD");
    expect(press("\x1b[1;5C", "\x00", "\u202e")).toBeUndefined();
    expect(seen()[0]).toEndWith("O que fazer?");
  });
});

describe("what is drawn below the lasting lines", () => {
  function terminal({ columns = 20, rows = 6, escapes = true, sparing = false } = {}) {
    const seen = createScreen(columns, rows);
    const written: string[] = [];
    const write = (text: string): void => {
      written.push(text);
      seen.feed(text.replaceAll(/\r?\n/g, "\r\n"));
    };
    let size = { columns, rows };
    let settle = (): void => {};
    const after = (_: number, then: () => void) => {
      settle = then;
      return () => {};
    };
    const region = createRegion(write, { size: () => size, escapes, sparing, after });
    const resize = (to: typeof size, how: "wrap" | "cut"): void => {
      size = to;
      seen.resize(to.columns, to.rows, how);
      region.resized();
    };
    return { seen, write, region, written, resize, settle: () => settle() };
  }
  const drawn = () => new Promise<void>((resolve) => setImmediate(resolve));

  test("what is drawn below the lasting lines vanishes whole, also when it scrolled", async () => {
    const { seen, write, region } = terminal();
    for (const line of ["1", "2", "3", "4", "5"]) write(`${line}\n`);
    region.canvas("").write("a\nb\nc\n");
    await drawn();
    expect(seen.lines()).toEqual(["1", "2", "3", "4", "5", "a", "b", "c"]);
    region.clear();
    expect(seen.lines()).toEqual(["1", "2", "3", "4", "5"]);
  });

  test("what is drawn below the lasting lines makes way for a lasting line and comes back below it", async () => {
    const { seen, write, region } = terminal();
    const canvas = region.canvas("");
    canvas.write("a\nb\nc");
    canvas.write("\x1b[999D\x1b[2A\x1b[1B\x1b[2K\x1b[GB");
    await drawn();
    region.above(() => write("fica\n"));
    await drawn();
    expect(seen.lines()).toEqual(["fica", "a", "B", "c"]);
    region.clear();
    expect(seen.lines()).toEqual(["fica"]);
  });

  test.each(["wrap", "cut"] as const)(
    "what is drawn below the lasting lines follows the window through any size, where rows are %s",
    async (how) => {
      const { seen, write, region, resize, settle } = terminal({ columns: 60, rows: 8 });
      write("ok\n");
      for (const [columns, rows] of [
        [12, 8],
        [70, 20],
        [20, 2],
        [5, 3],
        [80, 1],
        [3, 1],
        [60, 8],
      ] as const) {
        region.show(["uma pergunta", `${"resposta ".repeat(8)}`, "engano"], 1);
        await drawn();
        resize({ columns, rows }, how);
        await drawn();
        for (const line of seen.lines().slice(1)) expect(line.length).toBeLessThan(20);
        settle();
        await drawn();
        for (const line of seen.lines().slice(1)) expect(line.length).toBeLessThan(columns);
        region.show(["#".repeat(columns - 1)]);
        await drawn();
        resize({ columns: 40, rows: 8 }, how);
        settle();
        region.show(["-".repeat(30)]);
        await drawn();
        expect(seen.paragraphs()).toEqual(["ok", "-".repeat(30)]);
        region.clear();
        expect(seen.paragraphs()).toEqual(["ok"]);
      }
    },
  );

  test("what is drawn below the lasting lines leaves nothing of a row that was drawn for a window that is narrower by now", async () => {
    const { seen, write, region } = terminal({ columns: 60 });
    write("ok\n");
    seen.resize(20, 6, "wrap"); // and nobody has told the region
    for (const mark of ["#", "-"]) {
      region.show([mark.repeat(59), "e mais uma"]);
      await drawn();
    }
    expect(seen.lines()).toHaveLength(3);
    region.clear();
    expect(seen.lines()).toEqual(["ok"]);
  });

  test("what is drawn below the lasting lines shows first what matters where the window has no room for all", async () => {
    const { seen, region } = terminal({ rows: 1 });
    region.show(["Porta do peer", "12345678901234567_"], 1);
    await drawn();
    expect(seen.lines()).toEqual(["12345678901234567_"]);
    region.show(["Porta", "12_"], 1);
    await drawn();
    expect(seen.lines()).toEqual(["12_  Porta"]);
  });

  test("what is drawn below the lasting lines has its quiet line at the bottom, with the hint of what is shown", async () => {
    const { seen, region } = terminal({ columns: 60 });
    region.quiet(() => "3 peers");
    region.show(["menu"], 0, "Ctrl+C sai");
    await drawn();
    expect(seen.lines()).toEqual(["menu", "3 peers · Ctrl+C sai"]);
    region.clear();
    await drawn();
    expect(seen.lines()).toEqual(["3 peers"]);
    region.close();
    expect(seen.lines()).toEqual([]);
  });

  test("what is drawn below the lasting lines is gone while the shell has the terminal, and drawn again after it", async () => {
    const { seen, write, region } = terminal();
    region.show(["a", "b"]);
    await drawn();
    region.pause();
    region.show(["c", "d"]);
    await drawn();
    write("$ fg\n");
    expect(seen.lines()).toEqual(["$ fg"]);
    region.resume();
    await drawn();
    expect(seen.lines()).toEqual(["$ fg", "c", "d"]);
  });

  test("what is drawn below the lasting lines takes one row without any escape sequence where the console may know none", async () => {
    for (const how of [{ sparing: true }, { escapes: false }]) {
      const { written, region } = terminal({ columns: 80, ...how });
      for (const line of ["12345", "123", "1234567"]) {
        region.show([line]);
        await drawn();
      }
      region.clear();
      expect(written).toEqual(["\r12345\r", "\r123  \r", "\r1234567\r", "\r       \r"]);
    }
  });

  test("what is drawn below the lasting lines puts several lines into one row where there are no escape sequences", async () => {
    const { written, region } = terminal({ columns: 16, escapes: false });
    region.show(["\x1b[31mPorta\x1b[39m", "87_", "engano"], 1);
    await drawn();
    expect(written).toEqual(["\r87_  engano  Po\r"]);
  });
});
