// What `doctor` found, as one page for a person and one object for a program.
// Invariant: both say the same; a line that begins with !! has a code and says what to do next.
// Never: finds anything out.

import type { FolderState } from "../../content/folder-state.ts";
import type { Mapped } from "../../port-mapping/port-mapper.ts";
import { type Address, formatAddress, isLoopback } from "../../protocol/address.ts";
import { type Fault, fault, isFault } from "../../protocol/fault.ts";
import { type Id, showId } from "../../protocol/id.ts";
import { type Complaint, complaintOf } from "./complaints.ts";
import { jsonLine, showFile, showFolder } from "./lines.ts";

/** How the server was found; "usual" where none was named and none found. */
export type ServerHow = "named" | "usual" | "network";

export type Findings = {
  readonly version: string;
  readonly system: string;
  readonly server: {
    readonly address: Address;
    readonly how: ServerHow;
    readonly name?: string | undefined;
    readonly id?: Id | undefined;
  };
  /** Of this program's own key. */
  readonly id: Id;
  /** What came of the JOIN: the address that others are told, and whether they reach it. */
  readonly joined: { readonly address: Address; readonly reached: boolean; readonly ms: number } | Fault;
  /** The address by which this machine reaches the server, and where this peer listened for the JOIN. */
  readonly own: Address;
  readonly through: Mapped | undefined;
  readonly folder: { readonly path: string; readonly state: FolderState | Fault };
  /** The date here. */
  readonly now: Date;
};

/** Before it this program did not exist: a clock that says so is wrong. */
const CLOCK_LEAST = Date.UTC(2026, 0, 1);
const NOT_WRITABLE = fault("FOLDER_DENIED", "disk");

/** Less than this is too little for one of the files that this is made for. */
const SPACE_BYTES_LEAST = 1e9;

/** What is wrong, in the order of the page. */
export function problemsOf({ server, joined, own, through, folder, now }: Findings): Complaint[] {
  const problems: Complaint[] = [];
  const { state, path } = folder;
  if (isFault(joined)) problems.push(complaintOf(joined, { server: server.address, at: own }));
  else if (!joined.reached) problems.push(unreachedComplaint(joined.address, own, through));
  if (isFault(state)) problems.push(complaintOf(state, { folder: path }));
  else if (!state.isWritable) problems.push(complaintOf(NOT_WRITABLE, { folder: path }));
  else if (state.freeBytes < SPACE_BYTES_LEAST)
    problems.push({
      cause: `a pasta ${showFolder(path)} só tem ${sizeWords(state.freeBytes)} livres`,
      code: "DISK_FULL",
      hint: "libere espaço, ou use uma pasta de outro disco",
    });
  if (now.getTime() < CLOCK_LEAST) problems.push(complaintOf(fault("CLOCK_WRONG", "ours")));
  return problems;
}

function unreachedComplaint(at: Address, own: Address, through: Mapped | undefined): Complaint {
  const { cause, code } = complaintOf(fault("UNREACHABLE", "network"), { at });
  if (through !== undefined)
    return { cause, code, hint: "o roteador abriu a porta, mas há outro roteador ou firewall depois dele" };
  if (own.ip !== at.ip)
    return {
      cause,
      code,
      hint: `ligue UPnP ou NAT-PMP no roteador, ou redirecione nele a porta ${own.port} para ${own.ip}; se ele já faz isso: ${firewallHint(own.port)}`,
    };
  return { cause, code, hint: firewallHint(own.port) };
}

/** What lets others in, in the words of this system. */
export function firewallHint(port: number, platform: string = process.platform): string {
  if (platform === "win32")
    return 'permita o napster-peer em "Permitir um aplicativo pelo Firewall do Windows", em redes privadas';
  if (platform === "darwin") return "permita o napster-peer em Ajustes, Rede, Firewall, Opções";
  return `libere a porta no firewall: sudo ufw allow ${port}/tcp, ou sudo firewall-cmd --add-port=${port}/tcp`;
}

const HOW: Record<ServerHow, string> = {
  named: "dado por --server ou NAPSTER_SERVER",
  usual: "o desta máquina, pois nenhum foi dado",
  network: "achado na rede",
};

