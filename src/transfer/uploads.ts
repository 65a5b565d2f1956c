// Serving files to other peers: who gets a slot, which file a ticket stands for, and what each request is answered.
// Invariant: only what is on the shelf is served; a slot is held exactly as long as its control connection lives.
// Never: knows it runs on a thread of its own (upload-worker.ts), or opens a path that came from the network.

import { isPassing } from "../content/inside.ts";
import { nextPeerState, type PeerState } from "../protocol/conversation.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import {
  GUESTS_MAX,
  GUESTS_PER_ADDRESS_MAX,
  LANES_PER_TICKET_MAX,
  UNJOINED_SECONDS_MAX,
  UPLOAD_IDLE_SECONDS_MAX,
} from "../protocol/limits.ts";
import { type PeerRequest, VERSION } from "../protocol/messages.ts";
import { proofOf } from "../protocol/proof.ts";
import { isWireCode } from "../protocol/replies.ts";
import { type Clock, every } from "../transport/clock.ts";
import type { Connection, Handlers } from "../transport/connection.ts";
import { createCrowd } from "../transport/crowd.ts";
import { createBucket } from "./bucket.ts";
import { createGuest, type Guest } from "./guest.ts";
import { createPace } from "./pace.ts";
import { createPorch } from "./porch.ts";
import { createServing, type Upload, type UploadsEvent } from "./serving.ts";
import type { Shelf, Stocked } from "./shelf.ts";
import type { Seat } from "./slots.ts";
import { createTurns } from "./turns.ts";

export type { UploadsEvent } from "./serving.ts";

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
  readonly shelf: Shelf;
  readonly clock: Clock;
  /** 32 hex digits that nobody can guess. */
  readonly newTicket: () => string;
  /** What this peer says with its JOIN, and proves here; undefined for one that says none. */
  readonly key?: string;
  readonly policy: UploadPolicy;
  readonly onEvent: (event: UploadsEvent) => void;
};

/** What we know of one connection. */
type Visit = { readonly since: number; state: PeerState; upload: Upload | undefined; seat: Seat | undefined };

const SWEEP_MS = 1000;

export type Uploads = {
  /** What the listener calls for each connection. */
  accept(connection: Connection): Handlers;
  /** Ends every upload. */
  close(): void;
};

