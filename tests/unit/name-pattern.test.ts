import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parsePattern } from "../../src/console/name-pattern.ts";
import { queueLines, summaryNote } from "../../src/console/queue-lines.ts";
import { partialNames, readNameList } from "../../src/content/name-list.ts";
import { closeAfterTest } from "../support/closing.ts";
import { codeOf } from "../support/good.ts";

function folderOf(files: Record<string, string> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "napster-names-"));
  closeAfterTest(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

const parsed = (text: string) => {
  const pattern = parsePattern(text);
  if ("cause" in pattern) throw new Error(pattern.cause);
  return pattern;
};

describe("a pattern", () => {
  test.each([
    ["aula*.mp4", "Aula 1.MP4", true],
    ["aula*.mp4", "aula.mp4", true],
    ["aula*.mp4", "aula.mp4.srt", false],
    ["aula ?.mp4", "aula 10.mp4", false],
    ["aula ?.mp4", "aula 🎬.mp4", true],
    ["*a*b*.mp4", `${"a".repeat(200)}.mp4`, false],
    ["a*b*c", "aXbXbYc", true],
    ["AÇÃO*", "ação 2.mkv", true],
    ["a.c*", "abc", false],
  ])("%p and %p: %p", (pattern, name, matches) => {
    expect(parsed(pattern).matches(name)).toBe(matches);
  });

  test("asks the server for words that each name that matches begins with", () => {
    expect(parsed("aula*.mp4").words).toBe("aula mp4");
    expect(parsed("*ula redes*x.mp4").words).toBe("redes mp4");
    expect(parsed("a?b-c").words).toBe("a c");
  });

  test.each(["", "*", "*?*", "../*", "a/*.mp4", "a\\*", "a\u0007*", `${"a".repeat(300)}*`, "*ula*"])(
    "is none: %p",
    (text) => {
      expect(parsePattern(text)).toMatchObject({ code: "USAGE", cause: expect.stringContaining("--match") });
    },
  );
});

describe("a list of names", () => {
  const listOf = async (bytes: string | Uint8Array) => {
    const path = join(folderOf(), "list");
    writeFileSync(path, bytes);
    return readNameList(path);
  };

  test("is one for each line, whatever ends it, also as PowerShell writes it", async () => {
    expect(await listOf("a.mp4\r\n\n b c.mp4  \nd.mp4")).toEqual(["a.mp4", " b c.mp4", "d.mp4"]);
    expect(await listOf(`\ufeffação.mp4\n`)).toEqual(["ação.mp4"]);
    expect(await listOf(Buffer.from("\ufeffação.mp4\r\n", "utf16le"))).toEqual(["ação.mp4"]);
    expect(await listOf("")).toEqual([]);
  });

  test("that is no text, no file or too long is refused whole", async () => {
    expect(codeOf(await listOf(new Uint8Array([0xc3, 0x28])))).toBe("USAGE");
    expect(codeOf(await listOf("a\n".repeat(1_000_000)))).toBe("USAGE");
    expect(codeOf(await readNameList(folderOf()))).toBe("USAGE");
    expect(codeOf(await readNameList(join(folderOf(), "x")))).toBe("FILE_MISSING");
  });

  test("of what a folder has begun has each name once, and tells of those that were cut", async () => {
    const cut = `${"a".repeat(200)}~0123456789abcdef`;
    const files = { "a.mp4.part": "", "a.mp4.part.journal": "", "b.mp4": "", ".part": "", [`${cut}.part`]: "" };
    const folder = folderOf({ ...files, "a.mp4.0123456789abcdef.part": "", "c.mp4.part": "" });
    expect(await partialNames(folder)).toEqual({ names: ["a.mp4", "c.mp4"], cut: [cut] });
    expect(codeOf(await partialNames(join(folder, "x")))).toBe("FOLDER_MISSING");
  });
});

describe("a queue", () => {
  const progress = { bytes: 5e8, size: 1e9, rate: 1e6, etaSeconds: 500, sources: 1 };
  const running = [
    { name: "a.mp4", state: "running" as const, progress },
    { name: `${"é".repeat(60)}.mp4`, state: "running" as const },
  ];
  const queue = { files: 300, done: 12, here: 3, waiting: 2, running, bytes: 1e9 };

  test("is one line for the whole and one for each that is under way, no wider than the window", () => {
    const failed = [{ name: "x.mp4", code: "NO_SOURCE" as const }];
    for (const columns of [20, 40, 80, 200]) {
      const lines = queueLines({ ...queue, failed }, columns);
      expect(lines.length).toBe(3);
      for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThan(columns);
    }
    expect(queueLines({ ...queue, failed }, 100)[0]).toBe(
      "16 de 300 arquivos  1,5 GB  1,0 MB/s  3 já na pasta  2 esperando  1 sem sucesso",
    );
  });

  test("ends with what came of it, and names some of what failed", () => {
    const failed = Array.from({ length: 12 }, (_, at) => ({ name: `\u001b${at}`, code: "NO_SOURCE" as const }));
    const note = summaryNote({ ...queue, failed, files: 27, running: [] });
    expect(note.split("\n")[0]).toBe(
      "aviso: de 27 arquivos, 12 baixados (1,0 GB), 3 já na pasta, 12 sem sucesso [SUMMARY]",
    );
    expect(note).toEndWith("\n  e mais 2");
    expect(note).not.toContain("\u001b");
  });
});
