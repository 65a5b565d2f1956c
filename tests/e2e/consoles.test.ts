// The judge's four consoles, through pipes: what each prints on stdout, byte by byte.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../support/folders.ts";
import { openConsole, openNative, search, share, startServer } from "../support/napster.ts";
import { startProgram } from "../support/program.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const machine = await openNative();
afterAll(() => machine[Symbol.asyncDispose]());

const typed = (program: "napster-server" | "napster-peer", ...args: string[]) =>
  startProgram({ command: machine.command(program, ...args), env: machine.env });

describe("four consoles", () => {
  test("print the dictated lines and nothing else (SPEC 4.a–4.e, 5.a–5.i, 6)", async () => {
    const [serverPort, first, second, third] = freePorts(4).map((port) => String(port));
    const video = new Uint8Array(3_000_000).map((_, index) => index * 7);
    const one = machine.place("four-1", { "aula1.mp4": "a", "aula 2.mp4": "b" });
    const two = machine.place("four-2", {});
    const three = machine.place("four-3", {});
    writeFileSync(join(two.path, "vídeo.mp4"), video);

    await using server = typed("napster-server");
    await server.type("", String(serverPort)); // the IP's default, then a port
    const at = await server.ready();
    expect(at).toBe(`127.0.0.1:${serverPort}`);

    const a = openConsole(machine, at);
    await using _a = a.program;
    const b = openConsole(machine, at);
    await using _b = b.program;
    const c = openConsole(machine, at);
    await using _c = c.program;
    await a.join(`127.0.0.1:${first}`, one.typed);
    await b.join(`127.0.0.1:${second}`, two.typed);
    await c.join(`127.0.0.1:${third}`, three.typed);
    await c.search("não existe.mp4");
    await c.search("vídeo.mp4");
    await c.download(`127.0.0.1:${second}`);
    // UPDATE has been sent by itself: the others find both peers now.
    await a.search("vídeo.mp4");
    for (const { program } of [a, b, c]) {
      program.endInput();
      expect(await program.exit()).toBe(0);
    }
    server.signal("SIGTERM");
    await server.exit();

    const both = [second, third].map((port) => `127.0.0.1:${port}`).join(" ");
    expect(a.program.stdout()).toBe(
      `Sou peer 127.0.0.1:${first} com arquivos aula 2.mp4 aula1.mp4\npeers com arquivo solicitado: ${both}\n`,
    );
    expect(b.program.stdout()).toBe(`Sou peer 127.0.0.1:${second} com arquivos vídeo.mp4\n`);
    expect(c.program.stdout()).toBe(
      [
        `Sou peer 127.0.0.1:${third} com arquivos`,
        "peers com arquivo solicitado:",
        `peers com arquivo solicitado: 127.0.0.1:${second}`,
        `Arquivo vídeo.mp4 baixado com sucesso na pasta ${three.typed}\n`,
      ].join("\n"),
    );
    expect(server.stdout()).toBe(
      [
        `Peer 127.0.0.1:${first} adicionado com arquivos aula 2.mp4 aula1.mp4`,
        `Peer 127.0.0.1:${second} adicionado com arquivos vídeo.mp4`,
        `Peer 127.0.0.1:${third} adicionado com arquivos`,
        `Peer 127.0.0.1:${third} solicitou arquivo não existe.mp4`,
        `Peer 127.0.0.1:${third} solicitou arquivo vídeo.mp4`,
        `Peer 127.0.0.1:${first} solicitou arquivo vídeo.mp4\n`,
      ].join("\n"),
    );
    expect(new Uint8Array(readFileSync(join(three.path, "vídeo.mp4")))).toEqual(video);
  });

  test("a whole session may lie in a file: each command ends before the next is read", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const { peer, address } = await share(machine, at, machine.place("file-1", { "aula.mp4": "conteúdo" }));
    await using _peer = peer;
    const here = machine.place("file-2");
    const [port] = freePorts(1);
    const [ip = "", from = ""] = address.split(":");
    const answers = ["join", "127.0.0.1", String(port), here.typed, "Search", "aula.mp4", "dOwNlOaD", ip, from];
    await using script = machine.start("napster-peer", ["--server", at], answers);
    expect(await script.exit()).toBe(0);
    expect(script.stdout()).toBe(
      [
        `Sou peer 127.0.0.1:${port} com arquivos`,
        `peers com arquivo solicitado: ${address}`,
        `Arquivo aula.mp4 baixado com sucesso na pasta ${here.typed}\n`,
      ].join("\n"),
    );
    expect(readFileSync(join(here.path, "aula.mp4"), "utf8")).toBe("conteúdo");
  });

  test("an answer that is not valid is an error, and the next line answers the same question", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const here = machine.place("invalid", { "x.mp4": "x" });
    const [port] = freePorts(1);
    const answers = ["UPDATE", "JOIN", "127.0.0.999", "127.0.0.1", "99999", "porta", String(port)];
    await using peer = machine.start(
      "napster-peer",
      ["--server", at],
      [...answers, join(here.typed, "não há"), here.typed, "SEARCH", "a/b.mp4", "x.mp4"],
    );
    expect(await peer.exit()).toBe(0);
    expect(peer.stdout()).toBe(
      `Sou peer 127.0.0.1:${port} com arquivos x.mp4\npeers com arquivo solicitado: 127.0.0.1:${port}\n`,
    );
    expect(peer.stderr().match(/^erro: /gm)?.length).toBe(6);
    expect(peer.stderr()).not.toMatch(/\bat .*\.[jt]s:\d+/);
  });

  test("a command out of turn is one clear error, and the console goes on", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const here = machine.place("turns", { "x.mp4": "x" });
    const [port] = freePorts(1);
    const turns = openConsole(machine, at);
    await using _turns = turns.program;
    await turns.search("x.mp4");
    expect(turns.program.stderr()).toMatch(/erro: .*\[NOT_JOINED\]/);
    await turns.join(`127.0.0.1:${port}`, here.typed);
    await turns.download(`127.0.0.1:${port}`);
    expect(turns.program.stderr()).toMatch(/erro: .*\[NOT_SEARCHED\]/);
    await turns.search("x.mp4");
    expect(turns.program.stdout()).toEndWith(`peers com arquivo solicitado: 127.0.0.1:${port}\n`);
  });

  test("JOIN again moves the peer to another port and folder", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const [before, after] = freePorts(2);
    const moving = openConsole(machine, at);
    await using _moving = moving.program;
    await moving.join(`127.0.0.1:${before}`, machine.place("move-1", { "antes.mp4": "1" }).typed);
    await moving.join(`127.0.0.1:${after}`, machine.place("move-2", { "depois.mp4": "2" }).typed);
    expect(moving.program.stdout()).toEndWith(`Sou peer 127.0.0.1:${after} com arquivos depois.mp4\n`);
    expect(await search(machine, at, "antes.mp4")).toEqual([]);
    expect(await search(machine, at, "depois.mp4")).toEqual([`127.0.0.1:${after}`]);
  });
});

