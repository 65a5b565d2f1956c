// How a run ends, or stops for a while: Ctrl+C, signals, and what they mean while something is under way.
// Invariant: the first Ctrl+C cancels what can be cancelled, the next one leaves; a signal to end always leaves.
// Never: exits the process. Whoever waits on `leaving` cleans up and does.

import type { Stop } from "./questions.ts";

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

/**
 * Around each stop and start by the shell (Ctrl+Z, `fg`): `pause` gives the terminal back, `resume` takes it again. The
 * returned function stops this program and whatever was started with it, as the terminal does at Ctrl+Z; undefined on
 * Windows, which has nothing of the kind.
 */
export function watchSuspension(pause: () => Promise<void>, resume: () => void): (() => void) | undefined {
  if (process.platform === "win32") return undefined;
  let stopping: ReturnType<typeof setTimeout> | undefined;
  const goOn = (): void => {
    clearTimeout(stopping);
    stopping = undefined;
    process.off("SIGTSTP", stop);
    process.on("SIGTSTP", stop);
    resume();
  };
  const stop = (): void => {
    process.off("SIGTSTP", stop);
    void pause().then(() => {
      process.kill(process.pid, "SIGTSTP"); // now without a handler: the system's own way
      stopping = setTimeout(goOn, STOP_MS);
    });
  };
  process.on("SIGTSTP", stop);
  process.on("SIGCONT", goOn);
  return () => process.kill(0, "SIGTSTP");
}
