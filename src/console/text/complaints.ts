// What a person reads when something fails: one sentence with the cause, one with what to do next, in Portuguese.
// Invariant: every FaultCode and every NameFlaw has its sentence; a missing one does not compile.
// Never: shows a text from the wire raw, or anything of a stack trace.

import type { FoundServer } from "../../discovery/discovery-search.ts";
import { type Address, AS_SEEN, formatAddress, formatServerUrl } from "../../protocol/address.ts";
import { type Fault, type FaultCode, fault, limitIn } from "../../protocol/fault.ts";
import { type Id, isId, showId } from "../../protocol/id.ts";
import { NAME_BLANKS_MAX, NAME_BYTES_MAX } from "../../protocol/limits.ts";
import { type NameFlaw, nameFlaw } from "../../protocol/names.ts";
import { showFile, showFolder } from "./lines.ts";

/** One failure as a person and a program read it. */
export type Complaint = { readonly cause: string; readonly code: FaultCode; readonly hint: string };

/**
 * A server, and the line of `known_servers`, in the file `path`, that remembers its key. `isFound`: its
 * address was not typed; the network named it.
 */
export type KnownServer = Address & {
  readonly known?: { readonly line: string; readonly path: string; readonly isFound?: boolean };
  readonly ourId?: Id;
  /** The code of the invitation that was given. */
  readonly invite?: string | undefined;
};

/** What the failed action was about, as far as it is known. */
export type Subject = {
  readonly server?: KnownServer | undefined;
  readonly peer?: Address | undefined;
  /** The address at which we were to listen. */
  readonly at?: Address | undefined;
  /** The IP to listen at instead. */
  readonly useIp?: string | undefined;
  readonly folder?: string | undefined;
  readonly name?: string | undefined;
};

/** Stderr form of a complaint, without the last newline. */
export function complaintText({ cause, code, hint }: Complaint): string {
  return `erro: ${cause} [${code}]\ndica: ${hint}`;
}

const FLAWS: Record<NameFlaw, string> = {
  empty: "está vazio",
  "too-long": `passa de ${NAME_BYTES_MAX} bytes`,
  "not-utf8": "não é texto UTF-8",
  control: "tem caracteres de controle",
  invisible: "tem caracteres invisíveis",
  unassigned: "tem caracteres que o Unicode não define",
  "blank-run": `tem mais de ${NAME_BLANKS_MAX} espaços seguidos`,
  separator: "tem / ou \\",
  "forbidden-character": 'tem um destes: < > : " | ? *',
  dots: "é só pontos",
  "trailing-dot-or-space": "começa ou termina com espaço, ou termina com ponto",
  "reserved-device": "é reservado pelo Windows",
  ours: "é de um download incompleto deste programa",
};

/** Why a typed file name cannot be one, or undefined when it can. */
export function nameComplaint(name: string): Complaint | undefined {
  const flaw = nameFlaw(name);
  if (flaw === undefined) return undefined;
  return {
    cause: `o nome do arquivo ${FLAWS[flaw]}`,
    code: "BAD_NAME",
    hint: "digite só o nome do arquivo com extensão, por exemplo Aula.mp4",
  };
}

/** Nothing that FIND could look for. */
export const WORDLESS: Complaint = {
  cause: "a busca não tem nenhuma palavra: nenhuma letra nem número, ou caracteres demais",
  code: "USAGE",
  hint: 'escreva palavras do nome, ou começos delas, por exemplo find "redes aula"',
};

/** A file of the folder that stays out of the share. */
export function skippedComplaint(name: string, reason: NameFlaw | "duplicate"): Complaint {
  const why = reason === "duplicate" ? "outro arquivo da pasta tem o mesmo nome" : `o nome ${FLAWS[reason]}`;
  return {
    cause: `o arquivo ${showFile(name)} não foi compartilhado: ${why}`,
    code: "BAD_NAME",
    hint: "renomeie o arquivo: ele passa a ser compartilhado sozinho",
  };
}

