// The server's executable: options -> parts -> go.
// Invariant: what Servidor tells becomes the dictated lines, and nothing else reaches stdout.
// Never: holds logic of its own; every step is one call into the part that knows.

import { hostname } from "node:os";
import type { InviteTerms } from "./config/readers.ts";
import { isUsage, parseServer, SERVER_DEFAULT, type ServerConfig, serverUsage } from "./config.ts";
import { createJsonLog, createLog, type Log } from "./console/log.ts";
import { askServer } from "./console/menu.ts";
import { answerAndExit, requireDescriptors, runProgram } from "./console/program.ts";
import { EXIT } from "./console/shutdown.ts";
import type { Output } from "./console/terminal/output.ts";
import { type Asker, isStop } from "./console/terminal/questions.ts";
import { keyComplaint, membersComplaint, UNENCRYPTED } from "./console/text/complaints.ts";
import { serverHelp } from "./console/text/help.ts";
import { addedLine, addedLineParts, searchedLine } from "./console/text/lines.ts";
import { createReport, type Report } from "./console/text/report.ts";
import { openIdentity } from "./content/identity-file.ts";
import { type MembersFile, openMembers } from "./content/members-file.ts";
import { createDiscoveryAnswers, type DiscoveryAnswers } from "./discovery/discovery-answers.ts";
import { SYSTEM_NET } from "./discovery/discovery-net.ts";
import { type Address, AS_SEEN, formatServerUrl, isLoopback } from "./protocol/address.ts";
import { isServerName, SERVER_NAME_BYTES_MAX } from "./protocol/discovery.ts";
import { type Fault, fault, isFault } from "./protocol/fault.ts";
import { type Id, idOfHash, showId } from "./protocol/id.ts";
import { type Admit, createInvite } from "./servidor/invites.ts";
import { networkOf, Servidor, type ServidorEnv, type ServidorEvent } from "./servidor.ts";
import { systemClock } from "./shared/clock.ts";
import { DESCRIPTORS_MAX, DESCRIPTORS_MIN } from "./transport/descriptors.ts";
import { machineIps } from "./transport/every-address.ts";
import { versionLine } from "./version.ts";
import { qrLines } from "./web/qr.ts";

const PROGRAM = "napster-server";

/** How often the number of peers is looked at. */
const LOOK_MS = 500;
const peersOf = (count: number): string => `${count} ${count === 1 ? "peer" : "peers"}`;

/** A dictated line up to this size is made at once, in about a millisecond. */
const LINE_BYTES_AT_ONCE_MAX = 8 * 1024;

async function main(config: ServerConfig): Promise<never> {
  return runProgram(async ({ output, screen, reportOptions, tell, life, openAsker, openIfOurs }) => {
    const report = createReport(reportOptions);
    const logOptions = { output, tell, errIsTerminal: reportOptions.errIsTerminal, now: () => new Date() };
    const log = config.log === "json" ? createJsonLog(logOptions) : createLog(logOptions);

    const say = (line: string): void => screen.above(() => output.out(`${line}\n`));

    function onEvent(event: ServidorEvent): void {
      // SPEC 6: one line for each JOIN and each SEARCH.
      if (event.type === "joined" && !config.quiet) screen.above(() => tellJoined(output, event));
      if (event.type === "searched" && !config.quiet) say(searchedLine(event.address, event.name));
      if (event.type === "fault" && config.verbose) log.refused(event.remote, event.fault);
      if (event.type === "index-away") log.failed(indexFault(event.trouble));
      if (event.type === "index-back") log.indexBack();
    }

    const shown = showing(config, log, report);
    if (shown === undefined) return EXIT.failed;
    const { env, id } = shown;

    let servidor: Servidor | undefined;
    /** Where the keyboard is ours a quiet line shows that all goes on, and a word ends it. */
    async function stay(): Promise<void> {
      const asker = await openIfOurs();
      if (!asker?.interactive || !reportOptions.watched) return new Promise<never>(() => {});
      const count = (): string => peersOf(servidor?.peers ?? 0);
      screen.quiet(count);
      const looking = setInterval(() => screen.quiet(count), LOOK_MS);
      await asker.idle("este servidor atende sozinho; sair, ou Ctrl+C, o encerra");
      clearInterval(looking);
    }

    function listen(host: string, port: number): Address | Fault {
      const { catalog, probe, limits, trusted, quiet } = config;
      const at = { ip: host, port };
      const candidate = new Servidor({ at, onEvent, tellSearches: !quiet, catalog, probe, limits, trusted, env });
      const address = candidate.listen();
      if (!isFault(address)) servidor = candidate;
      return address;
    }

    // The keyboard is opened at the first question only: a server in the background must not touch its terminal.
    const ask: Asker["ask"] = (question) => openAsker().ask(question);
    const address = await askServer({ ask, given: config, fallback: SERVER_DEFAULT, report, listen });
    if (isStop(address)) return address.stop === "leave" ? EXIT.done : EXIT.failed;
    const operations = config.metrics && servidor?.serveOperations(config.metrics);
    if (isFault(operations)) {
      report.failed(operations, { at: config.metrics });
      await servidor?.close();
      return EXIT.failed;
    }
    if (operations !== undefined) log.metrics(operations);
    const answers = await answerSearches(address, config, id);
    if (isFault(answers)) log.unfound(answers);
    log.ready(address, config.port !== 0);
    const urls = id === undefined ? [] : urlsOf(address, id);
    log.addresses(urls, config.qr ? urls.slice(0, 1).flatMap(qrLines) : []);
    await life.during(stay());
    log.stopping();
    if (!isFault(answers)) answers?.close();
    await servidor?.close();
    return EXIT.done;
  });
}

