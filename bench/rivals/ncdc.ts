// ncdc on both sides with uhub between them: Direct Connect, the living heir of the original Napster.
// Invariant: the source's tree hashes are made before; timed from the download command to the finished file.
// Never: uses TLS between the two. Each sits in a terminal that nobody sees, and both stay up for all rounds.

import { Database } from "bun:sqlite";
import * as fs from "node:fs";
import { join } from "node:path";
import { type Child, startChild, usageBetween } from "../child.ts";
import { type Cargo, freePort, type Rival } from "./rival.ts";

const HASH_SECONDS_MAX = 180;
const COPY_SECONDS_MAX = 240;

type Client = { readonly child: Child; readonly session: string; say(command: string): Promise<void> };

async function startClient(work: string, nick: string, hubPort: number, settings: readonly string[]): Promise<Client> {
  const session = fs.mkdtempSync(join(work, `${nick}-`));
  const env = { TERM: "xterm", LC_ALL: "C.UTF-8" };
  const child = startChild({ command: ["ncdc", "-n", "-c", session], env, terminal: true });
  await child.shows(/Welcome|ncdc/, 10);
  const say = async (command: string): Promise<void> => {
    child.type(`${command}\r`);
    await Bun.sleep(100);
  };
  const common = [
    `nick ${nick}`,
    "tls_policy disabled",
    "slots 10",
    "active_ip 127.0.0.1",
    `active_port ${freePort()}`,
  ];
  for (const setting of [...common, "active true", ...settings]) await say(`/set ${setting}`);
  await say(`/open hub adc://127.0.0.1:${hubPort}`);
  return { child, session, say };
}

/** The file's Tiger tree root, once the client has hashed it. */
async function waitForHash({ child, session }: Client): Promise<string> {
  const deadline = performance.now() + HASH_SECONDS_MAX * 1000;
  while (performance.now() < deadline && child.running) {
    await Bun.sleep(200);
    try {
      using db = new Database(join(session, "db.sqlite3"), { readonly: true });
      const row = db.query("select tth from hashfiles").get() as { tth: string } | null;
      if (row !== null) return row.tth;
    } catch {} // it is writing
  }
  throw new Error(`ncdc has not hashed the file: ${child.stdout().slice(-200)}`);
}

async function waitForFile(path: string, bytes: number, child: Child): Promise<void> {
  const deadline = performance.now() + COPY_SECONDS_MAX * 1000;
  while (fs.statSync(path, { throwIfNoEntry: false })?.size !== bytes) {
    if (performance.now() > deadline || !child.running)
      throw new Error(`ncdc did not finish: ${child.stdout().slice(-300)}`);
    await Bun.sleep(10);
  }
}

function startHub(work: string, port: number): Child {
  const config = join(work, "uhub.conf");
  fs.writeFileSync(join(work, "users.conf"), "");
  fs.writeFileSync(join(work, "plugins.conf"), "");
  const files = `file_acl=${join(work, "users.conf")}\nfile_plugins=${join(work, "plugins.conf")}\n`;
  fs.writeFileSync(config, `server_port=${port}\nserver_bind_addr=127.0.0.1\nflood_ctl_interval=1\n${files}`);
  return startChild({ command: ["uhub", "-c", config] });
}

export const ncdc: Rival = {
  name: "ncdc + uhub",
  install: "apt-get install ncdc uhub",
  needs: ["ncdc", "uhub"],
  verifies: true,
  async prepare({ folder, name, bytes, scratch }: Cargo) {
    const work = scratch.folder("disk", "ncdc");
    const hubPort = freePort();
    const hub = startHub(work, hubPort);
    await Bun.sleep(500);
    const seed = await startClient(work, "seed", hubPort, []);
    await seed.say(`/share films ${folder}`);
    const root = await waitForHash(seed);
    const taker = await startClient(work, "taker", hubPort, []);
    await Bun.sleep(1500);
    return {
      async copy(to) {
        // Partial files in the same file system, so that finishing is a rename.
        await taker.say(`/set incoming_dir ${join(to, ".inc")}`);
        await taker.say(`/set download_dir ${to}`);
        await taker.say(`/search -tth ${root}`);
        await Bun.sleep(1500);
        for (const { child } of [seed, taker]) child.resetPeak();
        const before = [seed.child.usage(), taker.child.usage()] as const;
        const start = performance.now();
        taker.child.type("d");
        await waitForFile(join(to, name), bytes, taker.child);
        const seconds = (performance.now() - start) / 1000;
        await taker.say("\u001bc"); // Alt+c closes the tab with the results
        return {
          seconds,
          source: usageBetween(before[0], seed.child.usage()),
          taker: usageBetween(before[1], taker.child.usage()),
        };
      },
      async close() {
        await Promise.all([seed.child.stop(), taker.child.stop(), hub.stop()]);
      },
    };
  },
};
