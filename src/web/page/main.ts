// The page: navigation, the state, and the events that change it.
// Invariant: nothing runs while nothing happens: no timer, no animation, no question.
// Never: keeps anything but the token beyond its window.

import type { Problem, State } from "../contract.ts";
import { type App, createAsk, notify, type View } from "./app.ts";
import { make, setText } from "./elements.ts";
import { keepFocus } from "./focus.ts";
import { createPlayer } from "./player-dialog.ts";
import { createTalk, type Heard, type Line, listen, takeToken } from "./talk.ts";
import { isPortuguese, sayProblem, texts } from "./texts.ts";
import { createDownloadsView } from "./view-downloads.ts";
import { createFolderView } from "./view-folder.ts";
import { createNetworkView } from "./view-network.ts";
import { createSearchView } from "./view-search.ts";
import { createUploadsView } from "./view-uploads.ts";

const find = (selector: string): HTMLElement => document.querySelector(selector) as HTMLElement;

const VIEWS = ["search", "downloads", "uploads", "folder", "network"] as const;
type ViewName = (typeof VIEWS)[number];

let state: State = {
  version: "",
  standing: { server: "", away: false },
  downloads: [],
  uploads: [],
  limits: { maxUploads: 0, maxDownloads: 1 },
};
let line: Line = "closed";

/** The state after an event; the same object when it says nothing of it. */
function changed(before: State, heard: Heard): State {
  switch (heard.event) {
    case "state":
      return heard;
    case "standing":
      return { ...before, standing: heard.standing };
    case "uploads":
      return { ...before, uploads: heard.uploads };
    case "limits":
      return { ...before, limits: heard.limits };
    case "download": {
      const { download } = heard;
      const isKnown = before.downloads.some(({ name }) => name === download.name);
      const downloads = isKnown
        ? before.downloads.map((one) => (one.name === download.name ? download : one))
        : [...before.downloads, download];
      return { ...before, downloads };
    }
    case "download-removed":
      return { ...before, downloads: before.downloads.filter(({ name }) => name !== heard.name) };
    case "cli":
      return before;
  }
}

function sayStanding(): readonly [text: string, kind: "good" | "bad" | ""] {
  const { address, away } = state.standing;
  if (line === "refused") return [texts.oldPage, "bad"];
  if (line === "closed") return [texts.closed, "bad"];
  if (address === undefined) return [texts.outside, "bad"];
  return away ? [texts.away, "bad"] : [`${texts.connected} · ${address}`, "good"];
}

function run(token: string): void {
  const talk = createTalk(token);
  const player = createPlayer();
  const ask = createAsk(talk);
  const app: App = {
    state: () => state,
    ask,
    notice: notify,
    play: (name) =>
      void player.open(
        name,
        ask("play", { name }).then((found) => found?.url),
      ),
  };
  const views: Record<ViewName, View> = {
    search: createSearchView(app),
    downloads: createDownloadsView(app),
    uploads: createUploadsView(),
    folder: createFolderView(app),
    network: createNetworkView(app),
  };
  let shown: ViewName = "search";
  let isChosen = false;
  const counts = new Map<ViewName, HTMLElement>();
  const buttons = new Map<ViewName, HTMLElement>();

  function draw(): void {
    const [text, kind] = sayStanding();
    setText(find("#standing"), text);
    find("#standing").className = kind;
    const running = state.downloads.filter((one) => one.state !== "done" && one.state !== "failed").length;
    for (const [name, count] of [
      ["downloads", running],
      ["uploads", state.uploads.length],
    ] as const) {
      const badge = counts.get(name);
      if (badge === undefined) continue;
      setText(badge, String(count));
      badge.hidden = count === 0;
    }
    views[shown].draw(state);
  }

  function show(name: ViewName, isByPerson = true): void {
    shown = name;
    isChosen ||= isByPerson;
    for (const view of VIEWS) {
      views[view].element.hidden = view !== name;
      if (view === name) buttons.get(view)?.setAttribute("aria-current", "page");
      else buttons.get(view)?.removeAttribute("aria-current");
    }
    draw();
    if (isByPerson) views[name].element.querySelector("h2")?.focus();
  }

  for (const name of VIEWS) {
    const count = make("span", { class: "count", hidden: true });
    const button = make("button", { type: "button", onclick: () => show(name) }, texts[name], count);
    counts.set(name, count);
    buttons.set(name, button);
    find("#nav").append(button);
    find("#main").append(views[name].element);
  }
  show("search", false);

  function onEvent(heard: Heard): void {
    state = changed(state, heard);
    if (heard.event === "state" && !isChosen) show(state.standing.address === undefined ? "network" : "search", false);
    if (heard.event === "cli") {
      for (const view of VIEWS) views[view].hear?.(heard);
      const { name, values } = heard;
      if (name === "downloaded") notify(`${values.name}: ${texts.downloaded}`);
      if (name === "error") notify(sayProblem(values as unknown as Problem), "error");
    }
    schedule();
  }
  let isDue = false;
  /** Many events of one moment are one drawing; a page that is not looked at draws when it is. */
  function schedule(): void {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  }
  void listen(token, onEvent, (now) => {
    line = now;
    draw();
  });
}

document.documentElement.lang = isPortuguese ? "pt-BR" : "en";
find("#nav").setAttribute("aria-label", "Napster");
for (const element of document.querySelectorAll<HTMLElement>("[data-text]"))
  setText(element, texts[element.dataset.text as keyof typeof texts]);
const token = takeToken();
if (token === undefined) setText(find("#standing"), texts.noToken);
else run(token);
keepFocus(document.body);
