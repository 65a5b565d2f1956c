// Sends files to other peers: who gets a slot, which file a ticket stands for, and what each request is answered.
// Invariant: only what is in the share index is served; a slot is held exactly as long as its control connection lives.
// Never: knows it runs on a thread of its own (upload-worker.ts), or opens a path that came from the network.

import { isPassing } from "../content/safe-files.ts";
import { nextPeerState, type PeerState } from "../protocol/conversation.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import {
  LANES_PER_TICKET_MAX,
  UNJOINED_SECONDS_MAX,
  UPLOAD_CONNECTIONS_MAX,
  UPLOAD_CONNECTIONS_PER_ADDRESS_MAX,
  UPLOADS_DEFAULT,
} from "../protocol/limits.ts";
import { type Grant, type PeerRequest, type Root, VERSION } from "../protocol/messages.ts";
import { proofOf } from "../protocol/proof.ts";
import { type Clock, whileOn } from "../shared/clock.ts";
import { createConnectionLimit } from "../shared/connection-limit.ts";
import type { Connection, Handlers } from "../transport/connection.ts";
import { createEviction, type Eviction, UNASKED } from "./eviction.ts";
import { createFairRate, type FairRate } from "./fair-rate.ts";
import { createMinRate } from "./min-rate.ts";
import { createProbeOnly } from "./probe-only.ts";
import { createResponder, type Upload, type Uploading, type UploadsEvent, wireFault } from "./responder.ts";
import type { MaybeLater, ReadableFile, ShareEntry, ShareIndex } from "./share-index.ts";
import { createSlotQueue, type SlotQueue } from "./slot-queue.ts";
import type { Claim } from "./slots.ts";
import { createUploadConnection, type UploadConnection } from "./upload-connection.ts";

export type { UploadsEvent } from "./responder.ts";

/** What the person allows. */
export type UploadPolicy = {
  /** Downloads served at once; those beyond it wait, and beyond QUEUE_MAX are rejected. */
  readonly maxUploads: number;
  readonly rejectAll: boolean;
  /** Bytes per second for all uploads together; undefined for no limit. */
  readonly maxUploadRate: number | undefined;
  /** Bytes per second below which a downloader loses its slot; UPLOAD_BYTES_PER_SECOND_MIN when not given. */
  readonly minUploadRate?: number | undefined;
};

type UploadServerOptions = {
  readonly shares: ShareIndex;
  readonly clock: Clock;
  /** 32 hex digits that cannot be guessed. */
  readonly newTicket: () => string;
  /** What this peer says with its JOIN, and proves here; undefined for one that says none. */
  readonly key?: string;
  readonly policy: UploadPolicy;
  readonly onEvent: (event: UploadsEvent) => void;
  /** Connections that this machine has room for, and UPLOAD_CONNECTIONS_MAX at most. */
  readonly connectionsMax?: number;
  /** What guests read now. */
  readonly guests?: () => readonly Uploading[];
};

/** What we know of one connection. */
type Conversation = { readonly since: number; state: PeerState; upload: Upload | undefined; claim: Claim | undefined };

const SWEEP_MS = 1000;

export type UploadLimits = Pick<UploadPolicy, "maxUploads" | "maxUploadRate">;

export type UploadServer = {
  /** What the listener calls for each connection. */
  accept(transport: Connection): Handlers;
  /** Another number of slots, and another rate; uploads under way go on. */
  setLimits(limits: UploadLimits): void;
  /** What guests need to count as downloaders do. */
  readonly queue: SlotQueue;
  readonly rates: FairRate;
  /** What guests read has changed, or will soon. */
  wake(): void;
  /** From now on `uploading` is told whenever something has been sent. */
  watch(): void;
  /** Ends every upload. */
  close(): void;
};

