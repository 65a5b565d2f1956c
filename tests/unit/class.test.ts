// A class that downloads from one source: what the source sends, by the piece pickers of all and a link of one piece a turn each.
// Invariant: everybody has everything in the end, and the source sends hardly more than what it must.
// Never: a network; who knows whom, and when, is what the model says.

import { describe, expect, test } from "bun:test";
import { createPiecePicker } from "../../src/download/pieces/piece-picker.ts";
import { createRandom } from "../simulation/random.ts";

const KNOWN_MAX = 7; // of eight sources one is the source of all
const LOOK_TURNS = 4;
const SLOTS = 8; // of the source

type Member = { name: string; pieces: Uint8Array; known: number[]; picker: ReturnType<typeof createPiecePicker> };

/** How often the source sent the file, and how many turns a piece the last one took. */
function play(size: number, pieces: number, seed: number, slots: number): { sent: number; turns: number } {
  const random = createRandom(seed);
  const everybody = Array.from({ length: size }, (_, i) => i);
  const members = everybody.map((i): Member => {
    const others = everybody.filter((other) => other !== i).map((other) => ({ other, lot: random.next() }));
    const known = others.sort((a, b) => a.lot - b.lot).slice(0, KNOWN_MAX);
    const name = `10.0.0.${100 + i}`;
    const picker = createPiecePicker(pieces, 1, random.next);
    return { name, pieces: new Uint8Array(Math.ceil(pieces / 8)), known: known.map(({ other }) => other), picker };
  });
  const seen = members.map(({ known }) => known.map(() => new Uint8Array(Math.ceil(pieces / 8))));
  const links: { to: number; piece: number }[][] = [[], ...everybody.map(() => [])]; // of the source, and of each member
  let sent = 0;
  let turn = 0;
  const order = (to: number, link: { to: number; piece: number }[], available: "all" | Uint8Array): void => {
    if (link.some((one) => one.to === to)) return;
    const part = slots > 1 ? { slot: to, slots } : undefined;
    const piece = (members[to] as Member).picker.next(0, available, "", available === "all" ? { part } : {})?.index;
    if (piece !== undefined) link.push({ to, piece });
  };
  for (; !members.every(({ picker }) => picker.done) && turn < 50 * pieces; turn++) {
    members.forEach(({ known, picker }, i) => {
      const views = seen[i] as Uint8Array[];
      if (turn % LOOK_TURNS === 0) {
        known.forEach((other, k) => void views[k]?.set((members[other] as Member).pieces));
        known.forEach((other, k) => void picker.setPartial((members[other] as Member).name, views[k]?.slice()));
      }
      if (i < SLOTS) order(i, links[0] as never, "all");
      known.forEach((other, k) => void order(i, links[other + 1] as never, views[k] as Uint8Array));
    });
    for (const [from, link] of links.entries()) {
      const first = link.shift();
      if (first === undefined) continue;
      const member = members[first.to] as Member;
      member.picker.kept(first.piece);
      member.pieces[first.piece >> 3] = (member.pieces[first.piece >> 3] as number) | (0x80 >> (first.piece & 7));
      if (from === 0) sent++;
    }
  }
  return { sent: sent / pieces, turns: turn / pieces };
}

const mean = (size: number, pieces: number, slots = SLOTS): { sent: number; turns: number } => {
  const all = [1, 2, 3, 4].map((seed) => play(size, pieces, seed, slots));
  const of = (what: "sent" | "turns") => all.reduce((sum, one) => sum + one[what], 0) / all.length;
  return { sent: of("sent"), turns: of("turns") };
};

describe("pieces dealt among a class", () => {
  test("of eight, who all know each other, leave the source once and a little", () => {
    expect(mean(8, 100).sent).toBeLessThan(1.2);
  });

  test("of twenty, of whom eight have the source and each seven others, do so as well, because the eight know their slots", () => {
    const { sent, turns } = mean(20, 100);
    expect(sent).toBeLessThan(1.45);
    expect(turns).toBeLessThan(1.6); // and nobody is starved
    expect(mean(20, 100, 1).sent).toBeGreaterThan(sent + 0.2); // without them they do not agree
  });

  test("a class of forty sends each piece of the file less than 1.8 times as well", () => {
    expect(mean(40, 100).sent).toBeLessThan(1.8);
  });
});