describe("the server's keyboard (SPEC 4.e)", () => {
  test("an IP or a port that is not one is asked again", async () => {
    await using server = typed("napster-server");
    const [port] = freePorts(1);
    await server.type("300.1.1.1", "127.0.0.1", "0x50", String(port));
    expect(await server.ready()).toBe(`127.0.0.1:${port}`);
    expect(server.stderr().match(/^erro: /gm)?.length).toBe(2);
  });

  test("two empty answers mean 127.0.0.1 and 1099", async () => {
    await using server = typed("napster-server");
    await server.type("", "");
    // Another server may hold that port on this machine; then the error names it.
    await until("the port's fate", () => /pronto|1099/.test(server.stderr()));
    expect(server.stderr()).toMatch(/^pronto 127\.0\.0\.1:1099$|1099 já está em uso em 127\.0\.0\.1/m);
  });

  test("the server goes on when its input has ended", async () => {
    await using server = machine.start("napster-server", [], ["127.0.0.1", String(freePorts(1)[0])]);
    const at = await server.ready();
    expect(await search(machine, at, "nada.mp4")).toEqual([]);
    expect(server.running()).toBe(true);
  });
});

describe("the network", () => {
  test("one server answers eight peers, and each finds what the others have (SPEC 4.a)", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    await using peers = new AsyncDisposableStack();
    const addresses: string[] = [];
    for (let index = 1; index <= 8; index++) {
      const place = machine.place(`eight-${index}`, { "todos.mp4": "t", [`peer${index}.mp4`]: String(index) });
      const { peer, address } = await share(machine, at, place);
      peers.use(peer);
      addresses.push(address);
    }
    const answers = await Promise.all([1, 4, 8].map((index) => search(machine, at, `peer${index}.mp4`)));
    expect(answers).toEqual([1, 4, 8].map((index) => [addresses[index - 1] ?? ""]));
    expect((await search(machine, at, "todos.mp4")).sort()).toEqual([...addresses].sort());
  });

  test("only regular files directly in the folder are shared", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const place = machine.place("nested", { "aqui.mp4": "1" });
    machine.place("nested/pasta.mp4", { "dentro.mp4": "2" });
    const { peer, address } = await share(machine, at, place);
    await using _peer = peer;
    expect(peer.stdout()).toBe(`Sou peer ${address} com arquivos aqui.mp4\n`);
    expect(await search(machine, at, "pasta.mp4")).toEqual([]);
    expect(await search(machine, at, "dentro.mp4")).toEqual([]);
  });

  test.each([60, 100_000])("a folder of %d files joins whole (SPEC 4.b)", async (count) => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const names = Array.from({ length: count }, (_, index) => `aula ${String(index).padStart(6, "0")}.mp4`);
    const place = machine.place(`many-${count}`, Object.fromEntries(names.map((name) => [name, ""])));
    const { peer, address } = await share(machine, at, place);
    await using _peer = peer;
    expect(peer.stdout()).toBe(`Sou peer ${address} com arquivos ${names.join(" ")}\n`);
    await server.shows(`${names.at(-1)}\n`);
    expect(server.stdout()).toBe(`Peer ${address} adicionado com arquivos ${names.join(" ")}\n`);
    expect(await search(machine, at, names.at(-1) ?? "")).toEqual([address]);
  });

  test("a peer that has the file it searches for is in the list, by its JOIN address (SPEC 4.c, 5.d)", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const [port] = freePorts(1);
    const alone = openConsole(machine, at);
    await using _alone = alone.program;
    await alone.join(`127.0.0.1:${port}`, machine.place("alone", { "meu.mp4": "m" }).typed);
    await alone.search("meu.mp4");
    expect(alone.program.stdout()).toEndWith(`peers com arquivo solicitado: 127.0.0.1:${port}\n`);
    await alone.search("MEU.mp4");
    expect(alone.program.stdout()).toEndWith("peers com arquivo solicitado:\n");
  });

  test("a peer that left or was killed is forgotten at once", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const files = { "sumido.mp4": "s" };
    const [port] = freePorts(1);
    const leaving = openConsole(machine, at);
    await using _leaving = leaving.program;
    await leaving.join(`127.0.0.1:${port}`, machine.place("leaves", files).typed);
    const { peer: killed, address: killedAt } = await share(machine, at, machine.place("killed", files));
    await using _killed = killed;
    const { peer: stopped, address: stoppedAt } = await share(machine, at, machine.place("stopped", files));
    await using _stopped = stopped;
    expect((await search(machine, at, "sumido.mp4")).length).toBe(3);

    leaving.program.endInput();
    expect(await leaving.program.exit()).toBe(0);
    expect((await search(machine, at, "sumido.mp4")).sort()).toEqual([killedAt, stoppedAt].sort());
    stopped.signal("SIGTERM");
    expect(await stopped.exit()).toBe(0);
    expect(await search(machine, at, "sumido.mp4")).toEqual([killedAt]);
    killed.signal("SIGKILL");
    await killed.exit();
    await until(
      "the killed peer to be forgotten",
      async () => (await search(machine, at, "sumido.mp4")).length === 0,
      5,
    );
  });

  test("a server that restarts on its port at once is found again by its peers", async () => {
    const { server, at } = await startServer(machine);
    const { peer, address } = await share(machine, at, machine.place("returns", { "volta.mp4": "v" }));
    await using _peer = peer;
    server.signal("SIGKILL");
    await server.exit();
    const port = at.split(":")[1] ?? "";
    await using again = machine.start("napster-server", ["--host", "127.0.0.1", "--port", port]);
    expect(await again.ready()).toBe(at);
    await again.shows(`Peer ${address} adicionado com arquivos volta.mp4\n`, 30);
    expect(await search(machine, at, "volta.mp4")).toEqual([address]);
    expect(peer.stdout()).toBe(`Sou peer ${address} com arquivos volta.mp4\n`);
  });

  test("the file that arrives is the sender's own, and nothing else is left in the folder (SPEC 5.h)", async () => {
    const { server, at } = await startServer(machine);
    await using _server = server;
    const { peer } = await share(machine, at, machine.place("empty-sender", { "vazio.mp4": "" }));
    await using _peer = peer;
    const here = machine.place("empty-receiver");
    await using get = machine.start("napster-peer", ["get", "vazio.mp4", "--server", at, "--dir", here.typed]);
    expect(await get.exit()).toBe(0);
    expect(existsSync(join(here.path, "vazio.mp4"))).toBe(true);
    expect([...new Bun.Glob("*").scanSync({ cwd: here.path, dot: true })]).toEqual(["vazio.mp4"]);
  });
});
