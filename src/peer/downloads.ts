// The downloads of one peer: so many at a time, the rest queued, each tried again where that is wanted.
// Invariant: one download for each name; at most `max` are under way, and of names that differ in case only one, because
// many folders hold only one of them.
// Never: prints, or knows how a file is fetched.

import type { Progress } from "../download/progress.ts";
import type { Address } from "../protocol/address.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import type { DownloadState } from "../shared/download-state.ts";
import {
  type AttemptOptions,
  attempt,
  CANCELLED_DOWNLOAD,
  type DownloadsEvent,
  type DownloadView,
  type DownloadWish,
  goesOn,
  isCurable,
  viewOf,
} from "./download-attempt.ts";
import type { Done } from "./requests.ts";

export type { DownloadsEvent, DownloadView, DownloadWish } from "./download-attempt.ts";

export type Downloads = {
  /**
   * Queues a download; where one of that name is not over yet, that one goes on, now if it was paused or waited, and keeps
   * trying from now on where this is wished. Resolves when it is over: CANCELLED when it was cancelled.
   */
  start(wish: DownloadWish): Promise<Done | Fault>;
  /** Gives its turn to others, until `resume`. False where there is nothing to pause. */
  pause(name: string): boolean;
  /** Queues what was paused, failed, or waits for another try. False where there is nothing of the kind. */
  resume(name: string): boolean;
  /** Ends it, and takes it from the list; what has arrived stays in the folder. False where there is none. */
  cancel(name: string): boolean;
  /** It is tried again from now on, where it was not. */
  keepTrying(name: string): void;
  list(): readonly DownloadView[];
  get(name: string): DownloadView | undefined;
  /** Tells every change from now on, until the returned function is called. */
  subscribe(tell: (event: DownloadsEvent) => void): () => void;
  /** How many are under way at most, from 1; those under way go on. */
  max: number;
  /** A peer has a file of this name now: the server says so once for each wish. */
  arrived(name: string): void;
  /** The server has forgotten our wishes: what waits is tried again, and wished for anew. */
  serverBack(): void;
  /** Cancels everything; resolves once what has arrived is written down. */
  close(): Promise<void>;
};

export type DownloadsOptions = Omit<AttemptOptions, "tell"> & {
  readonly max?: number | undefined;
  readonly unwish: (name: string) => void;
};

export const DOWNLOADS_DEFAULT = 3;
/** Downloads that are over stay in the list up to so many; the oldest go. */
const OVER_MAX = 1000;
/** The pause before the second try, and the longest; each is twice the one before, and up to half of it is left to chance. */
const RETRY_SECONDS_MIN = 5;
const RETRY_SECONDS_MAX = 600;

type Download = {
  readonly name: string;
  state: DownloadState;
  wish: DownloadWish;
  progress: Progress | undefined;
  from: Address | undefined;
  done: Done | undefined;
  fault: Fault | undefined;
  retryAt: number | undefined;
  isWished: boolean | undefined;
  wasFound: boolean;
  advancedAt: number;
  /** Tries since bytes last arrived. */
  tries: number;
  /** Bytes that were here when the last try began. */
  bytesBefore: number;
  abort: AbortController;
  cancelRetry: () => void;
  readonly ended: PromiseWithResolvers<Done | Fault>;
};

const isOver = ({ state }: DownloadView): boolean => state === "done" || state === "failed";
const foldOf = ({ name }: DownloadView): string => name.toLowerCase();

function createDownload(wish: DownloadWish, now: number): Download {
  const unknown = { progress: undefined, from: undefined, done: undefined, fault: undefined };
  return {
    name: wish.name,
    state: "queued",
    wish,
    ...unknown,
    retryAt: undefined,
    isWished: undefined,
    wasFound: false,
    advancedAt: now,
    tries: 0,
    bytesBefore: 0,
    abort: new AbortController(),
    cancelRetry() {},
    ended: Promise.withResolvers(),
  };
}

