// Players in the simulation: the play thread on a machine's virtual disk, and persons who jump about in what they watch.

import { createPlayFile, type PlayFile } from "../../src/play/play-file.ts";
import type { OnStreams, PlayThread } from "../../src/play/play-thread.ts";
import { fault, isFault } from "../../src/protocol/fault.ts";
import { type Content, same } from "./contents.ts";
import type { SimFile } from "./disk.ts";
import type { SimPeer, SimPeerOptions } from "./peer.ts";
import type { Random } from "./random.ts";
import type { Process } from "./time.ts";

/** One file as players read it. `tag`: its root, or what stands for a file of the folder. */
export type Screening = { readonly file: PlayFile; readonly tag: string };

/** In this thread, but told and heard as through messages: later, in order. */
export function playThreadOf(
  { process: { clock }, disk }: SimPeerOptions,
  screenings: Map<string, Screening>,
  onStreams: OnStreams,
): PlayThread {
  const later = (action: () => void): void => void clock.after(0, action);
  const fileOf = (id: bigint): SimFile | undefined =>
    disk.names.map((name) => disk.file(name)).find((file) => file !== undefined && BigInt(file.id) === id);
  const close = (token: string): void => {
    screenings.get(token)?.file.close();
    screenings.delete(token);
  };
  return {
    port: Promise.resolve(1),
    open: ({ token, size, pieceBytes, tag, pieces, file }) =>
      new Promise((resolve) =>
        later(() => {
          close(token);
          const played = createPlayFile({
            size,
            pieceBytes,
            pieces: pieces?.slice(),
            async open() {
              const found = fileOf("identity" in file ? file.identity.ino : file.ino);
              if (found === undefined) return fault("FILE_MISSING", "disk", "it has no name any more");
              return { read: async (into, offset) => disk.read(found, into, offset), close() {} };
            },
            clock,
            onStreams: (positions, open) => later(() => onStreams(token, positions, open)),
          });
          screenings.set(token, { file: played, tag });
          resolve();
        }),
      ),
    have: (token, indexes) => later(() => screenings.get(token)?.file.have(indexes)),
    lost: (token, indexes) => later(() => screenings.get(token)?.file.lost(indexes)),
    whole: (token) => later(() => screenings.get(token)?.file.whole()),
    close: (token) => later(() => close(token)),
    async stop() {
      for (const token of [...screenings.keys()]) close(token);
    },
  };
}

const JUMPS_MAX = 12;
const PAUSE_MS_MAX = 90_000;

/** A person watches while it comes: jumps, pauses, goes on. Names what was not the source's bytes; how much was seen. */
export async function watchFilm(
  peer: SimPeer,
  { name, bytes, hashed }: Content,
  { clock }: Process,
  random: Random,
): Promise<{ readonly seen: number; readonly wrong: string | undefined }> {
  let seen = 0;
  for (let jumps = random.int(1, JUMPS_MAX); jumps > 0; jumps--) {
    const screening = await peer.play(name);
    if (screening === undefined || screening.file.size === 0) break;
    const start = random.int(0, screening.file.size - 1);
    const stream = screening.file.stream(start, screening.file.size);
    let at = start;
    for (let chunks = random.int(1, 6); chunks > 0; chunks--) {
      const chunk = await stream.next();
      if (chunk === undefined || isFault(chunk)) break;
      // A liar's content is its own.
      const isOurs = screening.tag === hashed.root || !/^[0-9a-f]{64}$/.test(screening.tag);
      if (isOurs && !same(chunk, bytes.subarray(at, at + chunk.length)))
        return { seen, wrong: `a player got wrong bytes of ${name} at ${at}` };
      at += chunk.length;
      seen += chunk.length;
      const ms = random.chance(0.1) ? random.next() * PAUSE_MS_MAX : random.next() * 300;
      await new Promise<void>((resolve) => void clock.after(ms, resolve));
    }
    if (random.chance(0.9)) stream.close(); // else it is forgotten, as by a player that hangs
  }
  return { seen, wrong: undefined };
}
