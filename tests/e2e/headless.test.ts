// The flags, for scripts and services: exit codes, --json, and what goes wrong on the way.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../support/folders.ts";
import { openNative, search, share, startServer } from "../support/napster.ts";
import { startNat } from "../support/nat.ts";
import { type Program, startProgram } from "../support/program.ts";
import { openTerminal } from "../support/terminal.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const EXIT = { done: 0, failed: 1, usage: 2, noPeer: 3, rejected: 4, exists: 5 } as const;
// At this rate long enough that a kill lands in the middle on any disk, and sparse, so that it costs nothing to make.
const LONG_BYTES = 300_000_000;
const SLOWLY = ["--max-upload-rate", "20M"] as const;

const machine = await openNative();
const { server, at } = await startServer(machine);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await machine[Symbol.asyncDispose]();
});

const get = (name: string, folder: string, ...args: string[]) =>
  machine.start("napster-peer", ["get", name, "--server", at, "--dir", folder, ...args]);

const visible = (folder: string) => readdirSync(folder).sort();

function sparse(path: string, bytes: number): void {
  writeFileSync(path, "");
  truncateSync(path, bytes);
}

describe("exit codes", () => {
  test("0: get downloads, announces and leaves (SPEC 5.c)", async () => {
    const { peer, address } = await share(machine, at, machine.place("code-0", { "com espaço.mp4": "1" }));
    await using _peer = peer;
    const here = machine.place("code-0-here");
    await using getting = get("com espaço.mp4", here.typed);
    expect(await getting.exit()).toBe(EXIT.done);
    expect(getting.stdout()).toMatch(/^Sou peer 127\.0\.0\.1:\d+ com arquivos\n/);
    expect(getting.stdout()).toEndWith(
      `peers com arquivo solicitado: ${address}\nArquivo com espaço.mp4 baixado com sucesso na pasta ${here.typed}\n`,
    );
    expect(await search(machine, at, "com espaço.mp4")).toEqual([address]);
    await using again = get("com espaço.mp4", here.typed);
    expect(await again.exit(), again.stderr()).toBe(EXIT.done);
    expect(again.stdout()).not.toContain("baixado");
    expect(again.stderr()).toContain("[HERE]");
  });

  test("a server may be named, and its port be left out; a host name that is unknown is one line", async () => {
    const port = at.split(":")[1];
    await using named = machine.start("napster-peer", ["search", "x.mp4", "--server", `localhost:${port}`]);
    expect(await named.exit(), named.stderr()).toBe(EXIT.noPeer);
    await using lost = machine.start("napster-peer", ["search", "x.mp4", "--server", "ninguem.invalid"]);
    expect(await lost.exit()).toBe(EXIT.failed);
    expect(lost.stderr()).toMatch(/^erro: .*ninguem\.invalid.*\[HOST_UNKNOWN\]\ndica: .*\n$/);
  });

  test("search and find leave only their answer on stdout, and the server shows the search and no JOIN", async () => {
    const { server: other, at: otherAt } = await startServer(machine);
    await using _other = other;
    await using searching = machine.start("napster-peer", ["search", "só pergunta.mp4", "--server", otherAt]);
    expect(await searching.exit()).toBe(EXIT.noPeer);
    expect(searching.stdout()).toBe("peers com arquivo solicitado:\n");
    await using finding = machine.start("napster-peer", ["find", "pergunta", "--server", otherAt]);
    expect(await finding.exit()).toBe(EXIT.noPeer);
    expect(finding.stdout()).toBe("");
    expect(other.stdout()).toMatch(/^Peer 127\.0\.0\.1:\d+ solicitou arquivo só pergunta\.mp4\n$/);
  });

  test("1: the server is not there", async () => {
    const [nobody] = freePorts(1);
    await using lost = machine.start("napster-peer", ["search", "x.mp4", "--server", `127.0.0.1:${nobody}`]);
    expect(await lost.exit()).toBe(EXIT.failed);
    expect(lost.stderr()).toMatch(/^erro: .*\[SERVER_UNREACHABLE\]\ndica: ./m);
    expect(lost.stdout()).toBe("");
  });

  test("1: the port is taken, the folder is missing, the peer of --from is not there", async () => {
    const port = at.split(":")[1] ?? "";
    await using taken = machine.start("napster-server", ["--host", "127.0.0.1", "--port", port]);
    expect(await taken.exit()).toBe(EXIT.failed);
    expect(taken.stderr()).toContain("[PORT_IN_USE]");

    const missing = join(machine.place("parent").typed, "não há");
    await using folder = machine.start("napster-peer", ["share", "--server", at, "--dir", missing]);
    expect(await folder.exit()).toBe(EXIT.failed);
    expect(folder.stderr()).toContain("[FOLDER_MISSING]");

    const { peer } = await share(machine, at, machine.place("from", { "from.mp4": "f" }));
    await using _peer = peer;
    const [nobody] = freePorts(1);
    const from = ["--from", `127.0.0.1:${nobody}`];
    await using lost = get("from.mp4", machine.place("from-here").typed, ...from, "--only");
    expect(await lost.exit()).toBe(EXIT.failed);
    expect(lost.stderr()).toContain("[PEER_UNREACHABLE]");
    await using found = get("from.mp4", machine.place("from-next").typed, ...from);
    expect(await found.exit(), found.stderr()).toBe(EXIT.done);
    expect(found.stderr()).toMatch(/^aviso: .* \[PEER_UNREACHABLE\]; /m);
    expect(found.stderr()).not.toContain("erro:");
  });

  test("1: with too few descriptors both programs say how many they have and need, and --help does too", async () => {
    const { typed } = machine.place("few");
    const commands = [
      machine.command("napster-server", "--host", "127.0.0.1", "--port", "0"),
      machine.command("napster-peer", "share", "--server", at, "--dir", typed),
      machine.command("napster-peer", "--help"),
    ];
    for (const descriptors of [6, 10, 20])
      for (const command of commands) {
        await using few = startProgram({
          command: ["bash", "-c", `ulimit -n ${descriptors}; exec "$0" "$@"`, ...command],
          stdin: "none",
        });
        expect(await few.exit(), few.stderr()).toBe(EXIT.failed);
        expect(few.stdout()).toBe("");
        expect(few.stderr()).toMatch(
          new RegExp(
            `^erro: [^\\n]* abrir ${descriptors} [^\\n]* precisa de 32 \\[NO_DESCRIPTORS\\]\\ndica: [^\\n]*ulimit -n 1024\\n$`,
          ),
        );
      }
  });

  test("2: flags that make no sense", async () => {
    for (const args of [
      ["--nada"],
      ["get"],
      ["search"],
      ["share", "--dir"],
      ["--server", "300.1.1.1"],
      ["voar\u001b[2J"],
    ]) {
      await using peer = machine.start("napster-peer", args);
      expect(await peer.exit(), args.join(" ")).toBe(EXIT.usage);
      expect(peer.stderr()).toMatch(/^erro: [^\u001b]+$/);
      expect(peer.stdout()).toBe("");
    }
    await using badServer = machine.start("napster-server", ["--port", "70000"]);
    expect(await badServer.exit()).toBe(EXIT.usage);
  });

  test("3: no peer has the file", async () => {
    await using getting = get("ninguém tem.mp4", machine.place("code-3").typed);
    expect(await getting.exit()).toBe(EXIT.noPeer);
    await using searching = machine.start("napster-peer", ["search", "ninguém", "tem.mp4", "--server", at]);
    expect(await searching.exit()).toBe(EXIT.noPeer);
    expect(searching.stdout()).toEndWith("peers com arquivo solicitado:\n");
  });

  test("4: the peer rejects, and the person reads why (SPEC 5.f)", async () => {
    const { peer } = await share(machine, at, machine.place("rejects", { "não.mp4": "n" }), "--reject-all");
    await using _peer = peer;
    const here = machine.place("code-4");
    await using getting = get("não.mp4", here.typed);
    expect(await getting.exit()).toBe(EXIT.rejected);
    expect(getting.stderr()).toMatch(/^erro: .*rejeitou.*\[REFUSED\]/m);
    expect(getting.stdout()).not.toContain("baixado");
    expect(visible(here.path)).toEqual([]);
  });

  test("4: every upload slot is taken", async () => {
    const sender = machine.place("slots", { "vaga.mp4": "v" });
    const { peer } = await share(machine, at, sender, "--max-uploads", "0");
    await using _peer = peer;
    await using getting = get("vaga.mp4", machine.place("slots-here").typed);
    expect(await getting.exit()).toBe(EXIT.rejected);
    expect(getting.stderr()).toContain("[BUSY]");
  });

  test("0: get goes on by itself when its source dies, says what it waits for, and ends when another brings the file", async () => {
    const first = machine.place("dies");
    sparse(join(first.path, "volta.mp4"), 40_000_000);
    const { peer } = await share(machine, at, first, "--max-upload-rate", "10M");
    await using dying = peer;
    const here = machine.place("dies-here");
    await using getting = get("volta.mp4", here.typed);
    await until("the .part", () => visible(here.path).includes("volta.mp4.part"));
    dying.signal("SIGKILL");
    await until("what it waits for", () => /^aviso: .*\[[A-Z_]+\]; .*tenta de novo sozinho/m.test(getting.stderr()));
    const { peer: other } = await share(machine, at, first);
    await using _other = other;
    expect(await getting.exit(), getting.stderr()).toBe(EXIT.done);
    expect(getting.stderr()).not.toContain("erro:");
  });

  test("--help and --version say so and end well", async () => {
    for (const program of ["napster-server", "napster-peer"] as const) {
      await using help = machine.start(program, ["--help"]);
      expect(await help.exit()).toBe(EXIT.done);
      expect(help.stdout()).toContain(`${program} `);
      await using version = machine.start(program, ["--version"]);
      expect(await version.exit()).toBe(EXIT.done);
      expect(version.stdout()).toMatch(
        new RegExp(`^${program} \\d+\\.\\d+\\.\\d+ \\((?:[0-9a-f]{7,40}(?:-dirty)?|desconhecido)\\)\n$`),
      );
    }
  });

  test("the executables obey no .env of the folder they are started from", async () => {
    const odd = machine.place("env", { ".env": "NAPSTER_SERVER=isto não é um endereço\n" });
    await using peer = startProgram({ command: machine.command("napster-peer", "--version"), cwd: odd.path });
    expect(await peer.exit()).toBe(EXIT.done);
    await using searching = startProgram({
      command: machine.command("napster-peer", "search", "x.mp4"),
      cwd: odd.path,
      env: { NAPSTER_SERVER: at },
    });
    expect(await searching.exit()).toBe(EXIT.noPeer);
  });
});

