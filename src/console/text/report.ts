// What happened, told to a person by the dictated lines, or to a program by JSON.
// Invariant: stdout carries the dictated lines, or the JSON objects, or what `hash` was asked for, and nothing else;
// errors, warnings and readiness go to stderr.
// Never: asks, decides, or waits for a reader.

import type { HashedFile, Verdict } from "../../content/hashing/verify.ts";
import type { Hashing } from "../../content/library.ts";
import type { FoundServer } from "../../discovery/discovery-search.ts";
import type { Progress, Waiting } from "../../download/progress.ts";
import type { DownloadView } from "../../peer/downloads.ts";
import type { FoundWords } from "../../peer/find.ts";
import type { Done } from "../../peer/requests.ts";
import type { Mapped } from "../../port-mapping/port-mapper.ts";
import { type Address, formatAddress } from "../../protocol/address.ts";
import type { Fault } from "../../protocol/fault.ts";
import type { Id } from "../../protocol/id.ts";
import { type QueueView, queueLines, summaryNote } from "../queue-lines.ts";
import { type Standing, standingLine } from "../standing.ts";
import type { Output, Writer } from "../terminal/output.ts";
import { progressLine, waitingWords } from "../terminal/progress.ts";
import type { Screen } from "../terminal/screen.ts";
import {
  type Complaint,
  complaintOf,
  complaintText,
  type Subject,
  serverLostComplaint,
  withdrawnComplaint,
} from "./complaints.ts";
import { fileLine, verdictLine } from "./hash-lines.ts";
import { contentLine, downloadedLine, foundLine, joinedLine, jsonLine, readyLine, showFile } from "./lines.ts";
import {
  backNote,
  firstSeenNote,
  foundServerNote,
  guestsNote,
  hereNote,
  liarNote,
  localNote,
  moreNote,
  noteText,
  pageNote,
  playingNote,
  preparingNote,
  reachNote,
  returnedNote,
  sharedNote,
} from "./notes.ts";

export type Report = {
  /** The server that this run turns to was found in the network. */
  server(found: FoundServer): void;
  /** A server is dialled for the first time; `path`: where its key is remembered, undefined where it is not. */
  firstSeen(server: string, id: Id, path: string | undefined): void;
  /** From now on the quiet line says how things stand: the keyboard is ours, so that nothing is echoed into it. */
  showStanding(): void;
  /** Resolves once the line is out, or unread for LINE_MS_MAX: a script waits for readiness, then looks for the line. */
  joined(address: Address, names: readonly string[]): Promise<void>;
  /** The connection to the server is gone; the peer comes back by itself. */
  serverLost(server: Address): void;
  /** Back in the network. */
  serverBack(address: Address): void;
  /** Whether others can connect to us there, when it is news. */
  reach(at: Address, reached: boolean, through?: Mapped): void;
  /** Only this machine's peers find us there; others would at `ip`. */
  local(at: Address, ip: string): void;
  found(name: string, peers: readonly Address[]): void;
  /** What FIND found: none of the dictated lines. */
  contents(words: string, found: FoundWords): void;
  /** What the person waits for now, until `settled`. */
  working(what: string, hint?: string): void;
  /** `isAlone`: it is drawn, as nothing else is under way that the person looks at. */
  progress(name: string, progress: Progress, isAlone?: boolean): void;
  /** The wait is over, whatever came of it. */
  settled(): void;
  /** No more progress of this download, whatever came of it. */
  ended(name: string): void;
  /** A download has failed, and is tried again. */
  waiting(name: string, complaint: Complaint): void;
  /** Those that go on while the person does something else. */
  downloading(downloads: readonly DownloadView[]): void;
  /** How a queue of many downloads stands, and what came of it. */
  queue(queue: QueueView, hint: string): void;
  summary(queue: QueueView): void;
  downloaded(done: Done): void;
  /** A player is wanted, and the content is not known yet. */
  preparing(name: string): void;
  /** A player reads this file there; whether one was opened. */
  playing(name: string, address: string, isOpened: boolean): void;
  /** What was to be downloaded is in the folder already. */
  isHere(done: Done): void;
  /** A download has lost a source, for now or for good; one that lied is named to the person, once. */
  lost(address: Address, why: Fault): void;
  /** The root of a share is known. */
  hashed(name: string, root: string): void;
  /** How far the hashing of the folder is. */
  hashing(hashing: Hashing): void;
  /** Files have appeared in the folder and are shared, of `total` that are. */
  shared(names: readonly string[], total: number): void;
  /** Files that were shared changed, or are gone. */
  withdrawn(names: readonly string[], total: number): void;
  /** Files that were withdrawn are shared again. */
  returned(names: readonly string[], total: number): void;
  uploaded(name: string, to: Address, bytes: number): void;
  /** One result of `hash`, and of `hash --verify`. */
  file(file: HashedFile): void;
  verdict(verdict: Verdict): void;
  /** The page is at this address, which is for this person alone. */
  page(url: string): void;
  /** The page for guests is at this address; `code` is the same for a camera, in lines of a terminal. */
  guests(url: string, code: readonly string[]): void;
  failed(fault: Fault, subject?: Subject): void;
  complain(complaint: Complaint): void;
  /** All goes on, and the person should know. */
  warn(complaint: Complaint): void;
};

