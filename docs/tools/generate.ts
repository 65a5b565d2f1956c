// Writes the generated blocks of the documents: `bun docs/tools/generate.ts`; with --check it only says what is stale.
// A block is whatever stands between `<!-- generated: KEY -->` and `<!-- /generated -->`.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { peerUsage, serverUsage } from "../../src/config.ts";
import { peerHelp, serverHelp } from "../../src/console/text/help.ts";
import { PEER_TABLE, SERVER_TABLE } from "../../src/protocol/conversation.ts";
import * as limits from "../../src/protocol/limits.ts";
import { SERVER_LIMITS, type ServerLimit } from "../../src/protocol/server-limits.ts";
import { ITEMS, type Mark, marksIn } from "./marks.ts";

const ROOT = join(import.meta.dir, "..", "..");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

/** The documents that hold blocks. */
export const DOCUMENTS = [
  "README.md",
  "README.pt-BR.md",
  "docs/PROTOCOL.md",
  "docs/OPERATIONS.md",
  "docs/SPEC-MAP.md",
  "docs/RELATORIO.md",
] as const;

/** A table as the formatter wants it: every column as wide as its widest cell. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => Bun.stringWidth(row[column] ?? ""))));
  const pad = (text: string, column: number) => text + " ".repeat((widths[column] ?? 0) - Bun.stringWidth(text));
  const rule = widths.map((width) => "-".repeat(width));
  return [head, rule, ...rows].map((row) => `| ${row.map(pad).join(" | ")} |`).join("\n");
}

type States = Readonly<Record<string, Readonly<Record<string, string | undefined>>>>;

function statesTable(states: States): string {
  const verbs = [...new Set(Object.values(states).flatMap((row) => Object.keys(row)))];
  const rows = verbs.map((verb) => [`\`${verb}\``, ...Object.values(states).map((row) => row[verb] ?? "ERROR")]);
  return table(["request", ...Object.keys(states).map((state) => `in \`${state}\``)], rows);
}

function showValue(name: string, value: number): string {
  if (value === Number.MAX_SAFE_INTEGER) return "2^53 - 1";
  const [unit, size] = (
    [
      ["MiB", 2 ** 20],
      ["KiB", 2 ** 10],
    ] as const
  ).find(([, of]) => value % of === 0) ?? ["", 1];
  const shown = value.toLocaleString("en-US");
  return /BYTES/.test(name) && size > 1 ? `${shown} (${value / size} ${unit})` : shown;
}

/** Limits that both sides of the wire must agree on; every other one is a matter of each program. */
const WIRE_LIMITS: ReadonlySet<string> = new Set([
  "LINE_BYTES_MAX",
  "NAME_BYTES_MAX",
  "NAME_BLANKS_MAX",
  "JOIN_NAMES_MAX",
  "JOIN_PAYLOAD_BYTES_MAX",
  "SEARCH_PEERS_MAX",
  "LIST_PAYLOAD_BYTES_MAX",
  "FIND_COUNT_MAX",
  "FIND_OFFSET_MAX",
  "FIND_NAMES_MAX",
  "FIND_WORDS_MAX",
  "FIND_MS_MAX",
  "FIND_PAYLOAD_BYTES_MAX",
  "FILE_BYTES_MAX",
  "BLOCK_BYTES",
  "HASH_BYTES",
  "PIECE_BYTES_MIN",
  "PIECE_BYTES_MAX",
  "PIECES_AIM",
  "LAYER_PAYLOAD_BYTES_MAX",
  "GET_BYTES_MAX",
  "PING_SECONDS",
  "IDLE_SECONDS_MAX",
  "JOIN_BYTES_PER_SECOND_MIN",
  "UNJOINED_SECONDS_MAX",
  "CONNECT_SECONDS_MAX",
  "REPLY_SECONDS_MAX",
  "STALL_SECONDS_MAX",
  "RECONNECT_MS_MIN",
  "RECONNECT_MS_MAX",
  "RECONNECT_AFTER_SHUTDOWN_MS",
  "LANES_PER_TICKET_MAX",
  "LINGER_SECONDS_MAX",
  "READ_AHEAD_BYTES_MAX",
  "UPLOAD_IDLE_SECONDS_MAX",
  "WAIT_SECONDS",
  "WAITS_PER_SECOND_MAX",
  "TURN_SECONDS_MIN",
  "TURN_SECONDS_MAX",
  "PROBE_SECONDS_MAX",
  "UNREACHED_SECONDS_MIN",
  "UNREACHED_SECONDS_MAX",
]);

const LINE_CHARACTERS_MAX = 118;

/** A text in lines as long as those of documents; a span of code is not broken. */
function wrapped(text: string, indent = ""): string {
  const [first = "", ...rest] = text.match(/(?:`[^`]*`|[^ `])+/g) ?? [];
  const lines = [first];
  for (const word of rest) {
    const last = lines.length - 1;
    if ((lines[last]?.length ?? 0) + 1 + word.length > LINE_CHARACTERS_MAX) lines.push(indent + word);
    else lines[last] += ` ${word}`;
  }
  return lines.join("\n");
}

const listItem = (text: string): string => wrapped(`- ${text}`, "  ");

/** The bounds for which `is` holds, without their reasons, which the document gives where it names them. */
function limitsTable(is: (name: string) => boolean): string {
  const rows = Object.entries(limits).flatMap(([name, value]) =>
    is(name) && typeof value === "number" ? [[`\`${name}\``, showValue(name, value)]] : [],
  );
  return table(["limit", "value"], rows);
}

