// `napster-peer hash` as a program: what it prints for files and folders, and how it ends.
// Invariant: every run has a folder and a cache of its own.
// Never: needs a server, or waits for time to pass.

import { afterAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import { runHash } from "../../src/console/hash.ts";
import { createLife } from "../../src/console/shutdown.ts";
import { showRanges, verdictLine } from "../../src/console/text/hash-lines.ts";
import type { Report } from "../../src/console/text/report.ts";
import { fault } from "../../src/protocol/fault.ts";
import { temporaryFolder } from "../support/folders.ts";
import { startProgram } from "../support/program.ts";

const MAIN = join(import.meta.dir, "..", "..", "src", "napster-peer.ts");
const { vectors: VECTORS } = JSON.parse(
  fs.readFileSync(join(import.meta.dir, "..", "vectors", "roots.json"), "utf8"),
) as { vectors: { input: { size: number }; expect: { root: string } }[] };
const EMPTY_ROOT = "0".repeat(64);
const PIECE_BYTES = 256 * 1024;
/** Long ago: the cache trusts no file that was edited in the last seconds. */
const OLD = new Date("2020-01-01T00:00:00Z");

const temporary = temporaryFolder("hash");
afterAll(() => temporary[Symbol.dispose]());
let turn = 0;

/** A folder with these files, not touched for long, and the program run on it. */
function scene(files: Record<string, string | Uint8Array>) {
  turn += 1;
  const folder = temporary.sub(`pasta ${turn}`);
  const env = { NAPSTER_CACHE: join(temporary.path, `cache-${turn}`) };
  const put = (name: string, content: string | Uint8Array, when = OLD): string => {
    const path = join(folder, name);
    fs.writeFileSync(path, content);
    fs.utimesSync(path, when, when);
    return path;
  };
  for (const [name, content] of Object.entries(files)) put(name, content);
  return {
    folder,
    put,
    path: (name: string) => join(folder, name),
    async hash(...args: string[]) {
      const command = [process.execPath, MAIN, "hash", ...args];
      await using program = startProgram({ command, env, stdin: "none" });
      const code = await program.exit();
      return { code, out: program.stdout().split("\n").slice(0, -1), err: program.stderr() };
    },
  };
}
const objects = (lines: readonly string[]) => lines.map((line) => JSON.parse(line) as Record<string, unknown>);
const bytes = (size: number) => Uint8Array.from({ length: size }, (_, index) => index % 251);

describe("hash", () => {
  test("prints root, size, piece length and name of each file, in their order", async () => {
    const { hash, path } = scene({ "b c.mp4": bytes(16_385), "a.mp4": "" });
    const { code, out, err } = await hash(path("b c.mp4"), path("a.mp4"));
    expect([code, err]).toEqual([0, ""]);
    const root = VECTORS.find(({ input }) => input.size === 16_385)?.expect.root;
    expect(out).toEqual([`${root} 16385 ${PIECE_BYTES} b c.mp4`, `${EMPTY_ROOT} 0 ${PIECE_BYTES} a.mp4`]);
  });

  test("--json prints one object a file", async () => {
    const { hash, path } = scene({ "a.mp4": "" });
    const { code, out } = await hash(path("a.mp4"), "--json");
    expect([code, ...objects(out)]).toEqual([
      0,
      { event: "hashed", name: "a.mp4", path: path("a.mp4"), size: 0, root: EMPTY_ROOT, pieceBytes: PIECE_BYTES },
    ]);
  });

  test("a file that is not there, or is a folder, is an error of its own, and the exit code is 1", async () => {
    const { hash, path, folder } = scene({ "a.mp4": "" });
    const { code, out, err } = await hash(path("nada.mp4"), folder, path("a.mp4"));
    expect([code, out.length]).toEqual([1, 1]);
    expect(err).toMatch(
      /^erro: o arquivo .*nada\.mp4 não existe \[FILE_MISSING\]\ndica: .*\nerro: .* é uma pasta, e não um arquivo \[FILE_MISSING\]\ndica: .*\n$/,
    );
  });

  test.skipIf(process.platform === "win32")("a name with control characters is shown escaped", async () => {
    const { hash, path } = scene({ "a\u001b[2J.mp4": "" });
    expect((await hash(path("a\u001b[2J.mp4"))).out[0]).toEndWith(" a\\u{1b}[2J.mp4");
  });

  test("ends with 1 when the person leaves before all is read", async () => {
    const life = createLife();
    const said: string[] = [];
    const silent = () => {};
    const report = { working: silent, settled: silent, complain: () => said.push("complain") } as unknown as Report;
    async function* never() {
      life.leave();
      await Promise.resolve();
      yield {
        name: "x",
        path: "x",
        fault: { fault: "SHUTTING_DOWN", whose: "ours", retry: false, detail: "" },
      } as const;
    }
    expect(await runHash({ report, life }, never(), 1)).toBe(1);
    expect(said).toEqual([]);
  });
});

describe("hash --verify", () => {
  test("a folder never seen is new, then ok", async () => {
    const { hash, folder } = scene({ "a.mp4": "a", "b.mp4": "b" });
    expect(await hash("--verify", folder)).toEqual({ code: 0, out: ["novo       a.mp4", "novo       b.mp4"], err: "" });
    expect(await hash("--verify", folder)).toEqual({ code: 0, out: ["ok         a.mp4", "ok         b.mp4"], err: "" });
  });

  test("damage is found, named by its pieces, and found again; an edited file is none", async () => {
    const size = 4 * PIECE_BYTES;
    const { hash, folder, path, put } = scene({ "a.mp4": bytes(size), "b.mp4": "b", "c.mp4": "c" });
    await hash("--verify", folder);
    put("b.mp4", "edited", new Date("2021-01-01T00:00:00Z"));
    const fd = fs.openSync(path("a.mp4"), "r+");
    for (const piece of [0, 1, 3]) fs.writeSync(fd, "X", piece * PIECE_BYTES + 7);
    fs.closeSync(fd);
    fs.utimesSync(path("a.mp4"), OLD, OLD);
    const found = await hash("--verify", folder);
    expect(found.out).toEqual(["danificado a.mp4 (partes 0-1, 3)", "mudou      b.mp4", "ok         c.mp4"]);
    expect(found.code).toBe(1);
    expect(found.err).toMatch(/^erro: arquivos danificados: 1 de 3 \[CORRUPT\]\ndica: .+\n$/);

    const again = await hash("--verify", folder, "--json");
    expect([again.code, ...objects(again.out)]).toEqual([
      1,
      { event: "verified", name: "a.mp4", verdict: "damaged", root: expect.any(String), pieces: [0, 1, 3] },
      { event: "verified", name: "b.mp4", verdict: "ok", root: expect.any(String) },
      { event: "verified", name: "c.mp4", verdict: "ok", root: expect.any(String) },
      { event: "error", code: "CORRUPT", message: "arquivos danificados: 1 de 3", hint: expect.any(String) },
    ]);
  });

  test("a folder that is missing is an error, and an empty one is well", async () => {
    const { hash, folder } = scene({});
    expect(await hash("--verify", folder)).toEqual({ code: 0, out: [], err: "" });
    const { code, out, err } = await hash("--verify", join(folder, "nada"));
    expect([code, out]).toEqual([1, []]);
    expect(err).toMatch(/^erro: a pasta .*nada não existe ou não é uma pasta \[FOLDER_MISSING\]\n/);
  });

  test("without its record it says so: every file looks new", async () => {
    const { hash, folder } = scene({ "a.mp4": "a" });
    fs.writeFileSync(join(temporary.path, `cache-${turn}`), "a file where the folder should be");
    const { code, out, err } = await hash("--verify", folder);
    expect([code, out]).toEqual([0, ["novo       a.mp4"]]);
    expect(err).toMatch(
      /^erro: o registro das verificações não pôde ser aberto.* \[DISK_ERROR\]\ndica: .*NAPSTER_CACHE\n$/,
    );
  });
});

test("pieces are shown as ranges, and a file that was not read has none", () => {
  expect([[5], [1, 2], [0, 2, 3, 4, 9]].map(showRanges)).toEqual(["5", "1-2", "0, 2-4, 9"]);
  expect(verdictLine({ name: "x.mp4", verdict: "unread", fault: fault("DISK_ERROR", "disk") })).toBe(
    "ilegível   x.mp4",
  );
});
