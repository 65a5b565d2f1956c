// The peer's executable: options -> parts -> go.
// Invariant: whatever it was asked to do, the peer leaves the network before the process ends.
// Never: holds logic of its own; every step is one call into the part that knows.

import {
  type Endpoint,
  type GetOptions,
  type HashConfig,
  isUsage,
  type PeerConfig,
  parsePeer,
  peerUsage,
  SERVER_DEFAULT,
  WAIT_SECONDS_DEFAULT,
} from "./config.ts";
import { type ActionContext, type Seeker, showSkipped } from "./console/actions.ts";
import { runTask } from "./console/commands.ts";
import { runDoctor } from "./console/doctor.ts";
import { createFollower } from "./console/follower.ts";
import { runHash, runVerify } from "./console/hash.ts";
import { runMenu } from "./console/menu.ts";
import { openFileWithSystem } from "./console/player.ts";
import { answerAndExit, requireDescriptors, runProgram } from "./console/program.ts";
import { chooseServer } from "./console/server-choice.ts";
import { EXIT, type Life } from "./console/shutdown.ts";
import { type Asker, isStop, type Stop } from "./console/terminal/questions.ts";
import {
  cutNameComplaint,
  damagedComplaint,
  type KnownServer,
  keyComplaint,
  leftOutComplaint,
  listComplaint,
  moreRefusedComplaint,
  nothingBegunComplaint,
  nothingListedComplaint,
  partialComplaint,
  refusedComplaint,
  UNENCRYPTED,
} from "./console/text/complaints.ts";
import type { Findings } from "./console/text/doctor-lines.ts";
import { UNRECORDED } from "./console/text/hash-complaints.ts";
import { peerHelp } from "./console/text/help.ts";
import { createJsonReport, createReport, type Report } from "./console/text/report.ts";
import { chosenFault, defaultFolder, isWide } from "./content/default-folder.ts";
import { lookAtFolder } from "./content/folder-state.ts";
import { createHashCache } from "./content/hashing/hash-cache.ts";
import { createHasher } from "./content/hashing/hasher.ts";
import { hashFiles, type Verdict, verifyFolder } from "./content/hashing/verify.ts";
import { openIdentity } from "./content/identity-file.ts";
import { openKnownServers } from "./content/known-servers.ts";
import { partialNames, readNameList } from "./content/name-list.ts";
import { removePlaylists, writePlaylist } from "./content/playlist.ts";
import { SYSTEM_NET } from "./discovery/discovery-net.ts";
import { searchServers } from "./discovery/discovery-search.ts";
import { locateServer } from "./discovery/locate-server.ts";
import { Peer, type PeerEvent, resolveHost } from "./peer.ts";
import { type Address, formatAddress, sameAddress } from "./protocol/address.ts";
import { type Fault, fault, isFault } from "./protocol/fault.ts";
import type { Id } from "./protocol/id.ts";
import { systemClock } from "./shared/clock.ts";
import { DESCRIPTORS_MAX, DESCRIPTORS_MIN } from "./transport/descriptors.ts";
import type { Security } from "./transport/security.ts";
import { connect } from "./transport/tcp.ts";
import { PROGRAM_VERSION, versionLine } from "./version.ts";
import { createPage, type Page } from "./web/page.ts";
import { both } from "./web/page-report.ts";
import { invite, joinForPage, runWeb, showPage } from "./web/run-web.ts";

const PROGRAM = "napster-peer";
const KNOWN = openKnownServers();

/** A server that does not answer the goodbye learns of it from the closed connection. */
const LEAVE_MS_MAX = 2000;

/** Files that the server does not take are told by name, up to so many at the same time. */
const REFUSED_SHOWN_MAX = 5;

/** A fault has been shown. */
async function addressOf({ host, port, id }: Endpoint, report: Report): Promise<Address | Fault> {
  const ip = await resolveHost(host);
  if (isFault(ip)) report.failed(ip, { name: host });
  return isFault(ip) ? ip : { ip, port, id };
}

/** The server with the key that it was given with, or that is remembered of it, and what its line begins with. */
function knownServer(at: Address, { server: named, invite }: PeerConfig, { identity }: Security): KnownServer {
  const ourId = identity.id;
  if (at.id !== undefined) return { ...at, ourId, invite };
  const { path, find } = KNOWN;
  const line = named === undefined ? formatAddress(at) : `${named.host}:${named.port}`;
  return { ...at, id: find(line), known: { line, path, isFound: named === undefined }, ourId, invite };
}

