// What a person or a program is told of the downloads of a run: those on the screen, and those that go on behind it.
// Invariant: the end of each that was started here is told once; progress is drawn only of what is on the screen.
// Never: starts or cancels one by itself.

import type { DownloadsEvent, DownloadView, DownloadWish } from "../peer/downloads.ts";
import type { Done } from "../peer/requests.ts";
import type { Peer } from "../peer.ts";
import { type Address, formatAddress } from "../protocol/address.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import { complaintOf, waitingComplaint } from "./text/complaints.ts";
import type { Report } from "./text/report.ts";

export type Follower = {
  /** Starts it, or joins one that was; resolves when it is over and that has been told. */
  start(wish: DownloadWish, folder: string): Promise<Done | Fault>;
  /** Draws this one's progress from now on, with these keys; none when not given. */
  show(name?: string, hint?: string): void;
};

type Followed = {
  readonly folder: string;
  asked: Address | undefined;
  lost: { readonly address: Address; readonly why: Fault } | undefined;
  /** What SEARCH found, and why candidates were left, as it was told: tries that follow find and fail the same for hours. */
  found: string | undefined;
  readonly left: Set<string>;
  /** Why it waits, as it was told. */
  waitsFor: string | undefined;
  readonly ended: Promise<Done | Fault>;
};

type Options = {
  readonly peer: Pick<Peer, "downloads">;
  readonly report: Report;
  readonly server: Address;
  /** get tells what SEARCH finds for each, and of a queue that is cancelled the whole; the menu tells what goes on behind it. */
  readonly of: "menu" | "get";
};

export function createFollower({ peer, report, server, of }: Options): Follower {
  const { downloads } = peer;
  const followed = new Map<string, Followed>();
  let shown: { readonly name: string; readonly hint: string } | undefined;

  function tellStanding(): void {
    if (of === "get") return;
    const names = [...followed.keys()].filter((name) => name !== shown?.name);
    report.downloading(names.flatMap((name) => downloads.get(name) ?? []));
  }

  downloads.subscribe((event) => {
    const name = "download" in event ? event.download.name : event.name;
    const one = followed.get(name);
    if (one === undefined) return tellOther(event);
    const isShown = shown?.name === name;
    const { folder } = one;
    if (event.type === "found" && of === "get") tellFound(one, name, event.peers);
    if (event.type === "source-lost") {
      one.lost = event;
      report.lost(event.address, event.why);
    }
    if (event.type === "left") {
      const what = `${formatAddress(event.address)} ${event.why.fault}`;
      if (!one.left.has(what)) report.warn(complaintOf(event.why, { peer: event.address, name, folder }));
      one.left.add(what);
    }
    if (event.type === "asking") {
      one.asked = event.address;
      if (isShown) report.working(`Pedindo a ${formatAddress(event.address)}...`, shown?.hint);
    }
    if (event.type === "progress") {
      one.waitsFor = undefined;
      if (event.progress.rate > 0) one.left.clear();
      report.progress(name, event.progress, isShown);
      if (!isShown) tellStanding();
    }
    if (event.type === "changed") tellChange(one, event.download, isShown);
  });

  function tellFound(one: Followed, name: string, peers: readonly Address[]): void {
    const found = peers.map(formatAddress).join(" ");
    if (one.found !== found) report.found(name, peers);
    one.found = found;
  }

  /** A page may have started it: its line is due all the same. */
  function tellOther(event: DownloadsEvent): void {
    if (of === "get" || event.type !== "changed" || event.download.state !== "done") return;
    const { done } = event.download;
    if (done?.isHere) report.isHere(done);
    else if (done !== undefined) report.downloaded(done);
  }

  function tellChange(one: Followed, download: DownloadView, isShown: boolean): void {
    const { name, state, fault: why, retryAt } = download;
    if (state === "queued" && isShown) report.working("Esperando a vez, depois dos outros downloads...", shown?.hint);
    if (state === "waiting" && why !== undefined) {
      // Told of each reason once: the pauses grow, and the reason stays for hours.
      if (one.waitsFor !== why.fault)
        report.waiting(
          name,
          waitingComplaint(why, { ...subjectOf(one.asked), name, folder: one.folder }, retryAt !== undefined),
        );
      one.waitsFor = why.fault;
      if (isShown) report.working("Esperando para tentar de novo...", shown?.hint);
    }
    tellStanding();
  }

  const subjectOf = (peer: Address | undefined) => (peer === undefined ? { server } : { peer });

  function tellEnd(name: string, { folder, lost, asked }: Followed, ended: Done | Fault): Done | Fault {
    followed.delete(name);
    const isShown = shown?.name === name;
    if (isShown) report.settled();
    report.ended(name);
    if (isFault(ended) && ended.fault === "CANCELLED" && of === "get" && !isShown) return ended;
    // What ended it may be the fault of another source than the one that was asked.
    const about = lost?.why === ended ? lost.address : asked;
    if (isFault(ended)) report.failed(ended, { ...subjectOf(about), name, folder });
    else if (ended.isHere) report.isHere(ended);
    else report.downloaded(ended);
    tellStanding();
    return ended;
  }

  return {
    start(wish, folder) {
      const name = wish.name.normalize("NFC");
      const before = followed.get(name);
      if (before !== undefined) {
        void downloads.start(wish);
        return before.ended;
      }
      const { promise: ended, resolve } = Promise.withResolvers<Done | Fault>();
      const untold = { lost: undefined, found: undefined, left: new Set<string>(), waitsFor: undefined };
      const one: Followed = { folder, asked: wish.from, ...untold, ended };
      followed.set(name, one);
      void downloads.start(wish).then((how) => resolve(tellEnd(name, one, how)));
      return ended;
    },
    show(name, hint = "") {
      if (shown !== undefined) report.settled();
      shown = name === undefined ? undefined : { name: name.normalize("NFC"), hint };
      tellStanding();
    },
  };
}
