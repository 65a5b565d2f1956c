// The page that a guest's browser shows: what is shared, as links; and the few other answers that a person reads.
// Invariant: a name is escaped in text and in addresses; the page has no script and loads nothing.
// Never: shows where a file lies, or who else is here.

import { showBytes } from "../../shared/amounts.ts";
import { mayPlayInBrowser } from "../../shared/media-types.ts";

export type GuestFile = { readonly name: string; readonly size: number };

const PORTUGUESE = {
  lang: "pt-BR",
  title: "Arquivos compartilhados",
  note: "A conexão não é cifrada: use esta página só numa rede em que você confia.",
  empty: "Nada é compartilhado agora.",
  watch: "Assistir",
  save: "Baixar",
  more: "Mais arquivos",
  busy: "Todas as vagas de envio estão ocupadas. Tente de novo daqui a pouco.",
  gone: "Este arquivo não está mais aqui.",
};
const ENGLISH: typeof PORTUGUESE = {
  lang: "en",
  title: "Shared files",
  note: "The connection is not encrypted: use this page only in a network that you trust.",
  empty: "Nothing is shared now.",
  watch: "Watch",
  save: "Download",
  more: "More files",
  busy: "All upload slots are taken. Try again in a while.",
  gone: "This file is no longer here.",
};

/** By the first language that the browser wants. */
export const textsFor = (languages: string | undefined): typeof PORTUGUESE =>
  /^\s*en\b/i.test(languages ?? "") ? ENGLISH : PORTUGUESE;

/** Files on one page. */
export const GUEST_FILES_MAX = 500;

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "");

/** Colours and sizes stand in the page itself; its policy names them by this hash's source. */
export const STYLE = `:root{color-scheme:light dark;font:17px/1.5 system-ui,sans-serif}
body{max-width:44rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
h1{font-size:1.3rem}
ul{list-style:none;padding:0}
li{border-top:1px solid #8886;padding:.75rem 0}
p{margin:.25rem 0;opacity:.85}
a{display:inline-block;min-height:44px;line-height:44px;margin-right:1.5rem;font-weight:600;color:light-dark(#1a56bd,#8ab4ff)}`;

const frame = (lang: string, title: string, body: string): string =>
  `<!doctype html><html lang="${lang}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${title}</title><link rel="icon" href="data:,"><style>${STYLE}</style></head><body><main>${body}</main></body></html>`;

/** `files` from `offset` on; links are relative to the page, which ends in a slash. */
export function guestPage(files: readonly GuestFile[], offset: number, languages: string | undefined): string {
  const texts = textsFor(languages);
  const { lang, title, note, empty, watch, save, more } = texts;
  const rows = files.slice(offset, offset + GUEST_FILES_MAX).map(({ name, size }) => {
    const link = `./${encodeURIComponent(name)}`;
    const label = (what: string): string => `aria-label="${escapeHtml(`${what}: ${name}`)}"`;
    const play = mayPlayInBrowser(name) ? `<a href="${escapeHtml(link)}" ${label(watch)}>${watch}</a>` : "";
    return `<li><strong>${escapeHtml(name)}</strong><p>${showBytes(size, lang === "en" ? "." : ",")}</p>${play}<a href="${escapeHtml(link)}?save" download ${label(save)}>${save}</a></li>`;
  });
  const next = offset + GUEST_FILES_MAX;
  const further = next < files.length ? `<p><a href="./?from=${next}">${more}</a></p>` : "";
  const list = rows.length > 0 ? `<ul>${rows.join("")}</ul>` : `<p>${empty}</p>`;
  return frame(lang, title, `<h1>${title}</h1><p>${note}</p>${list}${further}`);
}

/** One sentence, where a file cannot be had. */
export function guestNote(what: "busy" | "gone", languages: string | undefined): string {
  const texts = textsFor(languages);
  return frame(texts.lang, texts.title, `<h1>${texts.title}</h1><p role="alert">${texts[what]}</p>`);
}
