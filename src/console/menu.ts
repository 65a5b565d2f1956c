// The interactive consoles: the server's two questions, and the peer's JOIN, SEARCH and DOWNLOAD.
// Invariant: only what SPEC 6 allows is asked, and not even that where a flag has answered; a failed command is told
// and the menu goes on.
// Never: touches a socket, a terminal or the standard outputs itself.

import { type Address, isIp, parsePort, sameAddress } from "../protocol/address.ts";
import { type Fault, type FaultCode, fault, isFault } from "../protocol/fault.ts";
import { type Complaint, complaintOf, nameComplaint } from "./complaints.ts";
import { type Asker, isStop, type Question, type Stop } from "./questions.ts";
import type { Report } from "./report.ts";
import { download, join, type Session, search } from "./session.ts";

export const COMMANDS = ["JOIN", "SEARCH", "DOWNLOAD"] as const;

/** How many answers each command asks for. */
const ANSWERS = { JOIN: 3, SEARCH: 1, DOWNLOAD: 2 } as const;

/** What an empty answer to JOIN means; the IP is the one by which this machine reaches the server. */
export const JOIN_DEFAULT = { port: 8776, folder: "." } as const;

/** What flags have answered already. */
export type Given = {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly folder?: string | undefined;
};

/** Failures that another answer can cure. */
const CURABLE: readonly FaultCode[] = [
  "PORT_IN_USE",
  "HOST_UNAVAILABLE",
  "PORT_DENIED",
  "FOLDER_MISSING",
  "FOLDER_DENIED",
];

const ipQuestion = (message: string, fallback: string | undefined): Question => ({ message, fallback, check: checkIp });
const portQuestion = (message: string, fallback: number | undefined): Question => ({
  message,
  fallback: fallback?.toString(),
  check: checkPort,
});

function checkIp(answer: string): Complaint | undefined {
  if (isIp(answer.trim())) return undefined;
  return { cause: "o IP deve ter quatro números de 0 a 255", code: "BAD_ADDRESS", hint: "por exemplo 127.0.0.1" };
}

function checkPort(answer: string): Complaint | undefined {
  if (parsePort(answer.trim()) !== undefined) return undefined;
  return { cause: "a porta deve ser um número de 1 a 65535", code: "BAD_ADDRESS", hint: "por exemplo 8776" };
}

type ServerParts = {
  readonly ask: Asker["ask"];
  readonly given: Given;
  readonly fallback: Address;
  readonly report: Report;
  readonly listen: (host: string, port: number) => Address | Fault;
};

// SPEC 4.e: the server's IP and port come from the keyboard, 127.0.0.1 and 1099 where the answer is empty.
/** Asks until the server listens. At the end of input a question not answered takes its default, once. */
export async function askServer({ ask, given, fallback, report, listen }: ServerParts): Promise<Address | Stop> {
  let asked = given;
  for (let attempt = 0; ; attempt += 1) {
    const host = asked.host ?? (await ask(ipQuestion("IP do servidor", fallback.ip)));
    const port = isStop(host) ? host : (asked.port ?? (await ask(portQuestion("Porta do servidor", fallback.port))));
    const stops = [host, port].filter(isStop);
    // An answer that never came is an empty one; one that was refused, or follows a failure, is missed.
    const ended = attempt === 0 && stops.every(({ stop }) => stop === "end");
    const back = stops.some(({ stop }) => stop === "back");
    if (back) continue;
    if (stops[0] !== undefined && !ended) return stops[0];
    const ip = typeof host === "string" ? host.trim() : fallback.ip;
    const number = isStop(port) ? (asked.port ?? fallback.port) : Number(port);
    const address = listen(ip, number);
    if (!isFault(address)) return address;
    report.failed(address, { at: { ip, port: number } });
    if (given.host !== undefined && given.port !== undefined) return { stop: "refused-end" };
    asked = {};
  }
}

type MenuParts = Session & {
  readonly asker: Asker;
  readonly given: Given;
  readonly ready: () => Promise<void>;
  /** Why this folder cannot be used; undefined when it can. */
  readonly folderFault: (folder: string) => Fault | undefined;
};

