// The person's player: what opens it on each system, and the playlist that it is opened with.

import { afterEach, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { openerOf, openFileWithSystem } from "../../src/console/player.ts";
import { removePlaylists, writePlaylist } from "../../src/content/playlist.ts";
import { good } from "../support/good.ts";

afterEach(removePlaylists);

test("a player is opened by what the system has for files, the path one argument of it", () => {
  const path = 'C:\\Users\\A & B\\"x" %PATH%.m3u8';
  expect(openerOf(path, { platform: "win32", environment: {} })).toEqual([
    "rundll32.exe",
    "url.dll,FileProtocolHandler",
    path,
  ]);
  expect(openerOf(path, { platform: "darwin", environment: {} })).toEqual(["open", path]);
  expect(openerOf(path, { platform: "linux", environment: { DISPLAY: ":0" } })).toEqual(["xdg-open", path]);
  expect(openerOf(path, { platform: "linux", environment: { WAYLAND_DISPLAY: "wayland-0" } })).toEqual([
    "xdg-open",
    path,
  ]);
});

test("no player is opened on a machine without a desktop, or without the program that opens files", async () => {
  expect(await openFileWithSystem("x.m3u8", { platform: "linux", environment: {} })).toBe(false);
  expect(
    await openFileWithSystem("x.m3u8", {
      platform: process.platform === "win32" ? "linux" : "win32",
      environment: { DISPLAY: ":0" },
    }),
  ).toBe(false);
});

test("a playlist names one address, for this person alone, and goes with the program", async () => {
  const path = good(await writePlaylist("Aula #1.mp4", "http://127.0.0.1:1/x/Aula%20%231.mp4"));
  expect(readFileSync(path, "utf8")).toBe("#EXTM3U\n#EXTINF:-1,Aula #1.mp4\nhttp://127.0.0.1:1/x/Aula%20%231.mp4\n");
  expect(statSync(path).mode & 0o077).toBe(process.platform === "win32" ? statSync(path).mode & 0o077 : 0);
  expect(good(await writePlaylist("Aula #1.mp4", "http://127.0.0.1:1/x"))).not.toBe(path);
  removePlaylists();
  expect(existsSync(dirname(path))).toBe(false);
});
