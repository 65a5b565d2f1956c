// The .exe files under Wine: the dictated session, mixed with Linux peers, a giant video each way, the real console.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts, sha256 } from "../support/folders.ts";
import { type Machine, openNative, openWindows, type Place, search, share, startServer } from "../support/napster.ts";
import { startProgram } from "../support/program.ts";
import { openPane, type Pane } from "../support/tmux.ts";
import { describeWith } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { makeVideo } from "../support/video.ts";

setDefaultTimeout(120_000);
// Wine's own console host writes to the same terminal as `cat` does, and now and then a cell of the pane is its; a
// fault of ours would be there every time.
const MENU_OPTIONS = { timeout: 90_000, retry: 3 };
let menuTries = 0;

const DICTATED = /^(?:Sou peer |Peer |peers com arquivo solicitado:|Arquivo )/;

describeWith(["linux", "wine", "tmux", "ffmpeg"], "the Windows executables", () => {
  let windows: Machine;
  let linux: Machine;
  beforeAll(async () => {
    linux = await openNative();
    windows = await openWindows();
  }, 240_000);
  afterAll(async () => {
    await windows[Symbol.asyncDispose]();
    await linux[Symbol.asyncDispose]();
  }, 60_000);

  test("one server and three peers, all .exe, print the dictated lines and nothing else", async () => {
    const [serverPort, port] = freePorts(2);
    await using server = windows.start("napster-server", [], ["", String(serverPort)]);
    const at = await server.ready(90);
    expect(at).toBe(`127.0.0.1:${serverPort}`);
    const { peer: one, address: oneAt } = await share(windows, at, windows.place("peer1", { "aula1.mp4": "um" }));
    await using _one = one;
    const { peer: two, address: twoAt } = await share(
      windows,
      at,
      windows.place("peer2", { "aula1.mp4": "um", "vídeo.mp4": "dois" }),
    );
    await using _two = two;
    const here = windows.place("peer3");
    const [ip = "", from = ""] = twoAt.split(":");
    const joined = ["JOIN", "127.0.0.1", String(port), here.typed];
    await using three = windows.start(
      "napster-peer",
      ["--server", at],
      [...joined, "SEARCH", "nada.mp4", "SEARCH", "vídeo.mp4", "DOWNLOAD", ip, from],
    );
    expect(await three.exit(60)).toBe(0);
    expect(three.stdout()).toBe(
      [
        `Sou peer 127.0.0.1:${port} com arquivos`,
        "peers com arquivo solicitado:",
        `peers com arquivo solicitado: ${twoAt}`,
        `Arquivo vídeo.mp4 baixado com sucesso na pasta ${here.typed}\n`,
      ].join("\n"),
    );
    expect(readFileSync(join(here.path, "vídeo.mp4"), "utf8")).toBe("dois");
    expect(one.stdout()).toBe(`Sou peer ${oneAt} com arquivos aula1.mp4\n`);
    expect(server.stdout()).toBe(
      [
        `Peer ${oneAt} adicionado com arquivos aula1.mp4`,
        `Peer ${twoAt} adicionado com arquivos aula1.mp4 vídeo.mp4`,
        `Peer 127.0.0.1:${port} adicionado com arquivos`,
        `Peer 127.0.0.1:${port} solicitou arquivo nada.mp4`,
        `Peer 127.0.0.1:${port} solicitou arquivo vídeo.mp4\n`,
      ].join("\n"),
    );
    // A killed .exe is forgotten as any other.
    two.signal("SIGKILL");
    await until(
      "the killed peer to be forgotten",
      async () => !(await search(linux, at, "vídeo.mp4")).includes(twoAt),
      10,
    );
    expect(await search(linux, at, "aula1.mp4")).toEqual([oneAt]);
  });

  test("a giant video moves exe to exe, exe to Linux and Linux to exe, with a Linux server", async () => {
    const { server, at } = await startServer(linux);
    await using _server = server;
    const source = windows.place("origem");
    await makeVideo(join(source.path, "gigante.mp4"));
    const sum = await sha256(join(source.path, "gigante.mp4"));
    const { peer: exe, address: exeAt } = await share(windows, at, source);
    await using _exe = exe;

    async function fetch(machine: Machine, from: string, here: Place): Promise<string> {
      const args = ["get", "gigante.mp4", "--server", at, "--from", from, "--dir", here.typed];
      await using getting = machine.start("napster-peer", args);
      expect(await getting.exit(120), getting.stderr()).toBe(0);
      expect(getting.stdout()).toEndWith(`Arquivo gigante.mp4 baixado com sucesso na pasta ${here.typed}\n`);
      return sha256(join(here.path, "gigante.mp4"));
    }
    const second = windows.place("destino1");
    expect(await fetch(windows, exeAt, second)).toBe(sum);
    rmSync(join(second.path, "gigante.mp4"));

    const third = linux.place("destino2");
    expect(await fetch(linux, exeAt, third)).toBe(sum);

    const { peer: native, address: nativeAt } = await share(linux, at, third);
    await using _native = native;
    expect((await search(windows, at, "gigante.mp4")).sort()).toEqual([exeAt, nativeAt].sort());
    const fourth = windows.place("destino3");
    expect(await fetch(windows, nativeAt, fourth)).toBe(sum);
  }, 300_000);

  test("the page of the .exe searches, downloads and plays, and refuses a request without its token", async () => {
    const { server, at } = await startServer(linux);
    await using _server = server;
    const content = "aula".repeat(100_000);
    const { peer: source, address } = await share(linux, at, linux.place("fonte", { "aula.mp4": content }));
    await using _source = source;
    const here = windows.place("pagina");
    await using peer = windows.start("napster-peer", ["web", "--server", at, "--dir", here.typed, "--no-open"]);
    const shown = /http:\S+#[0-9a-f]{32}/;
    await peer.complains(shown, 90);
    const { origin, hash } = new URL(shown.exec(peer.stderr())?.[0] ?? "");
    const headers = { Authorization: `Bearer ${hash.slice(1)}`, "Content-Type": "application/json" };
    const ask = (path: string, body: object) =>
      fetch(`${origin}/api/${path}`, { method: "POST", headers, body: JSON.stringify(body) });

    expect(await (await fetch(origin)).text()).toContain("<title>");
    expect((await fetch(`${origin}/api/files`, { method: "POST" })).status).toBe(401);
    await until("the JOIN", async () => (await ask("search", { name: "aula.mp4" })).ok, 30);
    expect(await (await ask("search", { name: "aula.mp4" })).json()).toEqual({ peers: [address] });
    expect((await ask("start", { name: "aula.mp4" })).status).toBe(200);
    const playing = await until("the player's address", async () => {
      const answer = await ask("play", { name: "aula.mp4" });
      return answer.ok && ((await answer.json()) as { url: string });
    });
    const played = await fetch(playing.url, { headers: { Range: "bytes=4-" } });
    expect([played.status, await played.text()]).toEqual([206, content.slice(4)]);
    await until("the file", () => existsSync(join(here.path, "aula.mp4")));
    expect(readFileSync(join(here.path, "aula.mp4"), "utf8")).toBe(content);
  });

  test("the folder of the .exe lives: a file that is copied into it is shared when the program that writes it is done", async () => {
    const { server, at } = await startServer(linux);
    await using _server = server;
    const place = windows.place("viva");
    const { peer } = await share(windows, at, place);
    await using _peer = peer;
    // It writes what it is told until its input ends.
    await using writer = startProgram({
      command: ["wine", "cmd", "/c", `set /p line= > ${place.typed}copia.mp4`],
      env: windows.env,
    });
    await until("the file", () => existsSync(join(place.path, "copia.mp4")));
    writeFileSync(join(place.path, "inteiro.mp4"), "inteiro");
    await peer.complains(/inteiro\.mp4 .*\[SHARED\]/);
    expect(await search(linux, at, "inteiro.mp4")).not.toEqual([]);
    expect(await search(linux, at, "copia.mp4")).toEqual([]);
    await writer.type("done");
    writer.endInput();
    await writer.exit();
    await peer.complains(/copia\.mp4 .*\[SHARED\]/, 90);
    rmSync(join(place.path, "inteiro.mp4"));
    await peer.complains(/inteiro\.mp4 .*\[CHANGED\]/, 90);
  });

  test(
    "the menu of the .exe works in a real console, and leaves the dictated lines",
    async () => {
      menuTries++;
      const { server, at } = await startServer(windows);
      await using _server = server;
      const shared = windows.place(`tela1-${menuTries}`, { "v.mp4": "vídeo" });
      const { peer: sender, address } = await share(windows, at, shared);
      await using _sender = sender;
      const [port = 0] = freePorts(1);
      const here = windows.place(`tela2-${menuTries}`);
      const command = windows.command("napster-peer", "--server", at);
      await using pane = await openPane(windows.temporary, command, { env: windows.env });

      const asks = async (question: RegExp): Promise<void> => {
        const asked = async () => (await pane.screen()).some((line) => !DICTATED.test(line) && question.test(line));
        await until(`the question ${question}`, asked, 30, () => "see the pane").catch(async (error) => {
          throw new Error(`${error}\n${(await pane.screen()).join("\n")}`);
        });
      };
      const answer = async (question: RegExp, text: string): Promise<void> => {
        await asks(question);
        await pane.type(text);
        await pane.press("Enter");
      };
      const choose = (command: string): Promise<void> => answer(/[○●> ] DOWNLOAD$/, command);
      await choose("JOIN");
      await answer(/\bIP\b/, "127.0.0.1");
      await answer(/porta/i, String(port));
      await answer(/pasta/i, here.typed);
      await pane.shows(`Sou peer 127.0.0.1:${port} com arquivos`);
      await choose("SEARCH");
      await answer(/arquivo/i, "nada.mp4");
      await pane.shows(/^peers com arquivo solicitado:$/m);
      await choose("SEARCH");
      await answer(/arquivo/i, "v.mp4");
      await pane.shows(`peers com arquivo solicitado: ${address}`);
      await choose("DOWNLOAD");
      const [ip = "", from = ""] = address.split(":");
      await answer(/\bIP\b/, ip);
      await answer(/porta/i, from);
      await pane.shows("Arquivo v.mp4 baixado com sucesso");
      expect(readFileSync(join(here.path, "v.mp4"), "utf8")).toBe("vídeo");
      await asks(/DOWNLOAD/);
      await pane.press("C-c");
      await pane.shows("[fim 0]");
      expect(await remains(pane)).toEqual([
        `Sou peer 127.0.0.1:${port} com arquivos`,
        "peers com arquivo solicitado:",
        `peers com arquivo solicitado: ${address}`,
        `Arquivo v.mp4 baixado com sucesso na pasta ${here.typed}`,
      ]);
    },
    MENU_OPTIONS,
  );
});

/** The pane without the mark of the end, and without the readiness line that goes to a stderr that is a pipe. */
async function remains(pane: Pane): Promise<string[]> {
  return (await pane.screen()).filter((line) => !/^(?:\[fim |pronto )/.test(line));
}
