// A folder that lives, from the executables: what is copied into it, changed in it and deleted from it.

import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, closeSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../support/folders.ts";
import { openConsole, openNative, type Place, search, share, startServer } from "../support/napster.ts";
import type { Program } from "../support/program.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const machine = await openNative();
const { server, at } = await startServer(machine);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await machine[Symbol.asyncDispose]();
});

type Event = { readonly event: string; readonly name?: string; readonly root?: string };
const eventsOf = (peer: Program): Event[] =>
  peer
    .stdout()
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));

async function get(name: string, from: string, to: Place): Promise<string> {
  await using peer = machine.start("napster-peer", [
    ...["get", name, "--server", at, "--dir", to.typed, "--from", from, "--no-share"],
  ]);
  expect(await peer.exit(), peer.stderr()).toBe(0);
  return readFileSync(join(to.path, name), "utf8");
}

test("a file that is copied into the folder is found and downloaded without another JOIN, and not before it is whole", async () => {
  const place = machine.place("lives", { "a.mp4": "a" });
  const early = openSync(join(place.path, "early.mp4"), "w");
  writeFileSync(early, "half");
  const { peer, address } = await share(machine, at, place, "--json");
  await using _peer = peer;
  const told = (event: string, name: string) => eventsOf(peer).some((one) => one.event === event && one.name === name);
  const isFound = async (name: string) => (await search(machine, at, name)).length > 0;

  // Linux tells who writes; elsewhere a copy that stands still counts as whole.
  if (process.platform === "linux") expect(await isFound("early.mp4")).toBe(false);
  closeSync(early);
  // A copy that has come to a stand in the middle, and one that is over.
  const copy = openSync(join(place.path, "copy.mp4"), "w");
  writeFileSync(copy, "the first half ");
  if (process.platform === "linux") writeFileSync(join(place.path, "whole.mp4"), "whole");
  if (process.platform === "linux") await until("the whole one", () => told("shared", "whole.mp4"));
  expect(await isFound("copy.mp4")).toBe(false);
  writeFileSync(copy, "and the second one");
  closeSync(copy);
  await until("the copy", () => told("shared", "copy.mp4"));
  await until("the server to know", () => isFound("copy.mp4"));
  await until("what was copied while the peer joined", () => isFound("early.mp4"));
  expect(await get("copy.mp4", address, machine.place("lives-here"))).toBe("the first half and the second one");
  expect(server.stdout().split(`Peer ${address} adicionado`).length).toBe(2);
});

test("a file that changes is announced anew with another root, one that is deleted is not found, .part and dot files never are", async () => {
  const place = machine.place("changes", { "a.mp4": "one", "b.mp4": "b" });
  const { peer, address } = await share(machine, at, place, "--json");
  await using _peer = peer;
  const rootsOf = (name: string) => eventsOf(peer).flatMap((one) => (one.name === name && one.root ? [one.root] : []));
  await until("both roots", () => rootsOf("a.mp4").length === 1 && rootsOf("b.mp4").length === 1);

  appendFileSync(join(place.path, "a.mp4"), " and more");
  rmSync(join(place.path, "b.mp4"));
  for (const name of [".c.mp4", "c.mp4.part", "c.mp4.part.lock"]) writeFileSync(join(place.path, name), "c");
  await until("the new root", () => rootsOf("a.mp4").length === 2);
  expect(new Set(rootsOf("a.mp4")).size).toBe(2);
  await until("b.mp4 to be gone", async () => (await search(machine, at, "b.mp4")).length === 0);
  expect(await get("a.mp4", address, machine.place("changes-here"))).toBe("one and more");
  const names = new Set(eventsOf(peer).flatMap(({ event, name }) => (event === "shared" ? [name] : [])));
  expect([...names]).toEqual([]);
  expect(peer.stderr()).not.toContain("erro:");
});

test("in the menu the folder lives too, and stdout holds the dictated lines alone; a folder that is moved away comes back", async () => {
  const place = machine.place("menu", { "a.mp4": "a" });
  await using program = openConsole(machine, at).program;
  await program.type("JOIN", "127.0.0.1", String(freePorts(1)[0]), place.typed);
  await program.shows("com arquivos a.mp4\n");
  renameSync(place.path, `${place.path}-away`);
  await until("a.mp4 to be gone", async () => (await search(machine, at, "a.mp4")).length === 0);
  writeFileSync(join(`${place.path}-away`, "menu.mp4"), "new");
  renameSync(`${place.path}-away`, place.path);
  await program.complains("[RETURNED]");
  await program.complains("[SHARED]");
  await until("the new one", async () => (await search(machine, at, "menu.mp4")).length === 1);
  expect(program.stdout()).toMatch(/^Sou peer [\d.:]+ com arquivos a\.mp4\n$/);
});
