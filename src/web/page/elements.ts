// Elements of the page, made and kept up to date.
// Invariant: a text from outside becomes a text node, never markup; an element that stays keeps its focus.
// Never: parses HTML.

type Child = Node | string | undefined;
type Attributes = Readonly<Record<string, string | boolean | undefined | ((event: Event) => void)>>;

/** An element; a function is a listener (`onclick`), true an attribute without a value, false and undefined none. */
export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else setAttribute(element, name, value);
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

function setAttribute(element: Element, name: string, value: string | boolean | undefined): void {
  if (value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : value);
}

/** Writes only what is not there yet: the browser has nothing to draw otherwise, and a reader nothing to say. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A button that does nothing for now keeps its place in the order of Tab, and the focus. */
export function setIdle(button: HTMLButtonElement, isIdle: boolean): void {
  setAttribute(button, "aria-disabled", isIdle && "true");
}
export const isIdle = (button: Element): boolean => button.getAttribute("aria-disabled") === "true";

/** A part of the page that shows a value, and shows the next one in the same elements. */
export type Part<Value> = { readonly element: HTMLElement; show(value: Value): void };

/** How far something is, of 0 to 100, drawn and said. */
export function makeBar(name: string): Part<number> {
  const bar = make("div");
  const range = { "aria-label": name, "aria-valuemin": "0", "aria-valuemax": "100" };
  const element = make("div", { class: "bar", role: "progressbar", ...range }, bar);
  return {
    element,
    show(percent) {
      bar.style.width = `${percent}%`;
      element.setAttribute("aria-valuenow", String(percent));
    },
  };
}

/** A list whose entries keep their elements as long as their key is there. */
export function createList<Value>(
  list: HTMLElement,
  keyOf: (value: Value) => string,
  makePart: (value: Value) => Part<Value>,
): (values: readonly Value[]) => void {
  const parts = new Map<string, Part<Value>>();
  return (values) => {
    const keys = new Set(values.map(keyOf));
    for (const [key, part] of parts) {
      if (keys.has(key)) continue;
      part.element.remove();
      parts.delete(key);
    }
    values.forEach((value, index) => {
      const key = keyOf(value);
      const part = parts.get(key) ?? makePart(value);
      parts.set(key, part);
      const there = list.children[index];
      if (there !== part.element) list.insertBefore(part.element, there ?? null);
      part.show(value);
    });
  };
}