export type ReportOptions = {
  readonly output: Output;
  readonly screen: Screen;
  readonly columns: () => number;
  /** A person watches stderr and answers at stdin, so that progress may be drawn. */
  readonly watched: boolean;
  readonly errIsTerminal: boolean;
  /** Milliseconds that only grow. */
  readonly now: () => number;
};

/** Often enough to look alive, seldom enough to cost nothing. */
const DRAW_MS = 100;
const PROGRESS_EVENT_MS = 1000;

/** A position in the queue is told again every WAIT_SECONDS, so that the last one is never missed for long. */
const POSITION_MS = 200;

/** How long readiness waits for the line before it to be read. */
const LINE_MS_MAX = 1000;

/** Says lasting lines on stderr: to a person with words kept whole, to a program each on one line. */
export function createTeller(options: Pick<ReportOptions, "output" | "screen" | "columns" | "errIsTerminal">): Writer {
  const { output, screen, columns, errIsTerminal } = options;
  return (text) => {
    const fitted = errIsTerminal ? Bun.wrapAnsi(text, Math.max(1, columns() - 1), { hard: false, trim: true }) : text;
    screen.above(() => output.err(`${fitted}\n`));
  };
}

/** For scripts that wait until we listen. */
function tellReady({ errIsTerminal }: ReportOptions, tell: Writer, address: Address): void {
  if (!errIsTerminal) tell(readyLine(address));
}

