// The thread that serves uploads: it owns the listening socket, so that nothing the console does can hold up a byte.
// Invariant: everything that crosses the thread border is plain data of the two types below.
// Never: holds logic of its own.

import { randomBytes } from "node:crypto";
import type { PartOf } from "../content/part-workspace.ts";
import { readable } from "../content/positioned-io.ts";
import { openPart, openShare, type Stamp } from "../content/safe-files.ts";
import { type Address, formatAddress } from "../protocol/address.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import type { Root } from "../protocol/messages.ts";
import { systemClock } from "../shared/clock.ts";
import type { Listen } from "../transport/connection.ts";
import { nextDescriptor, SCARCE_FROM } from "../transport/descriptors.ts";
import { listenHttp } from "../transport/http.ts";
import { createMovableListener } from "../transport/listener-move.ts";
import type { Security } from "../transport/security.ts";
import { createTcp } from "../transport/tcp.ts";
import { createGuestServer, type GuestServer } from "./guests/guests.ts";
import { createShareIndex, type ShareEntry } from "./share-index.ts";
import {
  createUploadServer,
  type UploadLimits,
  type UploadPolicy,
  type UploadServer,
  type UploadsEvent,
} from "./upload-server.ts";

/** Where a shared file lies: what opens it again. */
export type Listed = (Stamp & { readonly folder: string; readonly file: string }) | PartOf;

/** Main thread -> uploads. */
export type UploadMessage =
  | { readonly type: "start"; readonly policy: UploadPolicy; readonly key: string; readonly security: Security }
  | { readonly type: "listen"; readonly at: Address }
  | { readonly type: "settle"; readonly keep: boolean }
  | { readonly type: "put"; readonly fresh: boolean; readonly entries: readonly ShareEntry<Listed>[] }
  | { readonly type: "remove"; readonly name: string }
  /** A download under way has verified these pieces; it was put before. */
  | { readonly type: "have"; readonly root: Root; readonly indexes: readonly number[] }
  | { readonly type: "removePartial"; readonly root: Root }
  /** Another number of slots, and another rate. */
  | { readonly type: "limits"; readonly limits: UploadLimits }
  /** Tells what is being served, from now on. */
  | { readonly type: "watch" }
  /** Serves guests there, under a path that begins with `token`. */
  | { readonly type: "guests"; readonly at: Address; readonly token: string }
  | { readonly type: "close" };

/** Uploads -> main thread. */
export type UploadReport =
  | UploadsEvent
  | { readonly type: "closed" }
  | { readonly type: "listening"; readonly result: Address | Fault }
  | { readonly type: "settled"; readonly result: Fault | undefined }
  | { readonly type: "guests"; readonly result: Address | Fault };

declare const self: Worker & { onmessage: (event: MessageEvent<UploadMessage>) => void };

const report = (message: UploadReport) => self.postMessage(message);

const shares = createShareIndex<Listed>(async (listed) => {
  const file = await ("part" in listed
    ? openPart(listed.folder, listed.part, listed.identity)
    : openShare(listed.folder, listed));
  return isFault(file) ? file : readable(file);
});
let uploads: UploadServer | undefined;
let isRejecting = false;
let listen: Listen;
const listeners = createMovableListener((at) =>
  listen(at, (connection) => (uploads as UploadServer).accept(connection)),
);

/** What else this program opens later on: its connection to the server, downloads, the cache. */
const OWN_DESCRIPTORS = 6;

/** Connections that the descriptors allow: each of a download opens a file besides. */
function connectionsFor(maxUploads: number): number {
  const free = SCARCE_FROM - (nextDescriptor() ?? SCARCE_FROM) - OWN_DESCRIPTORS;
  return Math.max(2, Math.floor(free / 2), free - maxUploads);
}

/** A browser has six of them, and its player some more. */
const GUEST_CONNECTIONS = { connections: 256, ofAddress: 16 };
let guestServer: GuestServer | undefined;
let closeGuests = (): void => {};

async function openGuests({ at, token }: { readonly at: Address; readonly token: string }): Promise<Address | Fault> {
  let host = "";
  const guests = createGuestServer({
    shares,
    uploads: uploads as UploadServer,
    clock: systemClock,
    token,
    host: () => host,
    rejectAll: isRejecting,
    onEvent: report,
  });
  guestServer = guests;
  const listener = await listenHttp(at, guests.serve, GUEST_CONNECTIONS);
  if (isFault(listener)) return listener;
  host = formatAddress(listener.address);
  closeGuests = () => {
    listener.close();
    guests.close();
  };
  return listener.address;
}

self.onmessage = ({ data: message }) => {
  switch (message.type) {
    case "start":
      isRejecting = message.policy.rejectAll;
      listen = createTcp(message.security).listen;
      uploads = createUploadServer({
        shares,
        clock: systemClock,
        newTicket: () => randomBytes(16).toString("hex"),
        key: message.key,
        policy: message.policy,
        onEvent: report,
        guests: () => guestServer?.list() ?? [],
        connectionsMax: connectionsFor(message.policy.maxUploads),
      });
      return;
    case "listen":
      report({ type: "listening", result: listeners.take(message.at) });
      return;
    case "settle":
      report({ type: "settled", result: listeners.settle(message.keep) });
      return;
    case "put":
      if (message.fresh) shares.clear();
      for (const entry of message.entries) shares.put(entry);
      return;
    case "remove":
      shares.remove(message.name);
      return;
    case "have":
      shares.have(message.root, message.indexes);
      return;
    case "removePartial":
      shares.removePartial(message.root);
      return;
    case "limits":
      uploads?.setLimits(message.limits);
      return;
    case "watch":
      uploads?.watch();
      return;
    case "guests":
      void openGuests(message).then((result) => report({ type: "guests", result }));
      return;
    case "close":
      listeners.close();
      closeGuests();
      uploads?.close();
      report({ type: "closed" });
  }
};
