// The page in a real Chromium, from the executables: what a person does there, and what other pages try.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { isFault } from "../../src/protocol/fault.ts";
import { createWebServer } from "../../src/web/web-server.ts";
import { type Browser, openBrowser, type Tab } from "../support/browser.ts";
import { sha256 } from "../support/folders.ts";
import { type Machine, openNative, type Sharing, search, share, startServer } from "../support/napster.ts";
import { type Program, startProgram } from "../support/program.ts";
import { run } from "../support/run.ts";
import { describeWith } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { createFakeShell, DOWNLOAD, STATE } from "../support/web.ts";

setDefaultTimeout(60_000);

// What names may hold of markup, addresses and escapes; the rest no disk of every system would take.
const ODD = "Aula 2 'onerror=alert(1)' &lt;img src=x&gt; %3Cb%3E #1.mp4";
const RATE = "3M";
/** H.264, a few megabytes: some seconds at RATE. */
const PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=10,noise=alls=12:allf=t+u", "-pix_fmt", "yuv420p"];

const text = (selector: string): string => `document.querySelector(${JSON.stringify(selector)}).textContent`;
const listed = (name: string): string =>
  `[...document.querySelectorAll("section:not([hidden]) li")].find((li) => li.querySelector("h3")?.textContent === ${JSON.stringify(name)})`;

