// `doctor`: finds out, in one run, all that decides whether this peer works, and says it on one page.
// Invariant: everything that it began is over when it ends; exit code 0 means that nothing is wrong.
// Never: shares a file; it is in the network for a moment with none.

import type { FolderState } from "../content/folder-state.ts";
import type { Peer, PeerEvent } from "../peer.ts";
import type { Mapped } from "../port-mapping/port-mapper.ts";
import type { Address } from "../protocol/address.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import { JOIN_DEFAULT } from "./menu.ts";
import { EXIT, type Life } from "./shutdown.ts";
import type { Output } from "./terminal/output.ts";
import { isStop } from "./terminal/questions.ts";
import { doctorJson, doctorLines, type Findings, problemsOf } from "./text/doctor-lines.ts";
import type { Report } from "./text/report.ts";

/** A router that answers at all has answered by then. */
const ROUTER_MS_MAX = 10_000;

type Doctor = {
  readonly peer: Pick<Peer, "join" | "localIp" | "freePort">;
  readonly life: Life;
  readonly report: Report;
  readonly output: Pick<Output, "out">;
  readonly config: { readonly host: string | undefined; readonly port: number | undefined; readonly json: boolean };
  readonly known: Pick<Findings, "version" | "system" | "server" | "id">;
  readonly folder: { readonly path: string; readonly look: (path: string) => Promise<FolderState | Fault> };
  /** Hears what the peer tells, from now on. */
  readonly hear: (listener: (event: PeerEvent) => void) => void;
};

/** The exit code. */
export async function runDoctor(doctor: Doctor): Promise<number> {
  const { life, report, output, config } = doctor;
  report.working("Examinando: servidor, porta, roteador, pasta...");
  const found = await life.during(examine(doctor));
  report.settled();
  if (isStop(found)) return EXIT.failed;
  const lines = config.json ? [doctorJson(found)] : doctorLines(found);
  output.out(lines.map((line) => `${line}\n`).join(""));
  return problemsOf(found).length === 0 ? EXIT.done : EXIT.failed;
}

async function examine({ peer, config, known, folder, hear }: Doctor): Promise<Findings> {
  const { host } = config;
  let { server } = known;
  const routed = Promise.withResolvers<{ address: Address; reached: boolean; through: Mapped } | undefined>();
  hear((event) => {
    if (event.type === "server-met") server = { ...server, id: event.id };
    if (event.type === "unmapped") routed.resolve(undefined);
    if (event.type === "reach" && event.through !== undefined) routed.resolve({ ...event, through: event.through });
  });
  const ownIp = host ?? (await peer.localIp());
  const port = config.port ?? peer.freePort({ ip: ownIp, port: JOIN_DEFAULT.port }) ?? 0;
  const began = performance.now();
  const joined = await peer.join({ host, port, folder: undefined });
  const ms = Math.round(performance.now() - began);
  const state = await folder.look(folder.path);
  const page = { ...known, server, own: { ip: ownIp, port }, folder: { path: folder.path, state }, now: new Date() };
  if (isFault(joined)) return { ...page, joined, through: undefined };
  const { address, reached } = joined;
  const late = setTimeout(() => routed.resolve(undefined), ROUTER_MS_MAX);
  const mapped = reached ? undefined : await routed.promise;
  clearTimeout(late);
  if (mapped === undefined) return { ...page, joined: { address, reached, ms }, through: undefined };
  return { ...page, joined: { address: mapped.address, reached: mapped.reached, ms }, through: mapped.through };
}
