// kill -9 of the executables, either side, more than two hundred times, each at a seeded moment of a real download.
// After each one: the final file is the source's or is not there, and each journaled piece is on the disk, for good.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createPieceHasher, HASH_BYTES } from "../../src/content/hashing/merkle.ts";
import { decodeJournal } from "../../src/download/disk/journal.ts";
import { createRandom } from "../simulation/random.ts";
import { freePorts } from "../support/folders.ts";
import { openNative, startServer } from "../support/napster.ts";
import { type Program, startProgram } from "../support/program.ts";
import { contentOf, type Get, type Sharer, startSharer } from "../support/sharer.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(180_000);

const PIECE = 256 * 1024;
const NAME = "aula.mp4";
const PART = `${NAME}.part`;
const JOURNAL = `${NAME}.part.journal`;
const LOCK = `${NAME}.part.lock`; // what a kill leaves of it blocks no later run
const SEED = Number(process.env.KILL_SEED ?? 1);
const GETTERS = 3;
const KILLS_EACH = 44;
const SHARER_KILLS = 60;
const SERVER_KILLS = 20;

const machine = await openNative();
let killed = 0;
afterAll(async () => {
  console.error(`kills: ${killed}, seed ${SEED}`);
  await machine[Symbol.asyncDispose]();
});

function start(program: "napster-server" | "napster-peer", ...args: string[]): Program {
  const cache = join(machine.temporary.path, "cache");
  return startProgram({ command: machine.command(program, ...args), env: { NAPSTER_CACHE: cache }, stdin: "none" });
}

async function kill(program: Program): Promise<void> {
  if (program.running()) killed++;
  program.signal("SIGKILL");
  await program.exit();
}

/** Looks at a download's folder between two runs: which pieces its journal vouches for. Whatever is wrong throws. */
function inspect(folder: string, content: Uint8Array): Set<number> {
  for (const name of readdirSync(folder)) expect([NAME, PART, JOURNAL, LOCK]).toContain(name);
  const final = join(folder, NAME);
  if (existsSync(final)) {
    expect(Buffer.compare(readFileSync(final), content)).toBe(0);
    return new Set();
  }
  if (!existsSync(join(folder, JOURNAL))) return new Set();
  const journal = decodeJournal(readFileSync(join(folder, JOURNAL)));
  const part = readFileSync(join(folder, PART));
  const hasher = createPieceHasher(content.length, PIECE);
  for (const [index, hash] of journal?.pieces ?? []) {
    hasher.update(part.subarray(index * PIECE, (index + 1) * PIECE));
    expect(Buffer.compare(hasher.finish(new Uint8Array(HASH_BYTES)), hash), `journaled piece ${index}`).toBe(0);
  }
  return new Set(journal?.pieces.keys());
}

describe("kill -9", () => {
  test(`of a downloader at any moment costs no journaled piece, ${GETTERS * KILLS_EACH} times`, async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const getters = Array.from({ length: GETTERS }, (_, index) => murderDownloader(at, index));
    await Promise.all(getters);
    expect(killed).toBeGreaterThanOrEqual(GETTERS * KILLS_EACH);
  });

  async function murderDownloader(at: string, which: number): Promise<void> {
    const random = createRandom(SEED * 100 + which);
    const content = contentOf(40 * PIECE + 1234, SEED + which);
    let left = KILLS_EACH;
    for (let life = 0; left > 0; life++) {
      const folder = machine.place(`getter ${which} ${life}`).path;
      let attempts = 0;
      while (!existsSync(join(folder, NAME))) {
        const journaled = inspect(folder, content);
        // Every other one is let live longer, so that the file gets done and there is a last step to be killed in.
        const moment = left === 0 ? Number.POSITIVE_INFINITY : random.int(0, attempts++ % 2 === 0 ? 8 : 24);
        if (await download(at, folder, content, moment, journaled)) left--;
        const now = inspect(folder, content);
        if (!existsSync(join(folder, NAME))) for (const index of journaled) expect(now).toContain(index);
      }
    }
  }

  /** One run of `get`, killed as the source is asked for its `moment`th piece; whether it was. */
  async function download(
    at: string,
    folder: string,
    content: Uint8Array,
    moment: number,
    journaled: ReadonlySet<number>,
  ): Promise<boolean> {
    let asked = 0;
    let died: Promise<void> | undefined;
    const strike = () => {
      died ??= kill(getter);
    };
    const again: Get[] = [];
    const sharer: Sharer = startSharer(content, {
      get(get) {
        if (journaled.has(get.offset / PIECE)) again.push(get);
        if (++asked >= moment) strike();
        return undefined;
      },
      layer() {
        if (moment === 0) strike();
        return sharer.hashed.layer;
      },
    });
    const { ip, port } = sharer.address;
    const rate = ["--max-download-rate", "6M"];
    const getter = start(
      "napster-peer",
      "get",
      NAME,
      "--server",
      at,
      "--dir",
      folder,
      "--from",
      `${ip}:${port}`,
      ...rate,
    );
    await getter.exit(60);
    await died;
    sharer.close();
    expect(again).toEqual([]);
    if (died === undefined) expect(getter.stdout()).toContain("baixado com sucesso");
    return died !== undefined;
  }

  test(`of a sharer ${SHARER_KILLS} times and of the server ${SERVER_KILLS} times never stops a download for good`, async () => {
    const random = createRandom(SEED);
    const content = contentOf(64 * PIECE + 99, SEED + 50);
    const source = machine.place("sharer");
    writeFileSync(join(source.path, NAME), content);
    const [serverPort = 0, sharerPort = 0] = freePorts(2);
    const at = `127.0.0.1:${serverPort}`;
    const startIndex = async () => {
      const index = start("napster-server", "--host", "127.0.0.1", "--port", String(serverPort));
      await index.ready();
      return index;
    };
    const startSource = async () => {
      const program = start(
        "napster-peer",
        "share",
        "--server",
        at,
        "--dir",
        source.path,
        "--port",
        String(sharerPort),
      );
      await program.ready(30);
      return program;
    };
    let index = await startIndex();
    let sharer = await startSource();
    let [sharerKills, serverKills] = [0, 0];
    for (let life = 0; sharerKills < SHARER_KILLS; life++) {
      const folder = machine.place(`downloader ${life}`).path;
      const from = ["--from", `127.0.0.1:${sharerPort}`, "--max-download-rate", "2M"];
      await using getter = start("napster-peer", "get", NAME, "--server", at, "--dir", folder, ...from);
      const size = () => (existsSync(join(folder, PART)) ? statSync(join(folder, PART)).blocks * 512 : 0);
      while (sharerKills < SHARER_KILLS && getter.running() && !existsSync(join(folder, NAME))) {
        const wanted = size() + random.int(0, 300_000);
        await until(
          "more of the file",
          () => size() >= wanted || !getter.running() || existsSync(join(folder, NAME)),
          20,
        );
        await kill(sharer);
        sharerKills++;
        inspect(folder, content);
        if (serverKills < SERVER_KILLS && random.chance(0.45)) {
          await kill(index);
          serverKills++;
          index = await startIndex();
        }
        sharer = await startSource();
      }
      expect(await getter.exit(60), getter.stderr()).toBe(0);
      inspect(folder, content);
      expect(existsSync(join(folder, NAME))).toBe(true);
    }
    await kill(sharer);
    await kill(index);
    expect(serverKills).toBeGreaterThan(5);
  });
});
