// The interactive consoles: the server's two questions, and the peer's JOIN, SEARCH and DOWNLOAD.
// Invariant: only what SPEC 6 allows is asked, and not even that where a flag has answered; a failed command is told
// and the menu goes on.
// Never: touches a socket, a terminal or the standard outputs itself.

import { type Address, isIp, parsePort, sameAddress } from "../protocol/address.ts";
import { type Fault, type FaultCode, fault, isFault } from "../protocol/fault.ts";
import { unquote } from "../shared/unquote.ts";
import { type ActionContext, download, isOnlyHere, join, type Refused, search } from "./actions.ts";
import { type Asker, isStop, type Question, type Stop } from "./terminal/questions.ts";
import { type Complaint, complaintOf, loopbackComplaint, nameComplaint, wideComplaint } from "./text/complaints.ts";
import { showFile } from "./text/lines.ts";
import type { Report } from "./text/report.ts";

export const COMMANDS = ["JOIN", "SEARCH", "DOWNLOAD"] as const;

/** How many answers each command asks for. */
const ANSWERS = { JOIN: 3, SEARCH: 1, DOWNLOAD: 2 } as const;

/** What an empty answer to JOIN means, beside the IP by which this machine reaches the server and a folder of our own. */
export const JOIN_DEFAULT = { port: 8776 } as const;

/** What flags have answered already. */
export type Given = {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly folder?: string | undefined;
};

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

type ServerQuestions = {
  readonly ask: Asker["ask"];
  readonly given: Given;
  readonly fallback: Address;
  readonly report: Report;
  readonly listen: (host: string, port: number) => Address | Fault;
};

