// What a peer has of the machine that it runs on: time, chance, network, files, threads.
// Invariant: class Peer reaches the machine through these alone, so that a simulation can be the machine.
// Never: holds state or logic of its own.

import { listFolder } from "../content/folder.ts";
import { createHashCache, type HashCache } from "../content/hash-cache.ts";
import { createHashPool } from "../content/hash-pool.ts";
import { hasFile, openFile, stampFile } from "../content/inside.ts";
import { openWorkplace } from "../content/workplace.ts";
import { createLaneThreads } from "../transfer/lane-threads.ts";
import { startUploadThread } from "../transfer/upload-thread.ts";
import { type Clock, systemClock } from "../transport/clock.ts";
import type { Connect } from "../transport/connection.ts";
import { connect } from "../transport/tcp.ts";

export type Parts = {
  readonly clock: Clock;
  /** The date in milliseconds, as files' times are told. */
  readonly now: () => number;
  readonly random: () => number;
  readonly connect: Connect;
  readonly listFolder: typeof listFolder;
  readonly hasFile: typeof hasFile;
  readonly stampFile: typeof stampFile;
  readonly openFile: typeof openFile;
  readonly openWorkplace: typeof openWorkplace;
  readonly createHashCache: () => HashCache;
  readonly createHashPool: typeof createHashPool;
  /** Threads that hash; as many as are worth it when not given. */
  readonly workers?: number;
  readonly createLaneThreads: typeof createLaneThreads;
  readonly startUploadThread: typeof startUploadThread;
};

export const SYSTEM: Parts = {
  clock: systemClock,
  now: Date.now,
  random: Math.random,
  connect,
  listFolder,
  hasFile,
  stampFile,
  openFile,
  openWorkplace,
  createHashCache: () => createHashCache(),
  createHashPool,
  createLaneThreads,
  startUploadThread,
};
