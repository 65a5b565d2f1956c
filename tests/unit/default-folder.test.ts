// The folder that JOIN offers, and the folders that a person is warned of.
// Invariant: every home here is a folder of this test's own.

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import { chosenFault, defaultFolder, isWide } from "../../src/content/default-folder.ts";
import { absolutePath, listFolder } from "../../src/content/folder.ts";
import { closeAfterTest } from "../support/closing.ts";
import { temporaryFolder } from "../support/folders.ts";
import { codeOf, good } from "../support/good.ts";

function openHome(...folders: string[]) {
  const temporary = temporaryFolder("home");
  closeAfterTest(async () => temporary[Symbol.dispose]());
  const home = fs.realpathSync(temporary.path);
  for (const folder of folders) fs.mkdirSync(join(home, folder), { recursive: true });
  return { home, system: (platform: string, environment = {}) => ({ platform, home, environment }) };
}

describe("the offered folder", () => {
  test("the offered folder is napster in the videos folder of that system, or in the home folder where there is none", () => {
    const { home, system } = openHome("Videos", "Movies");
    expect(defaultFolder(system("linux"))).toBe(join(home, "Videos", "napster"));
    expect(defaultFolder(system("win32"))).toBe(join(home, "Videos", "napster"));
    expect(defaultFolder(system("darwin"))).toBe(join(home, "Movies", "napster"));
    const bare = openHome();
    for (const platform of ["linux", "win32", "darwin"])
      expect(defaultFolder(bare.system(platform))).toBe(join(bare.home, "napster"));
  });

  test("the offered folder follows the person's user-dirs.dirs, whatever the language, and a videos folder that is switched off", () => {
    const { home, system } = openHome("Vídeos", "Videos", ".config", "outra/config");
    const at = (text: string, folder = ".config") => fs.writeFileSync(join(home, folder, "user-dirs.dirs"), text);
    at('# settings\nXDG_MUSIC_DIR="$HOME/Música"\nXDG_VIDEOS_DIR="$HOME/Vídeos"\n');
    expect(defaultFolder(system("linux"))).toBe(join(home, "Vídeos", "napster"));
    at('XDG_VIDEOS_DIR="$HOME/"\n');
    expect(defaultFolder(system("linux"))).toBe(join(home, "napster"));
    at(`XDG_VIDEOS_DIR="${home}/Videos"\n`, "outra/config");
    const environment = { XDG_CONFIG_HOME: join(home, "outra/config") };
    expect(defaultFolder(system("linux", environment))).toBe(join(home, "Videos", "napster"));
  });

  test("the offered folder is made when it is chosen, and nothing that lay there before is in it; another folder is never made", async () => {
    const { home, system } = openHome("Videos");
    fs.writeFileSync(join(home, "Videos", "meu.mp4"), "m");
    const offered = defaultFolder(system("linux"));
    expect(codeOf(chosenFault(join(home, "outra"), offered))).toBe("FOLDER_MISSING");
    expect(fs.existsSync(offered)).toBe(false);
    for (let i = 0; i < 2; i++) expect(chosenFault(offered, offered)).toBeUndefined();
    expect(good(await listFolder(offered)).shares).toEqual([]);
  });
});

test("a home folder and a drive's root are wide, by whatever way they are named; a folder in them is not", () => {
  const { home, system } = openHome("Videos");
  fs.symlinkSync(home, join(home, "Videos", "atalho"));
  const here = system("linux");
  for (const folder of [home, `${home}/`, "~", "~/", `${home}/Videos/..`, join(home, "Videos", "atalho"), "/"])
    expect([folder, isWide(folder, here)]).toEqual([folder, true]);
  for (const folder of [join(home, "Videos"), "~/Videos", join(home, "nada")])
    expect([folder, isWide(folder, here)]).toEqual([folder, false]);
});

test("~ at the front of a path is the home folder, and nowhere else", () => {
  expect(absolutePath("~/x y", "/h")).toBe("/h/x y");
  expect(absolutePath("~", "/h")).toBe("/h");
  for (const path of ["./~", "~x", "a/~/b"]) expect(absolutePath(path, "/h")).toBe(join(process.cwd(), path));
});
