// The catalog's own tables beside plain Maps: memory and a full garbage collection with 1,000,000 entries.
// Invariant: each measurement is a process of its own, and the two kinds take turns.
// Never: part of `bun test`; numbers depend on the machine.
//
//   bun bench/catalog-table.ts [--entries 1000000] [--rounds 5]

import { parseArgs } from "node:util";
import { createEntryTable } from "../src/catalog/table/entry-table.ts";
import type { Share } from "../src/protocol/messages.ts";

const { values } = parseArgs({
  options: {
    entries: { type: "string", default: "1000000" },
    rounds: { type: "string", default: "5" },
    kind: { type: "string" },
  },
});
const entries = Number(values.entries);
const NAMES_PER_PEER = 50;
/** Each name is announced by five peers, and has a content of its own. */
const PEERS_PER_NAME = 5;

type Measured = { readonly mebibytes: number; readonly collectMs: number; readonly fillMs: number };

/** The shares in the order in which peers announce them: each peer 50 names that follow one another. */
function shareOf(entry: number): Share {
  const name = (entry * 7) % Math.ceil(entries / PEERS_PER_NAME);
  return {
    name: `Aula de redes (2026) parte ${name}.mp4`,
    size: 1e9 + name,
    root: name.toString(16).padStart(64, "0"),
  };
}

function fillTable(): unknown {
  const table = createEntryTable();
  let member = -1;
  for (let entry = 0; entry < entries; entry++) {
    if (entry % NAMES_PER_PEER === 0) member = table.addMember();
    table.put(member, shareOf(entry), true);
  }
  return table;
}

/** What the table answers from, in plain Maps: name -> members, member -> names, content -> members. */
function fillMaps(): unknown {
  const ofName = new Map<string, Set<number>>();
  const ofMember = new Map<number, Map<string, Share>>();
  const ofRoot = new Map<string, Set<number>>();
  const add = (map: Map<string, Set<number>>, key: string, member: number): void => {
    const members = map.get(key);
    if (members === undefined) map.set(key, new Set([member]));
    else members.add(member);
  };
  for (let entry = 0; entry < entries; entry++) {
    const member = Math.floor(entry / NAMES_PER_PEER);
    const share = shareOf(entry);
    if (entry % NAMES_PER_PEER === 0) ofMember.set(member, new Map());
    ofMember.get(member)?.set(share.name, share);
    add(ofName, share.name, member);
    add(ofRoot, share.root as string, member);
  }
  return [ofName, ofMember, ofRoot];
}

const median = (list: readonly number[]): number =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN;

function measure(fill: () => unknown): Measured {
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  const from = performance.now();
  const kept = fill();
  const fillMs = performance.now() - from;
  const collections = Array.from({ length: 5 }, () => {
    const start = performance.now();
    Bun.gc(true);
    return performance.now() - start;
  });
  const mebibytes = (process.memoryUsage.rss() - before) / 2 ** 20;
  if (kept === undefined) throw new Error("nothing was filled");
  return { mebibytes, collectMs: median(collections), fillMs };
}

async function inProcess(kind: string): Promise<Measured> {
  const child = Bun.spawn([process.execPath, import.meta.path, "--kind", kind, "--entries", String(entries)], {
    stdout: "pipe",
    stderr: "inherit",
  });
  return JSON.parse(await new Response(child.stdout).text()) as Measured;
}

if (values.kind !== undefined) {
  console.log(JSON.stringify(measure(values.kind === "table" ? fillTable : fillMaps)));
} else {
  const of: Record<"table" | "maps", Measured[]> = { table: [], maps: [] };
  for (let round = 0; round < Number(values.rounds); round++)
    for (const kind of round % 2 === 0 ? (["table", "maps"] as const) : (["maps", "table"] as const)) {
      const measured = await inProcess(kind);
      of[kind].push(measured);
      console.log(
        `${kind.padEnd(5)} ${measured.mebibytes.toFixed(0)} MiB, full collection ${measured.collectMs.toFixed(1)} ms, filled in ${measured.fillMs.toFixed(0)} ms`,
      );
    }
  const ratio = (what: keyof Measured): string =>
    (median(of.table.map((one) => one[what])) / median(of.maps.map((one) => one[what]))).toFixed(2);
  console.log(
    `table / maps, medians: memory ${ratio("mebibytes")}, full collection ${ratio("collectMs")}, filling ${ratio("fillMs")}`,
  );
}
