// The consoles as a person sees them: a pseudo-terminal of 80 columns, keys, and what stays on the screen.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../support/folders.ts";
import { openNative, type Place, search, share, startServer } from "../support/napster.ts";
import { KEY, openTerminal, type TerminalSession } from "../support/terminal.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const machine = await openNative();
afterAll(() => machine[Symbol.asyncDispose]());

const DICTATED = /^(?:Sou peer |Peer |peers com arquivo solicitado:|Arquivo )/;

/** Waits for a question: text on the screen that is not one of the dictated lines. */
async function asks(session: TerminalSession, question: RegExp): Promise<void> {
  const asked = () => session.screen().some((line) => !DICTATED.test(line) && question.test(line));
  await until(`the question ${question}`, asked, 15, () => session.screen().join("\n"));
}

const menu = (session: TerminalSession) => asks(session, /DOWNLOAD/);

async function choose(session: TerminalSession, option: "JOIN" | "SEARCH" | "DOWNLOAD"): Promise<void> {
  await menu(session);
  session.press(option, KEY.enter);
}

async function enter(session: TerminalSession, port: number, place: Place): Promise<void> {
  await choose(session, "JOIN");
  await asks(session, /\bIP\b/);
  session.press("127.0.0.1", KEY.enter);
  await asks(session, /porta/i);
  session.press(String(port), KEY.enter);
  await asks(session, /pasta/i);
  session.press(place.typed, KEY.enter);
  await session.shows("Sou peer");
}

async function searchFor(session: TerminalSession, name: string): Promise<void> {
  await choose(session, "SEARCH");
  await asks(session, /arquivo/i);
  session.press(name, KEY.enter);
}

async function downloadFrom(session: TerminalSession, address: string): Promise<void> {
  const [ip = "", port = ""] = address.split(":");
  await choose(session, "DOWNLOAD");
  await asks(session, /\bIP\b/);
  session.press(ip, KEY.enter);
  await asks(session, /porta/i);
  session.press(port, KEY.enter);
}

