// A download's parts put to work together: storage, fetcher, swarm, and the layer that judges every piece.
// Invariant: it ends once, with the layer that every byte on the disk agrees with, or with the fault that stopped it.
// Never: asks for the file (download.ts) or gives it its name.

import { decodeRoot, type Hashed, rootOfLayer } from "../content/hashing/merkle.ts";
import type { PartialOffer, PartOf, PartWorkspace } from "../content/part-workspace.ts";
import { type Address, formatAddress } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { Holder, Root } from "../protocol/messages.ts";
import type { Clock } from "../shared/clock.ts";
import type { Connect } from "../transport/connection.ts";
import { type Awaited, LEFT } from "./candidates.ts";
import { createPartFile, type PartFile } from "./disk/part-file.ts";
import { createImpatience } from "./impatience.ts";
import type { OpenLane } from "./lanes/lane-threads.ts";
import { createPeerList, type PeerList, SOURCES_MAX } from "./peer-list.ts";
import { askAgain } from "./peers/retry.ts";
import { openSource, type Source, type SourceOptions } from "./peers/source.ts";
import { createPiecePicker } from "./pieces/piece-picker.ts";
import { claimsOf, findDamaged, type HashPieces, OTHER_CONTENT, recover, sameContent } from "./pieces/resume.ts";
import { createVerifier, type Left, type Verifier } from "./pieces/verifier.ts";
import { type Progress, QUIET_MS, reportProgress } from "./progress.ts";
import { createRateMeter } from "./rate-meter.ts";
import { FAR_MS, sourcesWithin } from "./requests/request-window.ts";
import { createRequester, type Requester } from "./requests/requester.ts";

export type DownloadSessionOptions = {
  readonly name: string;
  /** The peer that the person chose: it must accept, and its content is the one that is fetched. */
  readonly from: Address;
  /** Keeps to that peer. */
  readonly only: boolean;
  readonly openLane: OpenLane;
  readonly hashPieces: (fd: number) => HashPieces;
  /** Reads the whole file again before it gets its name, though nothing speaks against it. */
  readonly paranoid: boolean;
  /** Who holds a content, ourselves left out. */
  readonly findHolders: (root: Root) => Promise<readonly Holder[]>;
  /** Lets others have what is verified here, in that very .part, while the rest still comes. */
  readonly offer: (content: Hashed, part: Pick<PartOf, "part" | "identity">) => PartialOffer;
  readonly connect: Connect;
  readonly clock: Clock;
  readonly random: () => number;
  /** The address under which others know us. */
  readonly self: Address;
  /** Our own limit, in bytes per second. */
  readonly maxDownloadRate?: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  /** A source is out, and why: CORRUPT or BAD_REPLY when it lied. */
  readonly onSourceLost?: ((address: Address, why: Fault) => void) | undefined;
  /** How long to wait for something, in milliseconds, before somebody else is tried; for good when not given. */
  readonly patienceMs?: (awaited: Awaited) => number;
};

export type DownloadSession = {
  /** The layer, when every byte is verified and synced; or what ended it. */
  readonly finished: Promise<Uint8Array | Fault>;
  /** What a later run can go on from. */
  worthBytes(): number;
  /** Ends sources and lanes, keeps what has arrived, closes the storage. */
  stop(): Promise<void>;
};

/** So long a lost journal is worth waiting for a layer. */
const LAYER_WAIT_SECONDS_MAX = 10;
/** With every byte here, the source's layer is waited for as long as hashing the file may take on a slow machine. */
const LAYER_SECONDS_MIN = 120;
const LAYER_BYTES_PER_SECOND_MIN = 10 * 1024 * 1024;

/** A program that goes on writing into the .part is not waited for. */
const LOOKS_MAX = 3;
const CHANGED_AGAIN = fault("PART_CHANGED", "disk", "the .part was changed again and again while it grew");
/** A layer that is on its way may take longer than a word that there is none: it has tens of kilobytes. */
const LAYER_PATIENCE_FACTOR = 2;

const CANCELLED = fault("CANCELLED", "ours", "cancelled by the person");

