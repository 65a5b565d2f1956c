// Pasta: what is shared, how far the hashing is, and the comparison with what was hashed before.
// Invariant: the list is asked for while it is looked at, and again when an event says that it has changed.
// Never: holds more of a large folder than was asked for.

import { mediaTypeOf, OTHER_TYPE } from "../../shared/media-types.ts";
import type { Shared, State } from "../contract.ts";
import type { App, View } from "./app.ts";
import { createList, isIdle, make, type Part, setIdle, setText } from "./elements.ts";
import { sayBytes, sayCount, texts } from "./texts.ts";

const CHANGES: ReadonlySet<string> = new Set([
  "joined",
  "hashed",
  "downloaded",
  "returned",
  "error",
  "offered",
  "shared",
  "withdrawn",
]);
const COUNT = 100;
/** A folder of many small files tells of each. */
const AGAIN_MS = 1000;

const VERDICTS: Readonly<Record<string, string>> = {
  ok: texts.verdictOk,
  changed: texts.verdictChanged,
  new: texts.verdictNew,
  damaged: texts.verdictDamaged,
  unread: texts.verdictUnread,
};

function makeFile(app: App, { name }: Shared, verdicts: ReadonlyMap<string, string>): Part<Shared> {
  const status = make("p", { class: "soft" });
  const play = make(
    "button",
    { type: "button", "aria-label": `${texts.play}: ${name}`, onclick: () => app.play(name) },
    texts.play,
  );
  play.hidden = mediaTypeOf(name) === OTHER_TYPE;
  return {
    element: make("li", {}, make("div", { class: "item" }, make("div", {}, make("h3", {}, name), status), play)),
    show({ size, root }) {
      const verdict = verdicts.get(name);
      const words = [sayBytes(size), root === null ? texts.notHashed : texts.hashed, verdict && VERDICTS[verdict]];
      setText(status, words.filter(Boolean).join(" · "));
      status.classList.toggle("bad", verdict !== undefined && verdict !== "ok" && verdict !== "new");
    },
  };
}

export function createFolderView(app: App): View {
  const summary = make("p", { class: "soft" });
  const hashing = make("p", { class: "soft" });
  const bar = make("div");
  const progress = make(
    "div",
    { class: "bar", role: "progressbar", "aria-label": texts.hashing, "aria-valuemin": "0", "aria-valuemax": "100" },
    bar,
  );
  const filter = make("input", {
    type: "search",
    maxlength: "255",
    autocomplete: "off",
    oninput: () => void look(COUNT),
  });
  const verdicts = new Map<string, string>();
  const list = make("ul", { class: "cards", "aria-label": texts.folder });
  const show = createList<Shared>(
    list,
    ({ name }) => name,
    (file) => makeFile(app, file, verdicts),
  );
  const more = make("button", { type: "button", hidden: true, onclick: () => void look(wanted + COUNT) }, texts.more);
  const verify = make("button", { type: "button", onclick: () => void (isIdle(verify) || runVerify()) }, texts.verify);
  const element = make(
    "section",
    {},
    make("h2", { tabindex: "-1" }, texts.folder),
    make("div", { class: "card" }, make("div", { class: "item" }, make("div", {}, summary, hashing), verify), progress),
    make("label", { class: "field" }, texts.filter, filter),
    list,
    more,
  );
  let wanted = COUNT;
  let files: readonly Shared[] = [];
  let total = 0;
  let looks = 0;
  let isDue = true;
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function look(count: number): Promise<void> {
    wanted = count;
    isDue = false;
    const mine = ++looks;
    const all: Shared[] = [];
    for (let offset = 0; offset < wanted; offset += COUNT) {
      const page = await app.ask("files", { offset, count: COUNT, filter: filter.value });
      if (page === undefined || mine !== looks) return;
      all.push(...page.files);
      total = page.total;
      if (page.files.length < COUNT) break;
    }
    files = all;
    draw(app.state());
  }

  async function runVerify(): Promise<void> {
    verdicts.clear();
    setIdle(verify, true);
    setText(verify, texts.verifying);
    const done = await app.ask("verify", {});
    setIdle(verify, false);
    setText(verify, texts.verify);
    if (done !== undefined) app.notice(texts.verified);
    show(files);
  }

  function draw({ standing }: State): void {
    const isIn = standing.folder !== undefined;
    setText(
      summary,
      isIn
        ? `${texts.folderIs} ${standing.folder} · ${sayCount(total, texts.fileShared, texts.filesShared)}`
        : texts.noFolder,
    );
    verify.hidden = !isIn;
    const { hashing: how } = standing;
    const isHashing = how !== undefined && how.files < how.filesTotal;
    const percent = isHashing && how.bytesTotal > 0 ? Math.floor((how.bytes / how.bytesTotal) * 100) : 100;
    progress.hidden = !isHashing;
    bar.style.width = `${percent}%`;
    progress.setAttribute("aria-valuenow", String(percent));
    setText(
      hashing,
      isHashing
        ? `${texts.hashing}: ${how.files + 1} ${texts.of} ${how.filesTotal}, ${percent}%`
        : isIn
          ? texts.allHashed
          : "",
    );
    show(files);
    more.hidden = files.length >= total;
    if (isDue && isIn && !element.hidden) void look(wanted);
  }

  return {
    element,
    draw,
    hear({ name, values }) {
      if (name === "verified") verdicts.set(String(values.name), String(values.verdict));
      if (!CHANGES.has(name)) return;
      isDue = true;
      if (timer === undefined)
        timer = setTimeout(() => {
          timer = undefined;
          draw(app.state());
        }, AGAIN_MS);
    },
  };
}
