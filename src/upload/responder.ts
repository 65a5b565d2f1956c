// What a granted download is answered: its layer, its pieces, its bytes.
// Invariant: bytes leave only while the file is as it was listed, and of a download under way only verified pieces.
// Never: decides what is granted (upload-server.ts).

import { pieceCount } from "../content/hashing/merkle.ts";
import { isPassing } from "../content/safe-files.ts";
import type { Address } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { DAMAGED_PER_UPLOAD_MAX } from "../protocol/limits.ts";
import { isWireCode } from "../protocol/replies.ts";
import type { Clock } from "../shared/clock.ts";
import type { MinRate } from "./min-rate.ts";
import { type ReadableFile, rangeFault, type ShareEntry, type ShareIndex } from "./share-index.ts";
import type { UploadConnection } from "./upload-connection.ts";

export type UploadsEvent =
  /** A file is downloaded whose piece layer is not here yet: it goes before the others. */
  | { readonly type: "wanted"; readonly name: string }
  /** A file is no longer what was announced. */
  | { readonly type: "changed"; readonly name: string }
  /** A downloader says that this piece of a whole file came wrong. */
  | { readonly type: "damaged"; readonly name: string; readonly index: number; readonly from: Address }
  | { readonly type: "uploaded"; readonly name: string; readonly to: Address; readonly bytes: number }
  /** Every download that is being served, once a second while one of them moves, once watched. */
  | { readonly type: "uploading"; readonly uploads: readonly Uploading[] };

/** A download that is being served. `id` is the same from its beginning to its end. */
export type Uploading = {
  readonly id: string;
  readonly name: string;
  readonly to: Address;
  readonly bytes: number;
  readonly size: number;
};

/** One granted download: its slot, its file, and the connections that fetch it. */
export type Upload = {
  readonly ticket: string;
  readonly entry: ShareEntry;
  readonly file: ReadableFile;
  readonly connections: Set<UploadConnection>;
  readonly minRate: MinRate;
  /** Bytes of the file that were sent. */
  sent: number;
  /** When it last asked for something that we gave, or could not give yet. */
  movedAt: number;
  hasLayer: boolean;
  /** How often it said DAMAGED. */
  damaged: number;
};

export type Responder = {
  sendLayer(connection: UploadConnection, upload: Upload): Fault | undefined;
  sendPieces(connection: UploadConnection, upload: Upload): undefined;
  /** Says yes, and passes it on where it can be looked at. */
  hearDamage(connection: UploadConnection, upload: Upload, index: number): Fault | undefined;
  beginGet(connection: UploadConnection, upload: Upload, offset: number, length: number): Promise<Fault | undefined>;
};

export function createResponder(shares: ShareIndex, clock: Clock, onEvent: (event: UploadsEvent) => void): Responder {
  function sendLayer(connection: UploadConnection, upload: Upload): Fault | undefined {
    const { entry } = upload;
    const now = entry.layer === undefined ? shares.byName(entry.share.name) : entry;
    if (now === undefined) return fault("CHANGED", "ours", "the file is no longer as it was announced");
    const { layer } = now;
    if (layer === undefined) {
      upload.movedAt = clock.now(); // it waits for us
      return fault("NOT_READY", "ours", "the file is still being hashed", true);
    }
    // It is of use once: asking again keeps no slot.
    if (!upload.hasLayer) upload.movedAt = clock.now();
    upload.hasLayer = true;
    connection.reply({ verb: "LAYER_OK", payloadBytes: layer.length }, layer);
    return undefined;
  }

  /** Which pieces a partial holder has; of a whole file that question has an empty answer. */
  function sendPieces(connection: UploadConnection, upload: Upload): undefined {
    const { entry } = upload;
    if (entry.pieces !== undefined) upload.movedAt = clock.now(); // it waits for pieces that we are still fetching
    const pieces = entry.pieces?.slice() ?? new Uint8Array(0);
    connection.reply({ verb: "PIECES_OK", payloadBytes: pieces.length }, pieces);
  }

  function hearDamage(connection: UploadConnection, upload: Upload, index: number): Fault | undefined {
    const { share, pieceBytes, pieces } = upload.entry;
    if (index >= pieceCount(share.size, pieceBytes)) return fault("BAD_RANGE", "theirs", "no such piece");
    connection.reply({ verb: "DAMAGED_OK" });
    upload.damaged += 1;
    if (pieces !== undefined || upload.damaged > DAMAGED_PER_UPLOAD_MAX) return undefined;
    onEvent({ type: "damaged", name: share.name, index, from: connection.transport.remote });
    return undefined;
  }

  async function beginGet(
    connection: UploadConnection,
    upload: Upload,
    offset: number,
    length: number,
  ): Promise<Fault | undefined> {
    const { entry, file } = upload;
    const outside = rangeFault(entry, offset, length);
    if (outside !== undefined) return outside;
    const changed = (): Fault => {
      onEvent({ type: "changed", name: entry.share.name });
      return fault("CHANGED", "ours", "the file was changed while it was being sent");
    };
    // A download under way changes with each piece, and what was verified of it stays.
    if (entry.pieces === undefined) {
      const look = await file.look();
      if (connection.gone) return undefined;
      if (isFault(look)) return wireFault(look);
      if (!look.unchanged) return changed();
      // Deleted or replaced: this download still gets the rest, and no other is sent here for it.
      if (!look.named) changed();
    }
    connection.send(offset, length, {
      fd: file.fd,
      inMemory: (from, bytes) => file.inMemory?.(from, bytes) ?? false,
      async read(into, from) {
        const read = await file.read(into, from);
        if (isFault(read)) return isPassing(read) ? read : changed();
        return read < into.length ? changed() : read;
      },
      onSent(bytes) {
        upload.sent += bytes;
        upload.movedAt = clock.now();
      },
    });
    return undefined;
  }

  return { sendLayer, sendPieces, hearDamage, beginGet };
}

/** What happens on this machine's disk stays here: the other side learns that the file is not to be had, or not just now. */
export function wireFault(why: Fault): Fault {
  if (isPassing(why)) return fault("BUSY", "ours", "the file cannot be read just now", true);
  return why.whose === "disk" || !isWireCode(why.fault)
    ? fault("CHANGED", "ours", "the file is no longer as it was announced")
    : why;
}
