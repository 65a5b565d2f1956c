// What a peer has of the machine that it runs on: time, chance, network, files, threads.
// Invariant: class Peer reaches the machine through these alone, so that a simulation can be the machine.
// Never: holds state or logic of its own.

import { listFolder } from "../content/folder.ts";
import { isFileReady, listenToFolder } from "../content/folder-watch.ts";
import { createHashCache, type HashCache } from "../content/hashing/hash-cache.ts";
import { createHashPool } from "../content/hashing/hash-pool.ts";
import { openPartWorkspace, removeLeftovers } from "../content/part-workspace.ts";
import { hasFile, openFile, stampFile } from "../content/safe-files.ts";
import { createLaneThreads, type LaneThreads } from "../download/lanes/lane-threads.ts";
import type { LanePolicy } from "../download/lanes/lane-worker.ts";
import { startPlayThread } from "../play/play-thread.ts";
import { openPortMapping, type PortMapping } from "../port-mapping/port-mapper.ts";
import type { Address } from "../protocol/address.ts";
import { systemClock } from "../shared/clock.ts";
import { openDatagrams } from "../transport/datagrams.ts";
import type { Env } from "../transport/env.ts";
import { defaultGateway } from "../transport/gateway.ts";
import { newSecurity, type Security } from "../transport/security.ts";
import { createTcp } from "../transport/tcp.ts";
import type { UploadPolicy, UploadsEvent } from "../upload/upload-server.ts";
import { startUploadThread, type UploadThread } from "../upload/upload-thread.ts";

export type PeerEnv = Env & {
  /** The date in milliseconds, as files' times are told. */
  readonly now: () => number;
  readonly listFolder: typeof listFolder;
  readonly listenToFolder: typeof listenToFolder;
  readonly isFileReady: typeof isFileReady;
  readonly hasFile: typeof hasFile;
  readonly removeLeftovers: typeof removeLeftovers;
  readonly stampFile: typeof stampFile;
  readonly openFile: typeof openFile;
  readonly openPartWorkspace: typeof openPartWorkspace;
  readonly createHashCache: () => HashCache;
  readonly createHashPool: typeof createHashPool;
  /** Threads that hash; as many as are worth it when not given. */
  readonly workers?: number;
  readonly createLaneThreads: (count: number, policy: LanePolicy) => LaneThreads;
  readonly startUploadThread: (
    policy: UploadPolicy,
    key: string,
    onEvent: (event: UploadsEvent) => void,
  ) => UploadThread;
  readonly startPlayThread: typeof startPlayThread;
  /** Has the router lead a port to this address of ours; undefined where it does not. */
  readonly openPortMapping: (to: Address) => Promise<PortMapping | undefined>;
};

/** A router speaks HTTP. */
const { connect: plainly } = createTcp("never");

/** This machine; each of its threads shows the same key. A key for this run where none is given. */
export const systemEnv = (security: Security = newSecurity()): PeerEnv => ({
  clock: systemClock,
  now: Date.now,
  random: Math.random,
  connect: createTcp(security).connect,
  listFolder,
  listenToFolder,
  isFileReady,
  hasFile,
  removeLeftovers,
  stampFile,
  openFile,
  openPartWorkspace,
  createHashCache: () => createHashCache(),
  createHashPool,
  createLaneThreads: (count, policy) => createLaneThreads(count, policy, security),
  startUploadThread: (policy, key, onEvent) => startUploadThread(policy, key, onEvent, security),
  startPlayThread,
  openPortMapping: (to) =>
    openPortMapping({
      to,
      net: { gateway: defaultGateway, open: openDatagrams, connect: plainly, random: Math.random },
      clock: systemClock,
    }),
});