// SPEC 4.e: the server's IP and port come from the keyboard, 127.0.0.1 and 1099 where the answer is empty.
/** Asks until the server listens. At the end of input a question not answered takes its default, once. */
export async function askServer({ ask, given, fallback, report, listen }: ServerQuestions): Promise<Address | Stop> {
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

type Menu = ActionContext & {
  readonly asker: Asker;
  readonly given: Given;
  readonly ready: () => Promise<void>;
  /** Why this folder cannot be used; undefined when it can. */
  readonly folderFault: (folder: string) => Fault | undefined;
  /** The folder that an empty answer means; folderFault makes it. */
  readonly defaultFolder: string;
  /** Opens the page in the person's browser. */
  readonly openPage?: () => void;
};

type Command = (typeof COMMANDS)[number];

const HELP =
  "JOIN entra na rede com uma pasta; SEARCH procura um arquivo; DOWNLOAD baixa o último procurado; a tecla W abre a página; sair, ou Ctrl+C, sai";

/** What the menu has learnt so far. */
type State = {
  /** Where this peer is in. */
  self: Joined | undefined;
  /** What JOIN was answered last, with the better one in place of what was refused: nothing is typed twice. */
  answers: JoinAnswers | undefined;
  sources: readonly Address[];
  /** The command that the person is likely to want next. */
  next: Command;
};

/** Runs the peer's menu until the input ends or the person leaves. True when no command has failed. */
export async function runMenu(menu: Menu): Promise<boolean> {
  const { asker, life } = menu;
  const state: State = { self: undefined, answers: undefined, sources: [], next: "JOIN" };
  // Answers that a script gives to a command that never asked: they must not pass for commands.
  let unused = 0;
  let isWell = true;
  while (!life.leaving.aborted) {
    // A script that does not read its answers is not run ahead of.
    await life.during(menu.ready());
    const command = await asker.choose("O que fazer?", COMMANDS, {
      unused,
      marked: state.next,
      help: HELP,
      keys: { W: menu.openPage },
    });
    if (isStop(command) && command.stop === "back") continue;
    if (isStop(command)) return isWell && command.stop !== "refused-end";
    const outOfTurn = whyOutOfTurn(command, state, menu);
    unused = outOfTurn === undefined ? 0 : ANSWERS[command];
    if (outOfTurn !== undefined) {
      menu.report.failed(outOfTurn);
      isWell = false;
      state.next = outOfTurn.fault === "NOT_JOINED" ? "JOIN" : "SEARCH";
      continue;
    }
    const result = await RUN[command](menu, state);
    // Ctrl+C at a command's own question means the program, as it does at the menu; Esc only the command.
    if (isStop(result) && result.stop === "leave") return isWell;
    if (isFault(result) || (isStop(result) && result.stop !== "back")) isWell = false;
  }
  return isWell;
}

function whyOutOfTurn(command: Command, { self }: State, { peer }: Menu): Fault | undefined {
  if (command !== "JOIN" && self === undefined) return fault("NOT_JOINED", "ours");
  return command === "DOWNLOAD" && peer.lastSearched === undefined ? fault("NOT_SEARCHED", "ours") : undefined;
}

const RUN: Record<Command, (menu: Menu, state: State) => Promise<unknown>> = {
  JOIN: runJoin,
  SEARCH: runSearch,
  DOWNLOAD: runDownload,
};

type Joined = { readonly address: Address; readonly folder: string };

const FIELDS = ["host", "port", "folder"] as const;
type Field = (typeof FIELDS)[number];
type JoinAnswers = { readonly host: string; readonly port: number; readonly folder: string };

/** The answer that a refusal is about. What no other answer cures is not asked again. */
const WRONG: Partial<Record<FaultCode, Field>> = {
  HOST_UNAVAILABLE: "host",
  ADDRESS_MISMATCH: "host",
  BAD_ADDRESS: "host",
  PORT_IN_USE: "port",
  PORT_DENIED: "port",
  ADDRESS_TAKEN: "port",
  FOLDER_MISSING: "folder",
  FOLDER_DENIED: "folder",
};

// SPEC 5.i: JOIN captures only IP, port and folder, and finds the file names by itself.
async function runJoin(menu: Menu, state: State): Promise<Refused | Stop | undefined> {
  const { asker, given, peer, seeker } = menu;
  if (await seeker?.again()) state.answers = undefined; // its IP was the way to the other server
  // A script's empty line always means the same.
  const last = asker.interactive ? state.answers : undefined;
  const ownIp = await peer.localIp();
  let at: JoinAnswers = last ?? { ...JOIN_DEFAULT, host: ownIp, folder: menu.defaultFolder };
  let fields: readonly Field[] = FIELDS.filter((field) => given[field] === undefined);
  const { host = at.host, port = at.port, folder = at.folder } = given;
  at = { host, port, folder };
  for (;;) {
    for (const field of fields) {
      const answer = await asker.ask(joinQuestion(field, at, menu, ownIp));
      if (isStop(answer)) return broken(menu, answer);
      at = { ...at, [field]: READ[field](answer) };
      state.answers = at;
    }
    if (!asker.interactive && menu.isWide(at.folder)) menu.report.warn(wideComplaint(at.folder));
    const joined = await join(menu, at);
    if (isStop(joined)) return joined;
    if (!isFault(joined)) {
      state.self = { address: joined, folder: at.folder };
      state.answers = { ...at, port: joined.port };
      state.next = "SEARCH";
      return undefined;
    }
    const wrong = WRONG[joined.fault];
    if (!asker.interactive || wrong === undefined) return joined;
    fields = [wrong];
    at = { ...at, ...(await betterAnswer(wrong, at, joined, menu)) };
    state.answers = at;
  }
}

/** What to offer in place of the answer that was wrong. */
async function betterAnswer(
  wrong: Field,
  at: JoinAnswers,
  why: Refused,
  { peer }: Menu,
): Promise<Partial<JoinAnswers>> {
  if (wrong === "folder") return {};
  if (wrong === "host") return { host: why.useIp ?? (await peer.localIp()) };
  // Ports up to UNPRIVILEGED_PORT are what systems deny.
  const from = why.fault === "PORT_DENIED" ? Math.max(at.port, UNPRIVILEGED_PORT) : at.port;
  return { port: peer.freePort({ ip: at.host, port: Math.min(from + 1, 65535) }) ?? JOIN_DEFAULT.port };
}

const UNPRIVILEGED_PORT = 1023;

const READ: { readonly [F in Field]: (answer: string) => JoinAnswers[F] } = {
  host: (answer) => answer.trim(),
  port: Number,
  folder: unquote,
};

function joinQuestion(field: Field, at: JoinAnswers, menu: Menu, ownIp: string): Question {
  const { folderFault, isWide, asker, server } = menu;
  if (field === "host") {
    const question = ipQuestion("IP deste peer", at.host);
    // A script is told when it joins: its next line is the answer to the next question.
    const elsewhere = (answer: string): Complaint | undefined =>
      asker.interactive && isOnlyHere(answer.trim(), server)
        ? loopbackComplaint(answer.trim(), server, ownIp)
        : undefined;
    return { ...question, check: (answer) => question.check(answer) ?? elsewhere(answer) };
  }
  if (field === "port") return portQuestion("Porta deste peer", at.port);
  let warnedOf: string | undefined;
  const check = (answer: string): Complaint | undefined => {
    const folder = unquote(answer);
    const why = folderFault(folder);
    if (why !== undefined) return complaintOf(why, { folder });
    // A person confirms it by the same answer again; a script is told when it joins.
    if (!asker.interactive || !isWide(folder) || warnedOf === folder) return undefined;
    warnedOf = folder;
    const { cause, ...rest } = wideComplaint(folder);
    return { ...rest, cause: `${cause}; Enter de novo confirma` };
  };
  return { message: "Pasta dos arquivos", fallback: at.folder, check };
}

// SPEC 6: SEARCH captures only the file name with its extension.
async function runSearch(menu: Menu, state: State): Promise<Fault | Stop | undefined> {
  const question = { message: "Nome do arquivo com extensão", fallback: undefined, check: nameComplaint };
  const name = await menu.asker.ask(question);
  if (isStop(name)) return broken(menu, name);
  const found = await search(menu, name);
  if (isStop(found) || isFault(found)) return found;
  state.sources = found;
  state.next = found.some((source) => isOther(source, state)) ? "DOWNLOAD" : "SEARCH";
  return undefined;
}

const isOther = (source: Address, { self }: State): boolean => self === undefined || !sameAddress(source, self.address);

// SPEC 6: DOWNLOAD captures only the IP and port of the peer that has the file; the file is the one last searched.
async function runDownload(menu: Menu, state: State): Promise<Fault | Stop | undefined> {
  const { asker, peer } = menu;
  const name = peer.lastSearched ?? "";
  const sources = [...state.sources.filter((source) => isOther(source, state)), ...state.sources];
  const file = `DOWNLOAD de ${showFile(name)}`;
  const ip = await asker.ask(ipQuestion(`${file}: IP do peer`, sources[0]?.ip));
  if (isStop(ip)) return broken(menu, ip);
  const there = sources.find((source) => source.ip === ip.trim()) ?? sources[0];
  const port = await asker.ask(portQuestion(`${file}: porta do peer`, there?.port));
  if (isStop(port)) return broken(menu, port);
  const from = { ip: ip.trim(), port: Number(port) };
  const done = await download(menu, { from, others: state.sources, name, folder: state.self?.folder ?? "" });
  if (isStop(done)) {
    state.next = "SEARCH";
    return done;
  }
  state.next = isFault(done) ? "DOWNLOAD" : "SEARCH";
  return isFault(done) ? done : undefined;
}

/** A script that ends in the middle of a command has a mistake worth a line. */
function broken({ report }: Menu, stop: Stop): Stop {
  if (stop.stop === "end" || stop.stop === "refused-end")
    report.complain({
      cause: "a entrada terminou antes da resposta",
      code: "USAGE",
      hint: "escreva uma resposta por linha: JOIN pede IP, porta e pasta; SEARCH, o nome; DOWNLOAD, IP e porta",
    });
  return stop;
}