/** The page, line by line. */
export function doctorLines(found: Findings): string[] {
  const { version, system, server, joined, own, folder, now } = found;
  const problems = problemsOf(found);
  const name = server.name === undefined ? "" : ` (${showFile(server.name)})`;
  const rows = [
    ["programa", `napster-peer ${version}, ${system}`],
    ["servidor", `${formatAddress(server.address)}${name}, ${HOW[server.how]}`],
    ["resposta", isFault(joined) ? "nenhuma" : `em ${joined.ms} ms`],
    ["chave", `deste peer ${showId(found.id)}`],
    ["", `do servidor ${keyWords(server)}`],
    ["endereço", addressWords(own, joined)],
    ["alcance", reachWords(found)],
    ["pasta", folderWords(folder)],
    ["relógio", localTime(now)],
  ];
  const page = rows.map(([title = "", text = ""]) => `${title.padEnd(9)} ${text}`);
  const wrong = problems.flatMap(({ cause, code, hint }) => [`!! ${cause} [${code}]`, `   ${hint}`]);
  return [...page, ...(wrong.length > 0 ? wrong : ["tudo certo"])];
}

const keyWords = ({ id, address }: Findings["server"]): string =>
  id !== undefined
    ? showId(id)
    : isLoopback(address.ip)
      ? "não é pedida: a conexão não sai desta máquina"
      : "desconhecida";

function addressWords(own: Address, joined: Findings["joined"]): string {
  if (isFault(joined)) return `${own.ip} nesta máquina`;
  const seen = joined.address.ip;
  return seen === own.ip ? `${seen}, o mesmo que o servidor vê` : `${own.ip} nesta máquina; o servidor vê ${seen}`;
}

function reachWords({ joined, server, through }: Findings): string {
  if (isFault(joined)) return "não se sabe sem o servidor";
  const at = formatAddress(joined.address);
  if (!joined.reached) return `outros peers não conseguem conectar a ${at}`;
  if (through !== undefined)
    return `outros peers conectam a ${at}, pela porta que o roteador ${through.router} abriu (${through.by})`;
  return isLoopback(server.address.ip) ? `os peers desta máquina conectam a ${at}` : `outros peers conectam a ${at}`;
}

function folderWords({ path, state }: Findings["folder"]): string {
  if (isFault(state)) return showFolder(path);
  const files = `${state.files} ${state.files === 1 ? "arquivo" : "arquivos"}`;
  return `${showFolder(path)}: ${files}, ${sizeWords(state.freeBytes)} livres`;
}

/** As file managers say it, in thousands. */
function sizeWords(bytes: number): string {
  const [unit, size] = bytes >= 1e9 ? ["GB", 1e9] : ["MB", 1e6];
  return `${(bytes / size).toFixed(1).replace(".", ",")} ${unit}`;
}

/** The date and the hour here, and how far from UTC that is. */
function localTime(now: Date): string {
  const minutes = -now.getTimezoneOffset();
  const local = new Date(now.getTime() + minutes * 60_000).toISOString().slice(0, 19).replace("T", " ");
  const two = (number: number): string => String(Math.floor(number)).padStart(2, "0");
  return `${local} ${minutes < 0 ? "-" : "+"}${two(Math.abs(minutes) / 60)}:${two(Math.abs(minutes) % 60)}`;
}

/** --json: one object. */
export function doctorJson(found: Findings): string {
  const { version, system, server, joined, own, through, folder, now } = found;
  const problems = problemsOf(found).map(({ cause, code, hint }) => ({ code, message: cause, hint }));
  return jsonLine({
    event: "doctor",
    ok: problems.length === 0,
    version,
    system,
    server: { ...server.address, how: server.how, name: server.name, id: server.id },
    id: found.id,
    answered: !isFault(joined),
    ...(!isFault(joined) && {
      ms: joined.ms,
      seen: joined.address,
      reached: joined.reached,
      through: through && { by: through.by, router: through.router, port: through.port },
    }),
    own: own.ip,
    folder: { path: folder.path, ...(isFault(folder.state) ? {} : folder.state) },
    clock: now.toISOString(),
    problems,
  });
}
