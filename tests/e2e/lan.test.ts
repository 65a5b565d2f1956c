// The programs on several machines of one network, each a network namespace.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Lan, openLan } from "../support/lan.ts";
import { type Machine, openNative } from "../support/napster.ts";
import { type Program, startProgram } from "../support/program.ts";
import { describeWith } from "../support/tools.ts";

setDefaultTimeout(60_000);

describeWith(["linux", "network namespaces"], "from another machine than the server's", () => {
  const SERVER_IP = "192.168.50.10";
  const AT = `${SERVER_IP}:1099`;
  const SHARER_IP = "192.168.50.11";
  let machine: Machine;
  let lan: Lan;
  let server: Program;
  beforeAll(async () => {
    machine = await openNative();
    lan = openLan(SERVER_IP, SHARER_IP, "192.168.50.12");
    server = start(0, "napster-server", "--host", "0.0.0.0", "--port", "1099");
    await server.ready();
  }, 180_000);
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    lan[Symbol.dispose]();
    await machine[Symbol.asyncDispose]();
  });

  function start(on: number, ...words: Parameters<Machine["command"]>): Program {
    const host = lan.machines[on];
    if (host === undefined) throw new Error(`no machine ${on}`);
    return startProgram({ command: host.command(...machine.command(...words)) });
  }
  const peer = (on: number, ...words: string[]): Program => start(on, "napster-peer", ...words, "--server", AT);

  test("share, search, find and get need no more than --server", async () => {
    await using sharing = peer(1, "share", "--dir", machine.place("lan", { "aula.mp4": "aula" }).typed);
    const address = await sharing.ready();
    expect(address).toStartWith(`${SHARER_IP}:`);
    await using searching = peer(2, "search", "aula.mp4");
    expect(await searching.exit(), searching.stderr()).toBe(0);
    expect(searching.stdout()).toEndWith(`peers com arquivo solicitado: ${address}\n`);
    await using finding = peer(2, "find", "aula");
    expect(await finding.exit(), finding.stderr()).toBe(0);
    const here = machine.place("lan-here");
    await using getting = peer(2, "get", "aula.mp4", "--dir", here.typed);
    expect(await getting.exit(), getting.stderr()).toBe(0);
    expect(readFileSync(join(here.path, "aula.mp4"), "utf8")).toBe("aula");
  });

  test("--host 0.0.0.0 is published as the address that the server sees, and others download from there", async () => {
    const folder = machine.place("lan-any", { "todos.mp4": "todos" }).typed;
    await using sharing = peer(1, "share", "--dir", folder, "--host", "0.0.0.0");
    expect(await sharing.ready()).toStartWith(`${SHARER_IP}:`);
    await using getting = peer(2, "get", "todos.mp4", "--dir", machine.place("lan-any-here").typed);
    expect(await getting.exit(), getting.stderr()).toBe(0);
  });

  test("an IP that the server refuses is answered with the one to use", async () => {
    await using sharing = peer(1, "share", "--dir", machine.place("lan-own").typed, "--host", "127.0.0.1");
    expect(await sharing.exit()).toBe(1);
    expect(sharing.stderr()).toMatch(/^erro: .*127\.0\.0\.1.*\[ADDRESS_MISMATCH\]$/m);
    expect(sharing.stderr()).toContain(`\ndica: use o IP ${SHARER_IP}, `);
  });

  test("a peer at 127.0.0.1 of the server's machine is named to that machine only, and told which IP to use", async () => {
    const folder = machine.place("lan-local", { "local.mp4": "local" }).typed;
    const here = ["--server", "127.0.0.1:1099"];
    const place = ["--dir", folder, "--host", "127.0.0.1"];
    await using sharing = start(0, "napster-peer", "share", ...place, ...here);
    const address = await sharing.ready();
    expect(address).toStartWith("127.0.0.1:");
    await sharing.complains("[LOCAL_ONLY]");
    expect(sharing.stderr()).toContain(`faça JOIN com o IP ${SERVER_IP}`);
    await using other = peer(2, "search", "local.mp4");
    await other.exit();
    expect(other.stdout()).toEndWith("peers com arquivo solicitado:\n");
    await using own = start(0, "napster-peer", "search", "local.mp4", ...here);
    expect(await own.exit()).toBe(0);
    expect(own.stdout()).toEndWith(`peers com arquivo solicitado: ${address}\n`);
  });

  test("one there that listens to others too is named to them by the address at which they reach the server", async () => {
    const folder = machine.place("lan-open", { "aberto.mp4": "aberto" }).typed;
    const place = ["--dir", folder, "--host", "0.0.0.0"];
    await using sharing = start(0, "napster-peer", "share", ...place, "--server", "127.0.0.1:1099");
    const [ip, port] = (await sharing.ready()).split(":");
    expect(ip).toBe("127.0.0.1");
    await using other = peer(2, "search", "aberto.mp4");
    expect(await other.exit()).toBe(0);
    expect(other.stdout()).toEndWith(`peers com arquivo solicitado: ${SERVER_IP}:${port}\n`);
    await using getting = peer(2, "get", "aberto.mp4", "--dir", machine.place("lan-open-here").typed);
    expect(await getting.exit(), getting.stderr()).toBe(0);
    expect(sharing.stderr()).not.toContain("LOCAL_ONLY");
  });

  test("the menu's empty answers enter the network under the address that reaches the server", async () => {
    await using menu = peer(1, "--dir", machine.place("lan-menu", { "m.mp4": "m" }).typed);
    await menu.type("JOIN", "", "");
    await menu.shows(`Sou peer ${SHARER_IP}:8776 com arquivos m.mp4\n`);
  });
});
