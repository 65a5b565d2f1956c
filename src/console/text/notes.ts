// What a person is told in one line while all goes on: a source that lied, a port that cannot be reached.
// Invariant: each ends or goes on with a stable code in brackets, as complaints do.
// Never: about anything that has failed; that is a complaint.

import type { FoundServer } from "../../discovery/discovery-search.ts";
import type { Mapped } from "../../port-mapping/port-mapper.ts";
import { type Address, formatAddress } from "../../protocol/address.ts";
import { type Fault, type FaultCode, fault } from "../../protocol/fault.ts";
import { type Id, showId } from "../../protocol/id.ts";
import { type Complaint, complaintOf } from "./complaints.ts";
import { showFile, showFolder } from "./lines.ts";

/** What is no error: the person wanted it so, or all goes on. */
export const noteText = ({ cause, code, hint }: Complaint): string => `aviso: ${cause} [${code}]; ${hint}`;

/** No server was named, and this one was found in the network. */
export const foundServerNote = ({ address, name }: FoundServer): string =>
  `aviso: servidor ${formatAddress(address)} (${showFile(name)}) encontrado na rede [SERVER_FOUND]; outro se escolhe com --server`;

/** A server that is dialled for the first time, and what became of its key. */
export function firstSeenNote(server: string, id: Id, path: string | undefined): string {
  const kept = path === undefined ? "não pôde ser lembrada" : `fica lembrada em ${showFolder(path)}`;
  return `aviso: primeira vez com o servidor ${server}: a chave dele é ${showId(id)} e ${kept} [SERVER_FIRST_SEEN]; confira-a com quem cuida dele`;
}

/** The server is back, after a complaint that it was gone. */
export const backNote = (at: Address): string => `aviso: de volta à rede, em ${formatAddress(at)} [SERVER_BACK]`;

/** A source lied; the download goes on, with it or without. */
export function liarNote(address: Address, why: Fault): string | undefined {
  const what = LIES[why.fault];
  return what && `aviso: o peer ${formatAddress(address)} ${what} [${why.fault}]`;
}

/** Others cannot connect to this peer, or can again. */
export function reachNote(at: Address, reached: boolean, through?: Mapped): string {
  const by = through && `o roteador ${through.router} abriu a porta ${through.port} (${through.by})`;
  if (reached) {
    const cause = `agora outros peers conseguem conectar a ${formatAddress(at)} e veem seus arquivos`;
    return `aviso: ${cause} [REACHABLE]${by === undefined ? "" : `; ${by}`}`;
  }
  if (by !== undefined)
    return `aviso: ${by}, e ainda assim outros peers não conseguem conectar a ${formatAddress(at)} [UNREACHABLE]; deve haver outro roteador ou firewall no caminho; seus downloads funcionam assim mesmo`;
  return noteText(complaintOf(fault("UNREACHABLE", "network"), { at }));
}

/** A peer at 127.0.0.1 is found on its own machine alone. */
export function localNote(at: Address, ip: string): string {
  return `aviso: só os peers desta máquina veem seus arquivos em ${formatAddress(at)} [LOCAL_ONLY]; para os outros, faça JOIN com o IP ${ip}`;
}

/** Files have appeared in the folder, and are shared: at least one. */
export function sharedNote(names: readonly string[]): string {
  const [first = ""] = names;
  if (names.length === 1) return `aviso: o arquivo ${showFile(first)} chegou à pasta e é compartilhado [SHARED]`;
  return `aviso: ${names.length} arquivos chegaram à pasta e são compartilhados [SHARED]`;
}

/** Files that were withdrawn are shared again: at least one. */
export function returnedNote(names: readonly string[]): string {
  const [first = ""] = names;
  if (names.length === 1) return `aviso: o arquivo ${showFile(first)} voltou a ser compartilhado [RETURNED]`;
  return `aviso: ${names.length} arquivos voltaram a ser compartilhados [RETURNED]`;
}

/** A player is wanted before the content is known. */
export function preparingNote(name: string): string {
  return `aviso: preparando ${showFile(name)}: dá para assistir assim que a fonte disser como conferi-lo [PREPARING]`;
}

/** Where a player reads a file. */
export function playingNote(name: string, address: string, isOpened: boolean): string {
  const how = isOpened ? "o player foi aberto" : "abra este endereço em um player ou navegador desta máquina";
  return `aviso: ${showFile(name)} em ${address} [PLAYING]; ${how}`;
}

/** The file that was to be downloaded is in the folder. */
export function hereNote(name: string, folder: string): string {
  return `aviso: o arquivo ${showFile(name)} já está na pasta ${showFolder(folder)}, com o mesmo conteúdo [HERE]`;
}

/** One line with the page's address, which opens all that this peer does. */
export function pageNote(url: string): string {
  return `aviso: a página deste peer está em ${url} [PAGE]; o endereço é só seu`;
}

/** One line with the address that guests open. */
export function guestsNote(url: string): string {
  return `aviso: convidados na mesma rede veem e baixam o que você compartilha em ${url} [GUESTS]; a conexão não é cifrada`;
}

/** One line under `shown` contents, of `more` others that were counted. */
export function moreNote(shown: number, more: number, isCut: boolean): string {
  const others = `há ${isCut ? "pelo menos " : ""}mais ${more} ${more === 1 ? "conteúdo" : "conteúdos"}`;
  if (more === 0) return "aviso: há mais conteúdos do que uma busca mostra [MORE]; procure com mais palavras";
  return `aviso: ${others} [MORE]; mostre com --limit ${shown + more}, ou procure com mais palavras`;
}

const LIES: Partial<Record<FaultCode, string>> = {
  CORRUPT: "enviou dados errados, que foram descartados",
  BAD_REPLY: "respondeu fora do protocolo, e a conversa com ele foi encerrada",
};