/** The files that stay out beyond those that were named. */
export function moreSkippedComplaint(count: number): Complaint {
  return {
    cause: `mais ${count} ${count === 1 ? "arquivo da pasta ficou" : "arquivos da pasta ficaram"} fora, também pelo nome`,
    code: "BAD_NAME",
    hint: "renomeie cada um: ele passa a ser compartilhado sozinho",
  };
}

/** The server takes `shared` files of a peer, and so many others stay out. */
export function leftOutComplaint(shared: number, count: number): Complaint {
  return {
    cause: `o servidor aceita ${filesOf(shared)} deste peer: ${count} da pasta ${count === 1 ? "ficou" : "ficaram"} de fora`,
    code: "TOO_MANY",
    hint: FEWER_FILES,
  };
}

/** A folder that holds more than a person thinks of. */
export const wideComplaint = (folder: string): Complaint => complaintOf(fault("WIDE_FOLDER", "ours"), { folder });

/** What is said when all travels in the clear. */
export const UNENCRYPTED: Complaint = {
  cause: "a cifra está desligada: nomes e conteúdos viajam às claras, e qualquer um no caminho os lê e muda",
  code: "NOT_ENCRYPTED",
  hint: "só para laboratório, e nos dois lados; sem --encryption off tudo volta a ser cifrado",
};

/** The key's file is of no use; the program goes on with a key for this run. */
export function keyComplaint(path: string, why: Fault): Complaint {
  return {
    cause: `a chave deste programa, ${showFolder(path)}, não pôde ser usada (${why.detail})`,
    code: why.fault,
    hint: "desta vez ele usa outra, e os outros o veem como outro programa; confira a pasta, ou indique outra em NAPSTER_CONFIG",
  };
}

/** The system grants the program so few open files and connections that it cannot start. */
export function fewDescriptorsComplaint(granted: number, least: number): Complaint {
  return {
    cause: `o sistema só deixa este programa abrir ${granted} arquivos e conexões, e ele precisa de ${least}`,
    code: "NO_DESCRIPTORS",
    hint: "aumente o limite antes de abrir o programa: ulimit -n 1024",
  };
}

/** A download that failed and is tried again by itself: after growing pauses, or when the server tells of a source. */
export function waitingComplaint(why: Fault, subject: Subject, isTimed: boolean): Complaint {
  const { cause, code } = complaintOf(why, subject);
  const named = subject.name === undefined || cause.includes(showFile(subject.name));
  const hint = isTimed
    ? "o programa tenta de novo sozinho, com pausas de 5 s a 10 min, até conseguir"
    : "o download começa assim que um peer trouxer o arquivo";
  return { cause: named ? cause : `${showFile(subject.name)}: ${cause}`, code, hint };
}

/** The file of --list cannot be read, or holds no names. */
export function listComplaint(why: Fault, path: string): Complaint {
  if (why.fault === "USAGE")
    return { cause: `${showFolder(path)} não é um arquivo de texto com nomes`, code: "USAGE", hint: ONE_A_LINE };
  const cause = why.fault === "FILE_MISSING" ? "não existe" : "não pode ser lida";
  return { cause: `a lista ${showFolder(path)} ${cause}`, code: why.fault, hint: "confira o caminho da lista" };
}

/** The file of --members cannot be read, or has a line that is no ID. */
export function membersComplaint(why: Fault, path: string): Complaint {
  const cause = why.fault === "USAGE" ? `tem na linha ${why.detail} o que não é um ID` : "não pode ser lida";
  const hint = "escreva um ID por linha, e o que quiser depois de #; o ID de um peer aparece quando ele é recusado";
  return { cause: `a lista ${showFolder(path)} ${cause}`, code: why.fault, hint };
}

export const nothingListedComplaint = (path: string): Complaint => ({
  cause: `a lista ${showFolder(path)} está vazia`,
  code: "USAGE",
  hint: ONE_A_LINE,
});

const ONE_A_LINE = "escreva um nome de arquivo por linha, em UTF-8";

export const nothingBegunComplaint = (path: string): Complaint => ({
  cause: `a pasta ${showFolder(path)} não tem nenhum download incompleto`,
  code: "FILE_MISSING",
  hint: "baixe pelo nome: get NOME",
});