/** Its key is remembered, and told. */
function remember({ known, ...at }: KnownServer, id: Id, report: Report): void {
  const line = known?.line ?? formatAddress(at);
  report.firstSeen(line, id, KNOWN.remember(line, id) === undefined ? KNOWN.path : undefined);
}

const ABOUT = { version: PROGRAM_VERSION, system: `${process.platform} ${process.arch}` };

type DoctorConfig = PeerConfig & { readonly command: "doctor" };
type Asking = { readonly report: Report; readonly life: Life; readonly asker: Asker | undefined };

/** The server that was named, the one of this machine, or one of its networks. A fault has been shown. */
async function serverOf(
  { server }: PeerConfig,
  { report, life, asker }: Asking,
): Promise<Findings["server"] | Stop | Fault | undefined> {
  if (server !== undefined) {
    const address = await life.during(addressOf(server, report));
    return isStop(address) || isFault(address) ? address : { address, how: "named" };
  }
  report.working("Procurando um servidor...");
  const search = (signal: AbortSignal) => searchServers(SYSTEM_NET, systemClock, signal);
  const found = await life.during(locateServer({ usual: SERVER_DEFAULT, connect, clock: systemClock, search }));
  report.settled();
  if (isStop(found)) return found;
  if (found === "usual") return { address: SERVER_DEFAULT, how: "usual" };
  const chosen = await chooseServer(found, { report, asker });
  return chosen === undefined || isStop(chosen) ? chosen : { ...chosen, how: "network" };
}

/**
 * Looks again, after a JOIN that did not reach the usual server, for one of the network. All parts of the program hold
 * the one object `server`, which is then the server that was found.
 */
function seekerOf(
  server: KnownServer,
  how: Findings["server"]["how"],
  { config, security }: { readonly config: PeerConfig; readonly security: Security },
  asking: Asking,
): Seeker {
  let isMissed = false;
  return {
    missed() {
      isMissed = how === "usual";
    },
    async again() {
      const found = isMissed ? await serverOf(config, asking) : undefined;
      isMissed = false;
      if (found === undefined || isStop(found) || isFault(found) || sameAddress(found.address, server)) return false;
      Object.assign(server, knownServer(found.address, config, security));
      return true;
    },
  };
}

/** Tells what the peer tells: to a run that stays all of it, to one that ends what it needs. */
function tellEvent(report: Report, config: PeerConfig, server: KnownServer, event: PeerEvent): void {
  if (event.type === "server-met") remember(server, event.id, report);
  if (event.type === "server-changed") report.failed(fault("SERVER_KEY_CHANGED", "network", event.id), { server });
  // A command that ends hears of the server in the answer it waits for, a download goes on without it, and a command
  // for one answer, or one file, needs nothing that others find it by.
  const stays = config.command === "menu" || config.command === "share" || config.command === "web";
  if (event.type === "server-lost" && stays) report.serverLost(server);
  if (event.type === "server-back") report.serverBack(event.address);
  if (event.type === "reach" && stays) report.reach(event.address, event.reached, event.through);
  if (event.type === "partial") report.warn(partialComplaint());
  if (event.type === "skipped") showSkipped(report, event.files);
  if (event.type === "left-out") report.complain(leftOutComplaint(event.shared, event.count));
  if (event.type === "shared" && stays) report.shared(event.names, event.total);
  if (event.type === "withdrawn") report.withdrawn(event.names, event.total);
  if (event.type === "damaged") report.complain(damagedComplaint(event.name, event.piece));
  if (event.type === "returned" && stays) report.returned(event.names, event.total);
  if (event.type === "refused" && event.count <= REFUSED_SHOWN_MAX)
    report.complain(refusedComplaint(event.name, event.why, server));
  if (event.type === "refused" && event.count === REFUSED_SHOWN_MAX + 1) report.complain(moreRefusedComplaint());
  if (event.type === "hashing") {
    const { type: _, ...hashing } = event;
    report.hashing(hashing);
  }
  if (event.type === "hashed") report.hashed(event.name, event.root);
  if (event.type === "uploaded") report.uploaded(event.name, event.to, event.bytes);
}

/** The program's key, with whatever is wrong with it told, and what is encrypted. */
function securityOf({ encryption }: PeerConfig, report: Report): Security {
  const { identity, path, trouble } = openIdentity();
  if (trouble !== undefined) report.warn(keyComplaint(path, trouble));
  if (encryption === "never") report.warn(UNENCRYPTED);
  return { encryption, identity };
}

