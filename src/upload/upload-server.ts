// Serving files to other peers: who gets a slot, which file a ticket stands for, and what each request is answered.
// Invariant: only what is on the shelf is served; a slot is held exactly as long as its control connection lives.
// Never: knows it runs on a thread of its own (upload-worker.ts), or opens a path that came from the network.

import { isPassing } from "../content/safe-files.ts";
import { nextPeerState, type PeerState } from "../protocol/conversation.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import {
  LANES_PER_TICKET_MAX,
  UNJOINED_SECONDS_MAX,
  UPLOAD_CONNECTIONS_MAX,
  UPLOAD_CONNECTIONS_PER_ADDRESS_MAX,
} from "../protocol/limits.ts";
import { type PeerRequest, VERSION } from "../protocol/messages.ts";
import { proofOf } from "../protocol/proof.ts";
import { type Clock, every } from "../shared/clock.ts";
import { createConnectionLimit } from "../shared/connection-limit.ts";
import type { Connection, Handlers } from "../transport/connection.ts";
import { createEviction, type Eviction, UNASKED } from "./eviction.ts";
import { createFairRate } from "./fair-rate.ts";
import { createMinRate } from "./min-rate.ts";
import { createProbeOnly } from "./probe-only.ts";
import { createResponder, type Responder, type Upload, type UploadsEvent, wireFault } from "./responder.ts";
import type { ReadableFile, ShareEntry, ShareIndex } from "./share-index.ts";
import { createSlotQueue } from "./slot-queue.ts";
import type { Seat } from "./slots.ts";
import { createUploadConnection, type UploadConnection } from "./upload-connection.ts";

export type { UploadsEvent } from "./responder.ts";

/** What the person allows. */
export type UploadPolicy = {
  /** Downloads served at once; those beyond it wait, and beyond QUEUE_MAX are rejected. */
  readonly maxUploads: number;
  readonly rejectAll: boolean;
  /** Bytes per second for all uploads together; undefined for no limit. */
  readonly maxUploadRate: number | undefined;
  /** Bytes per second below which a downloader loses its slot; PACE_BYTES_PER_SECOND_MIN when not given. */
  readonly minUploadRate?: number | undefined;
};

type UploadsOptions = {
  readonly shelf: ShareIndex;
  readonly clock: Clock;
  /** 32 hex digits that nobody can guess. */
  readonly newTicket: () => string;
  /** What this peer says with its JOIN, and proves here; undefined for one that says none. */
  readonly key?: string;
  readonly policy: UploadPolicy;
  readonly onEvent: (event: UploadsEvent) => void;
  /** Connections that this machine has room for, and GUESTS_MAX at most. */
  readonly guestsMax?: number;
};

/** What we know of one connection. */
type Visit = { readonly since: number; state: PeerState; upload: Upload | undefined; seat: Seat | undefined };

const SWEEP_MS = 1000;

export type UploadServer = {
  /** What the listener calls for each connection. */
  accept(connection: Connection): Handlers;
  /** Ends every upload. */
  close(): void;
};

