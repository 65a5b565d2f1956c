// The documents against the code: generated parts are fresh, tables name what the code has, references lead somewhere.

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { scaleTable } from "../bench/scale.ts";
import { DOCUMENTS, keysOf, regenerate } from "../docs/tools/generate.ts";
import { ITEMS, marksIn } from "../docs/tools/marks.ts";
import { record, written } from "../docs/tools/trace.ts";
import { addedLine, downloadedLine, foundLine, joinedLine, searchedLine } from "../src/console/text/lines.ts";
import { PEER_TABLE, SERVER_TABLE } from "../src/protocol/conversation.ts";
import { isFault, WIRE_CODES } from "../src/protocol/fault.ts";
import * as limits from "../src/protocol/limits.ts";
import { nameFlaw } from "../src/protocol/names.ts";
import { Servidor } from "../src/servidor.ts";

const ROOT = join(import.meta.dir, "..");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const PAGES = ["*.md", "docs/**/*.md", "tests/vectors/*.md"]
  .flatMap((pattern) => [...new Bun.Glob(pattern).scanSync({ cwd: ROOT })])
  .map((path) => path.replaceAll("\\", "/"))
  .sort();

/** The part of a document under a heading, up to the next one of its rank or above. */
function section(document: string, heading: string): string {
  const lines = read(document).split("\n");
  const start = lines.findIndex((line) => /^#+ /.test(line) && line.includes(heading));
  expect(start, `${document} has no heading "${heading}"`).toBeGreaterThanOrEqual(0);
  const rank = (lines[start]?.indexOf(" ") ?? 0) + 1;
  const length = lines.slice(start + 1).findIndex((line) => /^#+ /.test(line) && line.indexOf(" ") < rank);
  return lines.slice(start + 1, length < 0 ? undefined : start + 1 + length).join("\n");
}

/** The words in backticks that begin the rows of the tables in `text`. */
const firstCells = (text: string): string[] =>
  [...text.matchAll(/^\| `([^`]+)` +\|/gm)].flatMap(([, cell = ""]) => cell);

/** The words that an ABNF text spells. */
const spelled = (abnf: string): string[] => [...abnf.matchAll(/%s"([A-Z_]+)"/g)].map(([, word = ""]) => word);

const verbsOf = (states: object): string[] => [
  ...new Set(Object.values(states).flatMap((row) => Object.keys(row as object))),
];

describe("generated parts", () => {
  test.each(DOCUMENTS.map((document) => [document] as const))("%s is fresh", (document) => {
    expect(regenerate(document) === read(document), `${document} is stale: run bun docs/tools/generate.ts`).toBeTrue();
  });

  test("the report refers to every item", () => {
    const refs = keysOf("docs/RELATORIO.md").filter((key) => key.startsWith("refs "));
    expect(refs).toEqual(ITEMS.map((item) => `refs ${item}`));
  });

  test("the report has its numbered sections, with a place for name and video and lines for threads and transfer", () => {
    const titles = read("docs/RELATORIO.md").match(/^## ([IVX]+)\. /gm);
    expect(titles?.map((title) => title.slice(3, -2))).toEqual(["I", "II", "III", "IV", "V", "VI", "VII", "VIII"]);
    for (const part of ["VI. Uso de threads", "VII. Como um arquivo"])
      expect(section("docs/RELATORIO.md", part)).toMatch(/src\/[\w/-]+\.ts#L\d+/);
  });

  test("every item is served by a line of src/ and named by a test", () => {
    for (const folder of ["src", "tests"] as const) {
      const marked = new Set(marksIn(folder).flatMap(({ items }) => items));
      expect(
        ITEMS.filter((item) => !marked.has(item)),
        folder,
      ).toEqual([]);
    }
  });
});

describe("docs/PROTOCOL.md", () => {
  const protocol = "docs/PROTOCOL.md";

  /** The verbs that have a block of their own in a section, and those that the ABNF of that section spells. */
  function blocksOf(heading: string): { titles: string[]; words: string[] } {
    const text = section(protocol, heading);
    const titles = [...text.matchAll(/^### ([A-Z]+(?: and [A-Z]+)?)$/gm)].flatMap(([, title = ""]) =>
      title.split(" and "),
    );
    return { titles, words: [...text.matchAll(/```abnf\n([\s\S]*?)```/g)].flatMap(([, abnf = ""]) => spelled(abnf)) };
  }
  const atServer = "5. Requests to the server";
  const atPeer = "7. Requests to a peer";

  test("it has a block, and in it the grammar, for each request of the code", () => {
    for (const [heading, states] of [
      [atServer, SERVER_TABLE],
      [atPeer, PEER_TABLE],
    ] as const) {
      const { titles, words } = blocksOf(heading);
      expect(titles.sort()).toEqual(verbsOf(states).sort());
      expect(verbsOf(states).filter((verb) => !words.includes(verb))).toEqual([]);
    }
  });

  test("its grammar spells requests and replies of the code, and nothing else", () => {
    const types = read("src/protocol/messages.ts").split("export type Reply")[1] ?? "";
    const replies = [...types.matchAll(/verb: ((?:"[A-Z_]+"(?: \| )?)+)/g)].flatMap(
      ([, verbs = ""]) => verbs.match(/[A-Z_]+/g) ?? [],
    );
    const words = new Set([...blocksOf(atServer).words, ...blocksOf(atPeer).words]);
    const known = [...new Set([...replies, ...verbsOf(SERVER_TABLE), ...verbsOf(PEER_TABLE)])];
    // PONG has its block at the server.
    expect([...words].sort()).toEqual(known.sort());
  });

  test("it explains every code that travels, in the order of the code", () => {
    expect(firstCells(section(protocol, "Codes"))).toEqual([...WIRE_CODES]);
  });

  test("it explains every flaw of a name", () => {
    const flaws = read("src/protocol/names.ts").split("export type NameFlaw =")[1]?.split(";")[0] ?? "";
    const named = [...flaws.matchAll(/"([a-z0-9-]+)"/g)].map(([, flaw = ""]) => flaw);
    expect(firstCells(section(protocol, "12. Names")).sort()).toEqual(named.sort());
    expect(nameFlaw("")).toBe("empty");
  });

  test("it has at most 4,500 words besides generated and recorded parts", () => {
    const own = read(protocol).replace(/<!-- (generated|recorded)[\s\S]*?<!-- \/\1 -->/g, "");
    expect(own.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length).toBeLessThanOrEqual(4500);
  });

  test("every limit of its table is named where it holds", () => {
    const [, rows = ""] = /<!-- generated: limits-wire -->([\s\S]*?)<!-- \/generated -->/.exec(read(protocol)) ?? [];
    expect(firstCells(rows).length).toBeGreaterThan(30);
    const text = read(protocol).replace(rows, "");
    expect(firstCells(rows).filter((name) => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([]);
  });

  test("every limit that it names exists", () => {
    const named = [...read(protocol).matchAll(/`([A-Z]+_(?:[A-Z_]+))`/g)].map(([, name = ""]) => name);
    const codes: readonly string[] = WIRE_CODES;
    const local = read("src/protocol/fault.ts");
    const known = (name: string) =>
      name in limits ||
      codes.includes(name) ||
      local.includes(`"${name}"`) ||
      /_OK$/.test(name) ||
      name === "NAPSTER_SERVER";
    expect([...new Set(named)].filter((name) => !known(name))).toEqual([]);
  });
});

describe("the annotated exchange", () => {
  const blocks = [...section("docs/EXCHANGE.md", "An annotated exchange").matchAll(/```\n([\s\S]*?)```/g)];
  const root = "2ffab3ae2681dbcce528b1921f952ff5684271e1444262e726badac68bb42064";
  const share = `16 ${root} Aula.mp4\n`;
  /** The lines of one side, without the notes, which stand after two spaces. */
  const side = (block: string, mark: string): string =>
    block
      .split("\n")
      .filter((line) => line.startsWith(`${mark} `))
      .map((line) => `${line.slice(2).replace(/ {2,}.*$/, "")}\n`)
      .join("");

  test.each([0, 1])("with the server is what the server answers (block %d)", async (index) => {
    const block = blocks[index]?.[1] ?? "";
    const servidor = new Servidor({ at: { ip: "127.0.0.1", port: 0 }, probe: false, onEvent: () => {} });
    const at = servidor.listen();
    if (isFault(at)) throw new Error(at.fault);
    const first = await converse(at.port, `JOIN 127.0.0.1:8776 ${share.length}\n${share}`, "JOIN_OK 127.0.0.1:8776\n");
    const second = await converse(at.port, side(block, ">"), side(block, "<"));
    first.end();
    second.end();
    await servidor.close();
    expect(second.heard()).toBe(side(block, "<"));
  });
});

describe("the recorded get", () => {
  /** Which verbs go which way on which connection. */
  const verbs = (lines: readonly string[]): string[] =>
    [...new Set(lines.map((line) => /^(\w+) +([<>]) ([A-Z_]+)\b/.exec(line)?.slice(1, 4).join(" ") ?? line))].sort();

  test("has the messages that a get sends and receives now", async () => {
    const now = (await record()).map(({ on, way, line }) => `${on} ${way} ${line}`);
    const recorded = written()
      .split("\n")
      .filter((line) => /^\w+ +[<>] /.test(line));
    expect(verbs(recorded)).toEqual(verbs(now));
    for (const verb of ["OFFER", "SOURCES", "WITHDRAW", "UPDATE"]) expect(verbs(now)).toContain(`server > ${verb}`);
  }, 30_000);
});

test("docs/SCALE.md has the table that bench/scale.ts computes", () => {
  const packed = (text: string): string => text.replace(/ +/g, " ").replace(/-{3,}/g, "---");
  expect(packed(read("docs/SCALE.md"))).toContain(packed(scaleTable()));
});

test.each(PAGES.map((page) => [page] as const))("%s has no line of more than 120 characters", (page) => {
  const lines = read(page).split("\n");
  expect(lines.flatMap((line, index) => (line.length > 120 ? [`${index + 1}: ${line}`] : []))).toEqual([]);
});

describe("references", () => {
  test("are looked for in every document", () => {
    for (const page of [...DOCUMENTS, "docs/ARCHITECTURE.md", "docs/adr/README.md"]) expect(PAGES).toContain(page);
  });

  test("a link leads to a file of the repository", () => {
    const dead = PAGES.flatMap((page) =>
      [...read(page).matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)]
        .map(([, target = ""]) => join(dirname(page), target))
        .filter((target) => !existsSync(join(ROOT, target)))
        .map((target) => `${page}: ${target}`),
    );
    expect(dead).toEqual([]);
  });

  test("a file that is named exists, and has what is named in it", () => {
    const wrong = PAGES.filter((page) => page !== "CHANGELOG.md").flatMap((page) =>
      [...read(page).matchAll(/`((?:src|tests|docs)\/[\w./-]+\.ts)(?::(#?\w+))?`/g)]
        .filter(([, path = "", name]) => !existsSync(join(ROOT, path)) || (name !== undefined && !defines(path, name)))
        .map(([whole]) => `${page}: ${whole}`),
    );
    expect(wrong).toEqual([]);
  });

  test("a script that is named is one of package.json", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const unknown = PAGES.flatMap((page) =>
      [...read(page).matchAll(/bun(?:@[\d.]+)? run ([\w:-]+)/g)]
        .filter(([, script = ""]) => !(script in scripts))
        .map(([whole]) => `${page}: ${whole}`),
    );
    expect(unknown).toEqual([]);
  });

  test("the dependencies of docs/ARCHITECTURE.md are those of package.json, with their versions", () => {
    const manifest = JSON.parse(read("package.json")) as Record<string, Record<string, string> | undefined>;
    const wanted = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
    const text = section("docs/ARCHITECTURE.md", "Dependencies");
    expect(firstCells(text).sort()).toEqual(wanted.map(([name]) => name).sort());
    expect(wanted.filter(([name, version]) => !new RegExp(`\\| \`${name}\` +\\| ${version} +\\|`).test(text))).toEqual(
      [],
    );
  });

  test("every file of src/ is named by a term of the glossary", () => {
    const glossary = section("docs/ARCHITECTURE.md", "Glossary").replace(/\s+/g, " ").toLowerCase();
    const terms = [...glossary.matchAll(/\*\*([^*]+)\*\*/g)].map(([, term = ""]) => term.replaceAll(" ", "-"));
    const known = new Set(terms.flatMap((term) => [term, `${term}s`, term.replace(/s$/, "")]));
    // Workers run what another file is named by; the mains, the classes and the plain vocabulary of the wire need no term.
    const plain =
      /-worker\.ts$|^src\/[\w-]+\.ts$|^src\/(?:config|protocol|console\/text)\/|\/(?:connection|tcp|http|help|hash)\.ts$/;
    const files = [...new Bun.Glob("src/**/*.ts").scanSync({ cwd: ROOT })].map((path) => path.replaceAll("\\", "/"));
    const unnamed = files.filter((path) => !plain.test(path) && !known.has(path.replace(/^.*\/|\.ts$/g, "")));
    expect(unnamed).toEqual([]);
  });

  test("a term of the glossary has one meaning", () => {
    const terms = [...section("docs/ARCHITECTURE.md", "Glossary").matchAll(/\*\*([^*]+)\*\*/g)].map(([, term]) => term);
    const twice = terms.filter((term, index) => terms.indexOf(term) < index);
    expect(twice).toEqual([]);
  });

  test("every folder of src/ has its place in docs/ARCHITECTURE.md", () => {
    const folders = [...new Bun.Glob("src/*/*.ts").scanSync({ cwd: ROOT })].map((path) => path.split(/[\\/]/)[1] ?? "");
    const layout = section("docs/ARCHITECTURE.md", "Layout");
    expect([...new Set(folders)].filter((folder) => !layout.includes(`${folder}/`))).toEqual([]);
  });
});

