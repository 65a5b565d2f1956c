// Asking a person or a script: one question, one valid answer.
// Invariant: both askers give the same answer for the same words; an answer that comes out has passed its check.
// Never: leaves anything of a question on the screen; decides what an answer is for.

import { PassThrough, type Writable } from "node:stream";
import { text } from "@clack/prompts";
import { type Choice, type Chooser, createChooser } from "../chooser.ts";
import { type Complaint, complaintText } from "../text/complaints.ts";
import { showFolder } from "../text/lines.ts";
import { type Stop, stopMeant } from "../words.ts";
import { CTRL_C, CTRL_D, ENTER, ESCAPE, type Keys } from "./keys.ts";
import type { Writer } from "./output.ts";
import type { Screen } from "./screen.ts";

export type { Stop } from "../words.ts";

export type Question = {
  readonly message: string;
  /** What an empty answer means; without it an empty answer is checked like any other. */
  readonly fallback: string | undefined;
  readonly check: (answer: string) => Complaint | undefined;
};

export function isStop(value: unknown): value is Stop {
  return typeof value === "object" && value !== null && "stop" in value;
}

export type Asker = {
  /** True when a person sits at a terminal, so that a failed command can be asked again. */
  readonly interactive: boolean;
  ask(question: Question): Promise<string | Stop>;
  /** One of `options`: typed in any case, or picked. */
  choose<Option extends string>(
    message: string,
    options: readonly Option[],
    how?: Choice<Option>,
  ): Promise<Option | Stop>;
  /** Asks nothing, for as long as the person stays; `help` answers what is typed meanwhile. */
  idle(help: string): Promise<Stop>;
  /** Calls `then` when this key is typed while nothing is asked, until the returned function is called. A person only. */
  readonly hear?: (key: string, then: () => void) => () => void;
  /** Takes away what is being asked, which then stops with "leave", and gives the input back. */
  close(): void;
};

type Common = { input: PassThrough; output: Writable; signal: AbortSignal; withGuide: false };

/** Answers from a terminal, with clack drawing on `screen`. */
export function createTerminalAsker(keys: Keys, screen: Screen): Asker {
  let dismiss = (): void => {};
  let closed = false;

  /** Runs one clack prompt. */
  async function prompt(start: (common: Common) => Promise<string | symbol>): Promise<string | Stop> {
    if (closed) return { stop: "leave" };
    const input = new PassThrough();
    const abort = new AbortController();
    let stop: Stop["stop"] = "leave";
    let settled = false;
    const give = (why: Stop["stop"]): void => {
      stop = why;
      abort.abort();
    };
    dismiss = () => give("leave");

    const output = screen.canvas("Esc volta · Ctrl+C sai");
    const answering = start({ input, output, signal: abort.signal, withGuide: false });
    let release = (): void => {};
    const listen = (): void => {
      release = keys.take((key) => {
        if (key === CTRL_C || key === CTRL_D) return give("leave");
        if (key === ESCAPE) return give("back");
        // Emitted rather than written: clack sees the key now, and the ones after it stay with their own question.
        input.emit("data", Buffer.from(key));
        if (key !== ENTER) return;
        release();
        setImmediate(() => {
          if (!settled) listen();
        });
      });
    };
    listen();
    const answer = await answering;
    settled = true;
    release();
    dismiss = () => {};
    screen.clear();
    return typeof answer === "symbol" ? { stop } : answer;
  }

  /** Gives every key to `chooser` until it comes to something. */
  async function pick<Option extends string>(chooser: Chooser<Option>): Promise<Option | Stop> {
    if (closed) return { stop: "leave" };
    const { promise, resolve } = Promise.withResolvers<Option | Stop>();
    dismiss = () => resolve({ stop: "leave" });
    const draw = (): void => {
      const { lines, focus } = chooser.lines();
      screen.show(lines, focus, "Ctrl+C sai");
    };
    draw();
    const release = keys.take((key) => {
      const chosen = key === CTRL_C || key === CTRL_D ? { stop: "leave" as const } : chooser.press(key);
      if (chosen === undefined) return draw();
      release();
      resolve(chosen);
    });
    const chosen = await promise;
    release();
    dismiss = () => {};
    screen.clear();
    return chosen;
  }

  return {
    interactive: true,
    async ask({ message, fallback, check }) {
      const shown = fallback === undefined ? message : `${message} (Enter = ${showFolder(fallback)})`;
      const checked = (typed: string | undefined): string | Stop | Complaint => {
        const answer = typed?.trimEnd() || fallback || "";
        const why = check(answer);
        return why === undefined ? answer : (stopMeant(answer) ?? why);
      };
      const validate = (typed: string | undefined): string | undefined => {
        const result = checked(typed);
        return isComplaint(result) ? `${result.cause}; ${result.hint}` : undefined;
      };
      const answer = await prompt((common) => text({ ...common, message: shown, validate }));
      if (isStop(answer)) return answer;
      const result = checked(answer);
      return isComplaint(result) ? { stop: "back" } : result;
    },
    choose: (message, options, how = {}) => pick(createChooser(message, options, how)),
    idle: (help) => pick(createChooser<never>("", [], { help })),
    hear: keys.hear,
    close() {
      closed = true;
      dismiss();
      keys.close();
    },
  };
}