export function createReport(options: ReportOptions): Report {
  const { output, screen } = options;
  const due = every(DRAW_MS, options.now);
  const told = every(POSITION_MS, options.now);
  const news = newsByName();
  const warned = new Set<string>();
  const say = (line: string): void => screen.above(() => output.out(`${line}\n`));
  const warn = createTeller(options);
  const ready = (address: Address): void => tellReady(options, warn, address);
  let hint = "";
  let standing: Standing = {};
  let drawStanding = (): void => {};
  const stand = (changes: Standing): void => {
    standing = { ...standing, ...changes };
    drawStanding();
  };
  return {
    showStanding() {
      if (!options.watched) return;
      drawStanding = () => screen.quiet(() => standingLine(standing));
      drawStanding();
    },
    server: (found) => warn(foundServerNote(found)),
    firstSeen: (server, id, path) => warn(firstSeenNote(server, id, path)),
    async joined(address, names) {
      stand({ address, files: names.length });
      say(joinedLine(address, names));
      await output.flush(LINE_MS_MAX);
      ready(address);
    },
    serverLost(server) {
      stand({ away: true });
      warn(complaintText(serverLostComplaint(server)));
    },
    serverBack(address) {
      // A person was told of the loss; a script waits for its line.
      if (standing.away && options.errIsTerminal) warn(backNote(address));
      stand({ away: false, address });
      ready(address);
    },
    reach: (at, reached, through) => warn(reachNote(at, reached, through)),
    local: (at, ip) => warn(localNote(at, ip)),
    found: (_name, peers) => say(foundLine(peers)),
    contents(_words, { found, more, isCut }) {
      for (const one of found) say(contentLine(one));
      if (more > 0 || isCut) warn(moreNote(found.length, more, isCut));
    },
    working(what, toStop = "") {
      hint = toStop;
      if (options.watched) screen.show([what], 0, hint);
    },
    progress(name, progress, isAlone = true) {
      const { waiting } = progress;
      const queued = waiting?.for === "slot";
      // A position comes once in seconds, and each is drawn; lines that stay are told more seldom.
      if (options.watched && isAlone && (queued || due()))
        screen.show([progressLine(progress, options.columns())], 0, hint);
      if (!options.watched && !options.errIsTerminal && (!queued || told()) && news.of(name).isNew(waiting))
        warn(`${isAlone ? "" : `${showFile(name)}: `}${waitingWords(waiting)}`);
    },
    settled() {
      if (options.watched) screen.clear();
    },
    ended(name) {
      news.forget(name);
      warned.clear();
    },
    waiting: (_name, complaint) => warn(noteText(complaint)),
    downloading: (downloads) => stand({ downloads }),
    queue(queue, hint) {
      if (options.watched && due()) screen.show(queueLines(queue, options.columns()), 0, hint);
    },
    summary: (queue) => warn(summaryNote(queue)),
    downloaded({ name, folder }) {
      stand({ files: (standing.files ?? 0) + 1 });
      say(downloadedLine(name, folder));
    },
    preparing: (name) => warn(preparingNote(name)),
    playing: (name, address, isOpened) => warn(playingNote(name, address, isOpened)),
    isHere: ({ name, folder }) => warn(hereNote(name, folder)),
    lost(address, why) {
      const note = liarNote(address, why);
      if (note === undefined || warned.has(note)) return;
      warned.add(note);
      warn(note);
    },
    hashed: () => {},
    hashing: (hashing) => stand({ hashing }),
    shared(names, total) {
      stand({ files: total });
      warn(sharedNote(names));
    },
    withdrawn(names, total) {
      stand({ files: total });
      warn(noteText(withdrawnComplaint(names)));
    },
    returned(names, total) {
      stand({ files: total });
      warn(returnedNote(names));
    },
    uploaded: () => {},
    file: (file) => say(fileLine(file)),
    verdict: (verdict) => say(verdictLine(verdict)),
    page: (url) => warn(pageNote(url)),
    guests(url, code) {
      if (options.errIsTerminal) screen.above(() => output.err(`${code.join("\n")}\n`));
      warn(guestsNote(url));
    },
    failed(fault, subject) {
      const complaint = complaintOf(fault, subject);
      warn(fault.fault === "CANCELLED" ? noteText(complaint) : complaintText(complaint));
    },
    complain: (complaint) => warn(complaintText(complaint)),
    warn: (complaint) => warn(noteText(complaint)),
  };
}

