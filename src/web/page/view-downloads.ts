// Baixando: each download with its rate, why nothing moves, its sources, its pieces, and what can be done with it.
// Invariant: the buttons are those that its state allows.
// Never: counts anything itself; the peer says how it stands.

import { showSeconds } from "../../shared/amounts.ts";
import { mediaTypeOf, OTHER_TYPE } from "../../shared/media-types.ts";
import type { Download, Operation, Waits } from "../contract.ts";
import type { App, View } from "./app.ts";
import { createList, make, makeBar, type Part, setText } from "./elements.ts";
import { sayBytes, sayProblem, sayRate, texts } from "./texts.ts";

function sayWaits(waits: Waits): string {
  switch (waits.for) {
    case "slot":
      return `${texts.waitsSlot} ${waits.from}, ${texts.waitsPosition} ${waits.position}`;
    case "data":
      return `${texts.waitsData} ${waits.from}`;
    case "root":
      return `${texts.waitsRoot} ${waits.from}`;
    case "check":
      return texts.waitsCheck;
    case "disk":
      return waits.full ? texts.waitsFull : texts.waitsDisk;
  }
}

function sayState({ state, rate, etaSeconds, waiting, problem }: Download): string {
  if (state === "queued") return texts.queued;
  if (state === "paused") return texts.paused;
  if (state === "done") return texts.done;
  if (problem !== undefined)
    return state === "failed" ? sayProblem(problem) : `${sayProblem(problem, true)}; ${texts.again}`;
  if (waiting !== undefined) return sayWaits(waiting);
  if (rate === 0) return texts.starting;
  return [sayRate(rate), etaSeconds === undefined ? "" : `${texts.left} ${showSeconds(etaSeconds)}`]
    .filter(Boolean)
    .join(" · ");
}

const percentOf = ({ bytes, size, state }: Download): number =>
  state === "done" ? 100 : size > 0 ? Math.min(100, Math.floor((bytes / size) * 100)) : 0;

/** The pieces that are here, drawn as one strip. */
function drawPieces(canvas: HTMLCanvasElement, { pieces = "", pieceCount = 0 }: Download): void {
  if (canvas.dataset.pieces === pieces) return;
  canvas.dataset.pieces = pieces;
  const context = canvas.getContext("2d");
  if (context === null) return;
  const bits = Uint8Array.from(atob(pieces), (character) => character.charCodeAt(0));
  canvas.width = Math.max(1, Math.min(pieceCount, 2000));
  canvas.height = 1;
  context.fillStyle = getComputedStyle(canvas).color;
  const counts = new Array<number>(canvas.width).fill(0);
  const perColumn = pieceCount / canvas.width;
  for (let index = 0; index < pieceCount; index++) {
    if (((bits[index >> 3] ?? 0) & (0x80 >> (index & 7))) === 0) continue;
    const column = Math.min(canvas.width - 1, Math.floor(index / perColumn));
    counts[column] = (counts[column] ?? 0) + 1;
  }
  counts.forEach((count, column) => {
    context.globalAlpha = Math.min(1, count / perColumn);
    if (count > 0) context.fillRect(column, 0, 1, 1);
  });
}

type Act = { readonly name: Operation & ("pause" | "resume" | "cancel" | "start"); readonly text: string };
const PAUSE: Act = { name: "pause", text: texts.pause };
const RESUME: Act = { name: "resume", text: texts.resume };
const CANCEL: Act = { name: "cancel", text: texts.cancel };
const RETRY: Act = { name: "start", text: texts.retry };

const ACTS: Record<Download["state"], readonly Act[]> = {
  queued: [PAUSE, CANCEL],
  waiting: [PAUSE, CANCEL],
  running: [PAUSE, CANCEL],
  paused: [RESUME, CANCEL],
  failed: [RETRY, CANCEL],
  done: [],
};

function makeDownload(app: App, { name }: Download): Part<Download> {
  const isVideo = mediaTypeOf(name) !== OTHER_TYPE;
  const status = make("p", { class: "soft" });
  const bar = makeBar(name);
  const canvas = make("canvas", { role: "img", "aria-label": texts.pieces });
  const sources = make("ul", { class: "sources", "aria-label": `${texts.sourcesOf}: ${name}` });
  const summary = make("summary");
  const details = make("details", {}, summary, sources, canvas);
  const play = make(
    "button",
    { type: "button", class: "main", "aria-label": `${texts.play}: ${name}`, onclick: () => app.play(name) },
    texts.play,
  );
  const act = ({ name: operation, text }: Act): HTMLButtonElement =>
    make(
      "button",
      { type: "button", "aria-label": `${text}: ${name}`, onclick: () => void app.ask(operation, { name }) },
      text,
    );
  const buttons = [PAUSE, RESUME, RETRY, CANCEL].map((one) => ({ one, element: act(one) }));
  const showSources = createList<Download["sources"][number]>(
    sources,
    ({ address }) => address,
    (first) => {
      const bytes = make("span");
      return {
        element: make("li", {}, make("span", {}, first.address), bytes),
        show: (source) => setText(bytes, sayBytes(source.bytes)),
      };
    },
  );
  const actions = make("div", { class: "actions" }, play, ...buttons.map(({ element }) => element));
  return {
    element: make(
      "li",
      {},
      make("div", { class: "item" }, make("div", {}, make("h3", {}, name), status), actions),
      bar.element,
      details,
    ),
    show(download) {
      const percent = percentOf(download);
      const amount =
        download.size > 0 ? `${percent}% · ${sayBytes(download.bytes)} ${texts.of} ${sayBytes(download.size)}` : "";
      setText(status, [amount, sayState(download)].filter(Boolean).join(" · "));
      status.classList.toggle("bad", download.state === "failed");
      status.classList.toggle("good", download.state === "done");
      bar.show(percent);
      bar.element.setAttribute("aria-valuetext", status.textContent ?? "");
      const acts = ACTS[download.state];
      for (const { one, element } of buttons) element.hidden = !acts.includes(one);
      play.hidden = !isVideo || download.size === 0 || download.state === "failed" || download.state === "queued";
      details.hidden = download.sources.length === 0 && download.pieces === undefined;
      setText(summary, `${texts.sourcesOf}: ${download.sources.length}`);
      showSources(download.sources);
      canvas.hidden = download.pieces === undefined;
      if (download.pieces !== undefined) drawPieces(canvas, download);
    },
  };
}

export function createDownloadsView(app: App): View {
  const list = make("ul", { class: "cards", "aria-label": texts.downloads });
  const empty = make("p", { class: "empty" }, texts.noDownloads);
  const show = createList<Download>(
    list,
    ({ name }) => name,
    (download) => makeDownload(app, download),
  );
  return {
    element: make("section", {}, make("h2", { tabindex: "-1" }, texts.downloads), list, empty),
    draw({ downloads }) {
      show(downloads);
      empty.hidden = downloads.length > 0;
    },
  };
}
