// How a peer stands, as one quiet line that is drawn below the menu and goes with it.
// Invariant: short enough for a narrow window; empty before the first JOIN, when there is nothing to say.
// Never: draws.

import type { Hashing } from "../content/library.ts";
import { type Address, formatAddress } from "../protocol/address.ts";

export type Standing = {
  /** Where others reach this peer. */
  readonly address?: Address;
  /** How many files it shares. */
  readonly files?: number;
  /** The server is gone, and this peer tries to come back. */
  readonly away?: boolean;
  /** How far the hashing of its files is. */
  readonly hashing?: Hashing;
};

export function standingLine({ address, files = 0, away = false, hashing }: Standing): string {
  if (address === undefined) return "";
  const shared = `${files} ${files === 1 ? "arquivo" : "arquivos"}`;
  return [formatAddress(address), away ? "sem servidor, voltando" : shared, ...hashingWords(hashing)].join(" · ");
}

function hashingWords(hashing: Hashing | undefined): string[] {
  if (hashing === undefined || hashing.files >= hashing.filesTotal) return [];
  const { files, filesTotal, bytes, bytesTotal } = hashing;
  const percent = bytesTotal > 0 ? Math.floor((Math.min(bytes, bytesTotal) / bytesTotal) * 100) : 0;
  return [`calculando ${files + 1} de ${filesTotal}, ${percent}%`];
}
