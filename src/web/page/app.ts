// What the views share: the state as it was last told, how to ask, and what to tell the person.
// Invariant: one state for all views; a view draws only what it is handed.
// Never: touches the document, but for the notices.

import type { Operation, Operations, State } from "../contract.ts";
import { make } from "./elements.ts";
import type { Heard, Talk } from "./talk.ts";
import { sayProblem, texts } from "./texts.ts";

export type App = {
  readonly state: () => State;
  /** The answer; undefined when there was a problem, which has been shown. */
  ask<Name extends Operation>(name: Name, given: Operations[Name]["in"]): Promise<Operations[Name]["out"] | undefined>;
  notice(text: string, kind?: "error"): void;
  /** Opens the player on a file of this peer, whole or still arriving. */
  play(name: string): void;
};

/** A part of the page that the navigation leads to. */
export type View = {
  readonly element: HTMLElement;
  /** The state has changed, or this view is shown now. */
  draw(state: State): void;
  /** An event of the CLI's JSON. */
  hear?(heard: Heard & { event: "cli" }): void;
};

const NOTICES_MAX = 3;
const NOTICE_MS = 8000;

/** Shows a line at the foot of the page; an error stays until it is dismissed. */
export function notify(text: string, kind?: "error"): void {
  const place = document.querySelector("#notices");
  if (place === null || text === "") return;
  const dismiss = make("button", { type: "button", onclick: () => notice.remove() }, texts.dismiss);
  const notice = make("div", { class: kind }, make("p", {}, text), dismiss);
  place.append(notice);
  while (place.children.length > NOTICES_MAX) place.firstElementChild?.remove();
  if (kind === undefined) setTimeout(() => notice.remove(), NOTICE_MS);
}

export function createAsk(talk: Talk): App["ask"] {
  return async (name, given) => {
    const answer = await talk.ask(name, given);
    if (!("problem" in answer)) return answer;
    notify(sayProblem(answer.problem), "error");
    return undefined;
  };
}