/** Answers from lines, for scripts. A refused answer is an error on stderr, and the next line answers again. */
export function createPipedAsker(lines: AsyncIterator<string>, tell: Writer): Asker {
  // Not one promise that every line is raced with: it would remember each of them for as long as it waits.
  let closed = false;
  let giveUp = (_: Stop): void => {};

  async function next(): Promise<string | Stop> {
    if (closed) return { stop: "leave" };
    const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<string> | Stop>();
    giveUp = resolve;
    lines.next().then(resolve, reject);
    const line = await promise;
    if (isStop(line)) return line;
    return line.done === true ? { stop: "end" } : line.value;
  }

  async function until<T>(read: (line: string) => T | Complaint | undefined): Promise<T | Stop> {
    for (let refused = false; ; ) {
      const line = await next();
      if (isStop(line)) return refused && line.stop === "end" ? { stop: "refused-end" } : line;
      const result = read(line);
      if (result === undefined) continue;
      if (!isComplaint(result)) return result;
      tell(complaintText(result));
      refused = true;
    }
  }

  return {
    interactive: false,
    ask: ({ fallback, check }) =>
      until((line) => {
        // CMD's `(echo JOIN & echo x) | …` sends a blank before each &; no name, folder or number ends in one.
        const given = line.trimEnd();
        const answer = given === "" && fallback !== undefined ? fallback : given;
        return check(answer) ?? answer;
      }),
    choose: <Option extends string>(_message: string, options: readonly Option[], how: Choice<Option> = {}) => {
      let passable = how.unused ?? 0;
      return until<Option>((line) => {
        const word = line.trim().toUpperCase();
        // A blank line chooses nothing: there is no default command.
        if (word === "") {
          passable -= 1;
          return undefined;
        }
        const option = options.find((option) => option.toUpperCase() === word);
        if (option !== undefined) return option;
        passable -= 1;
        return passable >= 0 ? undefined : notAnOption(line, options);
      });
    },
    // What a script sends after its answers is not read.
    idle: () => new Promise<never>(() => {}),
    close() {
      closed = true;
      giveUp({ stop: "leave" });
    },
  };
}

function isComplaint(value: unknown): value is Complaint {
  return typeof value === "object" && value !== null && "cause" in value;
}

function notAnOption(line: string, options: readonly string[]): Complaint {
  return {
    cause: `"${showFolder(line.slice(0, 60))}" não está no menu`,
    code: "USAGE",
    hint: `use ${options.slice(0, -1).join(", ")} ou ${options.at(-1)}`,
  };
}

/** Longest line a script may send; a longer one is cut there, and its check refuses it. */
const ANSWER_CHARACTERS_MAX = 40_000;

// An input without end that asks for nothing (yes, /dev/zero) would keep signals, and everything else, from their turn.
const LINES_A_TURN = 64;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Lines of a byte stream, read only as fast as they are asked for. The last one needs no newline. */
export async function* readLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  // Ignores a byte order mark, which PowerShell puts in front of what it pipes.
  const decoder = new TextDecoder("utf-8");
  let rest = "";
  let given = 0;
  for await (const chunk of source) {
    await turn();
    rest += decoder.decode(chunk, { stream: true });
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      const line = rest.slice(0, end).replace(/\r$/, "");
      rest = rest.slice(end + 1);
      yield line.slice(0, ANSWER_CHARACTERS_MAX);
      given += 1;
      if (given % LINES_A_TURN === 0) await turn();
    }
    rest = rest.slice(0, ANSWER_CHARACTERS_MAX);
  }
  rest += decoder.decode();
  if (rest !== "") yield rest.replace(/\r$/, "");
}
