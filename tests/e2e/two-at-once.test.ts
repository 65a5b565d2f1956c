// Two downloads of one name into one folder, from two sources with two contents, begun at once: one file, of one of them.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openFoldingFolder } from "../support/folding.ts";
import { openNative, type Sharing, share, startServer } from "../support/napster.ts";
import { startProgram } from "../support/program.ts";
import { contentOf } from "../support/sharer.ts";
import { describeWith } from "../support/tools.ts";

setDefaultTimeout(120_000);

const MIB = 1024 * 1024;
const ROUNDS = 6;
/** A download lasts for longer than a busy machine takes to start the other. */
const SLOWLY = ["--max-upload-rate", "20M"] as const;
const FAILED = 1;
const IS_THERE = 5; // another content under this name
const CONTENTS = [contentOf(24 * MIB, 1), contentOf(24 * MIB, 2)] as const;

const machine = await openNative();
afterAll(() => machine[Symbol.asyncDispose]());

async function shareOne(at: string, name: string, content: Uint8Array): Promise<Sharing> {
  const place = machine.place(`source ${Math.random()}`);
  writeFileSync(join(place.path, name), content);
  return share(machine, at, place, ...SLOWLY);
}

/** A person's `get`, with a home and a cache of their own. */
function get(at: string, name: string, from: string, folder: string, home: string) {
  const cache = machine.place(home).path;
  const command = machine.command("napster-peer", "get", name, "--server", at, "--from", from, "--dir", folder);
  const env = { HOME: cache, XDG_CACHE_HOME: cache, LOCALAPPDATA: cache, NAPSTER_CACHE: undefined };
  return startProgram({ command, env, stdin: "none" });
}

/** The rounds in which both found a moment for each other: the loser was told that the winner was at work. */
async function race(names: readonly [string, string], into: string, homes: readonly [string, string]): Promise<number> {
  const { server, at } = await startServer(machine);
  await using _server = server;
  const one = await shareOne(at, names[0], CONTENTS[0]);
  await using _one = one.peer;
  const two = await shareOne(at, names[1], CONTENTS[1]);
  await using _two = two.peer;
  let met = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const folder = join(into, String(round));
    mkdirSync(folder);
    const programs = [one, two].map(({ address }, i) => get(at, names[i] ?? "", address, folder, homes[i] ?? ""));
    const codes = await Promise.all(programs.map((program) => program.exit(60)));
    const errors = programs.map((program) => program.stderr()).join("");
    const refused = errors.includes("[IN_USE]") ? FAILED : IS_THERE;
    expect(codes.sort(), errors).toEqual([0, refused]);
    expect(errors).toMatch(/\[(IN_USE|FILE_EXISTS)\]/);
    if (errors.includes("[IN_USE]")) met += 1;
    const files = readdirSync(folder);
    expect(files.length, files.join(" ")).toBe(1);
    const file = readFileSync(join(folder, files[0] ?? ""));
    expect(CONTENTS.filter((content) => Buffer.compare(file, content) === 0).length, "a mixture").toBe(1);
  }
  return met;
}

describe("two downloads at once", () => {
  test("of two people, with a cache each, end as one content and a reason", async () => {
    expect(await race(["v.mp4", "v.mp4"], machine.place("people").path, ["ana", "rui"])).toBeGreaterThan(0);
  });
});

describeWith(["a folder that does not tell case apart"], "two downloads at once, spelled in two ways", () => {
  test("where the folder does not tell case apart end as one content and a reason", async () => {
    await using folding = await openFoldingFolder();
    expect(await race(["A.mp4", "a.mp4"], folding.path, ["eva", "eva"])).toBeGreaterThan(0);
  });
});
