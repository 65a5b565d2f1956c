// Enviando: what other peers take from here now, and what they took lately.
// Invariant: what ended comes once, newest first, and a bounded number of it.
// Never: names a peer otherwise than by its address.

import type { Upload } from "../contract.ts";
import type { View } from "./app.ts";
import { createList, make, makeBar, type Part, setText } from "./elements.ts";
import { sayBytes, texts } from "./texts.ts";

const ENDED_MAX = 20;

type Ended = { readonly id: number; readonly name: string; readonly to: string; readonly bytes: number };

/** A guest's browser has many ports, and 0 stands for them. */
const sayTo = (to: string): string => (to.endsWith(":0") ? `${texts.guest} ${to.slice(0, -":0".length)}` : to);

function makeUpload({ name, to }: Upload): Part<Upload> {
  const status = make("p", { class: "soft" });
  const bar = makeBar(name);
  return {
    element: make("li", {}, make("h3", {}, name), status, bar.element),
    show({ bytes, size }) {
      const percent = size > 0 ? Math.min(100, Math.floor((bytes / size) * 100)) : 100;
      setText(status, `${texts.to} ${sayTo(to)} · ${sayBytes(bytes)} ${texts.of} ${sayBytes(size)}`);
      bar.show(percent);
    },
  };
}

const makeEnded = ({ name, to, bytes }: Ended): Part<Ended> => ({
  element: make(
    "li",
    {},
    make("h3", {}, name),
    make("p", { class: "soft" }, `${texts.to} ${sayTo(to)} · ${sayBytes(bytes)}`),
  ),
  show() {},
});

export function createUploadsView(): View {
  const now = make("ul", { class: "cards", "aria-label": texts.uploads });
  const before = make("ul", { class: "cards", "aria-label": texts.sent });
  const title = make("h3", { hidden: true }, texts.sent);
  const empty = make("p", { class: "empty" }, texts.noUploads);
  const show = createList<Upload>(now, ({ id }) => String(id), makeUpload);
  const showEnded = createList<Ended>(before, ({ id }) => String(id), makeEnded);
  let ended: Ended[] = [];
  let ids = 0;
  return {
    element: make("section", {}, make("h2", { tabindex: "-1" }, texts.uploads), now, empty, title, before),
    draw({ uploads }) {
      show(uploads);
      showEnded(ended);
      empty.hidden = uploads.length > 0;
      title.hidden = ended.length === 0;
    },
    hear({ name, values }) {
      if (name !== "uploaded") return;
      const { name: file, to, bytes } = values;
      ended = [{ id: ids++, name: String(file), to: String(to), bytes: Number(bytes) }, ...ended].slice(0, ENDED_MAX);
    },
  };
}