/**
 * One JSON object a line on stdout (--json), in place of the dictated lines; stderr stays as it is without it.
 *   {"event":"server","ip":"192.168.0.10","port":1099,"name":"sala-3"}  found in the network, as none was named
 *   {"event":"server-first-seen","server":"192.168.0.10:1099","id":"ABCD…"}  its key is remembered from now on
 *   {"event":"joined","ip":"127.0.0.1","port":8776,"files":["aula1.mp4"]}
 *   {"event":"ready","ip":"127.0.0.1","port":8776}                      back in the network after the server returned
 *   {"event":"unreachable","ip":"127.0.0.1","port":8776,"code":"UNREACHABLE"}   others cannot connect to us, nor find our files
 *   {"event":"reachable","ip":"127.0.0.1","port":8776}                  that is over; by a port of the router also
 *     "through":"UPnP" or "NAT-PMP" and "router":"192.168.1.1"
 *   {"event":"contents","words":"redes aula","contents":[{"name":"aula1.mp4","size":2,"root":"…","sources":1}],"more":0,"isCut":false}
 *   {"event":"found","name":"aula1.mp4","peers":["127.0.0.1:8776"]}
 *   {"event":"queued","name":"aula1.mp4","from":"127.0.0.1:8776","position":2}   at each change of the position
 *   {"event":"progress","name":"aula1.mp4","bytes":1,"size":2,"rate":1,"etaSeconds":1,"sources":1}   once a second
 *     bytes: verified and on the disk; rate: bytes a second, lately; etaSeconds: left out while the rate is 0;
 *     while nothing moves, also "waiting":{"for":"data","from":"127.0.0.1:8776"} (it sends nothing),
 *     {"for":"root","from":"127.0.0.1:8776"} (all is here, it still hashes), {"for":"check"} (all is
 *     here, what an earlier run left is read again) or {"for":"disk","full":true} (with "slow":true where it does not refuse)
 *   {"event":"source-lost","from":"127.0.0.1:8776","code":"CORRUPT"}   lost for now or for good; CORRUPT: it sent wrong bytes
 *   {"event":"downloaded","name":"aula1.mp4","folder":"videos","bytes":2}
 *   {"event":"waiting","name":"aula1.mp4","code":"NO_SOURCE","message":"nenhum peer tem…","hint":"o download começa…"}   it is tried again
 *   {"event":"queue","files":300,"done":12,"here":3,"failed":1,"waiting":0,"running":3,"bytes":9,"rate":1}   of many, once a second
 *   {"event":"summary", the same, "failed":[{"name":"aula2.mp4","code":"NO_SOURCE"}]}                       of many, at their end
 *   {"event":"preparing","name":"aula1.mp4"}                            a player is wanted, and the content is not known yet
 *   {"event":"playing","name":"aula1.mp4","address":"http://127.0.0.1:1/…","opened":true}   what a player reads, and whether one was opened
 *   {"event":"cancelled","name":"aula1.mp4"}                            on purpose: Ctrl+C
 *   {"event":"here","name":"aula1.mp4","folder":"videos","bytes":2}     in the folder already, with the same content
 *   {"event":"hashed","name":"aula1.mp4","root":"09f0…"}                      a share's root, when it is computed
 *   {"event":"hashing","files":1,"filesTotal":4,"bytes":5,"bytesTotal":9}     once a second, and when files is filesTotal: all is hashed
 *   {"event":"shared","name":"aula1.mp4"}                                     a file has appeared in the folder and is shared
 *   {"event":"withdrawn","name":"aula1.mp4"}                                  a file that was shared changed, or is gone
 *   {"event":"returned","name":"aula1.mp4"}                                   a file that was withdrawn is shared again
 *   {"event":"uploaded","name":"aula1.mp4","to":"127.0.0.1:40312","bytes":2}  what one download took, whole or not
 *   {"event":"hashed","name":"aula1.mp4","path":"videos/aula1.mp4","size":2,"root":"09f0…","pieceBytes":262144}   (hash)
 *   {"event":"verified","name":"aula1.mp4","verdict":"ok","root":"09f0…"}       (hash --verify)
 *     verdict: ok, changed, new, damaged (with "pieces":[0,7], from 0) or unread (with "code", without root)
 *   {"event":"page","url":"http://127.0.0.1:40123/#…"}                       the page; what stands behind # is its key
 *   {"event":"guests","url":"http://192.168.0.11:40124/…/"}                  the page for guests, on the local network
 *   {"event":"warning","code":"WIDE_FOLDER","message":"a pasta…","hint":"use…"}   all goes on
 *   {"event":"error","code":"NO_SOURCE","message":"nenhum peer tem…","hint":"confira…","name":"aula1.mp4"}   the file, of a download
 */