/** The page that this run may open. */
function pageOf(config: PeerConfig, peer: Peer, context: ActionContext): Page {
  const { server } = context;
  const { maxUploads, maxUploadRate } = config.uploads;
  const { maxDownloadRate } = config.downloads;
  const page: Page = createPage({
    peer,
    server,
    port: config.webPort,
    version: PROGRAM_VERSION,
    limits: { maxUploads, maxUploadRate, maxDownloadRate, maxDownloads: peer.downloads.max },
    join: (at) => joinForPage(context, at),
    verify: (folder) => verify(folder, (verdict) => page.report()?.verdict(verdict)),
    start: (wish, folder) => void context.follower.start(wish, folder),
  });
  return page;
}

/** The folder that JOIN offers, made as JOIN makes it. */
function offeredFolder(): string {
  const offered = defaultFolder();
  chosenFault(offered, offered);
  return offered;
}

/** `web`, with the folder that was given or the one that JOIN offers. */
async function web(context: ActionContext, page: Page, config: PeerConfig & { command: "web" }): Promise<number> {
  const folder = config.folder ?? defaultFolder();
  const denied = chosenFault(folder, defaultFolder());
  if (denied === undefined) return runWeb(context, page, { ...config, folder });
  context.report.failed(denied, { folder });
  return EXIT.failed;
}

/** The names that get was given, or that a file or the folder has; where there are none, the exit code. */
async function namesFor(
  { names, match, list, resume, folder }: Pick<GetOptions, "names" | "match" | "list" | "resume" | "folder">,
  report: Report,
): Promise<readonly string[] | number> {
  const listed = list === undefined ? [] : await readNameList(list);
  if (isFault(listed)) {
    report.complain(listComplaint(listed, list ?? ""));
    return listed.fault === "USAGE" ? EXIT.usage : EXIT.failed;
  }
  const begun = resume ? await partialNames(folder) : { names: [], cut: [] };
  if (isFault(begun)) {
    report.failed(begun, { folder });
    return EXIT.failed;
  }
  for (const name of begun.cut) report.warn(cutNameComplaint(name));
  const all = [...names, ...listed, ...begun.names];
  if (all.length > 0 || match !== undefined) return all;
  report.warn(resume ? nothingBegunComplaint(folder) : nothingListedComplaint(list ?? ""));
  return resume ? EXIT.done : EXIT.usage;
}

/** In whatever program the system has for playlists. */
async function openPlayer(name: string, address: string): Promise<boolean> {
  const path = await writePlaylist(name, address);
  return !isFault(path) && openFileWithSystem(path);
}

/** In the network for a moment, to say how a peer stands there. */
async function doctor(config: DoctorConfig): Promise<never> {
  return runProgram(async ({ output, reportOptions, life }) => {
    const report = config.json ? createJsonReport(reportOptions) : createReport(reportOptions);
    const located = await serverOf(config, { report, life, asker: undefined });
    if (located === undefined || isStop(located) || isFault(located)) return EXIT.failed;
    const security = securityOf(config, report);
    const server = knownServer(located.address, config, security);
    const known = { ...ABOUT, server: { ...located, id: server.id }, id: security.identity.id };
    let hearAlso: (event: PeerEvent) => void = () => {};
    const onEvent = (event: PeerEvent): void => {
      hearAlso(event);
      tellEvent(report, config, server, event);
    };
    const peer = new Peer({ ...config, server, security, onEvent });
    const hear = (listener: typeof hearAlso): void => {
      hearAlso = listener;
    };
    const folder = { path: config.folder ?? offeredFolder(), look: lookAtFolder };
    const code = await runDoctor({ peer, life, report, output, config, known, folder, hear });
    await Promise.race([peer.leave(), Bun.sleep(LEAVE_MS_MAX)]);
    return code;
  });
}

