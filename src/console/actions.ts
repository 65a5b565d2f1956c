// What a menu and a subcommand share: the peer as the console sees it, and one download from start to line.
// Invariant: whatever becomes of a download, its progress is gone before its line or error is shown.
// Never: asks anything.

import type { Skipped } from "../content/folder.ts";
import type { Done, JoinAt } from "../peer/requests.ts";
import type { Peer } from "../peer.ts";
import { type Address, AS_SEEN, formatAddress, isLoopback } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { Follower } from "./follower.ts";
import { play } from "./play.ts";
import type { Life } from "./shutdown.ts";
import { ESCAPE } from "./terminal/keys.ts";
import { isStop, type Stop } from "./terminal/questions.ts";
import { loopbackComplaint, moreSkippedComplaint, skippedComplaint } from "./text/complaints.ts";
import type { Report } from "./text/report.ts";

/** What the console asks of a peer. */
export type PeerApi = Pick<
  Peer,
  "localIp" | "freePort" | "join" | "search" | "find" | "downloads" | "leave" | "play" | "playedOut" | "lastSearched"
>;

/** How downloads are made. */
export type Policy = {
  /** From the chosen peer alone. */
  readonly only: boolean;
  /** How long to stay in its queue without moving up; Infinity for as long as it takes. */
  readonly maxWaitSeconds: number;
};

export type Seeker = {
  /** A JOIN did not reach the server. */
  missed(): void;
  /** After that, looks for a server again; true when the program turns to another one from now on. */
  again(): Promise<boolean>;
};

export type ActionContext = {
  readonly peer: PeerApi;
  readonly report: Report;
  readonly life: Life;
  readonly server: Address;
  /** Where the server was not named and may be found later. */
  readonly seeker?: Seeker;
  readonly policy: Policy;
  /** Each JOIN shares nothing, whatever the folder holds. */
  readonly receivesOnly?: boolean;
  readonly follower: Follower;
  /** Opens the person's player at this address; false where there is none. */
  readonly openPlayer: (name: string, address: string) => Promise<boolean>;
  /** Hears a key that is typed while nothing is asked; undefined where no person types. */
  readonly onKey?: ((key: string, then: () => void) => () => void) | undefined;
  /** Whether that folder holds more than a person means to share: a home folder, a drive's root. */
  readonly isWide: (folder: string) => boolean;
};

/** `useIp`: the IP that the server would take. */
export type Refused = Fault & { readonly useIp?: string };

/** Whether no other machine reaches this one at `ip`, though the server is reached by another address. */
export const isOnlyHere = (ip: string, server: Address): boolean => isLoopback(ip) && !isLoopback(server.ip);

/** In no list, as there is nothing to be found for. */
const RECEIVING = { sharing: "nothing", listing: "never" } as const;

/** Joins and says so. A fault has been shown. */
export async function join(
  { peer, report, life, server, seeker, receivesOnly }: ActionContext,
  at: JoinAt,
): Promise<Address | Refused | Stop> {
  if (at.host !== undefined && isOnlyHere(at.host, server)) {
    const useIp = await peer.localIp();
    report.complain(loopbackComplaint(at.host, server, useIp));
    return { ...fault("ADDRESS_MISMATCH", "ours"), useIp };
  }
  report.working(`Entrando na rede por ${formatAddress(server)}...`);
  const joined = await life.during(peer.join(receivesOnly ? { ...at, ...RECEIVING } : at));
  report.settled();
  if (isStop(joined)) return joined;
  if (isFault(joined)) {
    if (joined.fault === "SERVER_UNREACHABLE") seeker?.missed();
    const own = await peer.localIp();
    const refused = joined.at ?? { ip: at.host ?? own, port: at.port };
    // Refused though it is ours: a router stands between, and only the server knows what it shows.
    const useIp = refused.ip === own ? AS_SEEN : own;
    report.failed(joined, { server, at: refused, useIp, folder: at.folder });
    return { ...joined, useIp };
  }
  // A command that only asks prints its answer, and nothing of the JOIN that it takes.
  if (at.folder !== undefined) {
    await report.joined(joined.address, joined.names);
    if (!joined.reached) report.reach(joined.address, false);
    if (joined.localFor !== undefined) report.local(joined.address, joined.localFor);
  }
  return joined.address;
}

/** Searches and says what was found. A fault has been shown. */
export async function search(
  { peer, report, life, server }: ActionContext,
  name: string,
): Promise<readonly Address[] | Fault | Stop> {
  report.working("Procurando...");
  const found = await life.during(peer.search(name));
  report.settled();
  if (isFault(found)) report.failed(found, { server, name });
  else if (!isStop(found)) report.found(name, found);
  return found;
}

/** A download that is cancelled gets this long to write down what has arrived. */
const CANCEL_MS_MAX = 2000;

/** `others`: who else has it. `isPlayed`: a player is opened as soon as it can be. */
export type Wanted = {
  readonly from: Address;
  readonly others: readonly Address[];
  readonly name: string;
  readonly folder: string;
  readonly isPlayed?: boolean;
};

/** Opens a player on what is being downloaded. */
export const PLAY_KEY = "p";

/**
 * Downloads with progress. Ctrl+C cancels it; Esc leaves it running, and tried again until it is done, and is "back".
 * Success or fault has been shown, or will be where it goes on.
 */
export async function download(
  context: ActionContext,
  { from, others, name, folder, isPlayed = false }: Wanted,
): Promise<Done | Fault | Stop> {
  const { peer, report, life, policy, follower, onKey } = context;
  const hint = onKey === undefined ? "Ctrl+C cancela" : "P assiste · Esc volta ao menu · Ctrl+C cancela";
  const release = life.cancellable(() => void peer.downloads.cancel(name));
  report.working(`Pedindo a ${formatAddress(from)}...`, hint);
  follower.show(name, hint);
  const downloading = follower.start({ ...policy, name, from, others }, folder);
  const watch = () => void play(context, name);
  if (isPlayed) watch();
  const left = Promise.withResolvers<Stop>();
  const unhear = [onKey?.(PLAY_KEY, watch), onKey?.(ESCAPE, () => left.resolve({ stop: "back" }))];
  const ended = await life.during(Promise.race([downloading, left.promise]));
  for (const stop of unhear) stop?.();
  release();
  if (isStop(ended) && ended.stop === "back") peer.downloads.keepTrying(name);
  else if (isStop(ended)) peer.downloads.cancel(name);
  // What has arrived is written down before the program leaves, if the disk lets it.
  const isLeaving = isStop(ended) && ended.stop !== "back";
  const done = isLeaving ? await Promise.race([downloading, Bun.sleep(CANCEL_MS_MAX).then(() => ended)]) : ended;
  follower.show();
  return done;
}

/** A folder full of unusable names must not bury the one line that matters. */
const SKIPPED_SHOWN_MAX = 5;

/** Tells about files that stay out of the share, a few by name; links and our own partial files go without saying. */
export function showSkipped(report: Report, files: readonly Skipped[]): void {
  const named = files.flatMap(({ name, reason }) =>
    reason === "not-a-file" || reason === "ours" ? [] : [skippedComplaint(name, reason)],
  );
  for (const complaint of named.slice(0, SKIPPED_SHOWN_MAX)) report.complain(complaint);
  if (named.length > SKIPPED_SHOWN_MAX) report.complain(moreSkippedComplaint(named.length - SKIPPED_SHOWN_MAX));
}
