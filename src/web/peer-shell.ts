// The peer as the page uses it: each operation is one call, and what the peer tells becomes what pages hear.
// Invariant: the standing is made of the peer's own events and of JOIN's answer.
// Never: holds logic of a download, a share or the network.

import { complaintOf } from "../console/text/complaints.ts";
import type { Progress } from "../download/progress.ts";
import type { DownloadsEvent, DownloadView, DownloadWish } from "../peer/downloads.ts";
import type { JoinAt } from "../peer/requests.ts";
import type { Peer, PeerEvent } from "../peer.ts";
import { type Address, formatAddress, parseAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { Share } from "../protocol/messages.ts";
import type { Change, Download, Limits, Operations, Standing, Upload, Waits } from "./contract.ts";
import type { Shell } from "./shell.ts";

export type ShellPeer = Pick<Peer, "downloads" | "locate" | "find" | "play" | "files" | "setLimits">;

export type PeerShellOptions = {
  readonly peer: ShellPeer;
  readonly server: Address;
  readonly version: string;
  readonly limits: Limits;
  /** Joins and tells it; a fault has been told too. */
  readonly join: (at: JoinAt) => Promise<Address | Fault>;
  /** Compares the folder with what was hashed before; each verdict is told. */
  readonly verify: (folder: string) => Promise<Fault | undefined>;
  /** Starts a download into that folder, and tells how it ended. */
  readonly start: (wish: DownloadWish, folder: string) => void;
};

export type PeerShell = Shell & {
  /** What the peer tells. */
  hear(event: PeerEvent): void;
  /** The page for guests is open there. */
  invited(url: string): void;
};

/** The standing and the uploads as the peer told them last, and those who hear of changes. */
function createTold(server: Address) {
  const listeners = new Set<(change: Change) => void>();
  let standing: Standing = { server: formatAddress(server), away: false };
  let uploads: readonly Upload[] = [];
  let self: Address | undefined;

  const tell = (change: Change): void => {
    for (const listener of listeners) listener(change);
  };
  function stand(changes: Partial<Standing>): void {
    standing = { ...standing, ...changes };
    tell({ event: "standing", standing });
  }

  return {
    tell,
    stand,
    subscribe(listener: (change: Change) => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    self: () => self,
    standing: () => standing,
    uploads: () => uploads,
    hear(event: PeerEvent): void {
      if (event.type === "joined") {
        const { address, folder, reached } = event;
        self = address;
        stand({ server: formatAddress(server), address: formatAddress(address), folder, reached, away: false });
      }
      if (event.type === "server-lost") stand({ away: true });
      if (event.type === "server-back") stand({ away: false, address: formatAddress(event.address) });
      if (event.type === "reach") stand({ reached: event.reached });
      if (event.type === "hashing") {
        const { type: _, ...hashing } = event;
        stand({ hashing });
      }
      if (event.type !== "uploading") return;
      uploads = event.uploads.map((one) => ({ ...one, to: formatAddress(one.to) }));
      tell({ event: "uploads", uploads });
    },
  };
}

/** What waits, or failed, and of what; the rest of a download as the peer's list has it. */
function downloadOf(view: DownloadView): Download {
  const { name, state, progress, done, fault: why } = view;
  const { rate = 0, etaSeconds, waiting, detail } = (state === "running" && progress) || {};
  const picture = progress?.detail?.();
  const complaint = why && complaintOf(why, { name, peer: view.from });
  return {
    name,
    state,
    bytes: done?.bytes ?? progress?.bytes ?? 0,
    size: done?.bytes ?? progress?.size ?? 0,
    rate: Math.round(rate),
    etaSeconds,
    sources:
      detail === undefined
        ? []
        : (picture?.brought ?? []).map(({ address, bytes }) => ({ address: formatAddress(address), bytes })),
    waiting: waitsOf(waiting),
    problem: complaint && { code: complaint.code, message: complaint.cause, hint: complaint.hint },
    pieces: done || !picture ? undefined : Buffer.from(picture.pieces).toString("base64"),
    pieceCount: done ? undefined : picture?.pieceCount,
  };
}

function waitsOf(waiting: Progress["waiting"]): Waits | undefined {
  if (waiting === undefined) return undefined;
  return "from" in waiting ? ({ ...waiting, from: formatAddress(waiting.from) } as Waits) : waiting;
}

/** Often enough to look alive. */
const PROGRESS_MS = 500;

/** What pages hear of the peer's downloads. */
function createDownloadsTeller(tell: (change: Change) => void) {
  const toldAt = new Map<string, number>();
  return (event: DownloadsEvent): void => {
    if (event.type === "removed") {
      toldAt.delete(event.name);
      tell({ event: "download-removed", name: event.name });
    }
    if (event.type !== "changed" && event.type !== "progress") return;
    const { download } = event;
    const now = performance.now();
    if (event.type === "progress" && now - (toldAt.get(download.name) ?? 0) < PROGRESS_MS) return;
    toldAt.set(download.name, now);
    tell({ event: "download", download: downloadOf(download) });
  };
}

/**
 * The shares by their names. Pages ask once a second, and 100,000 names take most of a second to sort: they are sorted
 * again only when there are others, from the order that those which stayed had.
 */
function createSorted(list: () => readonly Share[]): () => readonly Share[] {
  let names: readonly string[] = [];
  let order: readonly number[] = []; // indexes in `names`
  return () => {
    const shares = list();
    if (shares.length !== names.length || shares.some(({ name }, index) => name !== names[index])) {
      const indexes = new Map(shares.map(({ name }, index) => [name, index]));
      const stayed = order.flatMap((index) => indexes.get(names[index] as string) ?? []);
      names = shares.map(({ name }) => name);
      order = [...new Set([...stayed, ...indexes.values()])].sort((a, b) =>
        (names[a] as string).localeCompare(names[b] as string),
      );
    }
    return order.map((index) => shares[index] as Share);
  };
}

/** What is asked of the network and of the folder. */
function createQuestions(peer: ShellPeer) {
  const sorted = createSorted(() => peer.files());
  return {
    async search({ name }: Operations["search"]["in"]) {
      const peers = await peer.locate(name);
      return isFault(peers) ? peers : { peers: peers.map(formatAddress) };
    },
    async find({ words, limit = 0 }: Operations["find"]["in"]) {
      const found = await peer.find(words, limit);
      if (isFault(found)) return found;
      const contents = found.found.map(({ name, size, root, sources }) => ({
        name,
        size,
        root: root ?? null,
        sources,
      }));
      return { contents, more: found.more, isCut: found.isCut };
    },
    async files({ offset = 0, count = 0, filter = "" }: Operations["files"]["in"]) {
      const wanted = filter.normalize("NFC").toLowerCase();
      const all = sorted().filter(({ name }) => wanted === "" || name.toLowerCase().includes(wanted));
      const files = all
        .slice(offset, offset + count)
        .map(({ name, size, root }) => ({ name, size, root: root ?? null }));
      return { files, total: all.length };
    },
  };
}

export function createPeerShell(options: PeerShellOptions): PeerShell {
  const { peer, server, version } = options;
  const told = createTold(server);
  const { tell, standing } = told;
  let { limits } = options;
  let isVerifying = false;
  const { downloads } = peer;
  downloads.subscribe(createDownloadsTeller(tell));
  const found = async (isThere: boolean): Promise<object | Fault> =>
    isThere ? {} : fault("FILE_MISSING", "ours", "no such download");

  async function start({ name, from }: Operations["start"]["in"]): Promise<object | Fault> {
    const source = from === undefined ? undefined : parseAddress(from);
    if (isFault(source)) return source;
    const { folder } = standing();
    if (folder === undefined) return fault("NOT_JOINED", "ours");
    const { state = "done" } = downloads.get(name) ?? {};
    if (state === "done" || state === "failed") options.start({ name, from: source, keepsTrying: true }, folder);
    else downloads.resume(name);
    return {};
  }

  async function setLimits(given: Operations["limits"]["in"]): Promise<Limits> {
    const entries = Object.entries(given).map(([name, value]) => [name, value ?? undefined]);
    limits = { ...limits, ...Object.fromEntries(entries) };
    const { maxUploads, maxUploadRate, maxDownloadRate, maxDownloads } = limits;
    peer.setLimits({ maxUploads, maxUploadRate, maxDownloadRate });
    downloads.max = maxDownloads;
    tell({ event: "limits", limits });
    return limits;
  }

  async function verify(): Promise<object | Fault> {
    const { folder } = standing();
    if (folder === undefined) return fault("NOT_JOINED", "ours");
    if (isVerifying) return fault("BUSY", "ours");
    isVerifying = true;
    const failed = await options.verify(folder);
    isVerifying = false;
    return failed ?? {};
  }

  return {
    state: () => ({
      version,
      standing: standing(),
      downloads: downloads.list().map(downloadOf),
      uploads: told.uploads(),
      limits,
    }),
    subscribe: told.subscribe,
    hear: told.hear,
    complaint: (why, given) => complaintOf(why, { server, ...("name" in given && { name: String(given.name) }) }),
    async join({ folder, host, port = 0 }) {
      const joined = await options.join({ folder, host, port });
      return isFault(joined) ? joined : { address: formatAddress(joined) };
    },
    ...createQuestions(peer),
    verify,
    start,
    pause: ({ name }) => found(downloads.pause(name)),
    resume: ({ name }) => found(downloads.resume(name)),
    cancel: ({ name }) => found(downloads.cancel(name)),
    async play({ name }) {
      const url = await peer.play(name);
      if (!isFault(url)) return { url };
      // Until its sources are known, a download has nothing to play.
      const { state = "done" } = downloads.get(name) ?? {};
      const isBeginning = url.fault === "FILE_MISSING" && state !== "done" && state !== "failed";
      return isBeginning ? fault("NOT_READY", "ours", "its sources are looked for") : url;
    },
    limits: setLimits,
    invited: (guests) => told.stand({ guests }),
  };
}
