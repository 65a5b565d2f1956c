// The page's operations over a peer: each is one call of it, and what it tells is what pages hear.

import { describe, expect, spyOn, test } from "bun:test";
import type { Progress } from "../../src/download/progress.ts";
import type { DownloadsEvent, DownloadView, DownloadWish } from "../../src/peer/downloads.ts";
import { fault, isFault } from "../../src/protocol/fault.ts";
import type { Change, Listing } from "../../src/web/contract.ts";
import { createPeerShell, type ShellPeer } from "../../src/web/peer-shell.ts";

const AT = { ip: "127.0.0.1", port: 8776 };

function shellOf(views: DownloadView[] = [], names = ["b.mp4", "a.mp4", "A 2.mkv"]) {
  const calls: unknown[][] = [];
  let tell = (_: DownloadsEvent): void => {};
  const note =
    (name: string, answer: unknown) =>
    (...values: unknown[]) => {
      calls.push([name, ...values]);
      return answer;
    };
  const downloads = {
    list: () => views,
    get: (name: string) => views.find((view) => view.name === name),
    pause: note("pause", true),
    resume: note("resume", true),
    cancel: note("cancel", false),
    subscribe(listener: typeof tell) {
      tell = listener;
      return () => {};
    },
    max: 3,
  };
  const peer = {
    downloads,
    locate: note("locate", Promise.resolve([AT])),
    find: note(
      "find",
      Promise.resolve({ found: [{ name: "a.mp4", size: 1, root: undefined, sources: 2 }], more: 1, isCut: false }),
    ),
    play: note("play", Promise.resolve(fault("FILE_MISSING", "ours"))),
    files: () => names.map((name) => ({ name, size: 1, root: undefined })),
    setLimits: note("setLimits", undefined),
  };
  const shell = createPeerShell({
    peer: peer as unknown as ShellPeer,
    server: { ip: "127.0.0.1", port: 1099 },
    version: "1",
    limits: { maxUploads: 4, maxDownloads: 3, maxUploadRate: 7 },
    join: async () => AT,
    verify: async () => undefined,
    start: (wish: DownloadWish, folder: string) => calls.push(["start", wish, folder]),
  });
  const heard: Change[] = [];
  shell.subscribe((change) => heard.push(change));
  return { shell, calls, heard, downloads, tell: (event: DownloadsEvent) => tell(event) };
}

const joined = { type: "joined", address: AT, folder: "videos", reached: true } as const;

