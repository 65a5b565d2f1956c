// What a server tells its operator on stderr: lines for people, or one JSON object a line for programs.
// Invariant: the same events in both forms, each once; JSON has "time", "event" and what belongs to it.
// Never: writes to stdout, and never shows a text from the wire raw.

import { type Address, formatAddress } from "../protocol/address.ts";
import type { Fault, FaultCode } from "../protocol/fault.ts";
import { showName } from "../protocol/names.ts";
import type { Output, Writer } from "./terminal/output.ts";
import { type Complaint, complaintOf, complaintText, unfoundComplaint } from "./text/complaints.ts";
import { jsonLine, readyLine } from "./text/lines.ts";
import { noteText } from "./text/notes.ts";

export type Log = {
  /** Peers are served. A person at a terminal is told only of a port that they have not `chosen`. */
  ready(address: Address, chosen?: boolean): void;
  metrics(address: Address): void;
  /** Where peers of other machines find this server, and the key that it shows; `code`: rows of a QR code of the first. */
  addresses(urls: readonly string[], code: readonly string[]): void;
  /** A code that admits so many people until then. */
  invite(code: string, people: number, until: Date): void;
  /** Peers that look for a server do not find this one; all else works. */
  unfound(why: Fault): void;
  /** Something is wrong with us or what we stand on. */
  failed(fault: Fault): void;
  /** All goes on, and the operator should know. */
  warn(complaint: Complaint): void;
  /** What was wrong is not any more. */
  indexBack(): void;
  /** Something is wrong with a connection. */
  refused(remote: string, fault: Fault): void;
  stopping(): void;
};

/** What a client did, as its operator reads it; the client itself is told what to do about it. */
const DEEDS: Partial<Record<FaultCode, string>> = {
  ADDRESS_MISMATCH: "o JOIN declara um endereço que não é o da conexão",
  ADDRESS_TAKEN: "o JOIN declara o endereço de um peer que já está na rede",
  BAD_ADDRESS: "o JOIN declara um endereço que não existe",
  BAD_NAME: "um dos nomes de arquivo não é aceito",
  BAD_REPLY: "quem atende no endereço do JOIN não respondeu como um peer",
  BAD_REQUEST: "o pedido não segue o protocolo",
  BAD_STATE: "o pedido veio fora de hora",
  NOT_MEMBER: "o ID não está na lista de --members",
  LINE_TOO_LONG: "uma linha passou do limite",
  NOT_JOINED: "o pedido veio antes do JOIN",
  PAYLOAD_TOO_LARGE: "a lista de arquivos passou do limite",
  SHUTTING_DOWN: "este servidor está parando",
  TIMEOUT: "ficou em silêncio além do prazo",
  TOO_MANY: "passou de um limite deste servidor",
  UNAVAILABLE: "esta busca não é atendida agora",
  UNKNOWN_VERB: "o pedido é desconhecido",
  UNSUPPORTED_VERSION: "fala outra versão do protocolo",
};

const showTime = (at: Date): string => at.toLocaleString("pt-BR", { dateStyle: "short", timeStyle: "short" });

const deedOf = (fault: Fault): string => DEEDS[fault.fault] ?? complaintOf(fault).cause;

export type LogOptions = {
  readonly output: Pick<Output, "err">;
  /** Says lasting lines to a person. */
  readonly tell: Writer;
  readonly errIsTerminal: boolean;
  readonly now: () => Date;
};

export function createLog({ tell: say, errIsTerminal }: LogOptions): Log {
  return {
    ready(address, chosen = true) {
      if (!errIsTerminal) say(readyLine(address));
      else if (!chosen) say(`aviso: este servidor atende em ${formatAddress(address)} [READY]`);
    },
    addresses(urls, code) {
      for (const url of urls) say(`endereço para os peers: ${url}`);
      if (code.length > 0) say(code.join("\n"));
    },
    invite: (code, people, until) =>
      say(
        `convite para ${people} ${people === 1 ? "pessoa" : "pessoas"}, até ${showTime(until)}: --use-invite ${code}`,
      ),
    metrics: (address) => say(`métricas em http://${formatAddress(address)}/metrics`),
    unfound: (why) => say(noteText(unfoundComplaint(why))),
    failed: (fault) => say(complaintText(complaintOf(fault))),
    warn: (complaint) => say(noteText(complaint)),
    indexBack: () => say("o índice compartilhado voltou: os peers de todos os servidores são encontrados"),
    refused: (remote, fault) => say(`${showName(remote)}: ${deedOf(fault)} [${fault.fault}]`),
    stopping() {},
  };
}

/** --log json. */
export function createJsonLog({ output, now }: LogOptions): Log {
  const say = (level: "info" | "warn" | "error", event: string, values: object = {}): void =>
    output.err(`${jsonLine({ time: now().toISOString(), level, event, ...values })}\n`);
  const values = (fault: Fault): object => ({
    code: fault.fault,
    message: complaintOf(fault).cause,
    detail: showName(fault.detail),
  });
  return {
    ready: (address) => say("info", "ready", address),
    addresses: (urls) => say("info", "addresses", { urls }),
    invite: (code, people, until) => say("info", "invite", { code, people, until: until.toISOString() }),
    metrics: (address) => say("info", "metrics", address),
    unfound: (why) => say("warn", "unfound", { ...values(why), message: unfoundComplaint(why).cause }),
    failed: (fault) => say("error", "failed", values(fault)),
    warn: ({ cause, code, hint }) => say("warn", "warning", { code, message: cause, hint }),
    indexBack: () => say("info", "index-back"),
    refused: (remote, fault) =>
      say("warn", "refused", { remote: showName(remote), ...values(fault), message: deedOf(fault) }),
    stopping: () => say("info", "stopping"),
  };
}
