// A download from a granted content to a verified .part: the part file, the requester, the peer list and the layer at work.
// Invariant: it ends once, with the content that every byte on the disk agrees with, or with the fault that stopped it.
// Never: asks for the file (download.ts) or gives it its name.

import type { Hashed } from "../content/hashing/merkle.ts";
import type { PartWorkspace } from "../content/part-workspace.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import type { Grant } from "../protocol/messages.ts";
import { LEFT, type Patience } from "./candidates.ts";
import { createPartFile, type PartFile } from "./disk/part-file.ts";
import { createLayer, isNotReady, type Layer, type Remains } from "./layer.ts";
import type { DownloadOptions } from "./options.ts";
import { createPeerList, type PeerList, SOURCES_MAX } from "./peer-list.ts";
import { openSource, type Source } from "./peers/source.ts";
import { USELESS } from "./peers/usefulness.ts";
import { createPiecePicker } from "./pieces/piece-picker.ts";
import { OTHER_CONTENT, resume } from "./pieces/resume.ts";
import { urgentPieces } from "./pieces/urgent-pieces.ts";
import { createVerifier, type Verifier } from "./pieces/verifier.ts";
import { QUIET_MS, reportProgress, type Standing } from "./progress.ts";
import { createRateMeter } from "./rate-meter.ts";
import { createRecheck } from "./recheck.ts";
import { sourcesWithin } from "./requests/request-window.ts";
import { createRequester, type Requester } from "./requests/requester.ts";
import { createSessionProgress, type SessionProgress } from "./session-state.ts";
import { createStarvation } from "./starvation.ts";
import { createVerifiedPieces } from "./verified-pieces.ts";

/** Of one source, which others may stand in for when it takes longer than `patienceMs`. */
export type SessionOptions = DownloadOptions & { readonly patienceMs: Patience };

export type Session = {
  /** The content, when every byte is verified and synced; or what ended it. */
  readonly finished: Promise<Hashed | Fault>;
  /** Ends sources and lanes, keeps what has arrived, closes the files. */
  stop(): Promise<void>;
  /** Whether the files hold nothing that a later run can go on from. */
  isWorthless(): boolean;
};

export const CANCELLED = fault("CANCELLED", "ours", "cancelled by the person");

