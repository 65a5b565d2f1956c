// The uploads' thread seen from the main thread: where it listens and what it has to give.
// Invariant: what was put before `listen` answers is served from the first connection on.
// Never: sees a byte of a file.

import type { Address } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import type { Root } from "../protocol/messages.ts";
import type { Security } from "../transport/security.ts";
import type { ShareEntry } from "./share-index.ts";
import type { UploadLimits, UploadPolicy, UploadsEvent } from "./upload-server.ts";
import type { Listed, UploadMessage, UploadReport } from "./upload-worker.ts";

export type UploadThread = {
  /** Replaces what is served. */
  replaceAll(all: readonly ShareEntry<Listed>[]): void;
  /** Adds one file, or replaces what was known of it. */
  put(entry: ShareEntry<Listed>): void;
  putAll(entries: readonly ShareEntry<Listed>[]): void;
  remove(name: string): void;
  /** These pieces of a download under way, put before, may be served too. */
  have(root: Root, indexes: readonly number[]): void;
  removePartial(root: Root): void;
  /** Listens there too, and answers with the port that was taken; `settle` says which of the two addresses stays. */
  listen(at: Address): Promise<Address | Fault>;
  /**
   * The address that `listen` took replaces the one before, or is given up. Resolves when the other's port is free; a
   * fault when the address before had to be left for the new one and could not be taken again.
   */
  settle(keep: boolean): Promise<Fault | undefined>;
  setLimits(limits: UploadLimits): void;
  /** From now on `uploading` is told. */
  watch(): void;
  /** Serves guests there, under a secret path; the port that was taken. Faults as those of listen. */
  openGuests(at: Address, token: string): Promise<Address | Fault>;
  /** Resolves once no peer can connect any more. */
  close(): Promise<void>;
};

/** `key` is what the peer proves to a PROBE. */
export function startUploadThread(
  policy: UploadPolicy,
  key: string,
  onEvent: (event: UploadsEvent) => void,
  security: Security,
): UploadThread {
  const worker = new Worker(new URL("./upload-worker.ts", import.meta.url).href);
  const closed = Promise.withResolvers<void>();
  const asked: ((result: Address | Fault) => void)[] = [];
  const inviting: ((result: Address | Fault) => void)[] = [];
  const settling: ((result: Fault | undefined) => void)[] = [];
  const post = (message: UploadMessage) => worker.postMessage(message);
  worker.onmessage = ({ data: message }: MessageEvent<UploadReport>) => {
    if (message.type === "closed") closed.resolve();
    else if (message.type === "listening") asked.shift()?.(message.result);
    else if (message.type === "settled") settling.shift()?.(message.result);
    else if (message.type === "guests") inviting.shift()?.(message.result);
    else onEvent(message);
  };
  worker.onerror = (event) => {
    closed.resolve();
    for (const answer of asked.splice(0)) answer(fault("INTERNAL", "ours", `upload thread: ${event.message}`));
    // A bug, and nothing is served any more: better a peer that is gone than one that is in the network and never answers.
    throw new Error(`upload thread: ${event.message}`);
  };
  post({ type: "start", policy, key, security });
  return {
    replaceAll: (entries) => post({ type: "put", fresh: true, entries }),
    put: (entry) => post({ type: "put", fresh: false, entries: [entry] }),
    putAll: (entries) => post({ type: "put", fresh: false, entries }),
    remove: (name) => post({ type: "remove", name }),
    have: (root, indexes) => post({ type: "have", root, indexes }),
    removePartial: (root) => post({ type: "removePartial", root }),
    listen(at) {
      const { promise, resolve } = Promise.withResolvers<Address | Fault>();
      asked.push(resolve);
      post({ type: "listen", at });
      return promise;
    },
    settle(keep) {
      const { promise, resolve } = Promise.withResolvers<Fault | undefined>();
      settling.push(resolve);
      post({ type: "settle", keep });
      return promise;
    },
    setLimits: (limits) => post({ type: "limits", limits }),
    watch: () => post({ type: "watch" }),
    openGuests(at, token) {
      const { promise, resolve } = Promise.withResolvers<Address | Fault>();
      inviting.push(resolve);
      post({ type: "guests", at, token });
      return promise;
    },
    close() {
      post({ type: "close" });
      return closed.promise.finally(() => worker.terminate());
    },
  };
}
