// Watching a file while it arrives: its address found, told, and opened in the person's player.
// Invariant: the address is always told, whether a player was found or not.
// Never: reads the file; fails a download because of a player.

import type { Peer } from "../peer.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import type { Life } from "./shutdown.ts";
import { isStop, type Stop } from "./terminal/questions.ts";
import type { Report } from "./text/report.ts";

export type Watching = {
  readonly peer: Pick<Peer, "play" | "playedOut">;
  readonly report: Report;
  readonly life: Life;
  /** Opens the person's player at this address; false where there is none. */
  readonly openPlayer: (name: string, address: string) => Promise<boolean>;
};

/** Tells the address of this file and opens a player, as soon as its content is known. A fault has not been shown. */
export async function play({ peer, report, life, openPlayer }: Watching, name: string): Promise<string | Fault | Stop> {
  const asked = peer.play(name);
  // Of a file that is here the address is known at once.
  const isKnown = await Promise.race([asked.then(() => true), Bun.sleep(AT_ONCE_MS).then(() => false)]);
  if (!isKnown) report.preparing(name);
  const address = await life.during(asked);
  if (isStop(address) || isFault(address)) return address;
  report.playing(name, address, await openPlayer(name, address));
  return address;
}

const AT_ONCE_MS = 200;

/** Stays until the person has watched it: no player has had it open for a minute, or Ctrl+C. */
export async function stayForPlayer({ peer, report, life }: Watching, name: string): Promise<void> {
  report.working("O player ainda pode ler o arquivo...", "Ctrl+C termina");
  await life.during(peer.playedOut(name));
  report.settled();
}
