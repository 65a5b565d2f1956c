// The keyboard's focus, which goes on to what is nearest when its element is taken away, hidden or disabled.
// Invariant: after a change of the page the focus is on an element that can be seen, if it was on one before.
// Never: takes the focus from an element that can have it.

type Focused = {
  readonly element: HTMLElement;
  readonly item: Element | null;
  readonly list: Element | null;
  at: number;
};

const FOCUSABLE = "button, input, summary, a[href], video";

const canFocus = (element: HTMLElement): boolean =>
  element.isConnected && element.checkVisibility() && !element.matches(":disabled");

const firstOf = (place: Element | null | undefined): HTMLElement | undefined =>
  [...(place?.querySelectorAll<HTMLElement>(FOCUSABLE) ?? [])].find(canFocus);

/** Where an entry stands in its list. */
const placeOf = ({ list, item }: Pick<Focused, "list" | "item">): number =>
  list === null || item === null ? -1 : [...list.children].indexOf(item);

/** In the same entry, else in the one that has taken its place, else the heading of what is shown. */
function nearest({ item, list, at }: Focused): HTMLElement | undefined {
  const rest = list?.isConnected && at >= 0 ? [list.children[at], list.children[at - 1]] : [];
  const heading = document.querySelector<HTMLElement>("main > section:not([hidden]) h2");
  return [item, ...rest].map(firstOf).find((one) => one !== undefined) ?? heading ?? undefined;
}

export function keepFocus(root: HTMLElement): void {
  let last: Focused | undefined;
  root.addEventListener("focusin", ({ target }) => {
    const element = target as HTMLElement;
    const item = element.closest("li");
    const list = item?.closest("ul") ?? null;
    last = { element, item, list, at: placeOf({ list, item }) };
  });
  // The person clicks elsewhere; what is clicked takes the focus after this.
  root.addEventListener("pointerdown", () => {
    last = undefined;
  });
  const watch = new MutationObserver(() => {
    if (last === undefined) return;
    if (!canFocus(last.element)) return nearest(last)?.focus();
    last.at = placeOf(last);
    if (document.activeElement === document.body) last.element.focus({ preventScroll: true }); // its entry was moved
  });
  watch.observe(root, { subtree: true, childList: true, attributeFilter: ["hidden", "disabled"] });
}