async function main(config: Exclude<PeerConfig, DoctorConfig>): Promise<never> {
  return runProgram(async ({ output, screen, reportOptions, life, openAsker, openIfOurs }) => {
    const { only } = config;
    let page: Page | undefined;
    const onConsole = config.json ? createJsonReport(reportOptions) : createReport(reportOptions);
    const report = both(onConsole, () => page?.report());
    const asker = config.command === "menu" ? openAsker() : undefined;
    const located = await serverOf(config, { report, life, asker });
    if (isStop(located) && asker !== undefined) return EXIT.done; // as Ctrl+C at the menu
    const from = config.command === "get" && config.from && (await life.during(addressOf(config.from, report)));
    if (located === undefined || isStop(located) || isFault(located)) return EXIT.failed;
    if (isStop(from) || isFault(from)) return EXIT.failed;
    const security = securityOf(config, report);
    const server = knownServer(located.address, config, security);
    const onEvent = (event: PeerEvent): void => {
      page?.hear(event);
      tellEvent(report, config, server, event);
    };
    const peer = new Peer({ ...config, server, security, onEvent });
    // A person at a terminal sees the position in the queue and has Ctrl+C, and get goes on by itself; a script at the
    // menu is told to come back.
    const waits = asker?.interactive || config.command === "get";
    const patience = waits ? Number.POSITIVE_INFINITY : WAIT_SECONDS_DEFAULT;
    const policy = { only, maxWaitSeconds: config.maxWaitSeconds ?? patience };
    const keyboard = config.command === "get" && process.stdin.isTTY ? await openIfOurs() : undefined;
    if (keyboard !== undefined) screen.quiet(() => ""); // its keys are told below the progress
    if (asker?.interactive) report.showStanding();
    const follower = createFollower({ peer, report, server, of: config.command === "get" ? "get" : "menu" });
    const context: ActionContext = {
      peer,
      report,
      life,
      server,
      seeker: seekerOf(server, located.how, { config, security }, { report, life, asker }),
      policy,
      receivesOnly: config.receivesOnly,
      follower,
      isWide,
      openPlayer,
      onKey: (asker ?? keyboard)?.hear,
    };
    const opened = pageOf(config, peer, context);
    page = opened;
    let code: number = EXIT.done;
    if (config.guests && !(await invite(opened, report, config.host))) code = EXIT.failed;
    else if (config.command === "web") code = await web(context, opened, config);
    else if (config.command === "get") {
      const names = await namesFor(config, report);
      if (typeof names === "number") code = names;
      else code = await runTask(context, { ...config, names, from: from || undefined });
    } else if (config.command !== "menu") code = await runTask(context, config);
    else if (asker) {
      const offered = defaultFolder();
      const folders = {
        folderFault: (folder: string) => chosenFault(folder, offered),
        defaultFolder: offered,
      };
      const openPage = () => void showPage(opened, report, true);
      const isWell = await runMenu({ ...context, ...folders, asker, given: config, ready: output.ready, openPage });
      // A script is told by the code; a person has seen what failed, and gone on.
      if (!isWell && !asker.interactive) code = EXIT.failed;
    }
    opened.close();
    await Promise.race([peer.leave(), Bun.sleep(LEAVE_MS_MAX)]);
    removePlaylists();
    return code;
  });
}

/** Compares a folder with what was hashed before, while all else goes on. */
async function verify(folder: string, tell: (verdict: Verdict) => void): Promise<Fault | undefined> {
  const cache = createHashCache();
  const hasher = createHasher({ cache, background: true });
  const found = await verifyFolder(folder, hasher, cache);
  if (!isFault(found)) for await (const verdict of found.verdicts) tell(verdict);
  hasher.close();
  cache.close();
  return isFault(found) ? found : undefined;
}

async function hash(config: HashConfig): Promise<never> {
  return runProgram(async ({ reportOptions, life }) => {
    const report = config.json ? createJsonReport(reportOptions) : createReport(reportOptions);
    const { verify } = config;
    const onFault = () => (verify === undefined ? undefined : report.complain(UNRECORDED));
    const cache = createHashCache({ onFault });
    const hasher = createHasher({ cache });
    const code =
      verify === undefined
        ? await runHash({ report, life }, hashFiles(config.files, hasher), config.files.length)
        : await runVerify({ report, life }, verify, await verifyFolder(verify, hasher, cache));
    hasher.close();
    cache.close();
    return code;
  });
}

requireDescriptors(DESCRIPTORS_MAX, DESCRIPTORS_MIN);
const config = parsePeer(Bun.argv.slice(2), process.env);
const texts = { help: peerHelp(peerUsage()), version: versionLine(PROGRAM) };
if (isUsage(config) || "asked" in config) await answerAndExit(PROGRAM, config, texts);
else if (config.command === "hash") await hash(config);
else await (config.command === "doctor" ? doctor(config) : main(config));
