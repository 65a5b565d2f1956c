// Downloads as the page has them: started, paused, taken up and cancelled by name, a few at a time.
// Invariant: a name is downloaded once at a time; what is paused or cancelled keeps what has arrived.
// Never: decides how a download goes; the peer does.

import type { Complaint } from "../console/text/complaints.ts";
import type { Progress } from "../download/progress.ts";
import type { Peer } from "../peer.ts";
import { type Address, formatAddress, sameAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { Download, DownloadState, Waits } from "./contract.ts";

export type Downloads = {
  start(name: string, from: Address | undefined): Fault | undefined;
  pause(name: string): Fault | undefined;
  resume(name: string): Fault | undefined;
  /** Ends it and forgets it; what has arrived stays for the next time. */
  cancel(name: string): Fault | undefined;
  list(): readonly Download[];
  /** So many at once; the others wait in their order. */
  setMost(most: number): void;
  /** Begins those anew that run: with other limits. */
  restart(): void;
};

export type DownloadsOptions = {
  readonly peer: Pick<Peer, "search" | "download">;
  readonly self: () => Address | undefined;
  readonly most: number;
  readonly complaint: (why: Fault, name: string) => Complaint;
  readonly onChange: (download: Download) => void;
  readonly onRemoved: (name: string) => void;
  readonly onDone: (name: string, folder: string, bytes: number) => void;
};

type Entry = {
  readonly name: string;
  readonly from: Address | undefined;
  state: DownloadState;
  progress: Progress | undefined;
  bytes: number;
  size: number;
  problem: Download["problem"];
  abort: AbortController | undefined;
  toldAt: number;
};

/** Often enough to look alive. */
const TOLD_MS = 500;

export function createDownloads(options: DownloadsOptions): Downloads {
  const { peer, self, onChange, onRemoved, onDone } = options;
  const entries = new Map<string, Entry>();
  let { most } = options;

  const tell = (entry: Entry): void => {
    entry.toldAt = performance.now();
    onChange(downloadOf(entry));
  };

  function set(entry: Entry, state: DownloadState, problem?: Download["problem"]): void {
    entry.state = state;
    entry.problem = problem;
    if (entries.get(entry.name) === entry) tell(entry);
  }

  function fill(): void {
    const all = [...entries.values()];
    let room = most - all.filter(({ abort }) => abort !== undefined).length;
    for (const entry of all) if (entry.state === "queued" && entry.abort === undefined && room-- > 0) void run(entry);
  }

  async function run(entry: Entry): Promise<void> {
    const abort = new AbortController();
    entry.abort = abort;
    set(entry, "running");
    const done = await fetchFile(entry, abort.signal);
    entry.abort = undefined;
    entry.progress = undefined;
    if (isFault(done) && done.fault === "CANCELLED") {
      if (entry.state === "running") set(entry, "queued");
    } else if (isFault(done)) {
      const { cause, code, hint } = options.complaint(done, entry.name);
      set(entry, "failed", { code, message: cause, hint });
    } else {
      entry.bytes = done.bytes;
      entry.size = done.bytes;
      set(entry, "done");
      onDone(done.name, done.folder, done.bytes);
    }
    fill();
  }

  async function fetchFile(entry: Entry, signal: AbortSignal) {
    const { name } = entry;
    const found = await peer.search(name);
    if (isFault(found)) return found;
    if (signal.aborted) return fault("CANCELLED", "ours");
    const own = self();
    const source = entry.from ?? found.find((one) => own === undefined || !sameAddress(one, own)) ?? found[0];
    if (source === undefined) return fault("NO_SOURCE", "theirs");
    return peer.download(source, {
      name,
      signal,
      onProgress(progress) {
        Object.assign(entry, { progress, bytes: progress.bytes, size: progress.size || entry.size });
        if (performance.now() - entry.toldAt >= TOLD_MS && entry.state === "running") tell(entry);
      },
    });
  }

  /** What is done with one that is there. */
  function withEntry(name: string, act: (entry: Entry) => void): Fault | undefined {
    const entry = entries.get(name.normalize("NFC"));
    if (entry === undefined) return fault("FILE_MISSING", "ours", "no such download");
    act(entry);
    fill();
    return undefined;
  }

  return {
    start(given, from) {
      const name = given.normalize("NFC");
      const before = entries.get(name);
      if (before !== undefined && before.state !== "done" && before.state !== "failed") return undefined;
      const { bytes = 0, size = 0 } = before ?? {};
      const entry: Entry = {
        name,
        from,
        state: "queued",
        progress: undefined,
        bytes,
        size,
        problem: undefined,
        abort: undefined,
        toldAt: 0,
      };
      entries.set(name, entry);
      tell(entry);
      fill();
      return undefined;
    },
    pause: (name) =>
      withEntry(name, (entry) => {
        if (entry.state === "done" || entry.state === "failed") return;
        set(entry, "paused");
        entry.abort?.abort();
      }),
    resume: (name) =>
      withEntry(name, (entry) => {
        if (entry.state === "paused") set(entry, "queued");
      }),
    cancel: (name) =>
      withEntry(name, (entry) => {
        entries.delete(entry.name);
        entry.abort?.abort();
        onRemoved(entry.name);
      }),
    list: () => [...entries.values()].map(downloadOf),
    setMost(number) {
      most = number;
      fill();
    },
    restart() {
      for (const { state, abort } of entries.values()) if (state === "running") abort?.abort();
    },
  };
}

function downloadOf({ name, state, bytes, size, progress, problem }: Entry): Download {
  const { rate = 0, etaSeconds, waiting, detail } = progress ?? {};
  const picture = detail?.();
  return {
    name,
    state,
    bytes,
    size,
    rate: Math.round(rate),
    etaSeconds,
    sources: (picture?.brought ?? []).map(({ address, bytes: brought }) => ({
      address: formatAddress(address),
      bytes: brought,
    })),
    waiting: waitsOf(waiting),
    problem,
    pieces: picture && Buffer.from(picture.pieces).toString("base64"),
    pieceCount: picture?.pieceCount,
  };
}

function waitsOf(waiting: Progress["waiting"]): Waits | undefined {
  if (waiting === undefined) return undefined;
  return "from" in waiting ? ({ ...waiting, from: formatAddress(waiting.from) } as Waits) : waiting;
}