export function createSession(options: SessionOptions, source: Source, workspace: PartWorkspace): Session {
  const { env, request, network, files, patienceMs } = options;
  const { clock } = env;
  const { grant } = source;
  const { size, pieceBytes } = grant;
  const { part, journal } = workspace;
  const progress = createSessionProgress(); // its states and events: session-state.ts
  const fail = (why: Fault) => progress.go("fail", why);
  const meter = createRateMeter(clock);
  const remains: Remains = journal.size > 0 ? "journal" : part.size > 0 ? "orphans" : "nothing";
  let peerList: PeerList | undefined;

  const partFile: PartFile = createPartFile({
    part,
    journal,
    clock,
    onKept: (pieces) => verifier.kept(pieces),
    onLost(pieces) {
      verifier.lost(pieces);
      verified.lost(pieces.map(({ index }) => index));
    },
    onFault: (why) => requester.pause(why),
  });
  const layer = createLayer({ grant, clock, patienceMs, progress, onLearnt });
  const verified = createVerifiedPieces(network, workspace, (positions) => {
    picker.setUrgent(urgentPieces(positions, grant, meter.rate()));
    requester.fill();
  });
  const recheck = createRecheck({ grant, workspace, partFile, files, layer, progress, onDamaged: verified.lost });
  const picker = createPiecePicker(size, pieceBytes, env.random);
  const verifier: Verifier = createVerifier({
    picker,
    partFile,
    onVerified: verified.kept,
    onRead: (indexes) => indexes.forEach(verified.arrived),
    lookAgain: recheck.lookAgain,
    onChecked: () => requester.fill(),
  });
  const requester: Requester = createRequester({
    picker,
    verifier,
    partFile,
    openLane: ({ address, grant: { ticket } }, onEvent) =>
      network.openLane({ source: address, ticket, size, pieceBytes, fd: part.fd, watch: part.watch }, onEvent),
    meter,
    clock,
    maxDownloadRate: network.maxDownloadRate,
    events: {
      onArrived: verified.arrived,
      onPaused: (why) => progress.go(why === undefined ? "accepted" : "refused", why),
      onSourceLost(address, why, pieces, bytes) {
        peerList?.lost(address, why, pieces, bytes);
        if (why !== USELESS) request.onSourceLost?.(address, why);
      },
    },
  });
  const position = () => peerList?.position;
  const { from } = options;
  const parts: Parts = { options, from, size, grant, requester, verifier, meter, partFile, layer, progress, position };
  const reports = request.onProgress && reportProgress(parts, clock, request.onProgress);
  const cancel = () => fail(CANCELLED);
  if (request.signal?.aborted) cancel();
  request.signal?.addEventListener("abort", cancel);
  void workspace.lost.then(fail);
  void verifier.whole.then(() => {
    if (!progress.isOver) reports?.finish();
    progress.go("whole");
  });
  const begun = begin();

  function onLearnt(content: Hashed, isNamed: boolean): void {
    verified.begin(content);
    verifier.setLayer(content.layer);
    // A layer that no root was named for may be anything; the first other holder of its root will confirm it.
    if (isNamed) void partFile.identify(content.root);
  }

  /** Learns the layer if it is known, resumes what is there, and sets the sources to work. */
  async function begin(): Promise<void> {
    const untold = await layer.askFirst(source, remains);
    if (progress.isOver) return;
    // Without its layer there would be a new beginning over bytes that may all be right; asked again, it may tell.
    const isVain = untold && (untold === LEFT.layer || (remains === "orphans" && !isNotReady(untold)));
    if (isVain) return fail(untold);
    progress.go("asked");
    const careful = patienceMs("byte") < Number.POSITIVE_INFINITY;
    const left = await resume({ partFile, workspace, grant, content: layer.content, careful });
    // A root that the source's own layer does not lead to is a slip, no other content.
    if (isFault(left)) return fail(left === OTHER_CONTENT && untold && !isNotReady(untold) ? untold : left);
    if (layer.content !== undefined && grant.root !== undefined) await partFile.identify(layer.content.root);
    if (progress.isOver) return;
    progress.go("resumed");
    peerList = createPeers(parts);
    void verifier.resume(left, (pieces) => recheck.readAgain(left, pieces));
    const available = source.byRoot ? await source.available() : "all";
    if (!isFault(available)) requester.addSource(source, available);
    else peerList.lost(source.address, available, 0);
    reports?.begin();
    if (layer.content === undefined) void layer.poll(requester, left.root).then((why) => why && fail(why));
  }

  return {
    finished: progress.over.then((failed) => failed ?? (layer.content as Hashed)),
    async stop() {
      fail(CANCELLED);
      await begun;
      request.signal?.removeEventListener("abort", cancel);
      reports?.stop();
      peerList?.stop();
      source.close();
      await requester.stop();
      verified.end();
      await partFile.flush();
      await partFile.close();
    },
    // What is still read again may be right, though none of it counts yet.
    isWorthless: () =>
      requester.keptBytes + requester.begunBytes === 0 && (remains === "nothing" || !verifier.checking),
  };
}

type Parts = Standing & {
  readonly options: SessionOptions;
  readonly grant: Grant;
  readonly partFile: PartFile;
  readonly layer: Layer;
  readonly progress: SessionProgress;
};

/** The session's peer list, and when it gives up. */
function createPeers(parts: Parts): PeerList {
  const { options, from, size, grant, requester, verifier, meter, partFile, layer, progress } = parts;
  const { env, name, request, network, patienceMs } = options;
  const { maxDownloadRate } = network;
  const root = () => layer.content?.root ?? grant.root;
  const isAllHere = () => verifier.allHere;
  const mostMs = (request.maxWaitSeconds ?? Number.POSITIVE_INFINITY) * 1000;
  // With every byte here too: what is still read again, or synced, is finished without any source.
  const waitsForDisk = (): boolean =>
    (layer.content !== undefined && isAllHere()) || progress.paused !== undefined || partFile.busyMs() > QUIET_MS;
  const starvation = createStarvation({
    clock: env.clock,
    requester,
    meter,
    size,
    patienceMs,
    maxDownloadRate,
    waitsForDisk,
    isAllHere,
  });
  return createPeerList({
    env,
    requester,
    chosen: from,
    holders: {
      root,
      find: network.findHolders,
      async dial(address, wanted, onWait) {
        const dialled = await openSource(
          address,
          { root: wanted },
          { ...env, content: grant, ahead: "pieces", onWait },
        );
        if (!isFault(dialled) && layer.content?.root === wanted) void partFile.identify(wanted);
        return dialled;
      },
      redial: (onWait) => openSource(from, { name }, { ...env, content: { ...grant, root: root() }, onWait }),
    },
    starvation: { ...starvation, look: (hopeMs) => starvation.look(Math.min(hopeMs, mostMs)) },
    onStarved: (why) => progress.go("fail", why),
    only: request.only ?? false,
    sourcesMax: () => sourcesWithin(maxDownloadRate(), SOURCES_MAX),
  });
}
