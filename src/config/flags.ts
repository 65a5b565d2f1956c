// Every flag as one row, and the words of a command line sorted by those rows.
// Invariant: a flag's value has passed its row's check; --help is written from the same rows.
// Never: prints, exits, or knows what a flag is for.

import { parseArgs } from "node:util";
import { STALL_SECONDS_MAX, UPLOAD_BYTES_PER_SECOND_MIN, UPLOADS_DEFAULT } from "../protocol/limits.ts";
import { COUNT_MAX, FLAGGED_LIMITS, type FlaggedLimit, SECONDS_MAX } from "../protocol/server-limits.ts";
import {
  isUsage,
  readEndpoint,
  readFolder,
  readIndex,
  readInviteCode,
  readInviteTerms,
  readIp,
  readListenAddress,
  readLog,
  readNumber,
  readOff,
  readPattern,
  readPort,
  readRanges,
  readRate,
  readSeconds,
  readServer,
  readServerName,
  SERVER_VARIABLE,
  type Usage,
  yes,
} from "./readers.ts";

/** The ports that a server and a peer's JOIN offer. */
export const SERVER_PORT = 1099;
const PEER_PORT = 8776;

/** More uploads at once than this gain nothing and exhaust the system's descriptors. */
const UPLOADS_MAX = 1000;

export const DOWNLOADS_DEFAULT = 3;
/** Each has threads and descriptors of its own. */
const DOWNLOADS_MAX = 32;

/** Contents that find shows: more than a person reads. */
export const FOUND_DEFAULT = 200;

/** How long a script waits in a peer's queue while its position does not change. A person at a terminal sees it. */
export const WAIT_SECONDS_DEFAULT = 30;
const WAIT_SECONDS_MAX = 86_400;

/** What the person asked instead of a run. */
export type Asked = { readonly asked: "help" | "version" };

type Row<T> = {
  /** What the flag takes, as --help shows it; empty for a switch. */
  readonly takes: string;
  readonly help: string;
  readonly read: (text: string) => T | Usage;
};

const row = <T>(takes: string, help: string, read: (text: string) => T | Usage): Row<T> => ({ takes, help, read });

/** A server limit's row read as a flag's. */
const LIMIT_FLAGS = Object.fromEntries(
  FLAGGED_LIMITS.map(({ flag, takes, help, usual, least, most }) => {
    const read = takes === "SEGUNDOS" ? readSeconds(least, most) : readNumber(least, most);
    return [flag, row(takes, `${help}; padrão ${usual}`, read)];
  }),
) as Record<FlaggedLimit["flag"], Row<number>>;

