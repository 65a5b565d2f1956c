// Takes the pictures of the page for README: `bun docs/tools/pictures.ts`. Builds the executables, runs a server, two
// sharers and a peer with its page, and photographs that page in a headless Chromium while it downloads.
// Needs Linux, chromium and ffmpeg.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { openBrowser, type Tab } from "../../tests/support/browser.ts";
import { openNative, share, startServer } from "../../tests/support/napster.ts";
import { run } from "../../tests/support/run.ts";

const DOCS = join(import.meta.dir, "..");
const NAMES = ["Aula 1 - Sockets.mp4", "Aula 2 - Threads.mp4", "Aula 3 - Peer to peer.mp4", "Laboratório.mp4"];
/** Slow enough that a download is still under way when its picture is taken. */
const RATE = "400K";
const PICTURE = "testsrc2=s=1280x720:r=25:d=20,noise=alls=14:allf=t+u";

async function video(path: string, seed: number): Promise<void> {
  const hue = `hue=h=${seed * 70}`;
  const source = [
    "-f",
    "lavfi",
    "-i",
    `${PICTURE},${hue}`,
    "-pix_fmt",
    "yuv420p",
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
  ];
  await run(["ffmpeg", "-v", "error", "-y", ...source, path]);
}

/** Until the first download has some of its pieces, from both sharers. */
async function search(tab: Tab): Promise<void> {
  await tab.type("input[type=search]", "aula");
  await tab.view.press("Enter");
  await tab.holds("document.querySelectorAll('section:not([hidden]) li').length === 3");
}

await using machine = await openNative();
const { server, at } = await startServer(machine);
await using _server = server;
const videos = join(machine.temporary.path, "videos");
mkdirSync(videos);
for (const [index, name] of NAMES.entries()) await video(join(videos, name), index);
const folder = { path: videos, typed: videos };
const sharers = [
  await share(machine, at, folder, "--max-upload-rate", RATE),
  await share(machine, at, folder, "--max-upload-rate", RATE),
];
const own = machine.place("Vídeos");
await using peer = machine.start("napster-peer", ["web", "--server", at, "--dir", own.typed, "--no-open"]);
await peer.ready();
const url = /http:\S+#[0-9a-f]+/.exec(peer.stderr())?.[0] ?? "";
using browser = openBrowser();
{
  using tab = await browser.tab({ width: 900, height: 640 });
  await tab.open(url);
  await search(tab);
  for (const name of NAMES.slice(0, 2)) await tab.press(`Baixar ${name}`);
  await tab.press("Baixando");
  await tab.holds("document.querySelectorAll('.sources li').length >= 3");
  await tab.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
  await tab.holds("Number(document.querySelector('[role=progressbar]').ariaValueNow) > 4");
  await tab.value("document.activeElement.blur()");
  await tab.picture(join(DOCS, "page.png"));
}
{
  using tab = await browser.tab({ width: 360, height: 560, dark: true });
  await tab.open(url);
  await search(tab);
  await tab.value("document.activeElement.blur()");
  await tab.picture(join(DOCS, "page-phone.png"));
}
for (const { peer: sharer } of sharers) await sharer[Symbol.asyncDispose]();