test("the picture of the consoles shows the dictated lines", () => {
  const picture = read("docs/consoles.svg");
  const [one, two, three] = [8776, 8777, 8778].map((port) => ({ ip: "127.0.0.1", port }));
  if (one === undefined || two === undefined || three === undefined) throw new Error("three peers");
  const lines = [
    addedLine(one, ["aula1.mp4", "aula2.mp4"]),
    joinedLine(one, ["aula1.mp4", "aula2.mp4"]),
    joinedLine(three, []),
    searchedLine(three, "aula9.mp4"),
    foundLine([]),
    foundLine([two]),
    foundLine([two, three]),
    downloadedLine("Aula.mp4", "peer3"),
  ];
  expect(lines.filter((line) => !picture.includes(`>${line}</text>`))).toEqual([]);
});

/** Whether the file has a function, a method, a constant or a type of that name. */
function defines(path: string, name: string): boolean {
  const word = `${name.replace("#", "\\#")}\\b`;
  const declared = `^ *(?:export )?(?:async )?(?:function\\*?|const|let|type|class) ${word}`;
  const method = `^ +(?:async |get )?${word}(?:\\(.*\\{$|\\($|: \\(|\\(.*\\): )`;
  return new RegExp(`${declared}|${method}`, "m").test(read(path));
}

/** Says `text` and listens until as much has come back as `wanted` has. */
async function converse(port: number, text: string, wanted: string): Promise<{ heard(): string; end(): void }> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let heard = "";
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data(_, bytes) {
        heard += bytes.toString("utf8");
        if (heard.length >= wanted.length) resolve();
      },
      close: () => resolve(),
    },
  });
  socket.write(text);
  await promise;
  return { heard: () => heard, end: () => void socket.end() };
}
