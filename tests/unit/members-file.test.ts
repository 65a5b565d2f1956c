// The list of those who may join a closed server, as an operator writes it.
// Invariant: a list with a mistake lets in those of the list before it, never all.
// Never: waits for time to pass.

import { expect, test } from "bun:test";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LOOK_MS, openMembers } from "../../src/content/members-file.ts";
import { idOfHash, showId } from "../../src/protocol/id.ts";
import { closeAfterTest } from "../support/closing.ts";
import { temporaryFolder } from "../support/folders.ts";
import { codeOf, good } from "../support/good.ts";

const [ONE, TWO] = [1, 2].map((byte) => idOfHash(new Uint8Array(32).fill(byte))) as [string, string];

function place(text: string): string {
  const folder = temporaryFolder("members");
  closeAfterTest(() => folder[Symbol.dispose]());
  const path = join(folder.path, "alunos.txt");
  writeFileSync(path, text);
  return path;
}

test("a list of members has one ID a line, in groups or not, with notes and blank lines", () => {
  const members = good(openMembers(place(`# turma\r\n\r\n${showId(ONE)}  # Ana\r\n  ${TWO.toLowerCase()}`)));
  expect([members.has(ONE), members.has(TWO), members.has(undefined), members.has("")]).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test("a list of members with a line that is no ID is refused with its number, and one that is missing", () => {
  expect(openMembers(place(`${ONE}\n${ONE}x\n`))).toMatchObject({ fault: "USAGE", detail: "2" });
  expect(codeOf(openMembers(join(place(""), "..", "none")))).toBe("FILE_MISSING");
  expect(codeOf(openMembers(join(place(""), "..")))).toBe("DISK_ERROR");
});

test("a list of members that changes is read again; while it is broken or gone the one before holds", () => {
  let now = 0;
  const path = place(ONE);
  const members = good(openMembers(path, () => now));
  writeFileSync(path, `${TWO}\n`);
  expect([members.has(ONE), members.has(TWO)]).toEqual([true, false]);
  now += LOOK_MS;
  expect([members.has(ONE), members.has(TWO)]).toEqual([false, true]);
  writeFileSync(path, "broken\n");
  now += LOOK_MS;
  expect([members.has(ONE), members.has(TWO)]).toEqual([false, true]);
  rmSync(path);
  now += LOOK_MS;
  expect([members.has(ONE), members.has(TWO)]).toEqual([false, true]);
});

test("an ID that is added is a member at once, and has a line of its own behind what the operator wrote", () => {
  const path = place(`${ONE} # Ana`);
  const members = good(openMembers(path));
  expect(members.add(TWO, "convite")).toBeUndefined();
  expect([members.has(ONE), members.has(TWO)]).toEqual([true, true]);
  expect(readFileSync(path, "utf8")).toBe(`${ONE} # Ana\n${showId(TWO)}  # convite\n`);
  rmSync(path);
  expect(codeOf(members.add(ONE, "convite"))).toBe("FILE_MISSING");
});