export function createUploads({ shelf, clock, newTicket, key, policy, onEvent }: UploadsOptions): Uploads {
  const visits = new Map<Guest, Visit>();
  const uploads = new Map<string, Upload>();
  const turns = createTurns(policy.maxUploads, clock);
  const bucket = createBucket(policy.maxUploadRate, clock);
  const serving = createServing(shelf, clock, onEvent);
  const crowd = createCrowd(GUESTS_MAX, GUESTS_PER_ADDRESS_MAX);
  const porch = createPorch(key, clock);
  const fairShare = () => (policy.maxUploadRate ?? Number.POSITIVE_INFINITY) / Math.max(1, uploads.size);

  function accept(connection: Connection): Handlers {
    if (!crowd.admit(connection.remote.ip)) return porch.accept(connection);
    const { guest, handlers } = createGuest({ connection, bucket, clock, serve, onClose: leave });
    visits.set(guest, { since: clock.now(), state: "new", upload: undefined, seat: undefined });
    return handlers;
  }

  async function serve(guest: Guest, request: PeerRequest): Promise<Fault | undefined> {
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
        return grant(guest, visit, () => shelf.byName(request.name));
      case "FETCH":
        return grant(guest, visit, () => shelf.byRoot(request.root));
      case "LANE":
        return openLane(guest, visit, request.ticket);
      case "LAYER":
        return serving.sendLayer(guest, visit.upload as Upload);
      case "PIECES":
        return serving.sendPieces(guest, visit.upload as Upload);
      case "DAMAGED":
        return serving.hearDamage(guest, visit.upload as Upload, request.index);
      case "GET":
        return serving.beginGet(guest, visit.upload as Upload, request.offset, request.length);
    }
  }

  async function grant(guest: Guest, visit: Visit, find: () => Stocked | undefined): Promise<undefined> {
    const refused = policy.rejectAll
      ? fault("REFUSED", "ours", "this peer refuses every download")
      : find() === undefined
        ? fault("NOT_SHARED", "theirs", "not shared here")
        : await takeSlot(guest, visit);
    // Looked up again: whoever waited for a slot may find the file gone, or whole meanwhile.
    const stocked = find();
    const file = refused ?? (stocked === undefined ? fault("NOT_SHARED", "theirs", "gone") : await shelf.open(stocked));
    if (isFault(file) || stocked === undefined) {
      if (stocked !== undefined && refused === undefined && !isPassing(file as Fault))
        onEvent({ type: "changed", name: stocked.share.name });
      visit.seat?.leave();
      visit.seat = undefined;
      guest.refuse(wireFault(file as Fault), "REJECT");
      return;
    }
    if (guest.gone) {
      file.close();
      return;
    }
    const ticket = newTicket();
    const now = clock.now();
    const pace = createPace(now, fairShare, policy.minUploadRate);
    visit.upload = { ticket, stocked, file, guests: new Set([guest]), pace, sent: 0, movedAt: now };
    visit.state = "granted";
    uploads.set(ticket, visit.upload);
    const { size, root, name } = stocked.share;
    guest.reply({ verb: "ACCEPT", grant: { ticket, size, pieceBytes: stocked.pieceBytes, root } });
    if (stocked.layer === undefined && size > 0) onEvent({ type: "wanted", name });
  }

  /** Waits for the guest's turn. BUSY when there is none to wait for. */
  async function takeSlot(guest: Guest, visit: Visit): Promise<Fault | undefined> {
    const entered = turns.enter(guest);
    if (isFault(entered)) return entered;
    visit.seat = entered.seat;
    await entered.turn;
    return undefined;
  }

  function openLane(guest: Guest, visit: Visit, ticket: string): Fault | undefined {
    const upload = uploads.get(ticket);
    if (upload === undefined) return fault("BAD_STATE", "theirs", "no such ticket");
    if (upload.guests.size > LANES_PER_TICKET_MAX) return fault("TOO_MANY", "theirs", "lanes of one download");
    upload.guests.add(guest);
    visit.upload = upload;
    visit.state = "lane";
    guest.reply({ verb: "LANE_OK" });
    return undefined;
  }

  /** The guest's connection is over. With the control connection the whole upload is. */
  function leave(guest: Guest): void {
    const visit = visits.get(guest);
    if (visit === undefined) return;
    visits.delete(guest);
    crowd.release(guest.connection.remote.ip);
    const { upload } = visit;
    upload?.guests.delete(guest);
    if (upload !== undefined && visit.state === "granted") {
      uploads.delete(upload.ticket);
      for (const lane of upload.guests) lane.connection.destroy();
      upload.file.close();
      onEvent({ type: "uploaded", name: upload.stocked.share.name, to: guest.connection.remote, bytes: upload.sent });
    }
    visit.seat?.leave();
  }

  /** Frees what nobody uses: connections that never asked, slots whose holder takes nothing, or next to nothing. */
  function sweep(): void {
    const now = clock.now();
    for (const [guest, { upload, since, seat }] of visits) {
      if (upload === undefined && seat !== undefined) continue; // it waits for us, not we for it
      const seconds = upload === undefined ? UNJOINED_SECONDS_MAX : UPLOAD_IDLE_SECONDS_MAX;
      if (now - (upload?.movedAt ?? since) >= seconds * 1000) expel(guest, `nothing was fetched for ${seconds} s`);
    }
    for (const { guests, pace, sent } of uploads.values()) {
      const sending = [...guests].some((guest) => guest.sending);
      if (pace.tooSlow(now, sent, sending)) for (const guest of [...guests]) expel(guest, "too slow for a slot");
    }
  }

  function expel(guest: Guest, why: string): void {
    if (!guest.sending) guest.refuse(fault("TIMEOUT", "theirs", why, true));
    leave(guest);
    guest.connection.destroy();
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

/** What happens on this machine's disk stays here: the other side learns that the file is not to be had, or not just now. */
function wireFault(why: Fault): Fault {
  if (isPassing(why)) return fault("BUSY", "ours", "the file cannot be opened just now", true);
  return why.whose === "disk" || !isWireCode(why.fault)
    ? fault("CHANGED", "ours", "the file is no longer as it was announced")
    : why;
}