describeWith(["chromium", "ffmpeg", "linux"], "the page", () => {
  let machine: Machine;
  let server: Program;
  let at: string;
  let source: Sharing;
  let browser: Browser;
  const videos = () => join(machine.temporary.path, "videos");

  beforeAll(async () => {
    machine = await openNative();
    ({ server, at } = await startServer(machine));
    const folder = machine.place("videos", { [ODD]: "x".repeat(3_000_000), "longa.mp4": "y".repeat(20_000_000) });
    await run([
      "ffmpeg",
      "-v",
      "error",
      ...PICTURE,
      "-c:v",
      "libx264",
      "-preset",
      "ultrafast",
      join(folder.path, "Aula 1.mp4"),
    ]);
    source = await share(machine, at, folder, "--max-upload-rate", RATE);
    browser = openBrowser();
  }, 180_000);
  afterAll(async () => {
    browser[Symbol.dispose]();
    await source.peer[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await machine[Symbol.asyncDispose]();
  });

  /** `napster-peer web` with a folder of its own, and the address that it says. */
  async function web(name: string, ...flags: string[]) {
    const folder = machine.place(name);
    const peer = machine.start("napster-peer", ["web", "--server", at, "--dir", folder.typed, "--no-open", ...flags]);
    await peer.complains("[PAGE]");
    const url = /http:\/\/127\.0\.0\.1:\d+\/#[0-9a-f]{32}/.exec(peer.stderr())?.[0] ?? "";
    await peer.ready();
    return { folder: folder.path, peer, url, origin: url.split("/#")[0] ?? "" };
  }

  async function find(tab: Tab, words: string): Promise<void> {
    await tab.press("Buscar");
    await tab.value("document.querySelector('input[type=search]').value = ''");
    await tab.type("input[type=search]", words);
    await tab.view.press("Enter");
  }

  test("finds, downloads, pauses, plays what is still arriving, and ends with the same bytes", async () => {
    const { folder, peer, url } = await web("whole");
    await using _peer = peer;
    using tab = await browser.tab();
    await tab.open(url);
    await tab.holds(`${text("#standing")}.startsWith("na rede")`);
    expect(await tab.value("location.hash")).toBe("");
    await find(tab, "aula");
    await tab.holds(`${listed("Aula 1.mp4")} !== undefined`);
    await tab.press("Baixar Aula 1.mp4");
    await tab.press("Baixando");
    await tab.press("Pausar: Aula 1.mp4");
    await tab.holds(`${listed("Aula 1.mp4")}.textContent.includes("pausado")`);
    await tab.press("Continuar: Aula 1.mp4");
    await tab.press("Assistir: Aula 1.mp4");
    await tab.holds("document.querySelector('video').currentTime > 0.2");
    expect(existsSync(join(folder, "Aula 1.mp4"))).toBeFalse();
    await tab.press("Fechar");
    await tab.holds(`${listed("Aula 1.mp4")}.textContent.includes("pronto")`);
    expect(await sha256(join(folder, "Aula 1.mp4"))).toBe(await sha256(join(videos(), "Aula 1.mp4")));
    expect(peer.stdout()).toContain(`Arquivo Aula 1.mp4 baixado com sucesso na pasta ${folder}\n`);
    await tab.press("Pasta");
    await tab.holds(`${listed("Aula 1.mp4")}?.textContent.includes("verificado por conteúdo")`);
  });

  test("shows an odd name as text, cancels, and changes a limit", async () => {
    const { folder, peer, url } = await web("odd");
    await using _peer = peer;
    using tab = await browser.tab({ width: 360, height: 740, dark: true });
    await tab.open(url);
    await find(tab, "onerror");
    await tab.holds(`${listed(ODD)} !== undefined`);
    await tab.press(`Baixar ${ODD}`);
    await until("the file", () => existsSync(join(folder, ODD)));
    await find(tab, "longa");
    await tab.press("Baixar longa.mp4");
    await tab.press("Baixando");
    await tab.press("Cancelar: longa.mp4");
    await tab.holds(`${listed("longa.mp4")} === undefined`);
    expect(readdirSync(folder).filter((name) => !name.startsWith("longa.mp4.part"))).toEqual([ODD]);
    await tab.press("Rede");
    await tab.value("document.querySelector('#limit-maxUploadRate').focus()");
    await tab.view.press("Home");
    await tab.holds(`${text("output[for=limit-maxUploadRate]")} === "100 kB/s"`);
    await tab.open("about:blank");
    await tab.open(url);
    await tab.press("Rede");
    await tab.holds(`${text("output[for=limit-maxUploadRate]")} === "100 kB/s"`);
    expect(await tab.value("document.documentElement.scrollWidth <= 360 && document.images.length === 0")).toBeTrue();
  });

  test("gives another page nothing, whatever it tries, and needs its key", async () => {
    const { folder, peer, url, origin } = await web("attacked");
    await using _peer = peer;
    const tries = `Promise.allSettled([
      fetch("${origin}/api/start", { method: "POST", mode: "no-cors", body: '{"name":"longa.mp4"}' }),
      fetch("${origin}/api/files", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" }),
      fetch("${origin}/"), import("${origin}/main.js"),
      new Promise((done) => { const frame = document.createElement("iframe"); frame.src = "${origin}/"; frame.onload = done; document.body.append(frame); }),
    ]).then((all) => all.map(({ status, value }) => status + (value?.type ?? "") + (value?.status ?? "")))`;
    const evil = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response("<!doctype html><body>", { headers: { "Content-Type": "text/html" } }),
    });
    using tab = await browser.tab();
    await tab.open(evil.url.href);
    const results = await tab.value<string[]>(tries);
    expect(results.slice(0, 4)).toEqual(["rejected", "rejected", "rejected", "rejected"]);
    await tab.open(`${origin}/#${"0".repeat(32)}`);
    await tab.holds(`${text("#standing")}.includes("execução anterior")`);
    await tab.open("about:blank");
    evil.stop(true);
    expect(readdirSync(folder)).toEqual([]);
    await tab.open(url);
    await tab.press("Baixando");
    await tab.holds(`${text("section:not([hidden]) .empty")}.startsWith("Nenhum download")`);
  });

  test("says that the program was closed, and of a page that has lost its key what to do", async () => {
    const { peer, url, origin } = await web("closed");
    using tab = await browser.tab();
    await tab.open(url);
    await tab.holds("document.querySelector('#standing').className === 'good'");
    peer.signal("SIGTERM");
    expect(await peer.exit()).toBe(0);
    await tab.holds(`${text("#standing")}.startsWith("O programa foi fechado")`);
    expect(origin).toStartWith("http://127.0.0.1:");
  });

  test("is there with few descriptors while other programs flood its port, and the files stay shared", async () => {
    const place = machine.place("few", { "few.mp4": "few" });
    const args = ["web", "--server", at, "--dir", place.typed, "--no-open"];
    const limited = ["bash", "-c", 'ulimit -n 60; exec "$0" "$@"', ...machine.command("napster-peer", ...args)];
    await using peer = startProgram({ command: limited, env: machine.env });
    await peer.ready();
    const url = /http:\S+#[0-9a-f]{32}/.exec(peer.stderr())?.[0] ?? "";
    using tab = await browser.tab();
    await tab.open(url);
    let closed = 0;
    const port = Number(new URL(url).port);
    const flood = Array.from({ length: 200 }, () =>
      connect(port, "127.0.0.1")
        .on("error", () => {})
        .on("close", () => closed++),
    );
    for (const socket of flood) socket.write("GET / HT");
    await until("most of the flood turned away", () => closed > 140);
    await find(tab, "few");
    await tab.holds(`${listed("few.mp4")} !== undefined`);
    await tab.holds("document.querySelector('#standing').className === 'good'");
    expect(await search(machine, at, "few.mp4")).toHaveLength(1);
    for (const socket of flood) socket.destroy();
    expect(peer.stderr()).not.toContain("erro:");
  });

  test("plays for a guest without the program, by the guests' address", async () => {
    const { peer } = await share(machine, at, { path: videos(), typed: videos() }, "--host", "127.0.0.1", "--guests");
    await using _peer = peer;
    const url = /http:\/\/[\d.:]+\/[0-9a-f]{32}\//.exec(peer.stderr())?.[0] ?? "";
    using tab = await browser.tab({ width: 360, height: 740, language: "en-US" });
    await tab.open(url);
    expect(await tab.value("document.querySelector('h1').textContent")).toBe("Shared files");
    expect(await tab.value<string>("document.body.textContent")).toContain(ODD);
    await tab.press("Watch: Aula 1.mp4");
    await tab.holds("document.querySelector('video')?.currentTime > 0.2");
  });

  test("of a state that no network would let in, shows markup as text, and moves nothing once it is drawn", async () => {
    const hostile = '<img src=x onerror="document.title=1">.mp4';
    const shell = createFakeShell(
      { ...STATE, downloads: [{ ...DOWNLOAD, name: hostile }] },
      { find: { contents: [{ name: hostile, size: 1, root: null, sources: 1 }], more: 0, isCut: false } },
    );
    const page = await createWebServer(shell, 0);
    if (isFault(page)) throw new Error(page.detail);
    using tab = await browser.tab({ language: "en-US" });
    await tab.open(page.url);
    await tab.press("Downloads");
    await tab.holds(`${listed(hostile)} !== undefined`);
    expect(await tab.value("document.title + document.images.length")).toBe("Napster0");
    shell.tell({ event: "limits", limits: STATE.limits });
    shell.tell({ event: "download", download: { ...DOWNLOAD, name: "new.mp4" } });
    await tab.holds(`${listed("new.mp4")} !== undefined`);
    await tab.holds("document.getAnimations().length === 0");
    page.close();
  });
});