/** Recovers what is there, learns the layer if it is known, and sets the sources to work. */
export async function startSession(
  options: DownloadSessionOptions,
  source: Source,
  place: PartWorkspace,
): Promise<DownloadSession | Fault> {
  const { clock, random, signal, onProgress, patienceMs = () => Number.POSITIVE_INFINITY } = options;
  const { grant } = source;
  const hashPieces = options.hashPieces(place.part.fd);
  const meter = createRateMeter(clock);
  const ended = Promise.withResolvers<Fault | undefined>();
  let layer: Uint8Array | undefined;
  let root: Root | undefined;
  let named: Root | undefined; // by the journal, for what it holds
  let offer: PartialOffer | undefined;
  let swarm: PeerList | undefined;
  let looks = 0;
  let over = false;

  const storage: PartFile = createPartFile({
    part: place.part,
    journal: place.journal,
    clock,
    onKept: (pieces) => verifier.kept(pieces),
    onLost: (pieces) => verifier.lost(pieces),
    onFault: (why) => fetcher.pause(why),
  });
  const { size, pieceBytes } = grant;
  const picker = createPiecePicker(size, pieceBytes, random, formatAddress(options.self));
  const verifier: Verifier = createVerifier({
    picker,
    partFile: storage,
    onVerified: (indexes) => offer?.have(indexes),
    lookAgain,
    onChecked: () => fetcher.fill(),
  });
  const file = { fd: place.part.fd, watch: place.part.watch };
  const fetcher: Requester = createRequester({
    picker,
    verifier,
    partFile: storage,
    openLane: ({ address, grant: { ticket } }, onEvent) =>
      options.openLane({ source: address, ticket, size, pieceBytes, ...file }, onEvent),
    meter,
    clock,
    maxDownloadRate: options.maxDownloadRate,
    onSourceLost(address, why, pieces, bytes) {
      swarm?.lost(address, why, pieces, bytes);
      options.onSourceLost?.(address, why);
    },
  });

  const standing = { from: options.from, size, fetcher, verifier, meter, storage, clock, place: () => swarm?.place };
  const reports = onProgress && reportProgress(standing, onProgress);
  const cancel = () => ended.resolve(CANCELLED);
  if (signal?.aborted) cancel();
  signal?.addEventListener("abort", cancel);
  void place.lost.then((why) => ended.resolve(why));

  // One try before anything else: with a layer, pieces are judged as they arrive, and a lost journal can be made up for.
  // From afar it takes several round trips, in which a new download may as well begin.
  const isNew = place.part.size === 0 && place.journal.size === 0;
  const layerFirst = grant.size <= grant.pieceBytes || !isNew || source.roundTripMs <= FAR_MS;
  const isLost = place.part.size > 0 && place.journal.size === 0; // of such bytes only a layer tells which are right
  const isAsked = layerFirst && (grant.root !== undefined || grant.size === 0);
  const tried = isLost ? awaitLayer(source) : isAsked ? learnLayer(source) : undefined;
  const impatient = Promise.withResolvers<Fault>();
  const layerMs = LAYER_PATIENCE_FACTOR * patienceMs("layer");
  const calm =
    layerMs < Number.POSITIVE_INFINITY ? clock.after(layerMs, () => impatient.resolve(LEFT.layer)) : () => {};
  const known = tried && (await Promise.race([tried, ended.promise.then(() => CANCELLED), impatient.promise]));
  calm();
  // Without its layer there would be a new beginning over bytes that may all be right; asked again, it may tell.
  const isVain =
    known === CANCELLED || known === LEFT.layer || (isLost && isFault(known) && known.fault !== "NOT_READY");
  const left = isVain
    ? (known as Fault)
    : await recover({ storage, place, grant, layer, careful: patienceMs("byte") < Number.POSITIVE_INFINITY });
  if (isFault(left)) {
    await leave();
    // A root that the source's own layer does not lead to is a slip, no other content.
    return left === OTHER_CONTENT && isFault(known) && known.fault !== "NOT_READY" ? known : left;
  }
  const { kept } = left;
  named = left.root;
  if (root !== undefined && grant.root !== undefined) await storage.identify(root);

  swarm = createPeerList({
    fetcher,
    from: options.from,
    clock,
    random,
    root: () => root ?? grant.root,
    findHolders: options.findHolders,
    open,
    reopen,
    movedMs: meter.quietMs,
    quietMs: () => (!waitsForDisk() && fetcher.keptBytes < grant.size ? meter.quietMs() : 0),
    waitsForDisk,
    onStarved: (why) => ended.resolve(why),
    impatience: createImpatience({
      clock,
      meter,
      maxDownloadRate: options.maxDownloadRate,
      patienceMs,
      waitsForNone: () => verifier.allHere || waitsForDisk(),
    }),
    only: options.only,
    sourcesMax: sourcesWithin(options.maxDownloadRate, SOURCES_MAX),
  });
  void verifier.resume(left, readAgain);
  fetcher.addSource(source, "all");
  reports?.begin();
  if (layer === undefined) pollLayer();

  async function readAgain(pieces: Left["kept"]): Promise<readonly number[]> {
    const damaged = await findDamaged(pieces, grant, hashPieces);
    await storage.disown(damaged.filter((index) => kept.has(index)));
    return damaged;
  }

  /** The last look before the file gets its name: all of it is read where anything speaks against it, or it is wanted. */
  async function lookAgain(): Promise<readonly number[]> {
    while (!over && layer !== undefined) {
      const doubt = await place.doubt(grant.size);
      const failed = isFault(doubt) ? doubt : doubt && looks === LOOKS_MAX ? CHANGED_AGAIN : undefined;
      if (failed !== undefined) ended.resolve(failed);
      if (failed !== undefined || !(doubt || (options.paranoid && looks === 0))) break;
      looks++;
      place.trust(); // what comes from now on is seen at the next look
      const damaged = await findDamaged(new Map(claimsOf(layer)), grant, hashPieces);
      await storage.disown(damaged);
      if (damaged.length > 0) return damaged;
    }
    return [];
  }

  async function learnLayer(from: Source): Promise<Uint8Array | Fault> {
    const { size, pieceBytes } = grant;
    // Without a piece there is nothing to say, and of a single one the root says it.
    const said = size === 0 ? new Uint8Array(0) : size <= pieceBytes && grant.root ? decodeRoot(grant.root) : undefined;
    const known = said ?? (await from.layer());
    if (isFault(known)) return known;
    if (over) return fault("CANCELLED", "ours", "the download has ended meanwhile"); // nobody would end the offer
    // Whoever names no root of its own cannot make us throw away what a root stands for.
    const ledTo = rootOfLayer(known, pieceBytes);
    if (named !== undefined && ledTo !== named) return OTHER_CONTENT;
    layer = known;
    root = ledTo;
    offer = options.offer({ size, pieceBytes, layer, root }, { part: place.work, identity: place.part.identity });
    verifier.setLayer(layer);
    // A layer that no root was named for may be anything; the first other holder of its root will confirm it.
    if (from.grant.root !== undefined) void storage.identify(root);
    return layer;
  }

  /** A source that has just started may only have to look into its cache: a short wait saves what is here. */
  function awaitLayer(from: Source): Promise<Uint8Array | Fault> {
    const end = clock.now() + LAYER_WAIT_SECONDS_MAX * 1000;
    const ask = () => learnLayer(from);
    return askAgain(clock, ask, (known) => over || clock.now() > end || !isFault(known) || known.fault !== "NOT_READY");
  }

  /** Also with every byte here: what is still read again, or synced, is finished without anybody. */
  function waitsForDisk(): boolean {
    if (layer !== undefined && verifier.allHere) return true;
    return fetcher.paused !== undefined || storage.busyMs() > QUIET_MS;
  }

  /** Whatever was begun is over, but for what has arrived and must still be kept. */
  async function leave(): Promise<void> {
    over = true;
    signal?.removeEventListener("abort", cancel);
    reports?.stop();
    swarm?.stop();
    await fetcher.stop();
    offer?.end();
    offer = undefined;
  }

  /** Asks another holder. A root says nothing of the size: whoever names another one is of no use to this run. */
  async function open(address: Address, wanted: Root, onWait: SourceOptions["onWait"]): Promise<Source | Fault> {
    const other = await openSource(address, { root: wanted }, { ...options, ahead: "pieces", onWait });
    if (isFault(other)) return other;
    if (sameContent(other.grant, grant)) {
      if (layer !== undefined && wanted === root) void storage.identify(wanted);
      return other;
    }
    other.close();
    return fault("CHANGED", "theirs", "this root with another size");
  }

  /** The source still hashes the file: what arrives meanwhile is judged when its layer is there. */
  function pollLayer(): void {
    let wholeSince: number | undefined;
    let asked = 0;
    let others = 0;
    async function ask(): Promise<void> {
      if (fetcher.keptBytes === grant.size) wholeSince ??= clock.now();
      const waited = clock.now() - (wholeSince ?? clock.now());
      const patience = Math.max(LAYER_SECONDS_MIN, grant.size / LAYER_BYTES_PER_SECOND_MIN) * 1000;
      if (waited > patienceMs("layer") && layer === undefined) return ended.resolve(LEFT.layer);
      if (waited > patience) {
        const detail = `every byte is here, and still no layer after ${Math.round(waited / 1000)} s`;
        return ended.resolve(fault("NOT_READY", "theirs", detail, true));
      }
      const from = fetcher.sources[asked++ % Math.max(1, fetcher.sources.length)];
      const known = from === undefined ? undefined : await learnLayer(from);
      if (known === OTHER_CONTENT) {
        if (++others > 1) return ended.resolve(known); // once may be a flipped bit on the way
        // A source whose layer is wrong, or that has none to give any more, is none; the swarm may find it better later.
      } else if (from !== undefined && isFault(known) && known.fault !== "NOT_READY") fetcher.drop(from.address, known);
    }
    void askAgain(clock, ask, () => layer !== undefined || over);
  }

  /** The chosen peer was lost: it may be back, and must still have the same content. */
  async function reopen(onWait: SourceOptions["onWait"]): Promise<Source | Fault> {
    const again = await openSource(options.from, { name: options.name }, { ...options, onWait });
    if (isFault(again) || sameContent(again.grant, { ...grant, root: root ?? grant.root })) return again;
    again.close();
    return fault("CHANGED", "theirs", "the peer now has another content of this name");
  }

  void verifier.whole.then(() => {
    if (!over) reports?.finish();
    ended.resolve(undefined);
  });

  return {
    finished: ended.promise.then((failed) => failed ?? (layer as Uint8Array)),
    worthBytes: () => fetcher.keptBytes + fetcher.begunBytes,
    async stop() {
      await leave();
      await storage.flush();
      await storage.close();
    },
  };
}
