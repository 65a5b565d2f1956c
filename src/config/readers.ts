// What the text behind a flag means, or the sentence that says what it should have been.
// Invariant: whatever is not exactly right is a mistake; nothing is guessed or rounded.
// Never: knows which flag it reads for.

import { type Address, isIp, parsePort, parseRange, type Range } from "../protocol/address.ts";
import { isServerName, SERVER_NAME_BYTES_MAX } from "../protocol/discovery.ts";
import { isFault } from "../protocol/fault.ts";
import { type Id, readId } from "../protocol/id.ts";
import { readInvite } from "../protocol/invite.ts";
import { FILE_BYTES_MAX } from "../protocol/limits.ts";
import { unquote } from "../shared/unquote.ts";

/** The environment's name for --server. */
export const SERVER_VARIABLE = "NAPSTER_SERVER";

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

/** What is wrong with a command as it was typed: one sentence in Portuguese. */
export type Usage = { readonly usage: string };

export function isUsage(value: unknown): value is Usage {
  return typeof value === "object" && value !== null && "usage" in value;
}

export const yes = (): true => true;

export function readIp(text: string): string | Usage {
  return isIp(text) ? text : { usage: "pede um IPv4, por exemplo 127.0.0.1" };
}

export function readPort(text: string): number | Usage {
  return parsePort(text, 0) ?? { usage: "pede uma porta de 0 a 65535 (0 = qualquer porta livre)" };
}

/** Where a server or a peer is, its host an IPv4 or a name that is looked up when it is dialled; a server may be pinned. */
export type Endpoint = { readonly host: string; readonly port: number; readonly id?: Id };

const LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?";
const NAME = new RegExp(`^(?=.{1,253}$)${LABEL}(?:\\.${LABEL})*\\.?$`, "i");
/** As RFC 1123 has it: what ends in a number is an IP, and a wrong one. */
const NUMBER_LAST = /(?:^|\.)\d+\.?$/;

/** `HOST` or `HOST:PORT`, where `usual` is the port that goes without saying. */
export const readEndpoint =
  (usual: number) =>
  (text: string): Endpoint | Usage => {
    const [host = "", digits, ...more] = text.trim().split(":");
    const port = digits === undefined ? usual : parsePort(digits);
    const isHost = isIp(host) || (NAME.test(host) && !NUMBER_LAST.test(host));
    if (isHost && port !== undefined && more.length === 0) return { host, port };
    return { usage: `pede IP ou nome, e a porta se não for ${usual}: 192.168.0.10:${usual}, meu-pc.local` };
  };

/** `HOST[:PORT]`, or `napster://HOST[:PORT][#ID]`, as a server shows it. */
export function readServer(usual: number): (text: string) => Endpoint | Usage {
  return (text) => {
    const [, place = "", pin] = /^(?:napster:\/\/)?([^#]*?)\/?(?:#(.*))?$/is.exec(text.trim()) ?? [];
    const endpoint = readEndpoint(usual)(place);
    if (pin === undefined || isUsage(endpoint)) return endpoint;
    const id = readId(pin);
    return id === undefined
      ? { usage: "pede depois de # um ID de 52 letras e números, como o servidor mostra" }
      : { ...endpoint, id };
  };
}

export function readFolder(text: string): string | Usage {
  const folder = unquote(text);
  return folder === "" ? { usage: "pede o caminho de uma pasta" } : folder;
}

/** A pattern is checked where it is used; nothing is none. */
export const readPattern = (text: string): string | Usage =>
  text.trim() === "" ? { usage: "pede um padrão, por exemplo 'aula*.mp4'" } : text;

/** A whole number from `least` to `most`. */
export const readNumber =
  (least: number, most: number, of = "um número") =>
  (text: string): number | Usage =>
    /^\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most
      ? Number(text)
      : { usage: `pede ${of} de ${least} a ${most}` };

export function readRate(text: string): number | Usage {
  const [, digits, unit = ""] = /^(\d+)([kmg]i?)?$/i.exec(text) ?? [];
  const rate = Number(digits) * (RATE_UNITS[unit.toLowerCase()] ?? Number.NaN);
  return rate >= 1 && rate <= FILE_BYTES_MAX
    ? rate
    : { usage: "pede bytes por segundo, por exemplo 800000, 500K, 5M ou 2Mi" };
}

/** How a server calls itself to those that look for one. */
export const readServerName = (text: string): string | Usage =>
  isServerName(text) ? text : { usage: `pede um nome de até ${SERVER_NAME_BYTES_MAX} bytes, sem barras nem controles` };

export const readSeconds = (least: number, most: number) => readNumber(least, most, "segundos,");

/** An IP is this machine's own unless it is given. */
export function readListenAddress(text: string): Address | Usage {
  const [ip, port] = text.includes(":") ? text.split(":", 2) : ["127.0.0.1", text];
  const number = parsePort(port ?? "", 0);
  return isIp(ip ?? "") && number !== undefined && text.split(":").length < 3
    ? { ip: ip as string, port: number }
    : { usage: "pede [IP:]PORTA, por exemplo 9099 ou 0.0.0.0:9099" };
}

const INDEX_HOST = String.raw`(?:[\w.-]+|\[[\da-fA-F:]+\])(?::\d{1,5})?`;
const INDEX_URL = new RegExp(
  `^rediss?(?:\\+cluster)?://(?:[^@/?#\\s]*@)?${INDEX_HOST}(?:,${INDEX_HOST})*(?:/\\d{0,3})?$`,
);

export function readIndex(text: string): string | Usage {
  return INDEX_URL.test(text) ? text : { usage: "pede redis://HOST:PORTA[,HOST:PORTA][/BANCO], ou rediss:// com TLS" };
}

/** What is on unless it is turned off. */
export const readOff = (text: string): "off" | Usage => (text === "off" ? text : { usage: "só aceita off" });

export function readLog(text: string): "lines" | "json" | Usage {
  return text === "lines" || text === "json" ? text : { usage: "pede lines ou json" };
}

export function readRanges(text: string): readonly Range[] | Usage {
  const ranges = text.split(",").map(parseRange);
  const good = ranges.filter((range) => !isFault(range));
  return good.length === ranges.length
    ? (good as Range[])
    : { usage: "pede redes como 10.0.0.0/8 ou 192.168.1.7/32, separadas por vírgula, sem bits depois do prefixo" };
}

/** How many an invitation admits, and for how long. */
export type InviteTerms = { readonly people: number; readonly hours: number };

export function readInviteTerms(text: string): InviteTerms | Usage {
  const [, people, hours = "24"] = /^([1-9]\d{0,3})(?:\/([1-9]\d{0,2}))?$/.exec(text) ?? [];
  return people === undefined
    ? { usage: "pede PESSOAS[/HORAS], por exemplo 1 ou 30/2" }
    : { people: Number(people), hours: Number(hours) };
}

export const readInviteCode = (text: string): string | Usage =>
  readInvite(text) ?? { usage: "pede o código que napster-server --invite mostrou, inteiro" };
