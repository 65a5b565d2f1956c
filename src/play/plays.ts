// What can be played: downloads under way, from their layer on, and files of the folder; each under a secret address.
// Invariant: an address stays good from the moment it is given out, past the file's final name, until close().
// Never: gives out an address before the content is known; starts its thread before something is played.

import { type Hashed, pieceBytesFor, pieceCount } from "../content/hashing/merkle.ts";
import type { OnPositions, PartOf, PlayFeed } from "../content/part-workspace.ts";
import type { Stamp } from "../content/safe-files.ts";
import { LOOPBACK } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { clearBit, createBitfield, setBit } from "../shared/bitfield.ts";
import { type Clock, createTimer } from "../shared/clock.ts";
import type { OnStreams, PlayThread } from "./play-thread.ts";
import type { PlayedFile } from "./play-worker.ts";

export type DownloadPlay = {
  /** The content is known, and this .part is to hold it. */
  begin(content: Hashed, part: PartOf, onPositions: OnPositions): PlayFeed;
  /** The download is over: the file has its name, or there is none. */
  end(why: Fault | undefined): void;
};

/** A whole file in a folder. */
export type WholeFile = Stamp & { readonly folder: string; readonly file: string };

export type Plays = {
  /** A download of `name` begins. */
  download(name: string): DownloadPlay;
  /** The address of a download under way, once its content is known; its fault when it ends before. Undefined: there is none. */
  ofDownload(name: string): Promise<string | Fault> | undefined;
  /** The address of a file that is whole. */
  ofFile(name: string, file: WholeFile): Promise<string | Fault>;
  /** Resolves when no stream of `name` has been open for IDLE_MS. */
  idle(name: string): Promise<void>;
  /** Ends every stream. */
  close(): Promise<void>;
};

export type PlaysOptions = {
  readonly start: (onStreams: OnStreams) => PlayThread;
  /** 32 hexadecimal digits that no other program can guess. */
  readonly newToken: () => string;
  readonly clock: Clock;
};

/** A player that is paused, or was closed to be opened again, may be away for so long. */
export const IDLE_MS = 60_000;
/** A player that was opened asks by then. */
const EXPECTED_MS = 10_000;
/** Where the index of a video lies that has it at its end. */
const END_BYTES = 1024 * 1024;
/** Files that stay open to players after their download; the oldest without a stream goes first. */
const KEPT_MAX = 64;

type Play = {
  readonly name: string;
  readonly token: string;
  /** Known content, and what holds it. */
  content?: { readonly tag: string; readonly size: number; readonly pieceBytes: number; readonly file: PlayedFile };
  /** Verified pieces; undefined for all. */
  pieces: Uint8Array | undefined;
  /** Served since, or to be. */
  opened?: Promise<string | Fault>;
  readonly known: PromiseWithResolvers<Fault | undefined>;
  onPositions: OnPositions;
  streams: number;
  /** A person waits for its address. */
  isAwaited: boolean;
  over: boolean;
  onIdle?: () => void;
};

const NO_PLAY: DownloadPlay = { begin: () => ({ have() {}, lost() {} }), end() {} };