export function createUploadServer(options: UploadsOptions): UploadServer {
  const { shelf, clock, key, policy, onEvent, guestsMax = UPLOAD_CONNECTIONS_MAX } = options;
  const visits = new Map<UploadConnection, Visit>();
  const rates = createFairRate(policy.maxUploadRate, clock);
  const serving = createResponder(shelf, clock, onEvent);
  const most = Math.min(UPLOAD_CONNECTIONS_MAX, guestsMax);
  const crowd = createConnectionLimit(most, Math.min(UPLOAD_CONNECTIONS_PER_ADDRESS_MAX, Math.ceil(most / 2)));
  const porch = createProbeOnly(key, clock, rates);
  const slots = createSlotBook(options, visits);

  function accept(connection: Connection): Handlers {
    const { ip } = connection.remote;
    if (!crowd.admit(ip)) {
      const last = lastOfLargest(visits, ip);
      if (last === undefined) return porch.accept(connection);
      expel(last, "its place goes to another address");
      if (!crowd.admit(ip)) return porch.accept(connection);
    }
    const { guest, handlers } = createUploadConnection({ connection, payer: rates.payer(ip), serve, onClose: leave });
    visits.set(guest, { since: clock.now(), state: "new", upload: undefined, seat: undefined });
    return handlers;
  }

  async function serve(guest: UploadConnection, request: PeerRequest): Promise<Fault | undefined> {
    const visit = visits.get(guest) as Visit;
    const next = nextPeerState(visit.state, request.verb);
    if (isFault(next)) return next;
    switch (request.verb) {
      case "HELLO":
        guest.reply({ verb: "HELLO", version: Math.min(request.version, VERSION) });
        return undefined;
      case "PING":
        guest.reply({ verb: "PONG" });
        return undefined;
      case "PROBE":
        guest.reply({ verb: "PROBE_OK", proof: proofOf(key, request.nonce) });
        return undefined;
      // SPEC 5.g: DOWNLOAD is answered by what this peer really has, accepted or rejected.
      case "DOWNLOAD":
        return slots.grant(guest, visit, () => shelf.byName(request.name));
      case "FETCH":
        return slots.grant(guest, visit, () => shelf.byRoot(request.root));
      case "LANE":
        return slots.openLane(guest, visit, request.ticket);
      default:
        return serveGranted(serving, guest, visit.upload as Upload, request);
    }
  }

  /** The guest's connection is over. With the control connection the whole upload is. */
  function leave(guest: UploadConnection): void {
    const visit = visits.get(guest);
    if (visit === undefined) return;
    visits.delete(guest);
    crowd.release(guest.connection.remote.ip);
    slots.leave(guest, visit);
  }

  function expel(guest: UploadConnection, why: string): void {
    if (!guest.sending) guest.refuse(fault("TIMEOUT", "theirs", why, true));
    leave(guest);
    guest.connection.destroy();
  }

  /** Frees what nobody uses: connections that never asked, slots whose holder takes nothing, or next to nothing. */
  function sweep(): void {
    const now = clock.now();
    for (const [guest, { upload, since, seat }] of visits) {
      // Who has a seat waits for us, not we for it.
      if (upload === undefined && seat === undefined && now - since >= UNJOINED_SECONDS_MAX * 1000)
        expel(guest, UNASKED);
    }
    for (const { guests, why } of slots.verdicts(now)) for (const guest of guests) expel(guest, why);
  }
  const stopSweep = every(clock, SWEEP_MS, sweep);

  return {
    accept,
    close() {
      stopSweep();
      for (const guest of [...visits.keys()]) guest.connection.destroy();
    },
  };
}

/** Of the address with the most connections, at least two more than `ip` has, the last to come; one that waits or asks before one that is served. */
function lastOfLargest(visits: ReadonlyMap<UploadConnection, Visit>, ip: string): UploadConnection | undefined {
  const of = Map.groupBy(visits.keys(), ({ connection }) => connection.remote.ip);
  let largest: UploadConnection[] = [];
  for (const guests of of.values()) if (guests.length > largest.length) largest = guests;
  if (largest.length < (of.get(ip)?.length ?? 0) + 2) return undefined;
  return largest.findLast((guest) => visits.get(guest)?.upload === undefined) ?? largest.at(-1);
}

function serveGranted(
  serving: Responder,
  guest: UploadConnection,
  upload: Upload,
  request: Extract<PeerRequest, { verb: "LAYER" | "PIECES" | "DAMAGED" | "GET" }>,
): Promise<Fault | undefined> | Fault | undefined {
  switch (request.verb) {
    case "LAYER":
      return serving.sendLayer(guest, upload);
    case "PIECES":
      return serving.sendPieces(guest, upload);
    case "DAMAGED":
      return serving.hearDamage(guest, upload, request.index);
    case "GET":
      return serving.beginGet(guest, upload, request.offset, request.length);
  }
}

