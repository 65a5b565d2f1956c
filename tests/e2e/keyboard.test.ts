// The page by keyboard alone: from the search to a file in the folder, with the focus in sight all the way.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { isFault } from "../../src/protocol/fault.ts";
import type { Download, State } from "../../src/web/contract.ts";
import { createWebServer } from "../../src/web/web-server.ts";
import { type Browser, openBrowser, type Tab } from "../support/browser.ts";
import { type Machine, openNative, type Sharing, share, startServer } from "../support/napster.ts";
import type { Program } from "../support/program.ts";
import { describeWith } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { createFakeShell, DOWNLOAD, STATE } from "../support/web.ts";

setDefaultTimeout(60_000);

const TABS_MAX = 60;
const PHONE = { width: 360, height: 740 };

/** The focused element: its name, and why it is not in sight; the empty text when it is. */
const FOCUSED = `(() => {
  const element = document.activeElement;
  const name = (element.getAttribute("aria-label") ?? (element.labels?.[0] ?? element).textContent).trim();
  if (element === document.body) return { name: "", flaw: "nothing has the focus" };
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  const isIn = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  const isMarked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return { name, flaw: !isIn ? "out of sight" : !isMarked ? "without a mark" : "" };
})()`;
type Focused = { readonly name: string; readonly flaw: string };

/** The browser may still scroll to it, or draw its mark. */
const inSight = (tab: Tab) =>
  until(
    "the focus in sight",
    async () => (await tab.value<Focused>(FOCUSED)).flaw === "",
    5,
    () => "see the page",
  ).catch(async () => expect(await tab.value<Focused>(FOCUSED)).toMatchObject({ flaw: "" }));

/** Presses Tab, or Shift and Tab, until the element of that name has the focus. */
async function tabTo(tab: Tab, name: string, back = false): Promise<void> {
  const seen: string[] = [];
  for (let presses = 0; presses < TABS_MAX; presses++) {
    await tab.view.press("Tab", back ? { modifiers: ["Shift"] } : {});
    const focused = await tab.value<Focused>(FOCUSED);
    seen.push(focused.name);
    if (focused.name !== "") await inSight(tab);
    if (focused.name.startsWith(name)) return;
  }
  throw new Error(`no Tab leads to ${name}: ${seen.join(" | ")}`);
}

/** The focus comes to rest on an element whose name begins so. */
const focusIs = (tab: Tab, name: string) => {
  let focused: Focused | undefined;
  return until(
    `the focus on ${name}`,
    async () => {
      focused = await tab.value<Focused>(FOCUSED);
      return focused.name.startsWith(name) && focused.flaw === "";
    },
    20,
    () => JSON.stringify(focused),
  );
};

/** Elements that a person can reach and that a screen reader has no name for, or whose text has too little contrast. */
const FLAWS = `(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if ((colour[3] ?? 1) > 0) return colour;
    }
    return [255, 255, 255];
  };
  const flaws = [];
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility() || element.closest("[aria-disabled]")) continue;
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== "");
    if (!hasText) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) flaws.push(element.textContent.slice(0, 40) + " " + contrast.toFixed(2));
  }
  if (document.documentElement.scrollWidth > innerWidth) flaws.push("scrolls sideways: " + document.documentElement.scrollWidth);
  return flaws;
})()`;

type Node = { readonly ignored: boolean; readonly role?: { value: string }; readonly name?: { value: string } };
const NAMED = new Set([
  "button",
  "textbox",
  "searchbox",
  "radio",
  "slider",
  "progressbar",
  "link",
  "list",
  "spinbutton",
]);

/** Roles of the accessibility tree that want a name and have none. */
async function nameless(tab: Tab): Promise<string[]> {
  const { nodes } = (await tab.view.cdp("Accessibility.getFullAXTree", {})) as { nodes: Node[] };
  const wanted = nodes.filter(({ ignored, role }) => !ignored && NAMED.has(role?.value ?? ""));
  expect(wanted.length).toBeGreaterThan(5);
  return wanted.filter(({ name }) => !name?.value).map(({ role }) => role?.value ?? "");
}

