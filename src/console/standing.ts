// How a peer stands, as one quiet line that is drawn below the menu and goes with it.
// Invariant: short enough for a narrow window; empty before the first JOIN, when there is nothing to say.
// Never: draws.

import type { Hashing } from "../content/library.ts";
import type { DownloadView } from "../peer/downloads.ts";
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
  /** Downloads that go on while the person does something else. */
  readonly downloads?: readonly DownloadView[];
};

export function standingLine({ address, files = 0, away = false, hashing, downloads = [] }: Standing): string {
  if (address === undefined) return "";
  const shared = `${files} ${files === 1 ? "arquivo" : "arquivos"}`;
  const parts = [formatAddress(address), away ? "sem servidor, voltando" : shared];
  return [...parts, ...downloadWords(downloads), ...hashingWords(hashing)].join(" · ");
}

function downloadWords(downloads: readonly DownloadView[]): string[] {
  if (downloads.length === 0) return [];
  const running = downloads.filter(({ state }) => state === "running");
  const [bytes, size] = running.reduce(
    ([bytes, size], { progress }) => [bytes + (progress?.bytes ?? 0), size + (progress?.size ?? 0)],
    [0, 0],
  );
  const part = size > 0 ? `, ${Math.floor((bytes / size) * 100)}%` : "";
  const others = downloads.length - running.length;
  return [
    ...(running.length > 0 ? [`baixando ${running.length}${part}`] : []),
    ...(others > 0 ? [`${others} na espera`] : []),
  ];
}

function hashingWords(hashing: Hashing | undefined): string[] {
  if (hashing === undefined || hashing.files >= hashing.filesTotal) return [];
  const { files, filesTotal, bytes, bytesTotal } = hashing;
  const percent = bytesTotal > 0 ? Math.floor((Math.min(bytes, bytesTotal) / bytesTotal) * 100) : 0;
  return [`calculando ${files + 1} de ${filesTotal}, ${percent}%`];
}
