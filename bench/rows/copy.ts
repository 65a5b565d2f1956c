// One source, one taker, one file: ours beside nginx → curl and beside everything that verifies.
// Invariant: in each round everyone copies once, one after the other, into the same emptied folder.
// Never: compares to a copy that is not byte for byte the source.

import * as fs from "node:fs";
import { join } from "node:path";
import { run, startChild } from "../child.ts";
import type { Found, Goal, Table } from "../report.ts";
import { dd } from "../rivals/dd.ts";
import { nginx } from "../rivals/nginx.ts";
import { prepareCold, prepareWarm } from "../rivals/ours.ts";
import { type Cargo, missing, type Ready, type Rival, type Sample } from "../rivals/rival.ts";
import { RIVALS } from "../rivals.ts";
import type { Row, RowContext } from "../rows.ts";
import { emptyFolder, type Place, writeRandom } from "../scratch.ts";
import { median, megabytes, ratioOf, spread } from "../stats.ts";

const NAME = "aula.mp4";
const ALONE_MOST = 1.15;
const CHECKED_MOST = 0.6;

type Entrant = { readonly name: string; readonly verifies: boolean; readonly ready: Ready; readonly samples: Sample[] };

export const copy: Row = {
  name: "copy",
  what: "one source, one taker",
  async run(context) {
    const folder = context.scratch.folder("memory", "source");
    const cargo: Cargo = { folder, name: NAME, bytes: context.bytes, scratch: context.scratch };
    writeRandom(join(folder, NAME), context.bytes);
    const found: Found[] = [];
    const notes: string[] = [];
    const entrants = await enter(context, cargo, notes);
    for (const place of ["memory", "disk"] as const) {
      found.push(await race(context, cargo, place, entrants));
      for (const { samples } of entrants) samples.length = 0;
    }
    for (const { ready } of entrants) await ready.close();
    fs.rmSync(folder, { recursive: true });
    return {
      goals: found.flatMap(({ goals }) => goals),
      tables: found.flatMap(({ tables }) => tables),
      notes,
    };
  },
};

/** Makes everyone ready who can run here, and has each copy once to see that the copy is right. */
async function enter(context: RowContext, cargo: Cargo, notes: string[]): Promise<Entrant[]> {
  const entrants: Entrant[] = [];
  const trial = context.scratch.folder("memory", "trial");
  const attempt = async (name: string, verifies: boolean, prepare: () => Promise<Ready>): Promise<void> => {
    try {
      const ready = await prepare();
      emptyFolder(trial);
      await ready.copy(trial);
      run(["cmp", join(cargo.folder, NAME), join(trial, NAME)]);
      entrants.push({ name, verifies, ready, samples: [] });
    } catch (error) {
      notes.push(`${name} is left out: ${String(error).slice(0, 300)}`);
    }
  };
  const rival = async ({ name, verifies, needs, install, prepare }: Rival): Promise<void> => {
    const absent = missing(needs);
    if (absent.length > 0) notes.push(`${name} is left out, ${absent.join(", ")} not found: ${install}`);
    else await attempt(name, verifies, () => prepare(cargo));
  };
  await attempt("ours", true, () => prepareWarm(context.programs, cargo));
  await rival(nginx);
  await rival(dd);
  await attempt("ours, not hashed before", true, () => prepareCold(context.programs, cargo));
  for (const each of context.rivals ? RIVALS : []) await rival(each);
  fs.rmSync(trial, { recursive: true });
  return entrants;
}

async function race(context: RowContext, { bytes }: Cargo, place: Place, all: Entrant[]): Promise<Found> {
  const entrants = all.filter(({ name }) => place === "disk" || name !== dd.name);
  const target = context.scratch.folder(place, "target");
  for (let round = 1; round <= context.rounds; round++) {
    const times: string[] = [];
    for (const { name, ready, samples } of entrants) {
      emptyFolder(target);
      if (place === "disk") await startChild({ command: ["sync"] }).finish(120);
      const sample = await ready.copy(target);
      samples.push(sample);
      times.push(`${name} ${sample.seconds.toFixed(2)}`);
      const size = fs.statSync(join(target, NAME)).size;
      if (size !== bytes) throw new Error(`${name} made ${size} of ${bytes} bytes`);
    }
    context.say(`  ${place}, round ${round}: ${times.join(", ")}`);
  }
  fs.rmSync(target, { recursive: true });
  return { goals: judge(place, entrants), tables: [tableOf(place, entrants)] };
}

const secondsOf = ({ samples }: Entrant): number[] => samples.map(({ seconds }) => seconds);

function judge(place: Place, entrants: readonly Entrant[]): Goal[] {
  const find = (name: string) => entrants.find((entrant) => entrant.name === name);
  const ours = find("ours");
  if (ours === undefined) return [];
  const goals: Goal[] = [];
  const where = place === "memory" ? "tmpfs" : "disk";
  const compare = (what: string, theirs: readonly number[], most: number): void => {
    const ratio = ratioOf(secondsOf(ours), theirs);
    goals.push({
      what,
      ours: spread(secondsOf(ours), " s"),
      theirs: spread(theirs, " s"),
      ratio: ratio.toFixed(2),
      goal: `≤ ${most}`,
      met: ratio <= most,
    });
  };
  const yardstick = find(nginx.name);
  if (yardstick !== undefined) {
    const checked = yardstick.samples.map(({ seconds, checkSeconds = 0 }) => seconds + checkSeconds);
    compare(`→ ${where}, against nginx → curl`, secondsOf(yardstick), ALONE_MOST);
    const synced = yardstick.samples.map(({ seconds, syncSeconds = 0 }) => seconds + syncSeconds);
    if (place === "disk")
      compare("→ disk, against nginx → curl, then sync: on the disk, as ours is", synced, ALONE_MOST);
    compare(`→ ${where}, against nginx → curl, then openssl dgst`, checked, CHECKED_MOST);
  }
  const plain = find(dd.name);
  if (plain !== undefined) compare("→ disk, against dd from memory to the disk, synced", secondsOf(plain), ALONE_MOST);
  const rivals = entrants.filter((entrant) => entrant.verifies && !entrant.name.startsWith("ours"));
  const fastest = rivals.sort((a, b) => median(secondsOf(a)) - median(secondsOf(b)))[0];
  if (fastest !== undefined) {
    compare(`→ ${where}, against the fastest that verifies (${fastest.name})`, secondsOf(fastest), CHECKED_MOST);
  }
  return goals;
}

function tableOf(place: Place, entrants: readonly Entrant[]): Table {
  const lines = entrants.flatMap((entrant) => {
    const { name, samples } = entrant;
    const of = (side: "source" | "taker") => [
      spread(samples.map((sample) => sample[side].cpuSeconds)),
      megabytes(Math.max(...samples.map((sample) => sample[side].peakBytes))),
    ];
    const line = [name, spread(secondsOf(entrant)), ...of("source"), ...of("taker")];
    const after = (what: string, times: readonly number[]) =>
      times.length === 0 ? [] : [[`  ${what}`, spread(times), "", "", "", ""]];
    return [
      line,
      ...after(
        "sync of the copy",
        samples.flatMap(({ syncSeconds = [] }) => syncSeconds),
      ),
      ...after(
        "openssl dgst -sha256 of the copy",
        samples.flatMap(({ checkSeconds = [] }) => checkSeconds),
      ),
    ];
  });
  return {
    title: `One source → ${place === "memory" ? "tmpfs" : "disk"}`,
    head: ["", "seconds", "source: CPU s", "peak", "taker: CPU s", "peak"],
    lines,
  };
}
