// The nodes of a shared index from outside: over TLS with an authority of one's own, and a cluster that loses a master.
// Invariant: real redis-servers on free ports; what was started here is stopped.
// Never: waits for time to pass: a cluster promotes a replica by its own timeout.

import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRedisCatalog, type RedisCatalog, type RedisEvent } from "../../src/catalog/redis.ts";
import { slotOf } from "../../src/catalog/redis-nodes.ts";
import { askFirstLine } from "../../src/transport/first-line.ts";
import { good } from "../support/good.ts";
import { freePort, hasRedis, type Redis, startCluster, startRedis } from "../support/redis.ts";
import { until } from "../support/until.ts";
import { at, share } from "./catalog-contract.ts";

setDefaultTimeout(60_000);

const open: RedisCatalog[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((catalog) => catalog.close()));
});

function make(url: string, events: RedisEvent[] = []): RedisCatalog {
  const catalog = createRedisCatalog({ url, probe: askFirstLine, onEvent: (event) => events.push(event) });
  open.push(catalog);
  return catalog;
}

describe.skipIf(!hasRedis)(
  "a cluster with a replica of each node (skipped where redis-server is not installed)",
  () => {
    test("its master of the log is killed: the replica is promoted, all heal, and each server's peers are found", async () => {
      const cluster = await startCluster({ replicas: 3 });
      const events: RedisEvent[] = [];
      const [a, b] = [make(cluster.url, events), make(cluster.url)];
      const isFound = async (ports: readonly number[]) => {
        for (const one of [a, b]) {
          const found = (await one.search("a.mp4")).map(({ port }) => port).sort();
          if (!Bun.deepEquals(found, ports)) return false;
        }
        return true;
      };
      await until("both to come in", () => a.shared && b.shared);
      good(await a.join(at(1), [share("a.mp4")], undefined));
      await until("it to be found", () => isFound([1]));
      const master = cluster.nodes[Math.floor((slotOf("napster:{index}:log") * 3) / 16_384)] as Redis;
      master.signal("SIGKILL");
      await until("both to notice", () => a.isPartial && b.isPartial);
      good(await b.join(at(2), [share("a.mp4")], undefined));
      await until("the index to heal", () => a.shared && b.shared);
      await until("both to be found", () => isFound([1, 2]));
      await until("the operator to be told", () => events.at(-1)?.type === "back");
      await cluster.stop();
    });
  },
);

const hasOpenssl = Bun.which("openssl") !== null || process.env.CI === "true";

describe.skipIf(!hasRedis || !hasOpenssl)("rediss:// (skipped where redis-server or openssl is not installed)", () => {
  const folder = mkdtempSync(join(tmpdir(), "napster-redis-tls-"));
  const openssl = (command: string, ...more: string[]): void => {
    const { exitCode, stderr } = Bun.spawnSync(["openssl", ...command.split(" "), ...more], { cwd: folder });
    if (exitCode !== 0) throw new Error(stderr.toString());
  };

  async function startTls(): Promise<Redis & { readonly tlsPort: number }> {
    const key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(`req -x509 ${key} -keyout ca.key -out ca.crt -days 2 -subj /CN=authority`);
    openssl(`req ${key} -keyout redis.key -out redis.csr -subj /CN=redis`);
    await Bun.write(join(folder, "ext"), "subjectAltName=IP:127.0.0.1\n");
    openssl("x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out redis.crt -days 2 -extfile ext");
    const tlsPort = freePort();
    const files = ["--tls-cert-file", "redis.crt", "--tls-key-file", "redis.key", "--tls-ca-cert-file", "ca.crt"];
    const flags = ["--dir", folder, ...files.map((word) => (word.startsWith("--") ? word : join(folder, word)))];
    const rest = ["--tls-port", String(tlsPort), "--tls-auth-clients", "no", "--requirepass", "se:gredo"];
    return { ...(await startRedis({ flags: [...flags, ...rest] })), tlsPort };
  }

  /** What a server of its own says first, which knows the authority or not: that is settled when a process starts. */
  async function firstWord(url: string, knowsAuthority: boolean): Promise<string> {
    const script = `
      import { createRedisCatalog } from ${JSON.stringify(join(import.meta.dir, "../../src/catalog/redis.ts"))};
      const say = (word) => { console.log(word); process.exit(0); };
      const onEvent = (event) => say(event.type);
      const catalog = createRedisCatalog({ url: ${JSON.stringify(url)}, probe: async () => "+PONG", onEvent });
      while (!catalog.shared) await new Promise((turn) => setImmediate(turn));
      say("shared");`;
    const authority = knowsAuthority ? { NODE_EXTRA_CA_CERTS: join(folder, "ca.crt") } : {};
    const env = { ...process.env, ...authority };
    const child = Bun.spawn([process.execPath, "-e", script], { env, stdout: "pipe", stderr: "inherit" });
    return (await new Response(child.stdout).text()).trim();
  }

  test("with the password and our authority a server comes in; without either it does not", async () => {
    const redis = await startTls();
    const url = (password: string) => `rediss://:${password}@127.0.0.1:${redis.tlsPort}`;
    expect(await firstWord(url("se%3Agredo"), true)).toBe("shared");
    expect(await firstWord(url("se%3Agredo"), false)).toBe("away");
    expect(await firstWord(url("errada"), true)).toBe("away");
    await redis.stop();
    rmSync(folder, { recursive: true, force: true });
  });
});