/** A .part whose name does not tell that of its file. */
export const cutNameComplaint = (stem: string): Complaint => ({
  cause: `o nome de ${showFile(stem)}.part é longo demais e não diz o do arquivo inteiro`,
  code: "BAD_NAME",
  hint: "retome este pelo nome: get NOME",
});

/** Files that were shared and are no longer: at least one. */
export function withdrawnComplaint(names: readonly string[]): Complaint {
  const [first = ""] = names;
  if (names.length === 1)
    return {
      cause: `o arquivo ${showFile(first)} deixou de ser compartilhado: mudou ou foi apagado`,
      code: "CHANGED",
      hint: "quando ele estiver pronto na pasta, volta a ser compartilhado sozinho",
    };
  return {
    cause: `${names.length} arquivos deixaram de ser compartilhados: mudaram ou foram apagados`,
    code: "CHANGED",
    hint: "quando estiverem prontos na pasta, voltam a ser compartilhados sozinhos",
  };
}

/** A file whose bytes on the disk are no longer those that were hashed, though its size and time are the same. */
export function damagedComplaint(name: string, piece: number): Complaint {
  return {
    cause: `o arquivo ${showFile(name)} está danificado no disco (pedaço ${piece}) e deixou de ser compartilhado`,
    code: "CORRUPT",
    hint: "confira a pasta com napster-peer hash --verify, ponha uma cópia boa no lugar: ela passa a ser compartilhada sozinha",
  };
}

/** A file that the server did not take in its list. */
export function refusedComplaint(name: string, why: Fault, at: Address): Complaint {
  const { cause, code } = complaintOf(why, { server: at });
  const hint = why.retry
    ? "o peer tenta de novo sozinho"
    : why.fault === "TOO_MANY"
      ? "tire arquivos da pasta, ou peça a quem cuida do servidor um --max-names maior; o arquivo está na pasta e pode ser aberto"
      : "o arquivo está na pasta e pode ser aberto; faça JOIN de novo para anunciar o que ela tem";
  return { cause: `o servidor não pôs o arquivo ${showFile(name)} na lista: ${cause}`, code, hint };
}

/** There are so many that those that follow are not named. */
export function moreRefusedComplaint(): Complaint {
  return {
    cause: "o servidor não pôs ainda mais arquivos deste peer na lista, que não são citados",
    code: "TOO_MANY",
    hint: FEWER_FILES,
  };
}

/** Told when it happens, by a peer that stays: the link joins again by itself. */
export function serverLostComplaint(at: Address): Complaint {
  const { cause, code } = complaintOf(fault("SERVER_GONE", "network"), { server: at });
  return { cause, code, hint: "o peer volta à rede sozinho assim que o servidor voltar" };
}

/** An IP of 127.0.0.0/8 was given to a peer whose server is reached by another. */
export const loopbackComplaint = (ip: string, at: Address, useIp: string): Complaint => ({
  cause: `${ip} só vale dentro desta máquina, e ela chega ao servidor ${formatAddress(at)} por outro IP`,
  code: "ADDRESS_MISMATCH",
  hint: `use o IP ${useIp}, por onde os outros chegam aqui`,
});

/** No server was named, and these were found: two or more. */
export function severalServersComplaint(found: readonly FoundServer[]): Complaint {
  const shown = found.map(({ address, name }) => `${formatAddress(address)} (${showFile(name)})`).join(", ");
  const { code, hint } = complaintOf(fault("SEVERAL_SERVERS", "ours"));
  return { cause: `a rede tem ${found.length} servidores: ${shown}`, code, hint };
}

/** The port by which peers find a server in their network cannot be opened. */
export const unfoundComplaint = ({ fault: code }: Fault): Complaint => ({
  cause: "os peers da rede não acham este servidor sozinhos: a porta UDP 1099 não abre",
  code,
  hint: "diga a eles o IP e a porta, para --server, ou feche o programa que usa a porta",
});

