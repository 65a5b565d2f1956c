// What a peer has of the machine that it runs on: time, chance, network, files, threads.
// Invariant: class Peer reaches the machine through these alone, so that a simulation can be the machine.
// Never: holds state or logic of its own.

import { listFolder } from "../content/folder.ts";
import { isFileReady, listenToFolder } from "../content/folder-watch.ts";
import { createHashCache, type HashCache } from "../content/hashing/hash-cache.ts";
import { createHashPool } from "../content/hashing/hash-pool.ts";
import { openPartWorkspace, removeLeftovers } from "../content/part-workspace.ts";
import { hasFile, openFile, stampFile } from "../content/safe-files.ts";
import { createLaneThreads } from "../download/lanes/lane-threads.ts";
import { startPlayThread } from "../play/play-thread.ts";
import { systemClock } from "../shared/clock.ts";
import type { Env } from "../transport/env.ts";
import { connect } from "../transport/tcp.ts";
import { startUploadThread } from "../upload/upload-thread.ts";

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
  readonly createLaneThreads: typeof createLaneThreads;
  readonly startUploadThread: typeof startUploadThread;
  readonly startPlayThread: typeof startPlayThread;
};

export const SYSTEM: PeerEnv = {
  clock: systemClock,
  now: Date.now,
  random: Math.random,
  connect,
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
  createLaneThreads,
  startUploadThread,
  startPlayThread,
};