export function createUploadServer(options: UploadServerOptions): UploadServer {
  const { shares, clock, key, policy, onEvent, connectionsMax = UPLOAD_CONNECTIONS_MAX } = options;
  const { guests = () => [] } = options;
  const conversations = new Map<UploadConnection, Conversation>();
  const rates = createFairRate(policy.maxUploadRate, clock);
  const responder = createResponder(shares, clock, onEvent);
  const most = Math.min(UPLOAD_CONNECTIONS_MAX, connectionsMax);
  const limit = createConnectionLimit(most, Math.min(UPLOAD_CONNECTIONS_PER_ADDRESS_MAX, Math.ceil(most / 2)));
  const probeOnly = createProbeOnly(key, clock, rates);
  const grants = createGrants(options, conversations);

  function accept(transport: Connection): Handlers {
    const { ip } = transport.remote;
    if (!limit.admit(ip)) {
      const last = lastOfLargest(conversations, ip);
      if (last === undefined) return probeOnly.accept(transport);
      expel(last, "its place goes to another address");
      if (!limit.admit(ip)) return probeOnly.accept(transport);
    }
    const { connection, handlers } = createUploadConnection({
      transport,
      payer: rates.payer(ip),
      serve,
      onClose: leave,
    });
    conversations.set(connection, { since: clock.now(), state: "new", upload: undefined, claim: undefined });
    sweeping.wake();
    return handlers;
  }

  async function serve(connection: UploadConnection, request: PeerRequest): Promise<Fault | undefined> {
    const conversation = conversations.get(connection) as Conversation;
    const next = nextPeerState(conversation.state, request.verb);
    if (isFault(next)) return next;
    const refused = await answer(connection, conversation, request);
    if (refused === undefined) conversation.state = next;
    else if (request.verb !== "DOWNLOAD" && request.verb !== "FETCH") return refused;
    else connection.refuse(wireFault(refused), "REJECT");
    return undefined;
  }

  function answer(
    connection: UploadConnection,
    conversation: Conversation,
    request: PeerRequest,
  ): MaybeLater<Fault | undefined> {
    const upload = conversation.upload as Upload; // where the table lets pass what needs one
    switch (request.verb) {
      case "HELLO":
        return connection.reply({ verb: "HELLO", version: Math.min(request.version, VERSION) });
      case "PING":
        return connection.reply({ verb: "PONG" });
      case "PROBE":
        return connection.reply({ verb: "PROBE_OK", proof: proofOf(key, request.nonce) });
      // SPEC 5.g: DOWNLOAD is answered by what this peer really has, accepted or rejected.
      case "DOWNLOAD":
        return grants.grant(connection, conversation, () => shares.byName(request.name));
      case "FETCH":
        return grants.grant(connection, conversation, () => shares.byRoot(request.root));
      case "LANE":
        return grants.openLane(connection, conversation, request.ticket);
      case "LAYER":
        return responder.sendLayer(connection, upload);
      case "PIECES":
        return responder.sendPieces(connection, upload);
      case "DAMAGED":
        return responder.hearDamage(connection, upload, request.index);
      case "GET":
        return responder.beginGet(connection, upload, request.offset, request.length);
    }
  }

  /** The connection is over. With the control connection the whole upload is. */
  function leave(connection: UploadConnection): void {
    const conversation = conversations.get(connection);
    if (conversation === undefined) return;
    conversations.delete(connection);
    limit.release(connection.transport.remote.ip);
    grants.leave(connection, conversation);
  }

  function expel(connection: UploadConnection, why: string): void {
    if (!connection.sending) connection.refuse(fault("TIMEOUT", "theirs", why, true));
    leave(connection);
    connection.transport.destroy();
  }

  /** Ends connections that never asked, and downloads that take nothing, or next to nothing. */
  function sweep(): void {
    const now = clock.now();
    for (const [connection, { upload, since, claim }] of conversations) {
      // A connection that waits for a slot waits for us, not we for it.
      if (upload === undefined && claim === undefined && now - since >= UNJOINED_SECONDS_MAX * 1000)
        expel(connection, UNASKED);
    }
    for (const { connections, why } of grants.verdicts(now))
      for (const connection of connections) expel(connection, why);
    tellUploads?.();
  }
  let tellUploads: (() => void) | undefined;
  const sweeping = whileOn(clock, SWEEP_MS, () => conversations.size + guests().length > 0, sweep);

  return {
    accept,
    queue: grants.queue,
    rates,
    setLimits(limits) {
      grants.setLimits(limits);
      rates.setRate(limits.maxUploadRate);
    },
    wake: sweeping.wake,
    watch() {
      tellUploads ??= createUploadsTeller(() => [...grants.list(), ...guests()], onEvent);
    },
    close() {
      sweeping.stop();
      for (const connection of [...conversations.keys()]) connection.transport.destroy();
    },
  };
}