describeWith(["chromium", "linux"], "the page by keyboard", () => {
  let machine: Machine;
  let server: Program;
  let at: string;
  let source: Sharing;
  let browser: Browser;

  beforeAll(async () => {
    machine = await openNative();
    ({ server, at } = await startServer(machine));
    const folder = machine.place("videos", { "longa.mp4": "y".repeat(40_000_000), "curta.mp4": "z".repeat(1000) });
    source = await share(machine, at, folder, "--max-upload-rate", "3M");
    browser = openBrowser();
  }, 180_000);
  afterAll(async () => {
    browser[Symbol.dispose]();
    await source.peer[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await machine[Symbol.asyncDispose]();
  });

  test("finds, downloads, pauses, slows down, watches and cancels, and verifies the folder", async () => {
    const folder = machine.place("keys");
    const args = ["web", "--server", at, "--dir", folder.typed, "--no-open"];
    await using peer = machine.start("napster-peer", args);
    await peer.ready();
    using tab = await browser.tab(PHONE);
    await tab.open(/http:\S+#[0-9a-f]{32}/.exec(peer.stderr())?.[0] ?? "");
    await tab.holds("document.querySelector('#standing').className === 'good'");
    const enter = () => tab.view.press("Enter");

    await tabTo(tab, "O que você procura?");
    await tab.view.type("longa");
    await enter();
    await tab.holds("document.querySelectorAll('section:not([hidden]) li').length === 1");
    await tabTo(tab, "Baixar longa.mp4");
    await enter();
    await tab.holds("document.activeElement.getAttribute('aria-disabled') === 'true'");
    await tabTo(tab, "Baixando", true);
    await enter();
    await focusIs(tab, "Baixando");
    await tabTo(tab, "Pausar: longa.mp4");
    await tab.view.press("Space");
    await tab.holds("document.querySelector('section:not([hidden]) li').textContent.includes('pausado')");
    await until("a button in reach", async () => (await tab.value<Focused>(FOCUSED)).flaw === "");
    await tabTo(tab, "Continuar: longa.mp4", (await tab.value<Focused>(FOCUSED)).name.startsWith("Cancelar"));
    await enter();
    await until("the download on", async () =>
      tab.value("!document.querySelector('section:not([hidden]) li').textContent.includes('pausado')"),
    );

    await tabTo(tab, "Rede", true);
    await enter();
    await tabTo(tab, "Recepção");
    await tab.view.press("Home");
    await tab.holds("document.querySelector('output[for=limit-maxDownloadRate]').textContent === '100 kB/s'");
    await tab.view.press("ArrowRight");
    await tab.holds("document.querySelector('output[for=limit-maxDownloadRate]').textContent === '200 kB/s'");

    await tabTo(tab, "Baixando", true);
    await enter();
    await tabTo(tab, "Assistir: longa.mp4");
    await enter();
    await tab.holds("document.querySelector('dialog').open");
    await tab.view.press("Escape");
    await tab.holds("!document.querySelector('dialog').open");
    await focusIs(tab, "Assistir: longa.mp4");
    await tabTo(tab, "Cancelar: longa.mp4");
    await enter();
    await tab.holds("document.querySelectorAll('section:not([hidden]) li').length === 0");
    await focusIs(tab, "Baixando");
    expect(existsSync(join(folder.path, "longa.mp4"))).toBeFalse();

    await tabTo(tab, "Buscar", true);
    await enter();
    await tabTo(tab, "O que você procura?");
    await tab.view.press("a", { modifiers: ["Control"] });
    await tab.view.type("curta");
    await enter();
    await tabTo(tab, "Baixar curta.mp4");
    await enter();
    await until("the file", () => existsSync(join(folder.path, "curta.mp4")));
    await tabTo(tab, "Pasta", true);
    await enter();
    await tab.holds("document.querySelectorAll('section:not([hidden]) li').length === 1");
    await tabTo(tab, "Conferir a pasta");
    await enter();
    await tab.holds("document.querySelector('section:not([hidden]) li').textContent.includes('sem mudança')");
    await focusIs(tab, "Conferir a pasta");
  });

  const odd = [
    "Aula 🎬🎓 👩‍🏫.mp4",
    "درس طويل جدا عن الشبكات والبروتوكولات.mp4",
    `${"Comprida".repeat(24)}.mp4`,
    "a.zip",
  ];
  const many: State = {
    ...STATE,
    downloads: [
      ...odd.map((name): Download => ({ ...DOWNLOAD, name })),
      ...Array.from(
        { length: 296 },
        (_, index): Download => ({
          ...DOWNLOAD,
          name: `Aula ${index}.mp4`,
          state: (["running", "queued", "paused", "failed", "done"] as const)[index % 5] ?? "done",
        }),
      ),
    ],
  };

  test("keeps the focus in a list of 300 that is drawn anew, of which entries go, and of what is shown meanwhile", async () => {
    const shell = createFakeShell(many);
    const page = await createWebServer(shell, 0);
    if (isFault(page)) throw new Error(page.detail);
    using tab = await browser.tab(PHONE);
    await tab.open(page.url);
    await tab.press("Baixando");
    await tab.holds("document.querySelectorAll('section:not([hidden]) ul.cards > li').length === 300");
    await tabTo(tab, `Cancelar: ${odd[1]}`);
    for (const { name } of many.downloads.slice(0, 50))
      shell.tell({ event: "download", download: { ...DOWNLOAD, name, bytes: 1_000_000_000 } });
    await tab.holds("document.querySelector('[role=progressbar]').ariaValueNow === '50'");
    await focusIs(tab, `Cancelar: ${odd[1]}`);
    shell.tell({ event: "download-removed", name: odd[0] ?? "" });
    await tab.holds("document.querySelectorAll('section:not([hidden]) ul.cards > li').length === 299");
    await focusIs(tab, `Cancelar: ${odd[1]}`);
    shell.tell({ event: "download-removed", name: odd[1] ?? "" });
    await focusIs(tab, `Assistir: ${odd[2]}`);
    shell.tell({ event: "state", ...many, downloads: [] });
    await focusIs(tab, "Baixando");
    page.close();
  });

  for (const dark of [false, true])
    test(`has names, contrast and no sideways scroll in every part, ${dark ? "dark" : "light"}, 360 pixels wide`, async () => {
      const file = { name: odd[2] ?? "", size: 5, root: null };
      const found = { contents: odd.map((name) => ({ name, size: 1, root: null, sources: 2 })), more: 1, isCut: false };
      const shell = createFakeShell(
        {
          ...many,
          downloads: many.downloads.slice(0, 9),
          standing: { ...STATE.standing, reached: false, guests: "http://10.0.0.1:4/x/" },
        },
        { files: { files: [file, { ...file, name: odd[1] }], total: 2 }, find: found },
      );
      const page = await createWebServer(shell, 0);
      if (isFault(page)) throw new Error(page.detail);
      using tab = await browser.tab({ ...PHONE, dark });
      await tab.open(page.url);
      await tab.type("input[type=search]", "aula");
      await tab.view.press("Enter");
      await tab.holds("document.querySelectorAll('section:not([hidden]) li').length === 4");
      shell.tell({ event: "error", code: "DISK_FULL", message: "o disco está cheio", hint: "apague algo" } as never);
      await tab.holds("document.querySelector('#notices .error') !== null");
      for (const part of ["Buscar", "Baixando", "Enviando", "Pasta", "Rede"]) {
        await tab.press(part);
        await tab.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
        expect(await tab.value<string[]>(FLAWS), part).toEqual([]);
        expect(await nameless(tab), part).toEqual([]);
      }
      page.close();
    });
});