const FLAGS = {
  host: row("IP", "IP em que escuta", readIp),
  port: row("N", "porta em que escuta; 0 = qualquer porta livre", readPort),
  dir: row("PASTA", "pasta dos arquivos, onde também chegam os downloads", readFolder),
  server: row("IP[:PORTA]", `ou ${SERVER_VARIABLE}; sem ela, um desta máquina ou rede`, readServer(SERVER_PORT)),
  name: row("NOME", "nome deste servidor, para os peers da rede", readServerName),
  "no-discovery": row("", "não responde a peers da rede que procuram um servidor", yes),
  "web-port": row("N", "porta da página, em 127.0.0.1; padrão 0 = livre", readPort),
  "no-open": row("", "mostra o endereço da página, sem abrir o navegador", yes),
  guests: row("", "página, sem cifra, para quem não tem o programa", yes),
  "no-port-mapping": row("", "não pede ao roteador que abra uma porta", yes),
  limit: row("N", `conteúdos que find mostra; padrão ${FOUND_DEFAULT}`, readNumber(1, COUNT_MAX)),
  from: row("IP[:PORTA]", `pede primeiro a este peer; sem porta, ${PEER_PORT}`, readEndpoint(PEER_PORT)),
  share: row("", "compartilha a pasta inteira, e não só o que baixa", yes),
  "no-share": row("", "não compartilha nada, nem o que baixa", yes),
  "receive-only": row("", "só recebe: não envia nada, nem do que baixa", yes),
  play: row("", "abre no player o primeiro arquivo, já enquanto chega", yes),
  match: row("PADRÃO", "baixa tudo que tem nome assim, com * e ?: 'aula*.mp4'", readPattern),
  words: row("", "os nomes são palavras: baixa tudo que as tem no nome", yes),
  list: row("ARQUIVO", "baixa os nomes de um arquivo de texto, um por linha", readFolder),
  resume: row("", "retoma todo download incompleto da pasta", yes),
  wait: row("", "espera quem tenha o arquivo, e tenta até conseguir", yes),
  "max-downloads": row("N", `downloads ao mesmo tempo; padrão ${DOWNLOADS_DEFAULT}`, readNumber(1, DOWNLOADS_MAX)),
  only: row("", "baixa só do peer escolhido, ainda que haja outros", yes),
  paranoid: row("", "relê o arquivo antes de dar o nome; 1 a 2 s por GB", yes),
  "max-wait": row(
    "SEGUNDOS",
    `espera sem avançar; padrão ${WAIT_SECONDS_DEFAULT}, em get sem limite`,
    readSeconds(0, WAIT_SECONDS_MAX),
  ),
  "max-uploads": row("N", `envios ao mesmo tempo; padrão ${UPLOADS_DEFAULT}`, readNumber(0, UPLOADS_MAX)),
  "max-upload-rate": row("TAXA", "limite de todos os envios juntos", readRate),
  "max-download-rate": row("TAXA", "limite de todos os downloads juntos", readRate),
  "hash-rate": row("TAXA", "limite da leitura que calcula as identidades", readRate),
  "min-rate": row("TAXA", `envio mais lento perde a vaga; padrão ${UPLOAD_BYTES_PER_SECOND_MIN}`, readRate),
  "stall-timeout": row(
    "SEGUNDOS",
    `silêncio que faz deixar uma fonte; padrão ${STALL_SECONDS_MAX}`,
    readSeconds(3, SECONDS_MAX),
  ),
  "reject-all": row("", "recusa todo pedido de download", yes),
  verify: row("PASTA", "confere os arquivos da pasta com o registro deles", readFolder),
  members: row("ARQUIVO", "só estes IDs entram, um por linha; o arquivo é relido", readFolder),
  invite: row("PESSOAS[/HORAS]", "mostra o código que as põe em --members; padrão 24 h", readInviteTerms),
  "use-invite": row("CÓDIGO", "código de convite do servidor, na primeira entrada", readInviteCode),
  qr: row("", "mostra o endereço do servidor também como QR code", yes),
  encryption: row("off", "sem cifra, nos dois lados: só em laboratório", readOff),
  json: row("", "um objeto JSON por evento na saída padrão", yes),
  catalog: row("URL", "índice comum a vários: redis[s]://HOST:PORTA[/BANCO]", readIndex),
  "trust-addresses": row("CIDR[,CIDR]", "redes cujos peers podem declarar outro IP", readRanges),
  "no-probe": row("", "lista cada peer sem conferir se dá para conectar nele", yes),
  ...LIMIT_FLAGS,
  metrics: row("[IP:]PORTA", "serve /metrics e /healthz; sem IP, em 127.0.0.1", readListenAddress),
  log: row("FORMA", "o que sai em stderr: lines (padrão) ou json", readLog),
  quiet: row("", "não mostra as linhas de JOIN e SEARCH", yes),
  verbose: row("", "mostra em stderr as falhas de cada conexão", yes),
  help: row("", "mostra esta ajuda", yes),
  version: row("", "mostra a versão", yes),
} as const;

type FlagName = keyof typeof FLAGS;
export type Flags = { [K in FlagName]?: Exclude<ReturnType<(typeof FLAGS)[K]["read"]>, Usage> };

export type Command = {
  readonly help: string;
  readonly flags: readonly FlagName[];
  /** Flags without which the command means nothing. */
  readonly needs?: readonly FlagName[];
  /** What its words are. Without it the command takes none. */
  readonly operand?: { readonly takes: string; readonly help: string };
  /** Flags that stand in for the words: those, or one of these, are given. */
  readonly instead?: readonly FlagName[];
};
export type Commands<Name extends string> = Readonly<Record<Name, Command>>;

type Read<Name extends string> = { command: Name; flags: Flags; words: readonly string[] };

/**
 * CMD.EXE hands `--dir "c:\\peer 1\\" --port 8777` over as one word, as \\" is a quote that ends nothing: the path, the quote
 * and all that follows. No path or name holds a quote, so what stands behind one are words of their own.
 */
function apart(word: string): string[] {
  const [, path, rest] = /^([^"]+)"(?:\s+(.*))?$/s.exec(word) ?? [];
  return path === undefined ? [word] : [path, ...(rest ?? "").split(/\s+/).filter(Boolean)];
}

/** A name that begins with a dash reads as a flag. */
const DASHED = "; um nome que começa com - vem depois de -- sozinho";

const SHORT = new Map([
  ["-h", "--help"],
  ["-v", "--version"],
]);

/** Words behind -- are no flags. */
function longFlag(word: string, index: number, words: readonly string[]): string {
  return words.lastIndexOf("--", index) >= 0 ? word : (SHORT.get(word) ?? word);
}

/** `; você quis dizer x?` where one of `known` is not far from `typed`. */
function meant(typed: string, known: readonly string[], prefix = ""): string {
  const [best] = known
    .filter((word) => word !== "menu")
    .map((word) => ({ word, edits: editsBetween(typed.toLowerCase(), word) }))
    .sort((a, b) => a.edits - b.edits);
  const isNear = best !== undefined && best.edits <= Math.max(1, Math.floor(best.word.length / 3));
  return isNear ? `; você quis dizer ${prefix}${best.word}?` : "";
}

/** Letters to add, drop, replace or swap with their neighbour (optimal string alignment). */
function editsBetween(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) => [i]);
  const at = (i: number, j: number): number => rows[i]?.[j] ?? 0;
  for (let j = 1; j <= b.length; j++) (rows[0] as number[])[j] = j;
  for (let i = 1; i <= a.length; i++)
    for (let j = 1; j <= b.length; j++) {
      const replaced = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Infinity;
      (rows[i] as number[])[j] = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, replaced, swapped);
    }
  return at(a.length, b.length);
}