export function createJsonReport(options: ReportOptions): Report {
  const { output } = options;
  const people = createReport(options);
  const queueDue = every(PROGRESS_EVENT_MS, options.now);
  const tell = (event: string, values: object): void => output.out(`${jsonLine({ event, ...values })}\n`);
  const events = createProgressEvents(tell, options.now);
  const complain = (complaint: Complaint, name?: string): void => {
    tell("error", { ...valuesOf(complaint), name });
    people.complain(complaint);
  };
  return {
    showStanding: () => {},
    firstSeen(server, id, path) {
      tell("server-first-seen", { server, id });
      people.firstSeen(server, id, path);
    },
    server(found) {
      tell("server", { ...found.address, name: found.name, id: found.id });
      people.server(found);
    },
    async joined(address, names) {
      tell("joined", { ...address, files: names });
      await output.flush(LINE_MS_MAX);
      tellReady(options, createTeller(options), address);
    },
    serverLost(server) {
      complain(serverLostComplaint(server));
    },
    serverBack(address) {
      tell("ready", address);
      people.serverBack(address);
    },
    reach(at, reached, through) {
      tell(reached ? "reachable" : "unreachable", {
        ...at,
        ...(!reached && { code: "UNREACHABLE" }),
        ...(through && { through: through.by, router: through.router }),
      });
      people.reach(at, reached, through);
    },
    local(at, ip) {
      tell("local", { ...at, code: "LOCAL_ONLY", use: ip });
      people.local(at, ip);
    },
    found: (name, peers) => tell("found", { name, peers: peers.map(formatAddress) }),
    contents: (words, { found, ...others }) =>
      tell("contents", { words, contents: found.map((c) => ({ ...c, root: c.root ?? null })), ...others }),
    progress: events.progress,
    working: () => {},
    settled: people.settled,
    ended(name) {
      events.flush(name);
      people.ended(name);
    },
    waiting(name, complaint) {
      tell("waiting", { name, ...valuesOf(complaint) });
      people.waiting(name, complaint);
    },
    downloading: () => {},
    queue(queue, hint) {
      if (queueDue()) tell("queue", queueValues(queue));
      people.queue(queue, hint);
    },
    summary(queue) {
      tell("summary", { ...queueValues(queue), failed: queue.failed });
      people.summary(queue);
    },
    downloaded(done) {
      events.finish(done);
      tell("downloaded", done);
    },
    preparing(name) {
      tell("preparing", { name });
      people.preparing(name);
    },
    playing(name, address, opened) {
      tell("playing", { name, address, opened });
      people.playing(name, address, opened);
    },
    isHere({ isHere: _, ...done }) {
      events.forget(done.name);
      tell("here", done);
      people.isHere(done);
    },
    lost(address, why) {
      tell("source-lost", { from: formatAddress(address), code: why.fault });
      people.lost(address, why);
    },
    hashed: (name, root) => tell("hashed", { name, root }),
    hashing: (hashing) => tell("hashing", hashing),
    ...folderEvents(tell, people),
    uploaded: (name, to, bytes) => tell("uploaded", { name, to: formatAddress(to), bytes }),
    file: (file) => tell("hashed", file),
    verdict(found) {
      if (found.verdict !== "unread") return tell("verified", found);
      const { fault, ...verdict } = found;
      tell("verified", { ...verdict, code: fault.fault });
    },
    page(url) {
      tell("page", { url });
      people.page(url);
    },
    guests(url, code) {
      tell("guests", { url });
      people.guests(url, code);
    },
    failed(fault, subject) {
      if (subject?.name !== undefined) events.forget(subject.name);
      if (fault.fault !== "CANCELLED") return complain(complaintOf(fault, subject), subject?.name);
      tell("cancelled", { name: subject?.name });
      people.failed(fault, subject);
    },
    complain: (complaint) => complain(complaint),
    warn(complaint) {
      tell("warning", valuesOf(complaint));
      people.warn(complaint);
    },
  };
}

