// get of many files from the executables: killed at seeded moments and taken up, by pattern, words and list, and waiting.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRandom } from "../simulation/random.ts";
import { openNative, type Place, share, startServer } from "../support/napster.ts";
import { type Program, startProgram } from "../support/program.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(120_000);

const SEED = Number(process.env.MANY_SEED ?? 1);
const FILES = 300;
const KILLS = 2;

const machine = await openNative();
afterAll(() => machine[Symbol.asyncDispose]());

const contentOf = (index: number): string => `aula ${index}\n`.repeat(1 + ((index * 7919) % 1000));
const nameOf = (index: number): string => `aula ${index}.mp4`;
const all = (): Record<string, string> =>
  Object.fromEntries(Array.from({ length: FILES }, (_, index) => [nameOf(index), contentOf(index)]));

function get(at: string, place: Place, ...args: string[]): Program {
  const command = machine.command("napster-peer", "get", "--server", at, "--dir", place.typed, ...args);
  return startProgram({ command, env: machine.env, stdin: "none" });
}

/** The files that have their names. */
const whole = ({ path }: Place): string[] => readdirSync(path).filter((name) => name.endsWith(".mp4"));

async function ended(program: Program): Promise<{ code: number; out: string; err: string }> {
  const code = await program.exit(90);
  await program[Symbol.asyncDispose]();
  return { code, out: program.stdout(), err: program.stderr() };
}

const eventsOf = (out: string) => {
  const lines = out.trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as { event: string } & Record<string, unknown>);
};