describe("--json", () => {
  const objects = (program: Program) =>
    program
      .stdout()
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  test("prints one object a line instead of the dictated lines", async () => {
    const { peer, address } = await share(machine, at, machine.place("json", { "j.mp4": "j" }), "--json");
    await using _peer = peer;
    const here = machine.place("json-here");
    await using getting = get("j.mp4", here.typed, "--json");
    expect(await getting.exit()).toBe(EXIT.done);
    expect(objects(getting).length).toBeGreaterThanOrEqual(3);
    expect(getting.stdout()).not.toContain("baixado com sucesso");
    await using searching = machine.start("napster-peer", ["search", "j.mp4", "--server", at, "--json"]);
    expect(await searching.exit()).toBe(EXIT.done);
    expect(JSON.stringify(objects(searching))).toContain(address);
    expect(objects(peer).length).toBeGreaterThanOrEqual(1);
  });
});

// These wait for the program to give up: they wait together.
describe.concurrent("a server that goes away", () => {
  /** Lets everybody in, and hangs up at the first request after that. */
  const openRude = () =>
    Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket, chunk) {
          const text = chunk.toString();
          if (/^(?:SEARCH|FIND)/m.test(text)) return void socket.end();
          const address = /JOIN (\S+)/.exec(text)?.[1];
          if (text.includes("HELLO")) socket.write("HELLO 1\n");
          if (address !== undefined) socket.write(`JOIN_OK ${address}\n`);
        },
      },
    });

  test.each([[["search", "x.mp4"]], [["find", "x"]], [["get", "x.mp4", "--dir", "."]]])(
    "is told once, without a promise that a command which ends could not keep: %j",
    async (args) => {
      using rude = openRude();
      await using asking = machine.start("napster-peer", [...args, "--server", `127.0.0.1:${rude.port}`]);
      expect(await asking.exit()).toBe(EXIT.failed);
      expect(asking.stderr().match(/\[SERVER_GONE\]/g)).toHaveLength(1);
      expect(asking.stderr()).toContain("\ndica: confira se napster-server está no ar e tente de novo\n");
    },
  );
});

