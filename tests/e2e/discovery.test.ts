// A peer finds its server by itself: each machine a network namespace, without a default route.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { type Lan, openLan } from "../support/lan.ts";
import { type Machine, openNative } from "../support/napster.ts";
import { type Program, startProgram } from "../support/program.ts";
import { KEY, openTerminal } from "../support/terminal.ts";
import { describeWith } from "../support/tools.ts";

setDefaultTimeout(60_000);

describeWith(["linux", "network namespaces"], "without a named server", () => {
  const SERVER_IP = "192.168.51.10";
  const SHARER_IP = "192.168.51.11";
  const env = { NAPSTER_SERVER: undefined };
  let machine: Machine;
  let lan: Lan;
  beforeAll(async () => {
    machine = await openNative();
    lan = openLan(SERVER_IP, SHARER_IP, "192.168.51.12");
  }, 180_000);
  afterAll(async () => {
    lan[Symbol.dispose]();
    await machine[Symbol.asyncDispose]();
  });

  const command = (on: number, ...words: Parameters<Machine["command"]>): string[] =>
    lan.machines[on]?.command(...machine.command(...words)) ?? [];
  /** Each machine has keys of its own, and remembers no server of an earlier run. */
  const envOf = (on: number) => ({ ...env, NAPSTER_CONFIG: machine.place(`config-${on}`).path });
  const start = (on: number, ...words: Parameters<Machine["command"]>): Program =>
    startProgram({ command: command(on, ...words), env: envOf(on) });
  async function serve(on: number, ...words: string[]): Promise<Program> {
    const server = start(on, "napster-server", "--port", "1099", ...words);
    await server.ready();
    return server;
  }

  test("share and search find the one of their network, and say so", async () => {
    await using _ = await serve(0, "--host", "0.0.0.0", "--name", "sala 3");
    await using sharing = start(1, "napster-peer", "share", "--dir", machine.place("found", { "a.mp4": "a" }).typed);
    const address = await sharing.ready();
    expect(address).toStartWith(`${SHARER_IP}:`);
    expect(sharing.stderr()).toContain(`aviso: servidor ${SERVER_IP}:1099 (sala 3) encontrado na rede [SERVER_FOUND]`);
    await using searching = start(2, "napster-peer", "search", "a.mp4", "--json");
    expect(await searching.exit(), searching.stderr()).toBe(0);
    expect(searching.stdout()).toMatch(
      new RegExp(`^{"event":"server","ip":"${SERVER_IP}","port":1099,"name":"sala 3","id":"[A-Z2-7]{52}"}\n`),
    );
    expect(searching.stdout()).toContain(`"peers":["${address}"]`);
  });

  test("Enter three times at JOIN is right, and a typed 127.0.0.1 is explained before it is tried", async () => {
    await using server = await serve(0, "--host", SERVER_IP);
    const menu = openTerminal(command(1, "napster-peer", "--dir", machine.place("enter", { "e.mp4": "e" }).typed), {
      env: envOf(1),
    });
    await using _ = menu;
    await menu.shows("O que fazer?");
    expect(menu.screen().join("\n")).toContain("[SERVER_FOUND]");
    menu.press("JOIN", KEY.enter);
    await menu.shows(`IP deste peer (Enter = ${SHARER_IP})`);
    menu.press("127.0.0.1", KEY.enter);
    await menu.shows("só vale dentro desta máquina");
    expect(server.stdout()).toBe("");
    menu.press("\u0015", SHARER_IP, KEY.enter);
    await menu.shows("Porta deste peer");
    menu.press(KEY.enter);
    await menu.shows(`Sou peer ${SHARER_IP}:8776 com arquivos e.mp4`);
  });

  test("one that starts after the peer is found at the next JOIN, and Enter three times is right again", async () => {
    const menu = openTerminal(command(1, "napster-peer", "--dir", machine.place("later", { "l.mp4": "l" }).typed), {
      env: envOf(1),
    });
    await using _ = menu;
    await menu.shows("O que fazer?");
    menu.press("JOIN", KEY.enter);
    await menu.shows("IP deste peer (Enter = 127.0.0.1)");
    menu.press(KEY.enter);
    await menu.shows("Porta deste peer");
    menu.press(KEY.enter);
    await menu.shows("[SERVER_UNREACHABLE]");
    await using _server = await serve(0, "--host", "0.0.0.0", "--name", "sala 9");
    menu.press("JOIN", KEY.enter);
    await menu.shows(`IP deste peer (Enter = ${SHARER_IP})`);
    expect(menu.screen().join("\n")).toContain("(sala 9) encontrado na rede [SERVER_FOUND]");
    menu.press(KEY.enter);
    await menu.shows("Porta deste peer");
    menu.press(KEY.enter);
    await menu.shows(`Sou peer ${SHARER_IP}:8776 com arquivos l.mp4`);
  });

  test("another one where a known one was is refused; the hint names both ways out, and its link is one", async () => {
    const search = ["napster-peer", "search", "a.mp4"] as const;
    {
      await using _ = await serve(0, "--host", "0.0.0.0");
      await using first = start(1, ...search);
      await first.exit();
      expect(first.stdout()).toContain("peers com arquivo solicitado:");
    }
    const other = startProgram({
      command: command(0, "napster-server", "--port", "1099", "--host", "0.0.0.0"),
      env: { ...env, NAPSTER_CONFIG: machine.place("config-other").path },
    });
    await using _ = other;
    await other.ready();
    await using refused = start(1, ...search);
    expect(await refused.exit()).toBe(1);
    expect(refused.stderr()).toContain("[SERVER_KEY_CHANGED]");
    expect(refused.stderr()).toContain(`apague a linha ${SERVER_IP}:1099 de `);
    const [, link = ""] = /use --server (napster:\S+),/.exec(refused.stderr()) ?? [];
    expect(other.stderr()).toContain(link);
    await using linked = start(1, ...search, "--server", link);
    await linked.exit();
    expect(linked.stdout()).toContain("peers com arquivo solicitado:");
    await using again = start(1, ...search);
    expect(await again.exit(), "the link has changed nothing that was known").toBe(1);
  });

  test("several are a choice at the terminal, and an error that lists them in a script", async () => {
    await using one = await serve(0, "--host", "0.0.0.0", "--name", "sala");
    await using two = await serve(2, "--host", "0.0.0.0", "--name", "sala");
    await using script = start(1, "napster-peer", "search", "a.mp4");
    expect(await script.exit()).toBe(1);
    expect(script.stderr()).toContain(`${SERVER_IP}:1099 (sala), 192.168.51.12:1099 (sala) [SEVERAL_SERVERS]`);
    await using piped = start(1, "napster-peer");
    expect(await piped.exit()).toBe(1);
    const menu = openTerminal(command(1, "napster-peer", "--dir", machine.place("several").typed), { env: envOf(1) });
    await using _ = menu;
    await menu.shows("Qual servidor?");
    menu.press("2", KEY.enter);
    await menu.shows("O que fazer?");
    menu.press("JOIN", KEY.enter, KEY.enter, KEY.enter);
    await two.shows(`Peer ${SHARER_IP}:8776 adicionado com arquivos`);
    expect(one.stdout()).toBe("");
  });

  test("one that listens on 127.0.0.1, or is told not to answer, is not found", async () => {
    await using _ = await serve(0, "--host", "127.0.0.1");
    await using silent = await serve(2, "--host", "0.0.0.0", "--no-discovery");
    await using searching = start(1, "napster-peer", "search", "a.mp4");
    expect(await searching.exit()).toBe(1);
    expect(searching.stderr()).toStartWith("erro: o servidor 127.0.0.1:1099 não responde [SERVER_UNREACHABLE]");
    expect(silent.running()).toBeTrue();
  });

  test("one of the own machine is taken before all others, and nothing is said of it", async () => {
    await using _ = await serve(0, "--host", "0.0.0.0");
    await using own = await serve(1, "--host", "127.0.0.1");
    await using sharing = start(1, "napster-peer", "share", "--dir", machine.place("own", { "o.mp4": "o" }).typed);
    const address = await sharing.ready();
    expect(address).toStartWith("127.0.0.1:");
    expect(sharing.stderr()).toBe(`pronto ${address}\n`);
    expect(own.stdout()).toBe(`Peer ${address} adicionado com arquivos o.mp4\n`);
  });
});
