// Which of the servers that were found in the network a run turns to.
// Invariant: one is taken and told; among several a person chooses at the terminal, and a script is told them all.
// Never: looks for servers, or asks where no person can answer.

import type { FoundServer } from "../discovery/discovery-search.ts";
import { formatAddress } from "../protocol/address.ts";
import { type Asker, isStop, type Stop } from "./terminal/questions.ts";
import { severalServersComplaint } from "./text/complaints.ts";
import type { Report } from "./text/report.ts";

type Choosing = { readonly report: Report; readonly asker: Asker | undefined };

/** At least one was found. Undefined where none can be chosen, which has been shown. */
export async function chooseServer(
  found: readonly FoundServer[],
  { report, asker }: Choosing,
): Promise<FoundServer | Stop | undefined> {
  const [only, ...others] = found;
  if (only !== undefined && others.length === 0) return taken(only, report);
  if (!asker?.interactive) {
    report.complain(severalServersComplaint(found));
    return undefined;
  }
  const shown = found.map(({ address, name }) => `${formatAddress(address)} ${name}`);
  const help = "há mais de um servidor na rede; setas e Enter, ou o número, escolhem";
  const chosen = await asker.choose("Qual servidor?", shown, { help });
  if (isStop(chosen)) return chosen;
  const server = found[shown.indexOf(chosen)];
  return server && taken(server, report);
}

function taken(server: FoundServer, report: Report): FoundServer {
  report.server(server);
  return server;
}