/** Runs the peer's menu until the input ends or the person leaves. */
export async function runMenu(parts: MenuParts): Promise<void> {
  const { asker, peer, report } = parts;
  let self: Joined | undefined;
  let sources: readonly Address[] = [];
  // Answers that a script gives to a command that never asked: they must not pass for commands.
  let unused = 0;
  while (!parts.life.leaving.aborted) {
    // A script that does not read its answers is not run ahead of.
    await parts.life.during(parts.ready());
    const command = await asker.choose("O que fazer?", COMMANDS, unused);
    unused = 0;
    if (isStop(command)) {
      if (command.stop === "back") continue;
      return;
    }
    let result: unknown;
    if (command === "JOIN") {
      const joined = await runJoin(parts);
      if (!isStop(joined) && !isFault(joined)) self = joined;
      result = joined;
    } else if (self === undefined) {
      report.failed(fault("NOT_JOINED", "ours"));
      unused = ANSWERS[command];
    } else if (command === "SEARCH") {
      const found = await runSearch(parts);
      if (!isStop(found) && !isFault(found)) sources = found;
      result = found;
    } else if (peer.lastSearched === undefined) {
      report.failed(fault("NOT_SEARCHED", "ours"));
      unused = ANSWERS[command];
    } else {
      result = await runDownload(parts, { self, sources, name: peer.lastSearched });
    }
    // Ctrl+C at a command's own question means the program, as it does at the menu; Esc only the command.
    if (isStop(result) && result.stop === "leave") return;
  }
}

type Joined = { readonly address: Address; readonly folder: string };

// SPEC 5.i: JOIN captures only IP, port and folder, and finds the file names by itself.
async function runJoin(parts: MenuParts): Promise<Joined | Fault | Stop> {
  const { asker, folderFault } = parts;
  const checkFolder = (answer: string): Complaint | undefined => {
    const folder = unquote(answer);
    const why = folderFault(folder);
    return why && complaintOf(why, { folder });
  };
  let given = parts.given;
  let fallback: { host: string; port: number; folder: string } = { ...JOIN_DEFAULT, host: await parts.peer.localIp() };
  for (;;) {
    const host = given.host ?? (await asker.ask(ipQuestion("IP deste peer", fallback.host)));
    if (isStop(host)) return broken(parts, host);
    const port = given.port ?? (await asker.ask(portQuestion("Porta deste peer", fallback.port)));
    if (isStop(port)) return broken(parts, port);
    const folder =
      given.folder ??
      (await asker.ask({ message: "Pasta dos arquivos", fallback: fallback.folder, check: checkFolder }));
    if (isStop(folder)) return broken(parts, folder);

    const at = { host: host.trim(), port: Number(port), folder: unquote(folder) };
    const joined = await join(parts, at);
    if (isStop(joined)) return joined;
    if (!isFault(joined)) return { address: joined, folder: at.folder };
    if (!asker.interactive || !CURABLE.includes(joined.fault)) return joined;
    given = {};
    fallback = { ...at, port: joined.fault === "PORT_IN_USE" ? Math.min(at.port + 1, 65535) : at.port };
  }
}

/** CMD.EXE quotes a folder that is dragged into its window. */
function unquote(answer: string): string {
  return /^".*"$/s.test(answer) ? answer.slice(1, -1) : answer;
}

// SPEC 6: SEARCH captures only the file name with its extension.
async function runSearch(parts: MenuParts): Promise<readonly Address[] | Fault | Stop> {
  const question = { message: "Nome do arquivo com extensão", fallback: undefined, check: nameComplaint };
  const name = await parts.asker.ask(question);
  return isStop(name) ? broken(parts, name) : search(parts, name);
}

type Found = { readonly self: Joined; readonly sources: readonly Address[]; readonly name: string };

// SPEC 6: DOWNLOAD captures only the IP and port of the peer that has the file; the file is the one last searched.
async function runDownload(parts: MenuParts, { self, sources, name }: Found): Promise<Stop | undefined> {
  const { asker } = parts;
  const first = sources.find((source) => !sameAddress(source, self.address)) ?? sources[0];
  const ip = await asker.ask(ipQuestion("IP do peer que tem o arquivo", first?.ip));
  if (isStop(ip)) return broken(parts, ip);
  const port = await asker.ask(portQuestion("Porta do peer que tem o arquivo", first?.port));
  if (isStop(port)) return broken(parts, port);
  const from = { ip: ip.trim(), port: Number(port) };
  await download(parts, { from, name, folder: self.folder });
  return undefined;
}

/** A script that ends in the middle of a command has a mistake worth a line. */
function broken({ report }: MenuParts, stop: Stop): Stop {
  if (stop.stop === "end" || stop.stop === "refused-end")
    report.complain({
      cause: "a entrada terminou antes da resposta",
      code: "USAGE",
      hint: "escreva uma resposta por linha: JOIN pede IP, porta e pasta; SEARCH, o nome; DOWNLOAD, IP e porta",
    });
  return stop;
}
