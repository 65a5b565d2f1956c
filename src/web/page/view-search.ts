// Buscar: by words of a name, grouped by content, or by the exact name.
// Invariant: the results are those of the last search that was asked.
// Never: downloads by itself.

import type { Found } from "../contract.ts";
import type { App, View } from "./app.ts";
import { createList, isIdle, make, type Part, setIdle, setText } from "./elements.ts";
import { sayBytes, sayCount, texts } from "./texts.ts";

/** One content, or the peers that have one name. */
type Result = { readonly name: string; readonly detail: string };

const resultOf = ({ name, size, sources }: Found): Result => ({
  name,
  detail: `${sayBytes(size)} · ${sayCount(sources, texts.source, texts.sources)}`,
});

function makeResult(app: App, first: Result): Part<Result> {
  const { name } = first;
  const detail = make("p", { class: "soft" });
  const button = make(
    "button",
    {
      type: "button",
      class: "main",
      "aria-label": `${texts.downloadName} ${name}`,
      onclick: () => {
        if (!isIdle(button)) void app.ask("start", { name });
      },
    },
    texts.download,
  );
  const title = make("h3", {}, name);
  return {
    element: make("li", {}, make("div", { class: "item" }, make("div", {}, title, detail), button)),
    show(result) {
      const download = app.state().downloads.find((one) => one.name === name);
      const isOn = download !== undefined && download.state !== "failed";
      const where = download === undefined ? "" : download.state === "done" ? texts.here : texts[download.state];
      setText(detail, [result.detail, where].filter(Boolean).join(" · "));
      setIdle(button, isOn);
    },
  };
}

export function createSearchView(app: App): View {
  const input = make("input", { type: "search", name: "words", required: true, maxlength: "255", autocomplete: "off" });
  const words = make("input", { type: "radio", name: "how", value: "words", checked: true });
  const exact = make("input", { type: "radio", name: "how", value: "exact" });
  const status = make("p", { class: "empty", role: "status" }, texts.firstSearch);
  const list = make("ul", { class: "cards", "aria-label": texts.search });
  const show = createList<Result>(
    list,
    ({ name, detail }) => `${name}\n${detail}`,
    (result) => makeResult(app, result),
  );
  let results: readonly Result[] = [];
  let searches = 0;

  function end(found: readonly Result[], text: string): void {
    results = found;
    show(results);
    setText(status, text);
    status.hidden = text === "";
  }

  async function search(event: Event): Promise<void> {
    event.preventDefault();
    const typed = input.value.trim();
    if (typed === "") return;
    const mine = ++searches;
    end([], texts.searching);
    const isExact = exact.checked;
    const found = isExact ? await byName(typed) : await byWords(typed);
    if (mine !== searches) return;
    if (found === undefined) return end([], "");
    end(found.results, found.results.length === 0 ? texts.nothingFound : found.more ? texts.moreFound : "");
  }

  async function byWords(typed: string) {
    const answer = await app.ask("find", { words: typed });
    return answer && { results: answer.contents.map(resultOf), more: answer.more > 0 || answer.isCut };
  }

  async function byName(name: string) {
    const answer = await app.ask("search", { name });
    if (answer === undefined) return undefined;
    const { peers } = answer;
    const detail = `${sayCount(peers.length, texts.source, texts.sources)} · ${peers.join(" ")}`;
    return { results: peers.length === 0 ? [] : [{ name: name.normalize("NFC"), detail }], more: false };
  }

  const form = make(
    "form",
    { class: "row", role: "search", onsubmit: (event) => void search(event) },
    make("label", { class: "field" }, texts.searchFor, input),
    make("button", { type: "submit", class: "main" }, texts.find),
    make(
      "fieldset",
      { "aria-label": texts.searchFor },
      make("label", { class: "choice" }, words, texts.byWords),
      make("label", { class: "choice" }, exact, texts.exact),
    ),
  );
  return {
    element: make("section", {}, make("h2", { tabindex: "-1" }, texts.search), form, list, status),
    draw: () => show(results),
  };
}
