// Long work cut into turns, so that a library of 100,000 names never holds up a short request.
// Invariant: all jobs together take at most about SLICE_MS of each turn of the event loop, one job after another.
// Never: drops a job, or runs one before an earlier one has had its turn.

/** A job that gives way at each `yield`; between two of them it should take well under a millisecond. */
export type Job<T> = Generator<undefined, T, undefined>;

/** How much of a turn of the event loop goes to such jobs. */
const SLICE_MS = 4;

type Waiting = { readonly step: () => boolean };

const waiting: Waiting[] = [];
let scheduled = false;

function turn(): void {
  const until = performance.now() + SLICE_MS;
  let current = waiting.shift();
  while (current !== undefined && performance.now() < until) current = current.step() ? waiting.shift() : current;
  if (current !== undefined) waiting.push(current);
  scheduled = waiting.length > 0;
  if (scheduled) setImmediate(turn);
}

/** How much of this turn has gone to jobs that were run at once. */
let spentMs = 0;
const renew = (): void => {
  spentMs = 0;
};

/** The job's result: at once while this turn has time for it, else in slices, behind those that wait already. */
export function runSoon<T>(job: Job<T>): T | Promise<T> {
  if (scheduled || spentMs >= SLICE_MS) return runInSlices(job);
  if (spentMs === 0) setImmediate(renew);
  const from = performance.now();
  const result = runAtOnce(job);
  spentMs += Math.max(0.001, performance.now() - from);
  return result;
}

/** The job's result, once it has had as many turns as it needs. */
export function runInSlices<T>(job: Job<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const step = (): boolean => {
    try {
      const { done, value } = job.next();
      if (done === true) resolve(value);
      return done === true;
    } catch (error) {
      reject(error);
      return true;
    }
  };
  waiting.push({ step });
  if (!scheduled) {
    scheduled = true;
    setImmediate(turn);
  }
  return promise;
}

/** The job's result at once: for work that is known to be short. */
export function runAtOnce<T>(job: Job<T>): T {
  for (;;) {
    const { done, value } = job.next();
    if (done === true) return value;
  }
}
