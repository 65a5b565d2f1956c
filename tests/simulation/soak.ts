// Plays seeds until told to stop: `bun run soak [--minutes M] [--seeds N] [--seed S] [--from F]`. A breach ends it with 1.

import { parseArgs } from "node:util";
import { playFolder } from "./folder.ts";
import { play } from "./scenario.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    seeds: { type: "string", default: "1000000000" },
    seed: { type: "string" },
    from: { type: "string" },
    keep: { type: "boolean", default: false },
  },
});
/** Every so many seeds one is played twice, which must come out the same. */
const AGAIN_EVERY = 20;
/** Every so many seeds real programs play one in a folder: that takes a second of real time. */
const FOLDER_EVERY = 40;
const sums = { seeds: 0, downloads: 0, crashes: 0, pieces: 0, events: 0, carried: 0, seconds: 0 };
let violations = 0;

if (values.seed !== undefined) {
  const outcome = play(Number(values.seed), true);
  const { breaches, story } = await playFolder(Number(values.seed));
  if (breaches.length > 0) console.log(`BREACH of programs in one folder: ${breaches}\n${story.join("\n")}`);
  for (const breach of outcome.breaches) console.log(`BREACH ${breach}`);
  console.log(`seed ${values.seed}: ${outcome.events} events, ${outcome.breaches.length} violations`);
  process.exit(outcome.breaches.length + breaches.length > 0 ? 1 : 0);
}

const first = values.from === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.from);
const until = performance.now() + Number(values.minutes) * 60_000;
let told = performance.now();
console.log(`from seed ${first}`);
for (let seed = first; performance.now() < until && sums.seeds < Number(values.seeds); seed++) {
  const outcome = play(seed);
  const breaches = [...outcome.breaches];
  if (sums.seeds++ % AGAIN_EVERY === 0 && !Bun.deepEquals(play(seed), outcome))
    breaches.push("it plays otherwise again");
  if (sums.seeds % FOLDER_EVERY === 0)
    for (const breach of (await playFolder(seed)).breaches) breaches.push(`programs in one folder: ${breach}`);
  for (const key of ["downloads", "crashes", "pieces", "events", "carried", "seconds"] as const)
    sums[key] += outcome[key];
  if (breaches.length > 0) {
    violations++;
    console.log(`VIOLATION in seed ${seed}; again with: bun run soak --seed ${seed}\n  ${breaches.join("\n  ")}`);
    if (!values.keep) break;
  }
  if (performance.now() - told > 10_000) {
    told = performance.now();
    console.log(`seed ${seed}: ${summary()}`);
  }
  await new Promise<void>((turn) => setImmediate(turn)); // a promise that nobody caught is told here
}
console.log(summary());
process.exit(violations > 0 ? 1 : 0);

function summary(): string {
  const { seeds, downloads, crashes, pieces, carried, seconds, events } = sums;
  const hours = (seconds / 3600).toFixed(1);
  return `${seeds} seeds, ${downloads} downloads, ${pieces} pieces journaled, ${crashes} crashes, ${Math.round(carried / 2 ** 20)} MiB, ${hours} virtual hours, ${events} events, ${violations} violations`;
}