describe("a transfer that breaks", () => {
  test("a killed sender is an error: no success line, no UPDATE, nothing under the final name (SPEC 5.e)", async () => {
    const from = machine.place("breaks");
    sparse(join(from.path, "longo.mp4"), LONG_BYTES);
    const { peer } = await share(machine, at, from, ...SLOWLY);
    await using _peer = peer;
    const here = machine.place("breaks-here");
    await using getting = get("longo.mp4", here.typed, "--max-wait", "0");
    await until("bytes to arrive", () => visible(here.path).some((name) => name.includes("longo.mp4")));
    peer.signal("SIGKILL");
    expect(await getting.exit(30)).toBe(EXIT.failed);
    expect(getting.stdout()).not.toContain("baixado");
    expect(getting.stderr()).toMatch(/^erro: /m);
    expect(existsSync(join(here.path, "longo.mp4"))).toBe(false);
    expect(await search(machine, at, "longo.mp4")).toEqual([]);
  });

  test("a killed receiver costs the sender nothing: it serves the next one (SPEC 5.g)", async () => {
    const from = machine.place("serves", { "curto.mp4": "curto" });
    sparse(join(from.path, "comprido.mp4"), LONG_BYTES);
    const { peer, address } = await share(machine, at, from, "--max-uploads", "1", ...SLOWLY);
    await using _peer = peer;
    const here = machine.place("serves-here");
    await using getting = get("comprido.mp4", here.typed);
    await until("bytes to arrive", () => visible(here.path).some((name) => name.includes("comprido.mp4")));
    getting.signal("SIGKILL");
    await getting.exit();
    const next = machine.place("serves-next");
    const again = async () => {
      await using retry = get("curto.mp4", next.typed);
      return (await retry.exit()) === EXIT.done;
    };
    await until("the slot to be free again", again);
    expect(readFileSync(join(next.path, "curto.mp4"), "utf8")).toBe("curto");
    expect(await search(machine, at, "comprido.mp4")).toEqual([address]);
  });

  test("a server that dies and returns in the middle stops no download", async () => {
    const { server: mortal, at: mortalAt } = await startServer(machine);
    await using _mortal = mortal;
    const from = machine.place("meanwhile");
    sparse(join(from.path, "enquanto.mp4"), LONG_BYTES / 3);
    const { peer } = await share(machine, mortalAt, from, ...SLOWLY);
    await using _peer = peer;
    const here = machine.place("meanwhile-here");
    const args = ["get", "enquanto.mp4", "--server", mortalAt, "--dir", here.typed, "--json"];
    await using getting = machine.start("napster-peer", args);
    await until("bytes to arrive", () => visible(here.path).some((name) => name.includes("enquanto.mp4")));
    mortal.signal("SIGKILL");
    await mortal.exit();
    const port = mortalAt.split(":")[1] ?? "";
    await using again = machine.start("napster-server", ["--host", "127.0.0.1", "--port", port]);
    await again.ready();
    expect(await getting.exit(40), getting.stderr()).toBe(EXIT.done);
    expect(visible(here.path)).toEqual(["enquanto.mp4"]);
  });

  test("get shares what it downloads; no other file of its folder can be fetched, unless --share says so", async () => {
    const from = machine.place("get-shares");
    sparse(join(from.path, "demorado.mp4"), LONG_BYTES);
    const { peer } = await share(machine, at, from);
    await using _peer = peer;
    const fetch = async (from: string) => {
      await using stranger = get("private.pdf", machine.place(`stranger-${from}`).typed, "--from", from);
      return await stranger.exit();
    };
    for (const [args, code] of [
      [[], EXIT.rejected],
      [["--no-share"], EXIT.rejected],
      [["--share"], EXIT.done],
    ] as const) {
      const here = machine.place(`get-shares-here${args.join("")}`, { "private.pdf": "segredo" });
      await using getting = get("demorado.mp4", here.typed, "--max-download-rate", "1M", ...args);
      expect(await fetch(await getting.ready()), args.join("")).toBe(code);
      expect(getting.running()).toBe(true);
    }
  });

  test.skipIf(process.platform === "win32")(
    "get shows its progress on a terminal at stderr, whatever its input is",
    async () => {
      const from = machine.place("shows");
      sparse(join(from.path, "visto.mp4"), LONG_BYTES);
      const { peer } = await share(machine, at, from);
      await using _peer = peer;
      const words = ["get", "visto.mp4", "--server", at, "--dir", machine.place("shows-here").typed];
      const command = machine.command("napster-peer", ...words, "--max-download-rate", "1M");
      await using session = openTerminal(["sh", "-c", 'exec "$@" </dev/null', "sh", ...command]);
      await session.shows(/\d% {2}.* de 300 MB/);
    },
  );

  test("a name that exists is never overwritten", async () => {
    const { peer } = await share(machine, at, machine.place("exists", { "meu.mp4": "deles" }));
    await using _peer = peer;
    const here = machine.place("exists-here", { "meu.mp4": "meu" });
    await using getting = get("meu.mp4", here.typed);
    expect(await getting.exit()).toBe(EXIT.exists);
    expect(getting.stderr()).toContain("[FILE_EXISTS]");
    expect(getting.stderr()).not.toContain("JOIN");
    expect(readFileSync(join(here.path, "meu.mp4"), "utf8")).toBe("meu");
    await using both = get("meu.mp4", here.typed, "outro.mp4");
    expect(await both.exit()).toBe(EXIT.noPeer);
  });

  test("a file that is gone between SEARCH and DOWNLOAD is one clear error", async () => {
    const from = machine.place("gone", { "some.mp4": "s" });
    const { peer } = await share(machine, at, from);
    await using _peer = peer;
    rmSync(join(from.path, "some.mp4"));
    await using getting = get("some.mp4", machine.place("gone-here").typed);
    expect([EXIT.failed, EXIT.rejected, EXIT.noPeer] as number[]).toContain(await getting.exit());
    expect(getting.stderr().match(/^erro: /gm)?.length).toBe(1);
  });
});

