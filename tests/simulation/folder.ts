// Programs that share a folder and know nothing of each other: real processes, each with a cache of its own, whose steps
// a seed puts in order. Invariant: who is told that a file is published finds in it what it wrote, and nothing else.

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Step } from "./folder-worker.ts";
import { createRandom } from "./random.ts";

type Program = {
  readonly number: number;
  ask(step: Step): Promise<string>;
  kill(): Promise<void>;
};

/** A file's bytes are written in so many steps, in any order. */
const CHUNKS = 6;
const CHUNK_BYTES = 4096;
const SIZE = CHUNKS * CHUNK_BYTES;
const STEPS = 60;

/** With a cache folder of its own each, or none that can be made. */
function startProgram(number: number, root: string, cache: string): Program {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "folder-worker.ts")], {
    env: { ...process.env, NAPSTER_CACHE: cache, XDG_CACHE_HOME: cache, HOME: join(root, "nowhere") },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = child.stdout.getReader();
  let text = "";
  return {
    number,
    async ask(step) {
      child.stdin.write(`${JSON.stringify(step)}\n`);
      child.stdin.flush();
      while (!text.includes("\n")) {
        const { value, done } = await reader.read();
        if (done) return "dead";
        text += Buffer.from(value).toString();
      }
      const [line = ""] = text.split("\n", 1);
      text = text.slice(line.length + 1);
      return line;
    },
    async kill() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

export type FolderOutcome = {
  readonly breaches: readonly string[];
  readonly story: readonly string[];
  readonly published: number;
};

type Life = { program: Program; missing: number[]; open: boolean; ended: boolean };

/** Plays a seed: two or three programs that want one name with a content each. */
export async function playFolder(seed: number): Promise<FolderOutcome> {
  const random = createRandom(seed);
  const root = fs.mkdtempSync(join(tmpdir(), "napster-folder-"));
  const folder = join(root, "folder");
  const other = join(root, "other name of it");
  fs.mkdirSync(folder);
  fs.symlinkSync(folder, other);
  fs.writeFileSync(join(root, "no folder"), "");
  const name = random.pick(["aula.mp4", "Vídeo 1.mkv", `${"n".repeat(240)}.mp4`]);
  const noCache = random.chance(0.3);
  const cacheOf = (number: number) => (noCache ? join(root, "no folder", "cache") : join(root, `cache ${number}`));
  const begin = (number: number): Life => ({
    program: startProgram(number, root, cacheOf(number)),
    missing: random.shuffle(Array.from({ length: CHUNKS }, (_, index) => index)),
    open: false,
    ended: false,
  });
  const lives = Array.from({ length: random.int(2, 3) }, (_, index) => begin(index + 1));
  const breaches: string[] = [];
  const story: string[] = [];
  let published = 0;

  async function step(life: Life): Promise<void> {
    const { program, missing } = life;
    const say = async (what: Step): Promise<string> => {
      const answer = await program.ask(what);
      story.push(`${program.number} ${what.do}${what.do === "write" ? ` ${what.offset}` : ""}: ${answer}`);
      return answer;
    };
    if (!life.open) {
      const answer = await say({ do: "open", folder: random.pick([folder, other]), name });
      life.open = answer === "done";
      if (life.open && lives.some((one) => one !== life && one.open))
        breaches.push("two have the folder's name at once");
      if (answer !== "done" && answer !== "IN_USE" && answer !== "FILE_EXISTS") breaches.push(`open: ${answer}`);
      life.ended = answer === "FILE_EXISTS";
    } else if (random.chance(0.05)) {
      await program.kill();
      story.push(`${program.number} is killed`);
      Object.assign(life, begin(program.number));
    } else if (random.chance(0.1)) {
      await say({ do: "leave" });
      life.open = false;
      life.missing = random.shuffle(Array.from({ length: CHUNKS }, (_, index) => index)); // what another wrote meanwhile is not ours
    } else if (missing.length > 0) {
      const index = missing.pop() as number;
      await say({ do: "write", byte: program.number, offset: index * CHUNK_BYTES, length: CHUNK_BYTES });
    } else {
      const answer = await say({ do: "publish", size: SIZE });
      life.open = false;
      life.ended = true;
      if (answer !== "done") return;
      published++;
      const bytes = fs.readFileSync(join(folder, name));
      if (bytes.length !== SIZE || bytes.some((byte) => byte !== program.number))
        breaches.push(`what ${program.number} published is not what it wrote`);
    }
  }

  try {
    for (let i = 0; i < STEPS && breaches.length === 0; i++) {
      const able = lives.filter(({ ended }) => !ended);
      if (able.length === 0) break;
      await step(random.pick(able));
    }
    if (published > 1) breaches.push("one name was given twice");
    return { breaches, story, published };
  } finally {
    for (const { program } of lives) await program.kill();
    fs.rmSync(root, { recursive: true, force: true });
  }
}
