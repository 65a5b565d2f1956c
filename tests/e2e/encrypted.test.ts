// What passes between machines, each a network namespace: every byte of it, heard at the switch between them.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Lan, openLan } from "../support/lan.ts";
import { type Machine, openNative } from "../support/napster.ts";
import { type Program, startProgram } from "../support/program.ts";
import { describeWith } from "../support/tools.ts";

setDefaultTimeout(60_000);

describeWith(["linux", "network namespaces"], "between machines", () => {
  const SERVER_IP = "192.168.51.10";
  const NAME = "segredo-da-turma.mp4";
  const CONTENT = "o conteudo que so a turma conhece ".repeat(20_000);
  /** What a reader of the wire would look for: names, content, and the protocol's own words. */
  const WORDS = [NAME, "o conteudo que so a turma conhece", "JOIN 192.", "SEARCH", "ACCEPT"];
  let machine: Machine;
  let lan: Lan;
  beforeAll(async () => {
    machine = await openNative();
    lan = openLan(SERVER_IP, "192.168.51.11", "192.168.51.12");
  }, 180_000);
  afterAll(async () => {
    lan[Symbol.dispose]();
    await machine[Symbol.asyncDispose]();
  });

  function start(on: number, ...words: Parameters<Machine["command"]>): Program {
    const host = lan.machines[on];
    if (host === undefined) throw new Error(`no machine ${on}`);
    const env = { NAPSTER_CONFIG: machine.place(`config-${on}`).path };
    return startProgram({ command: host.command(...machine.command(...words)), env });
  }

  /** Two peers share, search and get by way of a server; what the switch has heard of it, and what they said. */
  async function passing(
    label: string,
    ...flags: string[]
  ): Promise<{ heard: Buffer; server: Program; taken: string }> {
    const capture = join(machine.temporary.path, `${label}.bytes`);
    const script = join(import.meta.dir, "../support/capture.ts");
    await using switchboard = startProgram({ command: lan.atSwitch(process.execPath, script, capture) });
    await switchboard.shows("ready");
    await using server = start(0, "napster-server", "--host", "0.0.0.0", "--port", "1099", "--no-discovery", ...flags);
    await server.ready();
    const peer = (on: number, ...words: string[]) =>
      start(on, "napster-peer", ...words, "--server", SERVER_IP, ...flags);
    await using sharing = peer(1, "share", "--dir", machine.place(label, { [NAME]: CONTENT }).typed);
    await sharing.ready();
    const here = machine.place(`${label}-here`);
    await using getting = peer(2, "get", NAME, "--dir", here.typed);
    expect(await getting.exit(), getting.stderr()).toBe(0);
    return { heard: readFileSync(capture), server, taken: readFileSync(join(here.path, NAME), "utf8") };
  }

  test("no name, no content and no word of the protocol can be read on the way", async () => {
    const { heard, server, taken } = await passing("encrypted");
    expect(taken).toBe(CONTENT);
    expect(heard.length).toBeGreaterThan(CONTENT.length);
    expect(WORDS.filter((word) => heard.includes(word))).toEqual([]);
    expect(server.stderr()).toMatch(
      /^endereço para os peers: napster:\/\/192\.168\.51\.10:1099#([A-Z2-7]{4}-){12}[A-Z2-7]{4}$/m,
    );
  });

  test("with --encryption off on every side all of it can, and each program says so", async () => {
    const { heard, server, taken } = await passing("plain", "--encryption", "off");
    expect(taken).toBe(CONTENT);
    expect(WORDS.filter((word) => !heard.includes(word))).toEqual([]);
    expect(server.stderr()).toContain("[NOT_ENCRYPTED]");
    expect(server.stderr()).not.toContain("napster://");
  });

  test("where only one side has --encryption off, each peer is told what to change", async () => {
    const at = ["--host", SERVER_IP, "--port", "1099", "--no-discovery"];
    const search = ["search", NAME, "--server", SERVER_IP];
    {
      await using encrypted = start(0, "napster-server", ...at);
      await encrypted.ready();
      await using plain = start(1, "napster-peer", ...search, "--encryption", "off");
      expect(await plain.exit()).toBe(1);
      expect(plain.stderr()).toContain(`o servidor ${SERVER_IP}:1099 só aceita conexão cifrada`);
      expect(plain.stderr()).toContain("[ENCRYPTION_NEEDED]\ndica: abra este programa sem --encryption off");
    }
    await using plain = start(0, "napster-server", ...at, "--encryption", "off");
    await plain.ready();
    await using encrypted = start(1, "napster-peer", ...search);
    expect(await encrypted.exit()).toBe(1);
    expect(encrypted.stderr()).toContain("[NOT_ENCRYPTED]");
    expect(encrypted.stderr()).toContain("--encryption off, em laboratório, use o mesmo aqui");
  });

  test("a server with another key than it had is refused, and the line to take out is named", async () => {
    const at = ["--host", SERVER_IP, "--port", "1099", "--no-discovery"];
    const config = (name: string) => ({ NAPSTER_CONFIG: machine.place(name).path });
    const serve = (name: string) =>
      startProgram({
        command: lan.machines[0]?.command(...machine.command("napster-server", ...at)) ?? [],
        env: config(name),
      });
    const words = machine.command("napster-peer", "search", NAME, "--server", SERVER_IP);
    const search = () => startProgram({ command: lan.machines[1]?.command(...words) ?? [], env: config("asker") });
    {
      await using first = serve("one");
      await first.ready();
      await using searching = search();
      await searching.exit();
      expect(searching.stdout()).toContain("peers com arquivo solicitado:");
    }
    await using second = serve("two");
    await second.ready();
    await using refused = search();
    expect(await refused.exit()).toBe(1);
    expect(refused.stderr()).toContain("[SERVER_KEY_CHANGED]");
    expect(refused.stderr()).toContain(`apague a linha ${SERVER_IP}:1099 de `);
    expect(refused.stdout()).toBe("");
  });
});