const address = (prefix: string, value: Address | undefined): string =>
  value === undefined ? prefix : `${prefix} ${formatAddress(value)}`;
const server = (s: Subject): string => address("o servidor", s.server);
const peer = (s: Subject): string => address("o peer", s.peer);
const folder = (s: Subject): string => (s.folder === undefined ? "a pasta" : `a pasta ${showFolder(s.folder)}`);
const file = (s: Subject): string => (s.name === undefined ? "o arquivo" : `o arquivo ${showFile(s.name)}`);
/** The side that was asked: the peer where there was one, else the server. */
const other = (s: Subject): string =>
  s.peer !== undefined ? peer(s) : s.server !== undefined ? server(s) : "o outro lado";

const filesOf = (count: number): string => `${count} ${count === 1 ? "arquivo" : "arquivos"}`;

const FEWER_FILES =
  "deixe na pasta só o que quer compartilhar, ou peça a quem cuida do servidor um limite maior (--max-names, --max-join-bytes)";
const SAME_VERSION = "use a mesma versão do programa nos dois lados (veja --version)";
const LATER = "espere um pouco e tente de novo";
const AGAIN = "repita o mesmo DOWNLOAD: ele continua de onde parou";
const OTHER_SOURCE = "faça SEARCH de novo e escolha outro peer da lista";
const FREE_PORT = "escolha outra porta, ou feche o programa que a usa";

/** Many networks use the same addresses: another server may be there by right. The link pins it and keeps what is known. */
const otherNetworkHint = (at: Address, id: Id): string =>
  `numa rede em que este endereço é de outro servidor, peça a quem cuida dele o ID e, se é este, use --server ${formatServerUrl(at, id)}, que não muda o que já é conhecido; na mesma rede de antes, `;

type Sentence = (subject: Subject, why: Fault) => readonly [cause: string, hint: string];

