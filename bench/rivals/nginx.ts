// nginx with sendfile, and curl: the yardstick that verifies nothing; then openssl hashes the copy.
// Invariant: one nginx process serves all rounds; the copy is hashed apart, so both goals come from one run.
// Never: compresses, logs or limits.

import * as fs from "node:fs";
import { join } from "node:path";
import { startChild, usageBetween } from "../child.ts";
import { freePort, type Rival } from "./rival.ts";

export const nginx: Rival = {
  name: "nginx → curl",
  install: "apt-get install nginx-light curl openssl",
  needs: ["nginx", "curl", "openssl"],
  verifies: false,
  async prepare({ folder, name, scratch }) {
    const work = scratch.folder("disk", "nginx");
    const port = freePort();
    const config = join(work, "nginx.conf");
    const temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${work}/t;`);
    fs.writeFileSync(
      config,
      `daemon off; master_process off; pid ${work}/pid; error_log stderr;
events { worker_connections 64; }
http { access_log off; sendfile on; tcp_nopush on; ${temps.join(" ")}
  server { listen 127.0.0.1:${port}; root ${folder}; } }\n`,
    );
    const server = startChild({ command: ["nginx", "-c", config, "-e", "stderr"] });
    await answers(port);
    return {
      async copy(to) {
        const copy = join(to, name);
        server.resetPeak();
        const before = server.usage();
        const curl = startChild({ command: ["curl", "-sS", "-o", copy, `http://127.0.0.1:${port}/${name}`] });
        const seconds = await curl.finish(120);
        const source = usageBetween(before, server.usage());
        const syncSeconds = await startChild({ command: ["sync", "-d", copy] }).finish(120);
        const checkSeconds = await startChild({ command: ["openssl", "dgst", "-sha256", copy] }).finish(120);
        return { seconds, syncSeconds, checkSeconds, source, taker: curl.usage() };
      },
      close: () => server.stop(),
    };
  },
};

async function answers(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const up = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
    if (up) return;
    await Bun.sleep(50);
  }
  throw new Error("nginx does not answer");
}