/** The bounds for which `is` holds, each with the comment that stands before it in the source. */
function limitsList(is: (name: string) => boolean): string {
  const values = new Map(Object.entries(limits));
  const items: { names: string[]; why: string }[] = [];
  let why = "";
  for (const [, comment, name] of read("src/protocol/limits.ts").matchAll(
    /\/\*\*\s*([\s\S]*?)\s*\*\/|export const (\w+)/g,
  )) {
    if (comment !== undefined) why = comment.replace(/\s*\n\s*\*\s*/g, " ");
    if (name === undefined || !is(name)) continue;
    const shown = `\`${name}\` = ${showValue(name, values.get(name) ?? 0)}`;
    const last = items.at(-1);
    if (last?.why === why) last.names.push(shown);
    else items.push({ names: [shown], why });
  }
  return items.map((one) => listItem(`${one.names.join(", ")}: ${one.why}`)).join("\n");
}

/** The limits of a server, of which an operator moves those that have a flag: an item for each row. */
const serverLimits = (): string =>
  SERVER_LIMITS.map(({ flag, key, usual, least, most, reason }: ServerLimit) => {
    const shown = (value: number) => value.toLocaleString("en-US");
    const range = `${shown(usual)} unless given, ${shown(least)} to ${shown(most)}`;
    return listItem(flag ? `\`--${flag}\` (${range}): ${reason}.` : `\`${key}\` = ${shown(usual)}: ${reason}.`);
  }).join("\n");

/** A reference that a browser can follow, from the folder of `document`. */
const link = (document: string, { path, line }: Pick<Mark, "path" | "line">): string =>
  `[${path}:${line}](${document.startsWith("docs/") ? "../" : ""}${path}#L${line})`;

/** What a line of code calls itself: its function, case, property or test. */
function subject({ code }: Mark): string {
  const title = /\btest(?:\.each\(.*?\))?\("([^"]*)"|describe\("([^"]*)"/.exec(code);
  if (title !== null) return (title[1] ?? title[2] ?? "").replace(/ \(SPEC [^)]*\)/, "");
  return `\`${code.replaceAll("|", "\\|").slice(0, 100)}\``;
}

const about = (marks: readonly Mark[], item: string): Mark[] => marks.filter(({ items }) => items.includes(item));

function specMap(document: string): string {
  const [sources, tests] = [marksIn("src"), marksIn("tests")];
  return ITEMS.map((item) => {
    const served = about(sources, item).map((mark) =>
      listItem(`${link(document, mark)} ${subject(mark)}${mark.why === "" ? "" : `: ${mark.why}`}`),
    );
    const tested = about(tests, item).map((mark) => listItem(`${link(document, mark)} ${subject(mark)}`));
    return [`## ${item}`, "", "Served by", "", ...served, "", "Tested by", "", ...tested].join("\n");
  }).join("\n\n");
}

/** One line for the report: where an item is served, and where it is tested. */
function references(document: string, item: string): string {
  const links = (marks: readonly Mark[]) =>
    about(marks, item)
      .map((mark) => link(document, mark))
      .join(", ");
  return `${wrapped(`Código: ${links(marksIn("src"))}.`)}\n${wrapped(`Testes: ${links(marksIn("tests"))}.`)}`;
}

/** Where each `path:name` is defined: the line of its function, constant or type. Throws where it is not. */
function definitions(document: string, names: readonly string[]): string {
  const found = names.map((one) => {
    const [path = "", name = ""] = one.split(":");
    const lines = read(path).split("\n");
    const defines = new RegExp(`^(?:export )?(?:async )?(?:function\\*? |const |let |type |class )${name}\\b`);
    const at = lines.findIndex((line) => defines.test(line));
    if (at < 0) throw new Error(`${document}: ${path} does not define ${name}`);
    return `\`${name}\` ${link(document, { path, line: at + 1 })}`;
  });
  return wrapped(`${found.join(", ")}.`);
}

const fenced = (text: string): string => `\`\`\`text\n${text.trimEnd()}\n\`\`\``;

/** What a block's key stands for; throws for a key that nobody knows. */
function contentOf(document: string, key: string): string {
  const [what, of = "", ...others] = key.split(/\s+/);
  if (what === "refs" && ITEMS.includes(of)) return references(document, of);
  if (what === "lines") return definitions(document, [of, ...others]);
  switch (key) {
    case "states-server":
      return statesTable(SERVER_TABLE);
    case "states-peer":
      return statesTable(PEER_TABLE);
    case "limits-wire":
      return limitsTable((name) => WIRE_LIMITS.has(name));
    case "limits-policy":
      return limitsList((name) => !WIRE_LIMITS.has(name));
    case "limits-server":
      return serverLimits();
    case "spec-map":
      return specMap(document);
    case "help-server":
      return fenced(serverHelp(serverUsage()));
    case "help-peer":
      return fenced(peerHelp(peerUsage()));
    default:
      throw new Error(`${document}: no such block: ${key}`);
  }
}

const BLOCK = /(<!-- generated: ([^>]+?) -->\n)[\s\S]*?(<!-- \/generated -->)/g;

/** The document as it should be. */
export function regenerate(document: string): string {
  return read(document).replace(
    BLOCK,
    (_, open: string, key: string, close: string) => `${open}${contentOf(document, key)}\n${close}`,
  );
}

/** The keys of a document's blocks, in order. */
export const keysOf = (document: string): string[] => [...read(document).matchAll(BLOCK)].map(([, , key = ""]) => key);

if (import.meta.main) {
  const stale = DOCUMENTS.filter((document) => regenerate(document) !== read(document));
  if (Bun.argv.includes("--check")) {
    for (const document of stale) console.error(`${document} is stale: run bun docs/tools/generate.ts`);
    process.exitCode = stale.length > 0 ? 1 : 0;
  } else {
    for (const document of stale) {
      writeFileSync(join(ROOT, document), regenerate(document));
      console.log(`${document} written`);
    }
  }
}