const SENTENCES: Record<FaultCode, Sentence> = {
  BAD_REQUEST: (s) => [`${other(s)} não entendeu o pedido`, SAME_VERSION],
  LINE_TOO_LONG: (s) => [`o pedido passou do limite d${other(s)}`, "use um nome de arquivo mais curto"],
  PAYLOAD_TOO_LARGE: (s) => [`a lista de arquivos passou do limite d${other(s)}`, FEWER_FILES],
  UNKNOWN_VERB: (s) => [`${other(s)} não conhece o pedido`, SAME_VERSION],
  UNSUPPORTED_VERSION: (s) => [`${other(s)} fala outra versão do protocolo`, SAME_VERSION],
  BAD_STATE: (s) => [`${other(s)} não aceita este pedido agora`, SAME_VERSION],
  NOT_MEMBER: (s) => [
    `${other(s)} só aceita quem está na lista dele, e este programa não está`,
    `${s.server?.invite === undefined ? "" : "o convite venceu, já foi todo usado ou é de outro servidor: peça outro; ou "}peça a quem cuida do servidor que ponha nela este ID${s.server?.ourId === undefined ? "" : `: ${showId(s.server.ourId)}`}`,
  ],
  NOT_JOINED: () => ["este peer ainda não entrou na rede", "faça JOIN primeiro"],
  BAD_NAME: (s) => [`${other(s)} não aceita o nome d${file(s)}`, "use só o nome com extensão, por exemplo Aula.mp4"],
  BAD_ADDRESS: (s) => [`${other(s)} não aceita este endereço`, "use um IPv4 e uma porta de 1 a 65535"],
  ADDRESS_MISMATCH: (s) => [
    address("o servidor não aceita o endereço", s.at),
    s.useIp === AS_SEEN
      ? `use o IP ${AS_SEEN}: vale o endereço que o servidor vê`
      : `use o IP ${s.useIp === undefined ? "" : `${s.useIp}, `}com que esta máquina chega ao servidor`,
  ],
  ADDRESS_TAKEN: (s) => [
    `outro peer já usa o endereço${s.at ? ` ${formatAddress(s.at)}` : ""}`,
    "faça JOIN com outra porta",
  ],
  TOO_MANY: (s, why) => {
    const most = limitIn(why)?.most;
    if (most === undefined) return [`${other(s)} chegou ao limite`, LATER];
    return [`${other(s)} aceita no máximo ${filesOf(most)} de cada peer`, FEWER_FILES];
  },
  TIMEOUT: (s) => [`${other(s)} demorou demais para responder`, LATER],
  NOT_SHARED: (s) => [`${peer(s)} não compartilha ${file(s)}`, OTHER_SOURCE],
  BUSY: (s) => [
    `${peer(s)} rejeitou o download: todas as vagas de envio estão ocupadas`,
    `${LATER}, ou escolha outro peer`,
  ],
  REFUSED: (s) => [`${peer(s)} rejeitou o download: não está enviando arquivos`, OTHER_SOURCE],
  CHANGED: (s) => [`${file(s)} mudou ou foi apagado n${peer(s)}`, "faça SEARCH e DOWNLOAD de novo"],
  BAD_RANGE: (s) => [`${file(s)} n${peer(s)} é menor que o anunciado`, OTHER_SOURCE],
  NOT_READY: (s) => [`${peer(s)} ainda prepara ${file(s)}`, LATER],
  UNAVAILABLE: (s) => [`${other(s)} não faz esta busca`, "procure pelo nome exato, com search"],
  SHUTTING_DOWN: (s) => [`${other(s)} está saindo da rede`, LATER],
  INTERNAL: (s, { whose }) => [
    whose === "theirs" ? `falha interna n${other(s)}` : "falha interna do programa",
    whose === "theirs" ? LATER : "tente de novo; se continuar, relate o defeito com esta linha",
  ],

  USAGE: () => ["o comando não foi entendido", "veja --help"],
  SERVER_UNREACHABLE: (s) => [
    `${server(s)} não responde`,
    "confira se napster-server está no ar e se --server tem o IP e a porta dele",
  ],
  SEVERAL_SERVERS: () => ["a rede tem mais de um servidor", "escolha um com --server IP:PORTA"],
  SERVER_GONE: (s) => [`a conexão com ${server(s)} caiu`, "confira se napster-server está no ar e tente de novo"],
  UNREACHABLE: (s) => [
    `outros peers não conseguem conectar a${s.at ? ` ${formatAddress(s.at)}` : " esta máquina"}, então ninguém verá seus arquivos`,
    `permita o napster-peer no firewall (no Windows, "Permitir o acesso" no Firewall do Windows) e, atrás de um roteador, redirecione ${s.at ? `a porta ${s.at.port}` : "a porta"} para esta máquina; seus downloads funcionam assim mesmo`,
  ],
  PEER_UNREACHABLE: (s) => [
    `${peer(s)} não responde`,
    "confira IP e porta, ou faça SEARCH de novo e escolha outro peer",
  ],
  NOT_ENCRYPTED: (s) => [
    `${other(s)} não aceita conexão cifrada, e às claras este programa não fala com outra máquina`,
    "confira o endereço; se o outro lado roda com --encryption off, em laboratório, use o mesmo aqui",
  ],
  ENCRYPTION_NEEDED: (s) => [
    `${other(s)} só aceita conexão cifrada, e a deste programa foi às claras`,
    "abra este programa sem --encryption off; se é uma porta de 127.0.0.1 que ssh, Docker ou WSL redireciona, use o endereço da outra máquina",
  ],
  WRONG_ID: (s) => [
    `em${s.peer === undefined ? " um endereço" : ` ${formatAddress(s.peer)}`} está outro programa, e não o que a lista do servidor diz`,
    "faça SEARCH de novo; se continuar, algum aparelho no caminho pode estar se passando por ele",
  ],
  SERVER_KEY_CHANGED: ({ server: at, ...s }, { detail }) => [
    `${server({ server: at, ...s })} mostra outra chave que não a conhecida${isId(detail) ? `: ${showId(detail)}` : ""}`,
    at?.known === undefined
      ? "confira o endereço e o ID depois de # com quem cuida do servidor; algum aparelho no caminho pode se passar por ele"
      : `${at.known.isFound && isId(detail) ? otherNetworkHint(at, detail) : ""}se quem cuida do servidor confirma essa chave, apague a linha ${at.known.line} de ${showFolder(at.known.path)}; se não, algum aparelho no caminho se passa por ele`,
  ],
  KEY_UNUSABLE: () => [
    "a chave deste programa não pôde ser lida nem gravada: desta vez ele usa outra",
    "confira a pasta de configuração, ou indique outra em NAPSTER_CONFIG",
  ],
  PEER_GONE: (s) => [`a conexão com ${peer(s)} caiu no meio do download`, `${AGAIN}, deste ou de outro peer`],
  STALLED: (s) => [`${peer(s)} parou de enviar`, `${AGAIN}, deste ou de outro peer`],
  BAD_REPLY: (s) => [
    `${other(s)} respondeu fora do protocolo`,
    "confira se o endereço é mesmo o de um napster da mesma versão",
  ],
  UNKNOWN_CODE: (s) => [`${other(s)} recusou por um motivo que este programa não conhece`, SAME_VERSION],
  PORT_IN_USE: (s) => [
    s.at ? `a porta ${s.at.port} já está em uso em ${s.at.ip}` : "a porta já está em uso",
    FREE_PORT,
  ],
  HOST_UNKNOWN: (s) => [
    `nenhuma máquina com o nome${s.name ? ` ${showFile(s.name)}` : ""} foi encontrada`,
    "confira o nome, ou use o IP da máquina",
  ],
  HOST_UNAVAILABLE: (s) => [
    `o IP${s.at ? ` ${s.at.ip}` : ""} não é desta máquina`,
    "use 127.0.0.1 ou um IP que ipconfig (Windows) ou ip addr (Linux) mostre",
  ],
  NO_DESCRIPTORS: () => [
    "o sistema não dá a este programa mais arquivos nem conexões abertas",
    "feche outros programas, ou aumente o limite (ulimit -n, no Linux e no macOS)",
  ],
  PORT_DENIED: (s) => [
    `o sistema não permite usar a porta${s.at ? ` ${s.at.port}` : ""}`,
    "escolha uma porta acima de 1024, ou libere o programa no firewall",
  ],
  FOLDER_MISSING: (s, { cause }) =>
    cause === "is-a-file"
      ? [`${folder(s).replace(/^a pasta /, "")} é um arquivo, e não uma pasta`, "indique a pasta em que ele está"]
      : [`${folder(s)} não existe ou não é uma pasta`, "confira o caminho, ou crie a pasta antes"],
  FOLDER_DENIED: (s) => [`o sistema não deixa usar ${folder(s)}`, "escolha uma pasta que você possa ler e gravar"],
  WIDE_FOLDER: (s) => [
    `${folder(s)} é sua pasta pessoal ou a raiz de um disco, e todo arquivo que está diretamente nela é compartilhado`,
    "use uma pasta só para o que quer compartilhar",
  ],
  NOT_SEARCHED: () => ["nenhum arquivo foi procurado ainda", "faça SEARCH antes de DOWNLOAD"],
  NO_SOURCE: (s) => [
    `nenhum peer tem ${file(s)}`,
    "confira o nome com extensão, letra por letra; no comando, um nome com espaços vai entre aspas",
  ],
  FILE_EXISTS: (s) => [`${file(s)} já existe n${folder(s)}`, "mova ou renomeie o que está lá, ou baixe em outra pasta"],
  IN_USE: (s) => [`${file(s)} já está sendo baixado nesta pasta`, "espere o outro download terminar"],
  DISK_FULL: (s) => [`não há espaço para ${file(s)} n${folder(s)}`, `libere espaço e ${AGAIN}`],
  DISK_ERROR: (s) => [`o disco falhou com ${file(s)}`, `confira se ${folder(s)} ainda existe e aceita gravação`],
  FILE_MISSING: (s) => [
    `${file(s)} não está mais n${folder(s)}`,
    "faça JOIN de novo para anunciar o que a pasta tem agora",
  ],
  CORRUPT: (s) => [`os dados que ${peer(s)} enviou não são os d${file(s)}`, OTHER_SOURCE],
  PART_BLOCKED: (s) => [
    `${folder(s)} tem um link, uma pasta ou outra coisa no lugar d${file(s)}.part, ou do .part.journal ou .part.lock dele`,
    "veja o que é, tire de lá e repita o DOWNLOAD, ou faça JOIN com outra pasta",
  ],
  PART_DENIED: (s) => [
    `${file(s)}.part, ou o .part.journal dele, é de outra pessoa, e o sistema não deixa gravar nele`,
    "peça a ela que termine ou apague o que ficou, ou faça JOIN com outra pasta",
  ],
  PART_LOST: (s) => [
    `${file(s)}.part foi apagado, trocado ou tirado d${folder(s)} enquanto era baixado`,
    "se foi movido, ponha-o de volta; depois repita o DOWNLOAD, e deixe os .part como estão até o fim",
  ],
  PART_CHANGED: (s) => [
    `outro programa mudou ${file(s)}.part enquanto era baixado`,
    "veja que programa grava nessa pasta; depois repita o DOWNLOAD: só o que foi estragado é baixado de novo",
  ],
  OTHER_CONTENT: (s) => [
    `n${folder(s)} há um download incompleto de outro arquivo com o nome d${file(s)}`,
    "apague o arquivo .part de lá, ou faça JOIN com outra pasta",
  ],
  CLOCK_WRONG: () => [
    "o relógio desta máquina está errado",
    "acerte data e hora: as datas dos arquivos dizem se eles mudaram",
  ],
  INDEX_UNREACHABLE: () => [
    "o índice compartilhado (Redis) não responde: só os peers deste servidor são encontrados",
    "confira --catalog e se o redis-server está no ar; o servidor volta ao índice sozinho",
  ],
  INDEX_PARTIAL: () => [
    "o servidor está sem o índice que divide com outros: podem faltar peers na resposta",
    "repita daqui a pouco; um download pergunta de novo sozinho",
  ],
  INDEX_DENIED: () => [
    "o índice compartilhado (Redis) não aceita a senha ou o usuário: só os peers deste servidor são encontrados",
    "use --catalog redis://USUÁRIO:SENHA@HOST:PORTA; os direitos que o usuário precisa estão em docs/OPERATIONS.md",
  ],
  INDEX_UNUSABLE: () => [
    "o que responde em --catalog não serve de índice: só os peers deste servidor são encontrados",
    "confira o endereço, e se outro programa usa chaves que começam com napster:",
  ],
  CANCELLED: (s) => [`o download foi cancelado${s.name === undefined ? "" : `: ${showFile(s.name)}`}`, AGAIN],
};

