// How a run ends, or stops for a while: Ctrl+C, signals, and what they mean while something is under way.
// Invariant: the first Ctrl+C cancels what can be cancelled, the next one leaves; a signal to end always leaves.
// Never: exits the process. The code that waits on `leaving` cleans up and does.

import type { Stop } from "./terminal/questions.ts";

/** Documented in --help; scripts rely on them. */
export const EXIT = { done: 0, failed: 1, usage: 2, notFound: 3, rejected: 4, exists: 5 } as const;

export type Life = {
  /** Aborted once the program is to leave. */
  readonly leaving: AbortSignal;
  leave(): void;
  /** What Ctrl+C does. */
  interrupt(): void;
  /** Until the returned function is called, Ctrl+C means `cancel`, once. */
  cancellable(cancel: () => void): () => void;
  /** `work`, or "leave" as soon as the program is to leave. */
  during<T>(work: Promise<T>): Promise<T | Stop>;
};

export function createLife(): Life {
  const controller = new AbortController();
  const waiting = new Set<(stop: Stop) => void>();
  let cancelling: (() => void) | undefined;

  function leave(): void {
    controller.abort();
    for (const stop of waiting) stop({ stop: "leave" });
  }

  return {
    leaving: controller.signal,
    leave,
    interrupt() {
      const cancel = cancelling;
      cancelling = undefined;
      if (cancel === undefined) leave();
      else cancel();
    },
    cancellable(cancel) {
      cancelling = cancel;
      return () => {
        if (cancelling === cancel) cancelling = undefined;
      };
    },
    during<T>(work: Promise<T>) {
      if (controller.signal.aborted) return Promise.race([work, Promise.resolve<Stop>({ stop: "leave" })]);
      // Forgotten when it is over: a run that does a million things remembers none of them.
      const { promise, resolve, reject } = Promise.withResolvers<T | Stop>();
      waiting.add(resolve);
      work.then(resolve, reject).finally(() => waiting.delete(resolve));
      return promise;
    },
  };
}

/** Lets the system's signals drive `life`. SIGHUP is also what Windows sends when the console's window is closed. */
export function watchSignals(life: Life): void {
  process.on("SIGINT", life.interrupt);
  for (const signal of ["SIGTERM", "SIGHUP", "SIGBREAK"] as const) {
    if (signal === "SIGBREAK" && process.platform !== "win32") continue;
    process.on(signal, life.leave);
  }
}

/** Time for a stop that was asked for to happen; it does not where no shell is there to go on later. */
const STOP_MS = 50;

/** How often one that the shell has sent to the background looks whether it is back: `fg` alone tells it nothing. */
const LOOK_MS = 1000;

/**
 * Around each stop and start by the shell (Ctrl+Z, `fg`): `pause` gives the terminal back, `resume` takes it again, once
 * we are in its foreground; after `bg` all goes on without it. The returned function stops this program and whatever was
 * started with it, as the terminal does at Ctrl+Z; undefined on Windows, which has nothing of the kind.
 */
export function watchSuspension(pause: () => Promise<void>, resume: () => void): (() => void) | undefined {
  if (process.platform === "win32") return undefined;
  let waiting: ReturnType<typeof setTimeout> | undefined;
  let turn = 0; // another stop or start makes what was being found out old
  const goOn = async (): Promise<void> => {
    clearTimeout(waiting);
    process.off("SIGTSTP", stop);
    process.on("SIGTSTP", stop);
    turn += 1;
    const ours = turn;
    const isThere = await inForeground();
    if (turn !== ours) return;
    if (isThere === false) waiting = setTimeout(goOn, LOOK_MS);
    else resume();
  };
  const stop = (): void => {
    process.off("SIGTSTP", stop);
    turn += 1;
    void pause().then(() => {
      process.kill(process.pid, "SIGTSTP"); // now without a handler: the system's own way
      waiting = setTimeout(goOn, STOP_MS);
    });
  };
  process.on("SIGTSTP", stop);
  process.on("SIGCONT", () => void pause().then(goOn));
  return () => process.kill(0, "SIGTSTP");
}

/** Whether the terminal's keyboard is ours, and not another job's of the same shell; undefined when nothing tells. */
export async function inForeground(): Promise<boolean | undefined> {
  if (process.platform === "win32") return true;
  try {
    const ps = Bun.spawn(["ps", "-o", "stat=", "-p", String(process.pid)], { stdin: "ignore", stderr: "ignore" });
    const state = await ps.stdout.text();
    return state.trim() === "" ? undefined : state.includes("+");
  } catch {
    return undefined;
  }
}
