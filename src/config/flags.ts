// Every flag as one row, and the words of a command line sorted by those rows.
// Invariant: a flag's value has passed its row's check; --help is written from the same rows.
// Never: prints, exits, or knows what a flag is for.

import { parseArgs } from "node:util";
import { type Address, isIp, parseAddress, parsePort } from "../protocol/address.ts";
import { isFault } from "../protocol/fault.ts";
import { FILE_BYTES_MAX, UPLOADS_DEFAULT } from "../protocol/limits.ts";

/** The environment's name for --server. */
export const SERVER_VARIABLE = "NAPSTER_SERVER";

/** More uploads at once than this help nobody and exhaust the system's descriptors. */
const UPLOADS_MAX = 1000;

/** How long a script waits in a peer's queue while its place does not change. A person at a terminal sees the place. */
export const WAIT_SECONDS_DEFAULT = 30;
const WAIT_SECONDS_MAX = 86_400;

/** K, M and G count in thousands, as network cards and the progress line do; Ki, Mi and Gi in 1024s (IEC 80000-13). */
const RATE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  k: 1000,
  m: 1000 ** 2,
  g: 1000 ** 3,
  ki: 1024,
  mi: 1024 ** 2,
  gi: 1024 ** 3,
};

/** A mistake of the person who typed the command: one sentence in Portuguese. */
export type Usage = { readonly usage: string };

export function isUsage(value: unknown): value is Usage {
  return typeof value === "object" && value !== null && "usage" in value;
}

/** What the person asked instead of a run. */
export type Asked = { readonly asked: "help" | "version" };

type Row<T> = {
  /** What the flag takes, as --help shows it; empty for a switch. */
  readonly takes: string;
  readonly help: string;
  readonly read: (text: string) => T | Usage;
};

const row = <T>(takes: string, help: string, read: (text: string) => T | Usage): Row<T> => ({ takes, help, read });
const yes = (): true => true;

function readIp(text: string): string | Usage {
  return isIp(text) ? text : { usage: "pede um IPv4, por exemplo 127.0.0.1" };
}

function readPort(text: string): number | Usage {
  return parsePort(text, 0) ?? { usage: "pede uma porta de 0 a 65535 (0 = qualquer porta livre)" };
}

export function readAddress(text: string): Address | Usage {
  const address = parseAddress(text);
  return isFault(address) ? { usage: "pede IP:PORTA, por exemplo 127.0.0.1:1099" } : address;
}

function readFolder(text: string): string | Usage {
  return text === "" ? { usage: "pede o caminho de uma pasta" } : text;
}

function readUploads(text: string): number | Usage {
  return /^\d{1,4}$/.test(text) && Number(text) <= UPLOADS_MAX
    ? Number(text)
    : { usage: `pede um número de 0 a ${UPLOADS_MAX}` };
}

function readRate(text: string): number | Usage {
  const [, digits, unit = ""] = /^(\d+)([kmg]i?)?$/i.exec(text) ?? [];
  const rate = Number(digits) * (RATE_UNITS[unit.toLowerCase()] ?? Number.NaN);
  return rate >= 1 && rate <= FILE_BYTES_MAX
    ? rate
    : { usage: "pede bytes por segundo, por exemplo 800000, 500K, 5M ou 2Mi" };
}

function readWait(text: string): number | Usage {
  return /^\d{1,5}$/.test(text) && Number(text) <= WAIT_SECONDS_MAX
    ? Number(text)
    : { usage: `pede segundos, de 0 a ${WAIT_SECONDS_MAX}` };
}

/** An IP is this machine's own unless it is given. */
function readDoor(text: string): Address | Usage {
  const [ip, port] = text.includes(":") ? text.split(":", 2) : ["127.0.0.1", text];
  const number = parsePort(port ?? "", 0);
  return isIp(ip ?? "") && number !== undefined && text.split(":").length < 3
    ? { ip: ip as string, port: number }
    : { usage: "pede [IP:]PORTA, por exemplo 9099 ou 0.0.0.0:9099" };
}

function readIndex(text: string): string | Usage {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const well = url?.protocol === "redis:" && url.hostname !== "" && /^(?:\/\d{0,3})?$/.test(url.pathname);
  return well && url.search === "" && url.hash === "" ? text : { usage: "pede redis://HOST:PORTA[/BANCO]" };
}

function readLog(text: string): "lines" | "json" | Usage {
  return text === "lines" || text === "json" ? text : { usage: "pede lines ou json" };
}