/** Of the address with the most connections, at least two more than `ip` has, the last to come; one that waits or asks before one that is served. */
function lastOfLargest(
  conversations: ReadonlyMap<UploadConnection, Conversation>,
  ip: string,
): UploadConnection | undefined {
  const of = Map.groupBy(conversations.keys(), ({ transport }) => transport.remote.ip);
  let largest: UploadConnection[] = [];
  for (const connections of of.values()) if (connections.length > largest.length) largest = connections;
  if (largest.length < (of.get(ip)?.length ?? 0) + 2) return undefined;
  return largest.findLast((connection) => conversations.get(connection)?.upload === undefined) ?? largest.at(-1);
}

type Granted = Upload & { readonly control: UploadConnection; readonly eviction: Eviction };

/** What our own limit leaves to each download of `ip`; `ips`: the address of every download. */
function fairShareOf(ip: string, rate: number | undefined, ips: readonly string[]): number {
  if (rate === undefined) return Number.POSITIVE_INFINITY;
  const own = Math.max(1, ips.filter((one) => one === ip).length);
  return rate / Math.max(1, new Set(ips).size) / own;
}

/** Part of the ticket names a download, and opens nothing. */
function uploadingOf({ ticket, entry, control, sent }: Granted): Uploading {
  const { name, size } = entry.share;
  return { id: ticket.slice(0, 8), name, to: control.transport.remote, bytes: sent, size };
}

/** Tells what is served now; nothing while nothing of it moves. */
function createUploadsTeller(list: () => readonly Uploading[], onEvent: (event: UploadsEvent) => void): () => void {
  let told = "[]";
  return () => {
    const uploads = list();
    const seen = JSON.stringify(uploads);
    if (seen !== told) onEvent({ type: "uploading", uploads });
    told = seen;
  };
}

/**
 * What is granted, with the part of the file for a slot; none beyond those that are left after their number was lowered.
 * Where there are many slots few may ever be taken: the file is dealt to the usual number, or to as many as are in use.
 */
function grantOf({ share: { size, root }, pieceBytes }: ShareEntry, ticket: string, slot = 0, most = 0): Grant {
  const slots = Math.min(most, Math.max(UPLOADS_DEFAULT, slot + 1));
  return { ticket, size, pieceBytes, root, ...(slot < slots && { part: { slot, slots } }) };
}

