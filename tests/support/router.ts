// A home behind a router: a network namespace that translates addresses and lets nothing in, with a real miniupnpd.
// The machine's own interfaces are not touched. Linux, as root, with iproute2, nftables and miniupnpd.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Folder } from "./folders.ts";
import { type Lan, openLan } from "./lan.ts";
import { type Program, startProgram } from "./program.ts";
import { until } from "./until.ts";

export type Home = {
  /** In the internet of this test: the server's machine, and another peer's. */
  readonly outside: Lan["machines"];
  /** Behind the router. */
  readonly inside: { readonly ip: string; command(...words: string[]): string[] };
  readonly router: { readonly outer: string; readonly inner: string; command(...words: string[]): string[] };
  /** Starts the router's miniupnpd, which answers by these. */
  answer(by: { natPmp: boolean; upnp: boolean }): Promise<Program>;
} & Disposable;

const OUTER = "11.0.0.1";
const INNER = "192.168.60.1";
const INSIDE = "192.168.60.20";

/** Masquerades, forwards only what was asked for from inside, and what miniupnpd maps. */
const RULES = `
table inet filter {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "home" accept
    jump miniupnpd
  }
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname != "lan" accept
  }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain postrouting {
    type nat hook postrouting priority 100;
    jump postrouting_miniupnpd
    oifname "lan" masquerade
  }
}
`;

const SHELL = (text: string): string[] => ["sh", "-c", text];

export function openHome(folder: Folder): Home {
  const lan = openLan("11.0.0.10", "11.0.0.30", OUTER);
  const home = openLan(INSIDE);
  const [server, other, router] = lan.machines;
  const [inside] = home.machines;
  if (server === undefined || other === undefined || router === undefined || inside === undefined)
    throw new Error("no");
  const nameOf = (machine: { command(): string[] }): string => machine.command()[3] ?? "";
  const run = (command: readonly string[]): void => {
    const { exitCode, stderr } = Bun.spawnSync([...command]);
    if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  };
  const close = (): void => {
    lan[Symbol.dispose]();
    home[Symbol.dispose]();
  };
  try {
    const [at, to] = [nameOf(inside), nameOf(router)];
    // The peer's own cable, from its switch to the router.
    run(["ip", "-n", at, "link", "del", "lan"]);
    run(["ip", "-n", at, "link", "add", "name", "lan", "type", "veth", "peer", "name", "home", "netns", to]);
    run(["ip", "-n", at, "addr", "add", `${INSIDE}/24`, "dev", "lan"]);
    run(["ip", "-n", at, "link", "set", "lan", "up"]);
    run(["ip", "-n", to, "addr", "add", `${INNER}/24`, "dev", "home"]);
    run(["ip", "-n", to, "link", "set", "home", "up"]);
    run(["ip", "-n", at, "route", "add", "default", "via", INNER]);
    run(router.command("sysctl", "-qw", "net.ipv4.ip_forward=1"));
    writeFileSync(join(folder.path, "router.nft"), RULES);
    run(router.command("nft", "-f", join(folder.path, "router.nft")));
  } catch (error) {
    close();
    throw error;
  }
  let count = 0;
  return {
    outside: [server, other],
    inside,
    router: { outer: OUTER, inner: INNER, command: router.command },
    async answer({ natPmp, upnp }) {
      const yesNo = (is: boolean): string => (is ? "yes" : "no");
      const conf = join(folder.path, `miniupnpd-${++count}.conf`);
      writeFileSync(
        conf,
        [
          "ext_ifname=lan",
          "listening_ip=home",
          "http_port=5000",
          `enable_natpmp=${yesNo(natPmp)}`,
          `enable_upnp=${yesNo(upnp)}`,
          "secure_mode=yes",
          "system_uptime=yes",
          "uuid=f4452fdb-28b5-4ded-a348-ffb23097b9f4",
          "allow 1024-65535 192.168.60.0/24 1024-65535",
          "deny 0-65535 0.0.0.0/0 0-65535",
          "",
        ].join("\n"),
      );
      const daemon = startProgram({
        command: router.command("/usr/sbin/miniupnpd", "-d", "-f", conf, "-P", join(folder.path, `pid-${count}`)),
      });
      const port = upnp ? "1900" : "5351";
      const listens = () =>
        Bun.spawnSync(router.command(...SHELL(`ss -lun | grep -q ':${port} '`))).exitCode === 0 || undefined;
      await until("miniupnpd", listens, 20, () => daemon.stderr() + daemon.stdout());
      return daemon;
    },
    [Symbol.dispose]: close,
  };
}