describe("a peer behind a router that forwards nothing", () => {
  test("says so in one line and in an event, is in no list, and says when others reach it", async () => {
    using nat = startNat(at);
    const { peer, address } = await share(machine, nat.server, machine.place("nat", { "oculto.mp4": "o" }), "--json");
    await using _peer = peer;
    expect(address).toBe(nat.outside);
    const [ip, port] = nat.outside.split(":");
    await peer.complains("[UNREACHABLE]");
    expect(peer.stderr().match(/UNREACHABLE/g)?.length).toBe(1);
    expect(peer.stderr()).toMatch(/^aviso: .*\[UNREACHABLE\].*firewall.*roteador.*$/m);
    expect(peer.stdout()).toContain(`{"event":"unreachable","ip":"${ip}","port":${port},"code":"UNREACHABLE"}`);
    expect(await search(machine, at, "oculto.mp4")).toEqual([]);
    nat.forward();
    await peer.complains("[REACHABLE]", 30);
    expect(peer.stdout()).toContain(`{"event":"reachable","ip":"${ip}","port":${port}}`);
    expect(await search(machine, at, "oculto.mp4")).toEqual([nat.outside]);
    expect(peer.stderr().match(/UNREACHABLE/g)?.length).toBe(1);
    await using getting = get("oculto.mp4", machine.place("nat-out").typed);
    expect(await getting.exit(), getting.stderr()).toBe(EXIT.done);
  });

  test("downloads as ever, and a get hears nothing of it", async () => {
    const { peer } = await share(machine, at, machine.place("nat-source", { "visto.mp4": "v" }));
    await using _peer = peer;
    using nat = startNat(at);
    const here = machine.place("nat-get");
    await using getting = machine.start("napster-peer", [
      "get",
      "visto.mp4",
      "--server",
      nat.server,
      "--dir",
      here.typed,
    ]);
    expect(await getting.exit(), getting.stderr()).toBe(EXIT.done);
    await using searching = machine.start("napster-peer", ["search", "visto.mp4", "--server", nat.server]);
    expect(await searching.exit()).toBe(EXIT.done);
    expect(getting.stderr() + searching.stderr()).not.toContain("REACHABLE");
  });

  test("in the menu says so after its line, and the menu goes on", async () => {
    using nat = startNat(at);
    const { typed } = machine.place("nat-menu", { "a.mp4": "a" });
    await using menu = machine.start(
      "napster-peer",
      ["--server", nat.server],
      ["JOIN", "127.0.0.1", String(freePorts(1)[0]), typed, "SEARCH", "nada.mp4"],
    );
    expect(await menu.exit()).toBe(EXIT.done);
    expect(menu.stdout()).toBe(`Sou peer ${nat.outside} com arquivos a.mp4\npeers com arquivo solicitado:\n`);
    expect(menu.stderr()).toMatch(/^aviso: .*\[UNREACHABLE\]/m);
  });
});