/** The words sorted into command, flags and operand, each checked by its row. */
export function readArgs<Name extends string>(
  args: readonly string[],
  commands: Commands<Name | "menu">,
): Read<Name | "menu"> | Asked | Usage {
  const typed = args.flatMap(apart).map(longFlag);
  const options = Object.fromEntries(
    Object.entries(FLAGS).map(([name, { takes }]) => {
      const type = takes ? ("string" as const) : ("boolean" as const);
      return [name, { type }];
    }),
  );
  const { tokens, positionals } = parseArgs({
    args: typed,
    options,
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  const given = tokens.flatMap((token) => (token.kind === "option" ? [token] : []));
  if (given.some(({ name }) => name === "help")) return { asked: "help" };
  if (given.some(({ name }) => name === "version")) return { asked: "version" };

  const [first, ...others] = positionals;
  const named = first !== undefined && Object.hasOwn(commands, first) && first !== "menu";
  const command = (named ? first : "menu") as Name | "menu";
  const { operand, instead = [], needs, flags: allowed } = commands[command];
  const words = named ? others : positionals;
  const unknown = given.find(({ name }) => !Object.hasOwn(FLAGS, name));
  if (unknown !== undefined) {
    const word = typed[unknown.index]?.split("=", 1)[0] ?? unknown.rawName;
    const hint = meant(word.replace(/^-+/, ""), allowed, "--") || (operand === undefined ? "" : DASHED);
    return { usage: `opção desconhecida: ${word}${hint}` };
  }
  if (operand === undefined && words.length > 0)
    return {
      usage: named
        ? `${first} não recebe "${words.join(" ")}"`
        : `comando desconhecido: ${first}${meant(String(first), Object.keys(commands))}`,
    };
  const [stands, other] = instead.filter((flag) => given.some(({ name }) => name === flag));
  if (stands !== undefined && words.length > 0)
    return { usage: `${command} pede ${operand?.takes} ou --${stands}, não os dois` };
  if (other !== undefined) return { usage: `${command} pede --${stands} ou --${other}, não os dois` };
  if (operand !== undefined && stands === undefined && words.every((word) => word === ""))
    return { usage: `${command} pede ${operand.takes}: ${operand.help}` };

  const flags: Record<string, unknown> = {};
  for (const { name, rawName, value, inlineValue } of given) {
    const flag = FLAGS[name as FlagName];
    if (!allowed.includes(name as FlagName))
      return { usage: `${rawName} não vale para ${named ? first : "este comando"}` };
    if (flag.takes === "" && value !== undefined) return { usage: `${rawName} não recebe valor` };
    if (flag.takes !== "" && (value === undefined || (!inlineValue && value.startsWith("-"))))
      return { usage: `${rawName} pede ${flag.takes}` };
    const result = flag.read(value ?? "");
    if (isUsage(result)) return { usage: `${rawName} ${result.usage}` };
    flags[name] = result;
  }
  const missing = needs?.find((name) => flags[name] === undefined);
  if (missing !== undefined) return { usage: `${command} pede --${missing} ${FLAGS[missing].takes}` };
  return { command, flags: flags as Flags, words };
}

/** Words of a line of --help, broken before a console's window ends. */
function wrapped(words: readonly string[]): string {
  const lines = [""];
  for (const word of words) {
    const line = lines.at(-1) ?? "";
    if (line.length + word.length > LINE_COLUMNS) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines.join("\n      ");
}
const LINE_COLUMNS = 70;

/** Where the words begin in --help; a longer flag has a line of its own. */
const FLAG_COLUMNS = 24;

/** The part of --help that follows from the rows. */
export function usageOf(program: string, commands: Commands<string>): string {
  const lines = Object.entries(commands).map(([name, { help, operand, instead = [], needs = [] }]) => {
    const words = [
      program,
      name === "menu" ? "" : name,
      operand?.takes ?? "",
      ...instead.map((flag) => `| --${flag} ${FLAGS[flag].takes}`.trimEnd()),
      ...needs.map((flag) => `--${flag} ${FLAGS[flag].takes}`),
    ];
    return `  ${wrapped([...words.filter(Boolean), "[opções]"])}\n      ${help}`;
  });
  const used = new Set(Object.values(commands).flatMap(({ flags }) => flags));
  const rows = (Object.keys(FLAGS) as FlagName[]).filter(
    (name) => used.has(name) || name === "help" || name === "version",
  );
  const options = rows.map((name) => {
    const flag = `--${name} ${FLAGS[name].takes}`.trimEnd();
    return `  ${flag.length <= FLAG_COLUMNS ? flag.padEnd(FLAG_COLUMNS) : `${flag}\n${" ".repeat(2 + FLAG_COLUMNS)}`} ${FLAGS[name].help}`;
  });
  return `Uso:\n${lines.join("\n")}\n\nOpções:\n${options.join("\n")}\n`;
}
