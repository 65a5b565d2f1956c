// A peer behind a router is reached through a port that the router opens for it; each machine a network namespace.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Machine, openNative } from "../support/napster.ts";
import { type Program, startProgram } from "../support/program.ts";
import { type Home, openHome } from "../support/router.ts";
import { describeWith } from "../support/tools.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

describeWith(["linux", "network namespaces", "nft", "miniupnpd"], "behind a router that lets nothing in", () => {
  let machine: Machine;
  let home: Home;
  let server: Program;
  const at = (where: Home["inside"] | undefined, ...words: Parameters<Machine["command"]>): Program =>
    startProgram({ command: where?.command(...machine.command(...words)) ?? [] });
  const AT = ["--server", "11.0.0.10:1099"];
  beforeAll(async () => {
    machine = await openNative();
    home = openHome(machine.temporary);
    server = at(home.outside[0], "napster-server", "--host", "0.0.0.0", "--port", "1099");
    await server.ready();
  }, 180_000);
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    home[Symbol.dispose]();
    await machine[Symbol.asyncDispose]();
  });
  const mappings = (): string =>
    Bun.spawnSync(
      home.router.command("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd"),
    ).stdout.toString();

  const WAYS = [
    ["NAT-PMP", { natPmp: true, upnp: false }],
    ["UPnP", { natPmp: false, upnp: true }],
  ] as const;
  test.each(WAYS)("%s opens a port, others download through it, and at the end it is closed", async (by, answers) => {
    await using _ = await home.answer(answers);
    const name = `${by}.mp4`;
    const folder = machine.place(`inside-${by}`, { [name]: "behind a router" });
    const sharing = at(home.inside, "napster-peer", "share", "--dir", folder.typed, ...AT);
    await using __ = sharing;
    await sharing.complains("[REACHABLE]");
    const through = sharing.stderr().match(/\[REACHABLE\]; o roteador ([\d.]+) abriu a porta (\d+) \((.+)\)/);
    expect(through?.slice(1)).toEqual([home.router.inner, expect.any(String), by]);
    expect(mappings()).toContain(`dport ${through?.[2]} `);
    const here = machine.place(`outside-${by}`);
    await using getting = at(home.outside[1], "napster-peer", "get", name, "--dir", here.typed, ...AT);
    expect(await getting.exit(), getting.stderr()).toBe(0);
    expect(readFileSync(join(here.path, name), "utf8")).toBe("behind a router");
    sharing.signal("SIGTERM");
    expect(await sharing.exit()).toBe(0);
    await until("the port to be closed", () => !mappings().includes("dport"), 10, mappings);
  });

  test("doctor says on one page what is wrong, and through what others come in", async () => {
    const folder = machine.place("doctor", { "d.mp4": "d" }).typed;
    const words = ["doctor", "--dir", folder, ...AT];
    await using closed = at(home.inside, "napster-peer", ...words);
    expect(await closed.exit(), closed.stderr()).toBe(1);
    expect(closed.stdout()).toContain(
      `endereço  ${home.inside.ip} nesta máquina; o servidor vê ${home.router.outer}\n`,
    );
    expect(closed.stdout()).toMatch(/^!! .* \[UNREACHABLE\]\n {3}ligue UPnP ou NAT-PMP no roteador/m);
    await using _ = await home.answer({ natPmp: true, upnp: false });
    await using open = at(home.inside, "napster-peer", ...words, "--json");
    expect(await open.exit(), open.stderr()).toBe(0);
    const page = JSON.parse(open.stdout().trim().split("\n").at(-1) ?? "");
    expect(page).toMatchObject({ event: "doctor", ok: true, reached: true, own: home.inside.ip, problems: [] });
    expect(page.through).toMatchObject({ by: "NAT-PMP", router: home.router.inner });
    await until("the port to be closed", () => !mappings().includes("dport"), 10, mappings);
  });

  test("--no-port-mapping asks no router", async () => {
    await using _ = await home.answer({ natPmp: true, upnp: true });
    const folder = machine.place("inside-none", { "none.mp4": "n" }).typed;
    const words = ["share", "--dir", folder, "--no-port-mapping", ...AT];
    await using sharing = at(home.inside, "napster-peer", ...words);
    await sharing.complains("[UNREACHABLE]");
    sharing.signal("SIGTERM");
    await sharing.exit();
    expect(mappings()).not.toContain("dport");
  });
});
