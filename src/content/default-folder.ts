// Folders that the system knows of: a person's home and videos, and the folder that JOIN offers.
// Invariant: what is offered is a folder of this program's own, so that Enter shares nothing that lay there before.
// Never: shares or lists anything.

import * as fs from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Fault } from "../protocol/fault.ts";
import { absolutePath, folderFault } from "./folder.ts";

export type System = {
  readonly platform: string;
  /** The person's home folder. */
  readonly home: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
};

const thisSystem = (): System => ({ platform: process.platform, home: homedir(), environment: process.env });

const OWN_FOLDER = "napster";

/** The folder that JOIN offers: `napster` in the person's videos folder, or in the home folder where there is none. */
export function defaultFolder(system = thisSystem()): string {
  const videos = videosOf(system);
  return join(videos !== undefined && isFolder(videos) ? videos : system.home, OWN_FOLDER);
}

function videosOf({ platform, home, environment }: System): string | undefined {
  if (platform === "win32") return join(home, "Videos");
  if (platform === "darwin") return join(home, "Movies");
  const settings = join(environment.XDG_CONFIG_HOME || join(home, ".config"), "user-dirs.dirs");
  try {
    // XDG user dirs: XDG_VIDEOS_DIR="$HOME/Vídeos", or an absolute path; the home folder itself means none.
    const [, path] = /^\s*XDG_VIDEOS_DIR="(.*)"\s*$/m.exec(fs.readFileSync(settings, "utf8")) ?? [];
    if (path !== undefined) {
      const videos = resolve(path.replace(/^\$HOME(?=\/|$)/, () => home));
      return videos === resolve(home) ? undefined : videos;
    }
  } catch {
    // No such settings.
  }
  return join(home, "Videos");
}

/** folderFault of a folder that a person chose; the one that was offered is made where it is not there yet. */
export function chosenFault(folder: string, offered: string): Fault | undefined {
  if (folder === offered) {
    try {
      fs.mkdirSync(folder);
    } catch {
      // It is there already, or the look below says why it cannot be.
    }
  }
  return folderFault(folder);
}

/** Whether to share `folder` is to share more than meant: a home folder, or the root of a drive. */
export function isWide(folder: string, system = thisSystem()): boolean {
  const path = realPath(absolutePath(folder, system.home));
  return dirname(path) === path || path === realPath(system.home);
}

function realPath(path: string): string {
  try {
    return fs.realpathSync(path);
  } catch {
    return path;
  }
}

function isFolder(path: string): boolean {
  return fs.statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