export function createPlays({ start, newToken, clock }: PlaysOptions): Plays {
  const plays = new Map<string, Play>(); // by name
  let thread: PlayThread | undefined;

  const onStreams: OnStreams = (token, positions, open) => {
    const play = [...plays.values()].find((one) => one.token === token);
    if (play === undefined) return;
    play.streams = open;
    play.onPositions(positions);
    play.onIdle?.();
  };

  function add(name: string): Play {
    forget(name);
    const known = Promise.withResolvers<Fault | undefined>();
    const play: Play = {
      name,
      token: newToken(),
      pieces: undefined,
      known,
      onPositions() {},
      streams: 0,
      isAwaited: false,
      over: false,
    };
    plays.set(name, play);
    const idle = [...plays.values()].filter(({ over, streams }) => over && streams === 0);
    for (const old of idle.slice(0, Math.max(0, plays.size - KEPT_MAX))) forget(old.name);
    return play;
  }

  function forget(name: string): void {
    const play = plays.get(name);
    plays.delete(name);
    if (play?.opened !== undefined) thread?.close(play.token);
  }

  /** Serves what is known of it, or nothing where it is served. */
  function serve(play: Play): Promise<string | Fault> {
    play.opened ??= (async () => {
      thread ??= start(onStreams);
      const port = await thread.port;
      if (isFault(port)) return port;
      await put(play);
      return `http://${LOOPBACK}:${port}/${play.token}/${encodeURIComponent(play.name)}`;
    })();
    return play.opened;
  }

  async function put({ name, token, content, pieces }: Play): Promise<void> {
    if (content !== undefined) await thread?.open({ name, token, pieces, ...content });
  }

  function begin(play: Play, { root, size, pieceBytes }: Hashed, file: PartOf, onPositions: OnPositions): PlayFeed {
    play.onPositions = onPositions;
    // A session that follows another of the same content goes on in its .part.
    if (play.content?.tag !== root || !isIn(play, file.identity)) {
      play.content = { tag: root, size, pieceBytes, file };
      play.pieces = createBitfield(pieceCount(size, pieceBytes));
      if (play.opened !== undefined) void put(play);
    }
    play.known.resolve(undefined);
    if (play.isAwaited) expectPlayer(play, clock);
    return feedOf(play, () => thread);
  }

  function end(play: Play, why: Fault | undefined): void {
    play.known.resolve(why ?? (play.content === undefined ? fault("NO_SOURCE", "ours") : undefined));
    play.over = true;
    play.onPositions = () => {};
    if (why !== undefined || play.opened === undefined) {
      if (plays.get(play.name) === play) forget(play.name);
      return;
    }
    play.pieces = undefined;
    thread?.whole(play.token);
  }

  return {
    download(name) {
      // Of a second download of a name, which the lock refuses, nothing is played.
      if (plays.get(name)?.over === false) return NO_PLAY;
      const play = add(name);
      return {
        begin: (content, part, onPositions) => begin(play, content, part, onPositions),
        end: (why) => end(play, why),
      };
    },
    ofDownload(name) {
      const play = plays.get(name);
      if (play === undefined || play.over) return undefined;
      thread ??= start(onStreams);
      play.isAwaited = true;
      expectPlayer(play, clock);
      return play.known.promise.then((why) => why ?? serve(play));
    },
    ofFile(name, file) {
      const tag = `${file.ino}-${file.size}-${file.mtimeNs}`;
      const known = plays.get(name);
      // A download that has its name is served by its root.
      if (known?.over && (known.content?.tag === tag || (isIn(known, file) && known.content?.size === file.size)))
        return serve(known);
      const play = add(name);
      play.over = true;
      play.content = { tag, size: file.size, pieceBytes: pieceBytesFor(file.size), file };
      return serve(play);
    },
    idle: (name) => whenIdle(plays.get(name), clock),
    async close() {
      plays.clear();
      await thread?.stop();
      thread = undefined;
    },
  };
}

/** Whether what is played came, or comes, into this very file. */
const isIn = ({ content }: Play, { ino }: { readonly ino: bigint }): boolean =>
  content !== undefined && "identity" in content.file && content.file.identity.ino === ino;

/** What its download tells goes to the thread once that serves it, and is remembered until then. */
function feedOf(play: Play, thread: () => PlayThread | undefined): PlayFeed {
  return {
    have(indexes) {
      if (play.pieces !== undefined) for (const index of indexes) setBit(play.pieces, index);
      if (play.opened !== undefined) thread()?.have(play.token, indexes);
    },
    lost(indexes) {
      if (play.pieces !== undefined) for (const index of indexes) clearBit(play.pieces, index);
      if (play.opened !== undefined) thread()?.lost(play.token, indexes);
    },
  };
}

/** A player is about to come: it reads the beginning and the end first, whatever it is to show. */
function expectPlayer(play: Play, clock: Clock): void {
  if (play.content === undefined || play.streams > 0) return;
  play.onPositions([0, Math.max(0, play.content.size - END_BYTES)]);
  clock.after(EXPECTED_MS, () => {
    if (play.streams === 0) play.onPositions([]);
  });
}

async function whenIdle(play: Play | undefined, clock: Clock): Promise<void> {
  if (play === undefined) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = createTimer(clock);
  play.onIdle = () => (play.streams > 0 ? timer.cancel() : timer.set(IDLE_MS, resolve));
  play.onIdle();
  return promise;
}