describe("a person at the terminal", () => {
  test("after a whole session the screens hold the dictated lines and nothing else (SPEC 4.e, 5.i, 6)", async () => {
    const [serverPort = 0, senderPort = 0, port = 0] = freePorts(3);
    await using server = openTerminal(machine.command("napster-server"));
    await asks(server, /\bIP\b/);
    server.press(KEY.enter);
    await asks(server, /porta/i);
    server.press(String(serverPort), KEY.enter);
    const at = `127.0.0.1:${serverPort}`;
    // The questions go; a quiet line says that it lives, and how many it serves.
    await until("the server to serve", () => server.screen().join("\n") === "0 peers · Ctrl+C sai");

    await using sender = openTerminal(machine.command("napster-peer", "--server", at));
    await enter(sender, senderPort, machine.place("t1", { "v.mp4": "vídeo" }));
    await server.endsWith(/^1 peer · Ctrl\+C sai$/);
    await using peer = openTerminal(machine.command("napster-peer", "--server", at));
    const here = machine.place("t2");
    await enter(peer, port, here);
    await searchFor(peer, "nada.mp4");
    await peer.shows(/^peers com arquivo solicitado:$/m);
    await searchFor(peer, "v.mp4");
    await peer.shows(`peers com arquivo solicitado: 127.0.0.1:${senderPort}`);
    await downloadFrom(peer, `127.0.0.1:${senderPort}`);
    await peer.shows("Arquivo v.mp4");
    await menu(peer);
    expect(readFileSync(join(here.path, "v.mp4"), "utf8")).toBe("vídeo");

    for (const session of [peer, sender]) {
      session.press(KEY.interrupt);
      expect(await session.exit()).toBe(0);
    }
    expect(peer.screen()).toEqual([
      `Sou peer 127.0.0.1:${port} com arquivos`,
      "peers com arquivo solicitado:",
      `peers com arquivo solicitado: 127.0.0.1:${senderPort}`,
      `Arquivo v.mp4 baixado com sucesso na pasta ${here.typed}`,
    ]);
    expect(sender.screen()).toEqual([`Sou peer 127.0.0.1:${senderPort} com arquivos v.mp4`]);
    expect(await search(machine, at, "v.mp4")).toEqual([]);
    const lines = [
      `Peer 127.0.0.1:${senderPort} adicionado com arquivos v.mp4`,
      `Peer 127.0.0.1:${port} adicionado com arquivos`,
      `Peer 127.0.0.1:${port} solicitou arquivo nada.mp4`,
      `Peer 127.0.0.1:${port} solicitou arquivo v.mp4`,
    ];
    expect(server.screen().slice(0, 4)).toEqual(lines);
    await server.endsWith(/^0 peers · Ctrl\+C sai$/);
    server.press("ajuda", KEY.enter);
    await server.shows("sair, ou Ctrl+C");
    server.press("sair", KEY.enter);
    expect(await server.exit()).toBe(0);
    expect(server.screen().filter((line) => !DICTATED.test(line))).toEqual([]);
  });

  test("the menu offers JOIN, SEARCH and DOWNLOAD only", async () => {
    await using peer = openTerminal(machine.command("napster-peer"));
    await menu(peer);
    const words = peer
      .screen()
      .join(" ")
      .match(/\b[A-Z]{4,}\b/g);
    expect([...new Set(words)]).toEqual(["JOIN", "SEARCH", "DOWNLOAD"]);
  });

  test("a wrong answer is explained at its prompt, and nothing of it stays", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const [port] = freePorts(1);
    await using peer = openTerminal(machine.command("napster-peer", "--server", at));
    await choose(peer, "JOIN");
    await asks(peer, /\bIP\b/);
    peer.press("127.0.0.256", KEY.enter);
    await asks(peer, /IPv?4?/);
    peer.press("\b".repeat(3), "1", KEY.enter);
    await asks(peer, /porta/i);
    peer.press("70000", KEY.enter);
    await asks(peer, /65535/);
    peer.press("\u007f".repeat(5), String(port), KEY.enter);
    await asks(peer, /pasta/i);
    const place = machine.place("t3");
    peer.press(`${place.typed}x`, KEY.enter);
    await asks(peer, /não existe/);
    peer.press("\u007f", KEY.enter);
    await peer.shows("Sou peer");
    await menu(peer);
    peer.press(KEY.interrupt);
    expect(await peer.exit()).toBe(0);
    expect(peer.screen()).toEqual([`Sou peer 127.0.0.1:${port} com arquivos`]);
  });

  test("Ctrl+C during a download takes the person back to the menu, and says that it can go on", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const from = machine.place("t4");
    writeFileSync(join(from.path, "longo.mp4"), "");
    truncateSync(join(from.path, "longo.mp4"), 6 * 2 ** 30);
    const { peer: sender, address } = await share(machine, at, from);
    await using _sender = sender;
    const [port = 0] = freePorts(1);
    await using peer = openTerminal(machine.command("napster-peer", "--server", at));
    await enter(peer, port, machine.place("t5"));
    await searchFor(peer, "longo.mp4");
    await peer.shows(`peers com arquivo solicitado: ${address}`);
    await downloadFrom(peer, address);
    await asks(peer, /\d+ ?%/);
    peer.press(KEY.interrupt);
    await peer.shows(/cancelad/);
    await menu(peer);
    peer.press(KEY.interrupt);
    expect(await peer.exit()).toBe(0);
    const rest = peer.screen().filter((line) => !DICTATED.test(line));
    expect(rest.join("\n")).toMatch(/^aviso: o download foi cancelado: longo\.mp4 \[CANCELLED\]; [^\n]*\n[^\n]*$/);
    expect(peer.screen().join("\n")).not.toContain("baixado com sucesso");
  });

  test("P at get's progress bar tells a player where to read, and Ctrl+C ends it with the terminal as it was", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const from = machine.place("t6");
    writeFileSync(join(from.path, "longo.mp4"), "");
    truncateSync(join(from.path, "longo.mp4"), 2 ** 30);
    const { peer: sender } = await share(machine, at, from, "--max-upload-rate", "5M");
    await using _sender = sender;
    const words = ["get", "longo.mp4", "--server", at, "--dir", machine.place("t7").typed];
    const get = machine.command("napster-peer", ...words).join(" ");
    // The shell says at the end how the program left the terminal.
    const command = ["sh", "-c", `before=$(stty -g); ${get}; [ "$before" = "$(stty -g)" ] && echo igual`];
    await using getting = openTerminal(command, { env: { DISPLAY: undefined, WAYLAND_DISPLAY: undefined } });
    await asks(getting, /\d+ ?%/);
    await getting.endsWith("P assiste · Ctrl+C cancela");
    getting.press("p");
    await getting.shows("http://127.0.0.1:");
    getting.press(KEY.interrupt);
    await getting.shows("CANCELLED");
    await getting.endsWith("igual");
  });

  test.skipIf(process.platform === "win32")(
    "a server from flags shows its quiet line, and goes on without the terminal in the background",
    async () => {
      await using shell = openTerminal(["bash", "--norc", "-i"], {
        env: { PS1: "$ ", BASH_SILENCE_DEPRECATION_WARNING: "1" },
      });
      await shell.shows("$");
      const [port = 0, other = 0] = freePorts(2);
      const serve = (port: number) =>
        machine.command("napster-server", "--host", "127.0.0.1", "--port", String(port)).join(" ");
      shell.press(`${serve(port)}${KEY.enter}`);
      await shell.endsWith(/^0 peers · Ctrl\+C sai$/);
      shell.press(KEY.suspend);
      await shell.shows("Stopped");
      await shell.endsWith(/^\$$/);
      shell.press(`bg${KEY.enter}`);
      expect(await search(machine, `127.0.0.1:${port}`, "nada.mp4")).toEqual([]);
      await shell.shows("solicitou arquivo nada.mp4");
      shell.press(`clear; jobs${KEY.enter}`);
      await shell.shows("Running");
      expect(shell.screen().join("\n")).not.toContain("peers");
      shell.press(`clear; fg${KEY.enter}`);
      await shell.endsWith(/^0 peers · Ctrl\+C sai$/);
      shell.press(KEY.interrupt);
      await shell.endsWith(/^\$$/);

      shell.press(`clear; ${serve(other)} & clear${KEY.enter}`);
      await until("it to serve", () => search(machine, `127.0.0.1:${other}`, "nada.mp4").catch(() => undefined));
      await shell.shows("solicitou arquivo nada.mp4");
      expect(shell.screen().join("\n")).not.toMatch(/peers|Stopped/);
      shell.press(`clear; kill %1; wait; exit${KEY.enter}`);
      await shell.exit();
    },
  );
});
