// Every sentence of the page, in Portuguese and English, and how numbers are said.
// Invariant: both languages have the same sentences; one that is missing does not compile.
// Never: holds a name or an address.

import type { FaultCode } from "../../protocol/fault.ts";
import type { Problem } from "../contract.ts";

const PORTUGUESE = {
  skip: "Ir para o conteúdo",
  search: "Buscar",
  downloads: "Baixando",
  uploads: "Enviando",
  folder: "Pasta",
  network: "Rede",
  searchFor: "O que você procura?",
  byWords: "Palavras do nome",
  exact: "Nome exato, com extensão",
  find: "Procurar",
  searching: "Procurando…",
  nothingFound: "Nenhum peer tem isso agora.",
  firstSearch: "Procure um vídeo por palavras do nome, ou pelo nome exato.",
  moreFound: "Há mais resultados: procure com mais palavras.",
  source: "fonte",
  sources: "fontes",
  download: "Baixar",
  downloadName: "Baixar",
  here: "já está na sua pasta",
  play: "Assistir",
  pause: "Pausar",
  resume: "Continuar",
  cancel: "Cancelar",
  retry: "Tentar de novo",
  noDownloads: "Nenhum download. O que você baixar aparece aqui.",
  queued: "na fila",
  running: "baixando",
  waiting: "esperando",
  starting: "começando",
  paused: "pausado",
  done: "pronto",
  failed: "não deu certo",
  again: "tenta de novo sozinho",
  left: "falta",
  of: "de",
  sourcesOf: "Quem envia",
  pieces: "Mapa de pedaços",
  waitsSlot: "na fila de",
  waitsPosition: "posição",
  waitsData: "sem dados de",
  waitsRoot: "ainda calcula a verificação:",
  waitsCheck: "conferindo o que já tinha sido baixado",
  waitsDisk: "esperando o disco",
  waitsFull: "disco cheio, esperando espaço",
  noUploads: "Ninguém está baixando daqui agora.",
  to: "para",
  sent: "Enviado há pouco",
  folderIs: "Pasta",
  noFolder: "Entre na rede para compartilhar uma pasta.",
  filesShared: "arquivos compartilhados",
  fileShared: "arquivo compartilhado",
  hashing: "Calculando a verificação",
  allHashed: "Todos os arquivos têm a verificação calculada.",
  notHashed: "verificação ainda não calculada",
  hashed: "verificado por conteúdo",
  verify: "Conferir a pasta",
  verifying: "Conferindo a pasta…",
  verified: "Pasta conferida",
  verdictOk: "sem mudança",
  verdictChanged: "mudou",
  verdictNew: "novo",
  verdictDamaged: "danificado",
  verdictUnread: "não pôde ser lido",
  filter: "Filtrar por nome",
  more: "Mostrar mais",
  server: "Servidor",
  address: "Seu endereço",
  reachable: "Outros peers conseguem conectar a você",
  yes: "sim",
  no: "não",
  unknown: "ainda não se sabe",
  unreachableHelp:
    "Permita o napster-peer no firewall e, atrás de um roteador, redirecione a porta para esta máquina. Seus downloads funcionam assim mesmo.",
  limits: "Limites",
  maxUploadRate: "Envio",
  maxDownloadRate: "Recepção",
  maxUploads: "Downloads atendidos ao mesmo tempo",
  maxDownloads: "Seus downloads ao mesmo tempo",
  noLimit: "sem limite",
  none: "nenhum",
  join: "Entrar na rede",
  joinFolder: "Pasta que você compartilha",
  joinHost: "IP deste peer (vazio: o programa escolhe)",
  joinPort: "Porta (vazia: qualquer uma livre)",
  guests: "Página para convidados",
  guestsHelp:
    "Quem está na mesma rede abre este endereço no celular e vê o que você compartilha. A conexão não é cifrada.",
  connected: "na rede",
  away: "sem servidor, voltando",
  outside: "fora da rede",
  closed: "O programa foi fechado. Esta página volta sozinha quando ele abrir no mesmo endereço.",
  oldPage: "Esta página é de uma execução anterior. Abra o endereço novo que o programa mostra.",
  noToken: "Abra esta página pelo endereço que o programa mostra: ele termina com # e uma chave.",
  downloaded: "baixado",
  close: "Fechar",
  dismiss: "Dispensar",
  preparing: "Preparando…",
  cannotPlay: "O navegador não toca este arquivo. Abra o endereço no seu player:",
  hint: "dica",
} as const;

type Texts = Readonly<Record<keyof typeof PORTUGUESE, string>>;