/** The downloads that were granted: who has a slot, by which ticket, and who is to give it up. */
function createSlotBook(
  { shelf, clock, newTicket, policy, onEvent }: UploadsOptions,
  visits: ReadonlyMap<UploadConnection, Visit>,
) {
  const uploads = new Map<string, Upload & { readonly tenure: Eviction; readonly ip: string }>();
  const turns = createSlotQueue(policy.maxUploads, clock);

  /** What our own limit leaves to each download of `ip`. */
  function fairShare(ip: string): number {
    if (policy.maxUploadRate === undefined) return Number.POSITIVE_INFINITY;
    const ips = [...uploads.values()].map((upload) => upload.ip);
    const own = Math.max(1, ips.filter((one) => one === ip).length);
    return policy.maxUploadRate / Math.max(1, new Set(ips).size) / own;
  }

  async function grant(guest: UploadConnection, visit: Visit, find: () => ShareEntry | undefined): Promise<undefined> {
    const refused = policy.rejectAll
      ? fault("REFUSED", "ours", "this peer refuses every download")
      : find() === undefined
        ? fault("NOT_SHARED", "theirs", "not shared here")
        : await takeSlot(guest, visit);
    // Looked up again: whoever waited for a slot may find the file gone, or whole meanwhile.
    const stocked = find();
    const file = refused ?? (stocked === undefined ? fault("NOT_SHARED", "theirs", "gone") : await shelf.open(stocked));
    if (isFault(file) || stocked === undefined) {
      // Only what is no longer the file is withdrawn; what cannot be opened just now is asked for again.
      const isNews = stocked !== undefined && refused === undefined && !isPassing(file as Fault);
      if (isNews) onEvent({ type: "changed", name: stocked.share.name });
      visit.seat?.leave();
      visit.seat = undefined;
      guest.refuse(wireFault(file as Fault), "REJECT");
      return;
    }
    if (guest.gone) {
      file.close();
      return;
    }
    admit(guest, visit, stocked, file);
  }

  function admit(guest: UploadConnection, visit: Visit, stocked: ShareEntry, file: ReadableFile): void {
    const ticket = newTicket();
    const now = clock.now();
    const { ip } = guest.connection.remote;
    const pace = createMinRate(now, () => fairShare(ip), policy.minUploadRate);
    const upload = {
      ticket,
      stocked,
      file,
      guests: new Set([guest]),
      pace,
      sent: 0,
      movedAt: now,
      hasLayer: false,
      damaged: 0,
    };
    const known = Object.assign(upload, { tenure: createEviction(), ip });
    visit.upload = known;
    visit.state = "granted";
    uploads.set(ticket, known);
    guest.joins(ticket);
    const { size, root, name } = stocked.share;
    guest.reply({ verb: "ACCEPT", grant: { ticket, size, pieceBytes: stocked.pieceBytes, root } });
    if (stocked.layer === undefined && size > 0) onEvent({ type: "wanted", name });
  }

  /** Waits for the guest's turn. BUSY when there is none to wait for. */
  async function takeSlot(guest: UploadConnection, visit: Visit): Promise<Fault | undefined> {
    const entered = turns.enter(guest);
    if (isFault(entered)) return entered;
    visit.seat = entered.seat;
    return entered.turn;
  }

  function openLane(guest: UploadConnection, visit: Visit, ticket: string): Fault | undefined {
    const upload = uploads.get(ticket);
    if (upload === undefined) return fault("BAD_STATE", "theirs", "no such ticket");
    if (upload.guests.size > LANES_PER_TICKET_MAX) return fault("TOO_MANY", "theirs", "lanes of one download");
    upload.guests.add(guest);
    visit.upload = upload;
    visit.state = "lane";
    guest.joins(ticket);
    guest.reply({ verb: "LANE_OK" });
    return undefined;
  }

  /** The guest is gone. */
  function leave(guest: UploadConnection, { upload, state, seat }: Visit): void {
    const known = upload && uploads.get(upload.ticket);
    known?.guests.delete(guest);
    known?.tenure.left(guest);
    if (known !== undefined && state === "granted") {
      uploads.delete(known.ticket);
      for (const lane of known.guests) lane.connection.destroy();
      known.file.close();
      onEvent({ type: "uploaded", name: known.stocked.share.name, to: guest.connection.remote, bytes: known.sent });
    }
    seat?.leave();
  }

  /** The connections of downloads that are to give up their slots. */
  function verdicts(now: number): { readonly guests: readonly UploadConnection[]; readonly why: string }[] {
    const over = turns.overdue();
    return [...uploads.values()].flatMap((upload) => {
      const guests = [...upload.guests];
      const isOver = over !== undefined && guests.some((guest) => visits.get(guest)?.seat === over);
      const why = upload.tenure.verdict(upload, now, turns.isWanted) ?? (isOver ? "another address's turn" : undefined);
      return why === undefined ? [] : [{ guests, why }];
    });
  }

  return { grant, openLane, leave, verdicts };
}