/** What becomes of the folder's files, name by name. */
function folderEvents(tell: (event: string, values: object) => void, people: Report) {
  const told =
    (event: "shared" | "withdrawn" | "returned") =>
    (names: readonly string[], total: number): void => {
      for (const name of names) tell(event, { name });
      people[event](names, total);
    };
  return { shared: told("shared"), withdrawn: told("withdrawn"), returned: told("returned") };
}

const valuesOf = ({ code, cause, hint }: Complaint): object => ({ code, message: cause, hint });

const queueValues = ({ files, done, here, failed, waiting, bytes, running }: QueueView): object => ({
  files,
  done,
  here,
  failed: failed.length,
  waiting,
  running: running.length,
  bytes: running.reduce((sum, { progress }) => sum + (progress?.bytes ?? 0), bytes),
  rate: Math.round(running.reduce((sum, { progress }) => sum + (progress?.rate ?? 0), 0)),
});

/** What was told of one download, and what is still to be told. */
type Told = {
  readonly due: () => boolean;
  readonly news: ReturnType<typeof createNews>;
  last: Progress | undefined;
  isBehind: boolean;
};

/** `queued` and `progress` of each download, seldom enough; the last one is never left out. */
function createProgressEvents(tell: (event: string, values: object) => void, now: () => number) {
  const positionDue = every(POSITION_MS, now);
  const byName = new Map<string, Told>();
  const of = (name: string): Told => {
    const told = byName.get(name) ?? {
      due: every(PROGRESS_EVENT_MS, now),
      news: createNews(),
      last: undefined,
      isBehind: false,
    };
    byName.set(name, told);
    return told;
  };

  function tellProgress(name: string, { waiting, rate, etaSeconds, ...progress }: Progress): void {
    const pace = { rate: Math.round(rate), etaSeconds: etaSeconds && Math.ceil(etaSeconds) };
    tell("progress", { name, ...progress, ...pace, waiting: waitingValues(waiting) });
    of(name).isBehind = false;
  }

  return {
    progress(name: string, progress: Progress): void {
      const told = of(name);
      const { waiting } = progress;
      if (waiting?.for === "slot") {
        const { from, position } = waiting;
        if (positionDue() && told.news.isNew(waiting)) tell("queued", { name, from: formatAddress(from), position });
        return;
      }
      told.last = progress;
      if (told.due()) tellProgress(name, progress);
      else told.isBehind = true;
    },
    flush(name: string): void {
      const told = byName.get(name);
      if (told?.isBehind && told.last !== undefined) tellProgress(name, told.last);
      told?.news.forget();
    },
    /** The last word on a download is never an old one. */
    finish({ name, bytes }: Done): void {
      const last = byName.get(name)?.last;
      if (last !== undefined && last.bytes !== bytes)
        tellProgress(name, { ...last, bytes, size: bytes, etaSeconds: undefined, waiting: undefined });
      byName.delete(name);
    },
    forget: (name: string): void => void byName.delete(name),
  };
}

/** Why nothing moves, with addresses in their one spelling. */
function waitingValues(waiting: Progress["waiting"]): object | undefined {
  return waiting !== undefined && "from" in waiting ? { ...waiting, from: formatAddress(waiting.from) } : waiting;
}

/** Why nothing moves is told again and again; what is news of it. That it moves again makes the next reason news. */
function createNews() {
  let last = "";
  return {
    isNew(waiting: Waiting | undefined): waiting is Waiting {
      const words = waiting === undefined ? "" : waitingWords(waiting);
      const isNew = words !== last && words !== "";
      last = words;
      return isNew;
    },
    forget(): void {
      last = "";
    },
  };
}

/** The same of each download. */
function newsByName() {
  const byName = new Map<string, ReturnType<typeof createNews>>();
  return {
    of(name: string): ReturnType<typeof createNews> {
      const news = byName.get(name) ?? createNews();
      byName.set(name, news);
      return news;
    },
    forget: (name: string): void => void byName.delete(name),
  };
}

/** True at most once in `ms`. */
function every(ms: number, now: () => number): () => boolean {
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    const time = now();
    if (time - last < ms) return false;
    last = time;
    return true;
  };
}