/** The server is without the index that it shares. */
export const partialComplaint = (): Complaint => complaintOf(fault("INDEX_PARTIAL", "theirs"), {});

/** What only a server, and what only a peer has reason to answer: from the other one it would be a lie about us. */
const SERVERS: readonly FaultCode[] = [
  "NOT_JOINED",
  "NOT_MEMBER",
  "BAD_ADDRESS",
  "ADDRESS_MISMATCH",
  "ADDRESS_TAKEN",
  "PAYLOAD_TOO_LARGE",
  "UNAVAILABLE",
];
const PEERS: readonly FaultCode[] = ["NOT_SHARED", "BUSY", "REFUSED", "CHANGED", "BAD_RANGE", "NOT_READY"];

function codeOf({ fault, whose }: Fault, { peer, server }: Subject): FaultCode {
  const others = peer !== undefined ? SERVERS : server !== undefined ? PEERS : [];
  return whose === "theirs" && others.includes(fault) ? "BAD_REPLY" : fault;
}

/** The sentence and hint of a fault. The detail stays out: it is English, and may come from the wire. */
export function complaintOf(fault: Fault, subject: Subject = {}): Complaint {
  const code = codeOf(fault, subject);
  const [cause, hint] = SENTENCES[code](subject, fault);
  return { cause, code, hint };
}