describe("the page's operations", () => {
  test("ask the network and the folder, and answer as the CLI's JSON does", async () => {
    const { shell, calls } = shellOf();
    expect(await shell.search({ name: "a.mp4" })).toEqual({ peers: ["127.0.0.1:8776"] });
    expect(await shell.find({ words: "a", limit: 9 })).toEqual({
      contents: [{ name: "a.mp4", size: 1, root: null, sources: 2 }],
      more: 1,
      isCut: false,
    });
    expect(calls).toEqual([
      ["locate", "a.mp4"],
      ["find", "a", 9],
    ]);
    const some = await shell.files({ offset: 1, count: 1, filter: "A" });
    expect(some).toEqual({ files: [{ name: "a.mp4", size: 1, root: null }], total: 2 });
    expect(await shell.play({ name: "a.mp4" })).toMatchObject({ fault: "FILE_MISSING" });
  });

  test("the folder's names are sorted again only when there are others", async () => {
    const names = ["c", "a", "b"];
    const { shell } = shellOf([], names);
    const listed = async () => (await shell.files({ count: 9 })) as Listing;
    const told = async () => (await listed()).files.map(({ name }) => name).join("");
    expect(await told()).toBe("abc");
    const compare = spyOn(String.prototype, "localeCompare");
    try {
      expect(await told()).toBe("abc");
      expect(compare).not.toHaveBeenCalled();
      names.splice(1, 1, "e", "d");
      expect(await told()).toBe("bcde");
      names[0] = "f"; // as many as before
      expect(await told()).toBe("bdef");
    } finally {
      compare.mockRestore();
    }
  });

  test("to play what has no sources yet is to be asked again, not a file that is gone", async () => {
    const { shell } = shellOf([{ name: "a.mp4", state: "running" }]);
    expect(await shell.play({ name: "a.mp4" })).toMatchObject({ fault: "NOT_READY" });
  });

  test("start a download once there is a folder; one that is there goes on instead of beginning again", async () => {
    const { shell, calls } = shellOf([{ name: "old.mp4", state: "paused" }]);
    expect(await shell.start({ name: "a.mp4" })).toMatchObject({ fault: "NOT_JOINED" });
    shell.hear(joined);
    await shell.start({ name: "a.mp4", from: "127.0.0.1:8777" });
    await shell.start({ name: "old.mp4" });
    expect(isFault(await shell.start({ name: "a.mp4", from: "nowhere" }))).toBeTrue();
    expect(calls).toEqual([
      ["start", { name: "a.mp4", from: { ip: "127.0.0.1", port: 8777 }, keepsTrying: true }, "videos"],
      ["resume", "old.mp4"],
    ]);
    expect(await shell.cancel({ name: "gone.mp4" })).toMatchObject({ fault: "FILE_MISSING" });
  });

  test("change one limit and leave the others; what runs goes on with another rate", async () => {
    const { shell, calls, heard, downloads } = shellOf([
      { name: "a.mp4", state: "running" },
      { name: "b.mp4", state: "queued" },
    ]);
    expect(await shell.limits({ maxDownloads: 5 })).toEqual({ maxUploads: 4, maxDownloads: 5, maxUploadRate: 7 });
    expect(downloads.max).toBe(5);
    expect(calls).toEqual([["setLimits", { maxUploads: 4, maxUploadRate: 7, maxDownloadRate: undefined }]]);
    await shell.limits({ maxDownloadRate: 9, maxUploadRate: null });
    expect(calls.slice(1)).toEqual([["setLimits", { maxUploads: 4, maxUploadRate: undefined, maxDownloadRate: 9 }]]);
    expect(heard.map(({ event }) => event)).toEqual(["limits", "limits"]);
  });
});

describe("pages hear", () => {
  test("how the peer stands", () => {
    const { shell, heard } = shellOf();
    shell.hear(joined);
    shell.hear({ type: "server-lost" });
    shell.hear({ type: "server-back", address: { ...AT, port: 1 } });
    shell.hear({ type: "reach", reached: false, address: AT });
    shell.hear({ type: "uploading", uploads: [{ id: "x", name: "a", to: AT, bytes: 1, size: 2 }] });
    expect(heard.at(-1)).toEqual({
      event: "uploads",
      uploads: [{ id: "x", name: "a", to: "127.0.0.1:8776", bytes: 1, size: 2 }],
    });
    expect(shell.state().standing).toEqual({
      server: "127.0.0.1:1099",
      address: "127.0.0.1:1",
      folder: "videos",
      away: false,
      reached: false,
    });
  });

  test("of a download its sources and pieces, why it waits, and a flood of progress now and then", () => {
    const { heard, tell } = shellOf();
    const detail = () => ({ brought: [{ address: AT, bytes: 5 }], pieces: Uint8Array.of(0xa0), pieceCount: 3 });
    const progress: Progress = { bytes: 5, size: 9, rate: 2.4, sources: 1, waiting: { for: "data", from: AT }, detail };
    const running: DownloadView = { name: "a.mp4", state: "running", progress };
    tell({ type: "changed", download: running });
    for (let i = 0; i < 100; i++) tell({ type: "progress", download: running, progress });
    tell({
      type: "changed",
      download: { name: "a.mp4", state: "waiting", progress, fault: fault("NO_SOURCE", "theirs") },
    });
    tell({ type: "removed", name: "a.mp4" });
    expect(heard.length).toBe(3);
    expect(heard[0]).toMatchObject({
      event: "download",
      download: {
        rate: 2,
        sources: [{ address: "127.0.0.1:8776", bytes: 5 }],
        waiting: { for: "data", from: "127.0.0.1:8776" },
        pieces: "oA==",
        pieceCount: 3,
      },
    });
    expect(heard[1]).toMatchObject({
      download: { state: "waiting", rate: 0, sources: [], problem: { code: "NO_SOURCE" } },
    });
    expect(heard[2]).toEqual({ event: "download-removed", name: "a.mp4" });
  });
});