type Shown = { readonly env: Partial<ServidorEnv>; readonly id: Id | undefined };

/** The network with the server's key, and for whom; the ID that others know it by. A fault has been shown. */
function showing({ encryption, members, invite }: ServerConfig, log: Log, report: Report): Shown | undefined {
  const { identity, path, trouble } = openIdentity();
  if (trouble !== undefined) log.warn(keyComplaint(path, trouble));
  if (encryption === "never") log.warn(UNENCRYPTED);
  const listed = members === undefined ? undefined : openMembers(members);
  if (members !== undefined && isFault(listed)) {
    report.complain(membersComplaint(listed, members));
    return undefined;
  }
  const isMember = isFault(listed) ? undefined : listed?.has;
  const admit = isFault(listed) || !listed || !invite ? undefined : openInvite(invite, listed, log);
  const env = { ...networkOf({ encryption, identity }), ...(isMember && { isMember }), ...(admit && { admit }) };
  return { env, id: encryption === "never" ? undefined : identity.id };
}

/** An invitation with a new code, which is shown; whom it admits is written into the list. */
function openInvite({ people, hours }: InviteTerms, members: MembersFile, log: Log): Admit {
  const code = idOfHash(crypto.getRandomValues(new Uint8Array(15)));
  const until = new Date(Date.now() + hours * 3_600_000);
  log.invite(showId(code), people, until);
  // By a clock that a correction of the date does not move.
  const end = performance.now() + hours * 3_600_000;
  const add = (id: Id) => members.add(id, `convite de ${new Date().toISOString().slice(0, 10)}`);
  return createInvite({ code, people, until: end, now: () => performance.now(), add });
}

/** Peers of the server's networks that look for one are answered; undefined where they are not to be, or cannot reach it. */
async function answerSearches(
  listening: Address,
  { discovery }: ServerConfig,
  id: Id | undefined,
): Promise<DiscoveryAnswers | Fault | undefined> {
  const name = discovery.name ?? hostname().slice(0, SERVER_NAME_BYTES_MAX);
  if (!discovery.isOn) return undefined;
  return createDiscoveryAnswers({
    net: SYSTEM_NET,
    clock: systemClock,
    listening,
    id,
    name: isServerName(name) ? name : PROGRAM,
  });
}

/** More addresses than a person would try are not shown. */
const URLS_MAX = 4;

/** Where peers of other machines find a server that listens there. */
function urlsOf({ ip, port }: Address, id: Id): string[] {
  const ips = ip === AS_SEEN ? machineIps() : [ip];
  const outside = ips.filter((one) => !isLoopback(one)).slice(0, URLS_MAX);
  return outside.map((one) => formatServerUrl({ ip: one, port }, id));
}

/** A long list is made while it is written, so that no peer waits for the line. */
function tellJoined(output: Output, { address, names }: Extract<ServidorEvent, { type: "joined" }>): void {
  let bytes = names.bytes ?? 0;
  if (names.bytes === undefined) for (const name of names) bytes += 1 + name.length;
  if (bytes <= LINE_BYTES_AT_ONCE_MAX) output.out(`${addedLine(address, names)}\n`);
  else output.outParts(bytes, addedLineParts(address, names));
}

const INDEX_FAULTS = {
  unreachable: "INDEX_UNREACHABLE",
  denied: "INDEX_DENIED",
  unusable: "INDEX_UNUSABLE",
} as const;

function indexFault(trouble: Extract<ServidorEvent, { type: "index-away" }>["trouble"]): Fault {
  return fault(INDEX_FAULTS[trouble.why], "network", trouble.why === "unusable" ? trouble.detail : "", true);
}

requireDescriptors(DESCRIPTORS_MAX, DESCRIPTORS_MIN);
const config = parseServer(Bun.argv.slice(2));
const texts = { help: serverHelp(serverUsage()), version: versionLine(PROGRAM) };
await (isUsage(config) || "asked" in config ? answerAndExit(PROGRAM, config, texts) : main(config));