/** The downloads that have a slot, by ticket, and which of them are to give it up. */
function createGrants(
  { shares, clock, newTicket, policy: first, onEvent }: UploadServerOptions,
  conversations: ReadonlyMap<UploadConnection, Conversation>,
) {
  let policy = first;
  const uploads = new Map<string, Granted>();
  const queue = createSlotQueue(policy.maxUploads, clock);

  const fairShare = (ip: string): number =>
    fairShareOf(
      ip,
      policy.maxUploadRate,
      [...uploads.values()].map(({ control }) => control.transport.remote.ip),
    );

  /** Grants the entry that `find` finds, once there is a slot. */
  async function grant(
    connection: UploadConnection,
    conversation: Conversation,
    find: () => ShareEntry | undefined,
  ): Promise<Fault | undefined> {
    if (policy.rejectAll) return fault("REFUSED", "ours", "this peer refuses every download");
    if (find() === undefined) return fault("NOT_SHARED", "theirs", "not shared here");
    const refused = await takeSlot(connection, conversation, find()?.share.root);
    // Looked up again: the file may be gone, or whole, after the wait for a slot.
    const entry = find();
    const file = refused ?? (entry === undefined ? fault("NOT_SHARED", "theirs", "gone") : await shares.open(entry));
    if (entry === undefined || isFault(file)) {
      // Only what is no longer the file is withdrawn; what cannot be opened just now is asked for again.
      const isNews = entry !== undefined && refused === undefined && !isPassing(file as Fault);
      if (isNews) onEvent({ type: "changed", name: entry.share.name });
      conversation.claim?.leave();
      conversation.claim = undefined;
      return file as Fault;
    }
    return void (connection.gone ? file.close() : admit(connection, conversation, entry, file));
  }

  function admit(
    connection: UploadConnection,
    conversation: Conversation,
    entry: ShareEntry,
    file: ReadableFile,
  ): void {
    const ticket = newTicket();
    const now = clock.now();
    const { ip } = connection.transport.remote;
    const minRate = createMinRate(now, () => fairShare(ip), policy.minUploadRate);
    const begun = { connections: new Set([connection]), sent: 0, movedAt: now, hasLayer: false, damaged: 0 };
    const upload = { ticket, entry, file, control: connection, minRate, eviction: createEviction(), ...begun };
    conversation.upload = upload;
    uploads.set(ticket, upload);
    connection.joins(ticket);
    const { size, name } = entry.share;
    const slot = conversation.claim?.slot();
    connection.reply({ verb: "ACCEPT", grant: grantOf(entry, ticket, slot, policy.maxUploads) });
    if (entry.layer === undefined && size > 0) onEvent({ type: "wanted", name });
  }

  /** Waits for the connection's turn. BUSY when there is none to wait for. */
  async function takeSlot(connection: UploadConnection, talk: Conversation, root?: Root): Promise<Fault | undefined> {
    const entered = queue.enter(connection, root);
    if (isFault(entered)) return entered;
    talk.claim = entered.claim;
    return entered.turn;
  }

  function openLane(connection: UploadConnection, conversation: Conversation, ticket: string): Fault | undefined {
    const upload = uploads.get(ticket);
    if (upload === undefined) return fault("BAD_STATE", "theirs", "no such ticket");
    if (upload.connections.size > LANES_PER_TICKET_MAX) return fault("TOO_MANY", "theirs", "lanes of one download");
    upload.connections.add(connection);
    conversation.upload = upload;
    connection.joins(ticket);
    connection.reply({ verb: "LANE_OK" });
    return undefined;
  }

  /** The connection is gone. */
  function leave(connection: UploadConnection, { upload, claim }: Conversation): void {
    const granted = upload && uploads.get(upload.ticket);
    granted?.connections.delete(connection);
    granted?.eviction.left(connection);
    if (granted?.control === connection) {
      const { ticket, entry, file, sent, connections } = granted;
      uploads.delete(ticket);
      for (const lane of connections) lane.transport.destroy();
      file.close();
      onEvent({ type: "uploaded", name: entry.share.name, to: connection.transport.remote, bytes: sent });
    }
    claim?.leave();
  }

  /** The connections of downloads that are to give up their grants. */
  function verdicts(now: number): { readonly connections: readonly UploadConnection[]; readonly why: string }[] {
    const over = queue.overdue();
    return [...uploads.values()].flatMap((upload) => {
      const connections = [...upload.connections];
      const isOver =
        over !== undefined && connections.some((connection) => conversations.get(connection)?.claim === over);
      const why =
        upload.eviction.verdict(upload, now, queue.isWanted) ?? (isOver ? "another address's turn" : undefined);
      return why === undefined ? [] : [{ connections, why }];
    });
  }

  return {
    grant,
    openLane,
    leave,
    verdicts,
    queue,
    setLimits(limits: UploadLimits) {
      policy = { ...policy, ...limits };
      queue.resize(limits.maxUploads);
    },
    list: (): Uploading[] => [...uploads.values()].map(uploadingOf),
  };
}
