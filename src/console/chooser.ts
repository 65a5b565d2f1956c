// The menu's half of the keyboard: arrows move the mark, words are typed, and Enter takes one or the other.
// Invariant: what was typed is what Enter takes; it is never taken for what happens to be marked.
// Never: draws; `lines` says what is to be seen.

import { styleText } from "node:util";
import { S_RADIO_ACTIVE, S_RADIO_INACTIVE, S_STEP_ACTIVE } from "@clack/prompts";
import { BACKSPACE, CTRL_U, DOWN, ENTER, ESCAPE, UP } from "./terminal/keys.ts";
import { CURSOR } from "./terminal/screen.ts";
import { showFolder } from "./text/lines.ts";
import { asksHelp, type Stop, stopMeant } from "./words.ts";

export type Choice<Option> = {
  /** What Enter alone takes, at a terminal. */
  readonly marked?: Option;
  /** The answer to a request for help. */
  readonly help?: string;
  /** Piped lines that are no option and are passed over: answers to a command that failed before it asked. */
  readonly unused?: number;
  /** At a terminal, what a single key does while nothing is typed; the question stays. In capitals. */
  readonly keys?: Readonly<Record<string, (() => void) | undefined>>;
};

export type Chooser<Option extends string> = {
  /** What the key comes to, when it comes to something. */
  press(key: string): Option | Stop | undefined;
  /** What is to be seen, and which of the lines matters most. */
  lines(): { readonly lines: readonly string[]; readonly focus: number };
};

/** More than any word of the menu; a paste must not fill the window. */
const TYPED_CHARACTERS_MAX = 60;

/** Without options it only understands the words that leave. */
export function createChooser<Option extends string>(
  message: string,
  options: readonly Option[],
  { marked, help = "", keys = {} }: Pick<Choice<Option>, "marked" | "help" | "keys">,
): Chooser<Option> {
  let at = Math.max(0, options.indexOf(marked as Option));
  let typed = "";
  let note = "";

  /** The option that is meant: by its beginning, or its number in the list. */
  function meant(word: string): number {
    const number = /^\d$/.test(word) ? Number(word) - 1 : -1;
    if (options[number] !== undefined) return number;
    return word === "" ? -1 : options.findIndex((option) => option.toUpperCase().startsWith(word.toUpperCase()));
  }

  function move(to: number): void {
    at = (to + options.length) % options.length;
    typed = "";
  }

  function type(text: string): void {
    typed = text;
    const found = meant(typed.trim());
    if (found >= 0) at = found;
  }

  function enter(): Option | Stop | undefined {
    const word = typed.trim();
    typed = "";
    if (word === "") return options[at];
    const found = meant(word);
    const stop = stopMeant(word);
    if (found >= 0) return options[found];
    if (stop?.stop === "leave") return stop;
    const words = `${options.slice(0, -1).join(", ")} ou ${options.at(-1)}`;
    const unknown = `"${showFolder(word)}" não está no menu: use ${words}`;
    note = options.length === 0 || asksHelp(word) || stop !== undefined ? help : unknown;
    return undefined;
  }

  return {
    press(key) {
      if (key !== ENTER || typed !== "") note = "";
      const act = typed === "" ? keys[key.toUpperCase()] : undefined;
      if (act !== undefined) {
        act();
        return undefined;
      }
      if (key === ENTER) return enter();
      if (key === UP) move(at - 1);
      else if (key === DOWN) move(at + 1);
      else if (key === ESCAPE || key === CTRL_U) typed = "";
      else if (key === BACKSPACE || key === "\b") type([...typed].slice(0, -1).join(""));
      // A sequence of another key, and what else cannot be seen, is no text.
      else if (!/[\p{Cc}\p{Cf}]/u.test(key) && typed.length < TYPED_CHARACTERS_MAX) type(typed + key);
      return undefined;
    },
    lines() {
      const title = `${styleText("cyan", S_STEP_ACTIVE)}  ${message}`;
      const choices = options.map((option, index) =>
        index === at
          ? `${styleText("green", S_RADIO_ACTIVE)} ${option}`
          : styleText("dim", `${S_RADIO_INACTIVE} ${option}`),
      );
      const written = typed === "" ? title : `${title} ${typed}${CURSOR}`;
      const notes = note === "" ? [] : [styleText("yellow", note)];
      if (options.length === 0) return { lines: typed === "" ? notes : [typed + CURSOR], focus: 0 };
      return { lines: [written, ...choices, ...notes], focus: typed === "" ? 1 + at : 0 };
    },
  };
}