describe("get of many files", () => {
  test(`of ${FILES}, killed at random and taken up, each is whole in the end, and none is there in part before`, async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const { peer } = await share(machine, at, machine.place("m1", all()));
    await using _peer = peer;
    const here = machine.place("m2");
    const list = join(machine.temporary.path, "list.txt");
    // A name twice, a blank line, and a BOM, as an editor leaves them.
    writeFileSync(list, `\ufeff${Object.keys(all()).join("\r\n")}\r\n\r\n${nameOf(0)}\r\n`);
    const random = createRandom(SEED);
    for (let kill = 1; kill <= KILLS; kill += 1) {
      const least = Math.floor((FILES / (KILLS + 1)) * (kill - 1 + random.next()));
      await using program = get(at, here, "--list", list, "--max-downloads", "6");
      await until("some of them", () => whole(here).length >= least || !program.running(), 60);
      program.signal("SIGKILL");
      await program.exit();
      for (const name of whole(here)) {
        const index = Number(/\d+/.exec(name));
        expect(readFileSync(join(here.path, name), "utf8") === contentOf(index), name).toBe(true);
      }
    }
    const resumed = await ended(get(at, here, "--resume"));
    expect([0, 5]).toContain(resumed.code);
    expect(readdirSync(here.path).filter((name) => name.endsWith(".part"))).toEqual([]);
    const before = whole(here).length;
    const last = await ended(get(at, here, "--list", list, "--json", "--max-downloads", "6"));
    expect([last.code, last.err.match(/^erro:.*$/gm)]).toEqual([0, null]);
    const summary = eventsOf(last.out).findLast(({ event }) => event === "summary");
    expect(summary).toMatchObject({ files: FILES, done: FILES - before, here: before, failed: [], running: 0 });
    for (let index = 0; index < FILES; index += 1)
      expect(readFileSync(join(here.path, nameOf(index)), "utf8") === contentOf(index), nameOf(index)).toBe(true);
    expect(readdirSync(here.path).sort()).toEqual(Object.keys(all()).sort());
  });

  test("by pattern, by words and by list takes what is meant; the code is that of the worst, and the summary says why", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const files = { "Aula 1 redes.mp4": "1", "aula 2.mp4": "2", "aula 2.srt": "s", "prova redes.pdf": "p" };
    const { peer } = await share(machine, at, machine.place("m3", files));
    await using _peer = peer;
    const here = machine.place("m4");
    expect((await ended(get(at, here, "--match", "aula*.mp4"))).code).toBe(0);
    expect(readdirSync(here.path).sort()).toEqual(["Aula 1 redes.mp4", "aula 2.mp4"]);
    expect((await ended(get(at, here, "--words", "rede"))).code).toBe(0);
    expect(readdirSync(here.path).sort()).toEqual(["Aula 1 redes.mp4", "aula 2.mp4", "prova redes.pdf"]);
    const { code, out, err } = await ended(get(at, here, "aula 2.mp4", "nada.mp4", "aula 2.srt"));
    expect(code).toBe(3);
    expect(out).toContain(`Arquivo aula 2.srt baixado com sucesso na pasta ${here.typed}\n`);
    expect(err).toContain(
      "aviso: de 3 arquivos, 1 baixado (1 B), 1 já na pasta, 1 sem sucesso [SUMMARY]\n  nada.mp4 [NO_SOURCE]\n",
    );
    expect((await ended(get(at, here, "--match", "nada*.mp4"))).code).toBe(3);
  });

  test("refuses a pattern of nothing or with a path, a list of garbage and one that is not there, before it asks anything", async () => {
    const at = "127.0.0.1:1";
    const here = machine.place("m5");
    const garbage = join(machine.temporary.path, "garbage");
    writeFileSync(garbage, new Uint8Array([0xc3, 0x28, 0, 255, 10, 1]));
    const bad = join(machine.temporary.path, "bad.txt");
    writeFileSync(bad, "aula.mp4\n../aula.mp4\n");
    for (const [args, code] of [
      [["--match", ""], 2],
      [["--match", "../*"], 2],
      [["--match", "*"], 2],
      [["--list", garbage], 2],
      [["--list", bad], 2],
      [["--list", here.path], 2],
      [["--list", join(here.path, "nada.txt")], 1],
      [["--words"], 2],
      [["--match", "a*", "b.mp4"], 2],
      [["--resume"], 0],
    ] as const) {
      const run = await ended(get(at, here, ...args));
      expect([args, run.code, run.out]).toEqual([args, code, ""]);
      expect(run.err).toMatch(/^(?:erro|aviso): .*\[(?:USAGE|BAD_NAME|FILE_MISSING)\]/m);
    }
  });

  test("with --wait gets what no peer has when one brings it, by JOIN or later, also after the server was away", async () => {
    const first = await startServer(machine);
    const { at } = first;
    const here = machine.place("m6");
    await using waiting = get(at, here, "tarde.mp4", "depois.mp4", "--wait", "--json");
    const isWaiting = (name: string, since = 0) =>
      eventsOf(`${waiting.stdout().slice(0, waiting.stdout().lastIndexOf("\n"))}`)
        .slice(since)
        .some((event) => event.event === "waiting" && event.name === name);
    await until(
      "both to wait",
      () => waiting.stdout().includes("\n") && isWaiting("tarde.mp4") && isWaiting("depois.mp4"),
    );
    const from = machine.place("m7", { "tarde.mp4": "tarde" });
    const sharer = await share(machine, at, from);
    await until("the first", () => readdirSync(here.path).includes("tarde.mp4"), 30);
    expect(readFileSync(join(here.path, "tarde.mp4"), "utf8")).toBe("tarde");
    await sharer.peer[Symbol.asyncDispose]();
    await first.server[Symbol.asyncDispose]();
    const port = at.split(":")[1] ?? "";
    await using server = machine.start("napster-server", ["--host", "127.0.0.1", "--port", port]);
    await server.ready();
    await using again = (await share(machine, at, machine.place("m8", { "depois.mp4": "depois" }))).peer;
    expect(again.running()).toBe(true);
    expect(await waiting.exit(60)).toBe(0);
    expect(readFileSync(join(here.path, "depois.mp4"), "utf8")).toBe("depois");
    rmSync(here.path, { recursive: true });
  });
});