const FLAGS = {
  host: row("IP", "IP em que escuta", readIp),
  port: row("N", "porta em que escuta; 0 = qualquer porta livre", readPort),
  dir: row("PASTA", "pasta dos arquivos, onde também chegam os downloads", readFolder),
  server: row("IP:PORTA", `servidor (ou ${SERVER_VARIABLE}); padrão 127.0.0.1:1099`, readAddress),
  from: row("IP:PORTA", "baixa deste peer; sem ela, do primeiro que atender", readAddress),
  only: row("", "baixa só do peer escolhido, ainda que haja outros", yes),
  "max-wait": row("SEGUNDOS", `espera na fila de um peer sem avançar; padrão ${WAIT_SECONDS_DEFAULT}`, readWait),
  "max-uploads": row("N", `envios ao mesmo tempo; padrão ${UPLOADS_DEFAULT}`, readUploads),
  "max-upload-rate": row("TAXA", "limite de todos os envios juntos", readRate),
  "max-download-rate": row("TAXA", "limite de um download", readRate),
  "reject-all": row("", "recusa todo pedido de download", yes),
  verify: row("PASTA", "confere os arquivos da pasta com o registro deles", readFolder),
  json: row("", "um objeto JSON por evento na saída padrão", yes),
  catalog: row("URL", "índice comum a vários: redis://HOST:PORTA[/BANCO]", readIndex),
  metrics: row("[IP:]PORTA", "serve /metrics e /healthz; sem IP, em 127.0.0.1", readDoor),
  log: row("FORMA", "o que sai em stderr: lines (padrão) ou json", readLog),
  quiet: row("", "não mostra as linhas de JOIN e SEARCH", yes),
  verbose: row("", "mostra em stderr as falhas de cada conexão", yes),
  help: row("", "mostra esta ajuda", yes),
  version: row("", "mostra a versão", yes),
} as const;

type FlagName = keyof typeof FLAGS;
type Flags = { [K in FlagName]?: Exclude<ReturnType<(typeof FLAGS)[K]["read"]>, Usage> };

export type Command = {
  readonly help: string;
  readonly flags: readonly FlagName[];
  /** Flags without which the command means nothing. */
  readonly needs?: readonly FlagName[];
  /** What its words are. Without it the command takes none. */
  readonly operand?: { readonly takes: string; readonly help: string };
  /** A flag that stands in for the words: one of both is given. */
  readonly instead?: FlagName;
};
export type Commands<Name extends string> = Readonly<Record<Name, Command>>;

type Read<Name extends string> = { command: Name; flags: Flags; words: readonly string[] };

/** The words sorted into command, flags and operand, each judged by its row. */
export function readArgs<Name extends string>(
  args: readonly string[],
  commands: Commands<Name | "menu">,
): Read<Name | "menu"> | Asked | Usage {
  const options = Object.fromEntries(
    Object.entries(FLAGS).map(([name, { takes }]) => [
      name,
      { type: takes ? ("string" as const) : ("boolean" as const) },
    ]),
  );
  const { tokens, positionals } = parseArgs({
    args: [...args],
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
  const { operand, instead, needs, flags: allowed } = commands[command];
  const words = named ? others : positionals;
  if (operand === undefined && words.length > 0)
    return { usage: named ? `${first} não recebe "${words.join(" ")}"` : `comando desconhecido: ${first}` };
  const stands = instead !== undefined && given.some(({ name }) => name === instead);
  if (stands && words.length > 0) return { usage: `${command} pede ${operand?.takes} ou --${instead}, não os dois` };
  if (operand !== undefined && !stands && words.every((word) => word === ""))
    return { usage: `${command} pede ${operand.takes}: ${operand.help}` };

  const flags: Record<string, unknown> = {};
  for (const { name, rawName, value, inlineValue } of given) {
    const flag = Object.hasOwn(FLAGS, name) ? FLAGS[name as FlagName] : undefined;
    if (flag === undefined) return { usage: `opção desconhecida: ${rawName}` };
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

/** The part of --help that follows from the rows. */
export function usageOf(program: string, commands: Commands<string>): string {
  const lines = Object.entries(commands).map(([name, { help, operand, instead, needs = [] }]) => {
    const words = [
      program,
      name === "menu" ? "" : name,
      operand?.takes ?? "",
      instead === undefined ? "" : `| --${instead} ${FLAGS[instead].takes}`,
      ...needs.map((flag) => `--${flag} ${FLAGS[flag].takes}`),
    ];
    return `  ${[...words.filter(Boolean), "[opções]"].join(" ")}\n      ${help}`;
  });
  const used = new Set(Object.values(commands).flatMap(({ flags }) => flags));
  const rows = (Object.keys(FLAGS) as FlagName[]).filter(
    (name) => used.has(name) || name === "help" || name === "version",
  );
  const options = rows.map((name) => `  ${`--${name} ${FLAGS[name].takes}`.padEnd(24)} ${FLAGS[name].help}`);
  return `Uso:\n${lines.join("\n")}\n\nOpções:\n${options.join("\n")}\n`;
}
