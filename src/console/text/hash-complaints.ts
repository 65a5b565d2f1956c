// What a person reads when `hash` finds a file that it cannot read, or that is not what it was.
// Invariant: each says what is wrong with the file and what to do about it.
// Never: shows a path raw.

import type { Fault, FaultCode } from "../../protocol/fault.ts";
import { type Complaint, complaintOf } from "./complaints.ts";
import { showFolder } from "./lines.ts";

/** A file that was to be hashed; `shown` is its name or path. */
export function unreadComplaint(shown: string, why: Fault): Complaint {
  const isFolder = why.cause === "is-a-folder";
  const [what, hint] = (isFolder ? A_FOLDER : UNREAD[why.fault]) ?? [];
  if (what === undefined || hint === undefined) return complaintOf(why, { name: shown });
  const subject = isFolder ? "" : "o arquivo ";
  return { cause: `${subject}${showFolder(shown)} ${what}`, code: why.fault, hint };
}

const A_FOLDER = [
  "é uma pasta, e não um arquivo",
  "indique os arquivos dela, ou confira a pasta com hash --verify PASTA",
];

const UNREAD: Partial<Record<FaultCode, readonly [what: string, hint: string]>> = {
  FILE_MISSING: ["não existe", "confira o caminho"],
  CHANGED: ["mudou enquanto era lido", "espere a gravação terminar e tente de novo"],
  DISK_ERROR: ["não pôde ser lido", "confira se é um arquivo comum que você pode ler, e se o disco está bom"],
};

/** What --verify ends with when not all is well. */
export function damagedComplaint(damaged: number, total: number): Complaint {
  return {
    cause: `arquivos danificados: ${damaged} de ${total}`,
    code: "CORRUPT",
    hint: "restaure cada um de uma cópia, ou apague-o e baixe de novo",
  };
}

/** --verify without its record: every file looks new. */
export const UNRECORDED: Complaint = {
  cause: "o registro das verificações não pôde ser aberto, e sem ele todo arquivo parece novo",
  code: "DISK_ERROR",
  hint: "confira se sua pasta de cache aceita gravação, ou indique outra em NAPSTER_CACHE",
};