export function createDownloads(options: DownloadsOptions): Downloads {
  const { unwish, env } = options;
  const listeners = new Set<(event: DownloadsEvent) => void>();
  const tell = (event: DownloadsEvent): void => {
    for (const listener of listeners) listener(event);
  };
  const queue = createQueue({ ...options, tell });
  const { downloads } = queue;
  const find = (name: string): Download | undefined => downloads.get(name.normalize("NFC"));

  function stop(download: Download): void {
    download.abort.abort();
    if (download.isWished !== undefined) unwish(download.name);
    download.isWished = undefined;
  }

  const all: Downloads = {
    start(wish) {
      const name = wish.name.normalize("NFC");
      const before = downloads.get(name);
      if (before !== undefined && !isOver(before)) {
        if (wish.keepsTrying === true) all.keepTrying(name);
        if (before.state === "paused" || before.state === "waiting") queue.put(before);
        return before.ended.promise;
      }
      downloads.delete(name); // from its old place in the list
      const download = createDownload({ ...wish, name }, env.clock.now());
      downloads.set(name, download);
      queue.put(download);
      return download.ended.promise;
    },
    pause(name) {
      const download = find(name);
      if (download === undefined || isOver(download) || download.state === "paused") return false;
      stop(download);
      queue.change(download, "paused");
      queue.turn();
      return true;
    },
    resume(name) {
      const download = find(name);
      if (download?.state === "failed") void all.start(download.wish);
      else if (download?.state === "paused" || download?.state === "waiting") queue.put(download);
      else return false;
      return true;
    },
    cancel(name) {
      const download = find(name);
      if (download === undefined) return false;
      stop(download);
      queue.remove(download);
      return true;
    },
    keepTrying(name) {
      const download = find(name);
      if (download !== undefined) download.wish = { ...download.wish, keepsTrying: true };
    },
    list: () => [...downloads.values()].map(viewOf),
    get(name) {
      const download = find(name);
      return download && viewOf(download);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    get max() {
      return queue.max;
    },
    set max(count) {
      queue.max = Math.max(1, count);
      queue.turn();
    },
    arrived(name) {
      const download = find(name);
      if (download === undefined) return;
      download.isWished = undefined;
      if (download.state === "waiting") queue.put(download);
    },
    serverBack() {
      for (const download of [...downloads.values()]) {
        download.isWished = undefined;
        if (download.state === "waiting") queue.put(download);
      }
    },
    async close() {
      const ending = [...downloads.values()].filter((download) => !isOver(download));
      for (const { name } of ending) all.cancel(name);
      await Promise.all([...queue.underWay].map(({ ended }) => ended.promise));
    },
  };
  return all;
}

/** Which download's turn it is, and what becomes of one after its turn. */
function createQueue(options: DownloadsOptions & { readonly tell: (event: DownloadsEvent) => void }) {
  const { env, tell, unwish } = options;
  const downloads = new Map<string, Download>();
  /** Cancelled ones too, until they have written down what has arrived. */
  const underWay = new Set<Download>();

  function change(download: Download, state: DownloadState, what: Partial<Download> = {}): void {
    download.cancelRetry();
    Object.assign(download, { retryAt: undefined, fault: undefined }, what, { state });
    tell({ type: "changed", download: viewOf(download) });
  }

  function put(download: Download): void {
    change(download, "queued");
    queue.turn();
  }

  function remove(download: Download): void {
    download.cancelRetry();
    if (downloads.get(download.name) === download) downloads.delete(download.name);
    tell({ type: "removed", name: download.name });
    if (!underWay.has(download)) download.ended.resolve(CANCELLED_DOWNLOAD); // it may have ended long ago
    queue.turn();
  }

  async function run(download: Download): Promise<void> {
    underWay.add(download);
    download.abort = new AbortController();
    download.bytesBefore = download.progress?.bytes ?? 0;
    change(download, "running");
    const ended = await attempt(download, download.abort.signal, options);
    underWay.delete(download);
    if (downloads.get(download.name) !== download) download.ended.resolve(ended);
    // Paused meanwhile, and perhaps resumed: only that it is done counts.
    else if (download.state === "running" || !isFault(ended)) settle(download, ended);
    queue.turn();
  }

  function settle(download: Download, ended: Done | Fault): void {
    const always = download.wish.keepsTrying === true;
    if (isFault(ended) && goesOn(download) && isCurable(ended, always) && leftMs(download) > 0)
      return retry(download, ended);
    if (download.isWished !== undefined) unwish(download.name);
    const outcome = isFault(ended) ? { fault: ended } : { done: ended };
    change(download, isFault(ended) ? "failed" : "done", { ...outcome, isWished: undefined });
    download.ended.resolve(ended);
    const over = [...downloads.values()].filter(isOver);
    for (const old of over.slice(0, Math.max(0, over.length - OVER_MAX))) remove(old);
  }

  /** How long it may go on without a byte; Infinity for as long as it takes. */
  function leftMs({ wish, advancedAt }: Download): number {
    if (wish.keepsTrying === true) return Number.POSITIVE_INFINITY;
    return (wish.maxWaitSeconds ?? Number.POSITIVE_INFINITY) * 1000 - (env.clock.now() - advancedAt);
  }

  function retry(download: Download, why: Fault): void {
    if ((download.progress?.bytes ?? 0) > download.bytesBefore) download.tries = 0;
    const left = leftMs(download);
    // Where the server tells us of every peer that comes with it there is nothing to ask for meanwhile.
    if (why.fault === "NO_SOURCE" && download.isWished && left === Number.POSITIVE_INFINITY)
      return change(download, "waiting", { fault: why });
    const seconds = Math.min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2 ** download.tries);
    download.tries += 1;
    const ms = Math.min(left, (seconds / 2) * (1 + env.random()) * 1000);
    change(download, "waiting", { fault: why, retryAt: env.clock.now() + ms });
    download.cancelRetry = env.clock.after(ms, () => put(download));
  }

  const queue = {
    downloads,
    underWay: underWay as ReadonlySet<Download>,
    max: options.max ?? DOWNLOADS_DEFAULT,
    change,
    put,
    remove,
    /** Begins what there is room for. */
    turn(): void {
      const folds = new Set([...underWay].map(foldOf));
      for (const download of downloads.values()) {
        if (underWay.size >= queue.max) return;
        if (download.state !== "queued" || underWay.has(download) || folds.has(foldOf(download))) continue;
        folds.add(foldOf(download));
        void run(download);
      }
    },
  };
  return queue;
}