const ENGLISH: Texts = {
  skip: "Skip to content",
  search: "Search",
  downloads: "Downloads",
  uploads: "Uploads",
  folder: "Folder",
  network: "Network",
  searchFor: "What are you looking for?",
  byWords: "Words of the name",
  exact: "Exact name with extension",
  find: "Search",
  searching: "Searching…",
  nothingFound: "No peer has that now.",
  firstSearch: "Look for a video by words of its name, or by its exact name.",
  moreFound: "There are more results: search with more words.",
  source: "source",
  sources: "sources",
  download: "Download",
  downloadName: "Download",
  here: "already in your folder",
  play: "Watch",
  pause: "Pause",
  resume: "Resume",
  cancel: "Cancel",
  retry: "Try again",
  noDownloads: "No downloads. What you download appears here.",
  queued: "queued",
  running: "downloading",
  waiting: "waiting",
  starting: "starting",
  paused: "paused",
  done: "done",
  failed: "failed",
  again: "tries again by itself",
  left: "left:",
  of: "of",
  sourcesOf: "Who sends",
  pieces: "Map of pieces",
  waitsSlot: "in the queue of",
  waitsPosition: "position",
  waitsData: "no data from",
  waitsRoot: "still computes the hashes:",
  waitsCheck: "checking what was downloaded before",
  waitsDisk: "waiting for the disk",
  waitsFull: "disk full, waiting for space",
  noUploads: "No one downloads from here now.",
  to: "to",
  sent: "Sent lately",
  folderIs: "Folder",
  noFolder: "Join the network to share a folder.",
  filesShared: "files shared",
  fileShared: "file shared",
  hashing: "Computing hashes",
  allHashed: "All files are hashed.",
  notHashed: "not hashed yet",
  hashed: "hashed",
  verify: "Verify the folder",
  verifying: "Verifying the folder…",
  verified: "Folder verified",
  verdictOk: "unchanged",
  verdictChanged: "changed",
  verdictNew: "new",
  verdictDamaged: "damaged",
  verdictUnread: "unreadable",
  filter: "Filter by name",
  more: "Show more",
  server: "Server",
  address: "Your address",
  reachable: "Other peers can connect to you",
  yes: "yes",
  no: "no",
  unknown: "not known yet",
  unreachableHelp:
    "Allow napster-peer in the firewall and, behind a router, forward the port to this machine. Your downloads work all the same.",
  limits: "Limits",
  maxUploadRate: "Upload",
  maxDownloadRate: "Download",
  maxUploads: "Downloads served at once",
  maxDownloads: "Your downloads at once",
  noLimit: "no limit",
  none: "none",
  join: "Join the network",
  joinFolder: "Folder that you share",
  joinHost: "IP of this peer (empty: the program chooses)",
  joinPort: "Port (empty: any free one)",
  guests: "Page for guests",
  guestsHelp:
    "People in the same network open this address on a phone and see what you share. The connection is not encrypted.",
  connected: "in the network",
  away: "no server, coming back",
  outside: "not in the network",
  closed: "The program was closed. This page comes back when it opens at the same address.",
  oldPage: "This page is of an earlier run. Open the new address that the program shows.",
  noToken: "Open this page by the address that the program shows: it ends in # and a key.",
  downloaded: "downloaded",
  close: "Close",
  dismiss: "Dismiss",
  preparing: "Preparing…",
  cannotPlay: "The browser does not play this file. Open the address in your player:",
  hint: "hint",
};

/** What the program says in Portuguese, for readers of English; a code that is not here is told by itself. */
const ENGLISH_PROBLEMS: Partial<Record<FaultCode, string>> = {
  ADDRESS_TAKEN: "another peer has this address",
  BAD_NAME: "a file cannot have this name",
  BUSY: "all slots are taken",
  CHANGED: "the file has changed",
  CORRUPT: "a file is damaged on the disk",
  DISK_FULL: "the disk is full",
  FILE_EXISTS: "the folder has another file of this name",
  FILE_MISSING: "it is not here any more",
  FOLDER_DENIED: "the system does not let the program use this folder",
  FOLDER_MISSING: "there is no such folder",
  IN_USE: "another program downloads this file",
  NOT_JOINED: "join the network first",
  NO_SOURCE: "no peer has it now",
  PEER_UNREACHABLE: "the peer does not answer",
  PORT_IN_USE: "the port is taken",
  REFUSED: "the peer sends no files",
  SERVER_GONE: "the server is gone",
  SERVER_UNREACHABLE: "the server does not answer",
  TIMEOUT: "it took too long to answer",
  UNREACHABLE: "other peers cannot connect to you",
  USAGE: "this was not understood",
};

/** A failure in the reader's language. */
export function sayProblem({ code, message, hint }: Problem, isShort = false): string {
  if (message === "") return texts.closed;
  if (!isPortuguese) return `${ENGLISH_PROBLEMS[code] ?? "it failed"} [${code}]`;
  return isShort ? message : `${message} [${code}]. ${texts.hint}: ${hint}.`;
}

export const isPortuguese = !/^en\b/i.test(navigator.language);
export const texts: Texts = isPortuguese ? PORTUGUESE : ENGLISH;
const locale = isPortuguese ? "pt-BR" : "en";

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** Powers of ten, as the console counts. */
export function sayBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toLocaleString(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${UNITS[unit]}`;
}

export const sayRate = (rate: number): string => `${sayBytes(rate)}/s`;

export function saySeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export const sayCount = (count: number, one: string, many: string): string =>
  `${count.toLocaleString(locale)} ${count === 1 ? one : many}`;
