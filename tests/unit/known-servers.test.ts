// What is remembered of servers, and what a peer makes of it.
// Invariant: the first key that a server showed is the one that it has to show, until a person takes its line out.
// Never: touches a real configuration folder.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import { openKnownServers } from "../../src/content/known-servers.ts";
import { pinServer, type ServerMet } from "../../src/peer/server-pin.ts";
import { idOfHash, showId } from "../../src/protocol/id.ts";
import { DEAF, type Listener } from "../../src/transport/connection.ts";
import { newSecurity } from "../../src/transport/security.ts";
import { createTcp, type Tcp } from "../../src/transport/tcp.ts";
import { closeAfterTest } from "../support/closing.ts";
import { temporaryFolder } from "../support/folders.ts";
import { codeOf, good } from "../support/good.ts";

setDefaultTimeout(60_000);

const [ONE, TWO] = [1, 2].map((byte) => idOfHash(new Uint8Array(32).fill(byte))) as [string, string];

function place(): string {
  const folder = temporaryFolder("known");
  closeAfterTest(() => folder[Symbol.dispose]());
  return join(folder.path, "new", "known_servers");
}

describe("known_servers", () => {
  test("what is remembered is found again, by another process too, in whatever case the name is typed", () => {
    const path = place();
    const known = openKnownServers(path);
    expect(known.find("aula.local:1099")).toBeUndefined();
    expect(known.remember("aula.local:1099", ONE)).toBeUndefined();
    expect(openKnownServers(path).find("AULA.local:1099")).toBe(ONE);
    expect(known.find("aula.local:1100")).toBeUndefined();
    if (process.platform !== "win32") expect(fs.statSync(path).mode & 0o777).toBe(0o600);
  });

  test("the first line of a server counts, a person's own lines stay, and one that is broken is none", () => {
    const path = place();
    fs.mkdirSync(join(path, ".."));
    fs.writeFileSync(
      path,
      `# mine\n\n10.0.0.1:1099 broken\n10.0.0.2:1 ${ONE.toLowerCase()} more\r\n10.0.0.3:1   ${ONE}`,
    );
    const known = openKnownServers(path);
    expect(known.find("10.0.0.1:1099")).toBeUndefined();
    expect(known.find("10.0.0.2:1")).toBeUndefined();
    expect(known.find("10.0.0.3:1")).toBe(ONE);
    known.remember("10.0.0.4:1", TWO);
    known.remember("10.0.0.3:1", TWO);
    expect([known.find("10.0.0.3:1"), known.find("10.0.0.4:1")]).toEqual([ONE, TWO]);
    expect(fs.readFileSync(path, "utf8")).toContain(`# mine\n`);
    expect(fs.readFileSync(path, "utf8")).toContain(`\n10.0.0.4:1 ${showId(TWO)}\n`);
  });

  test("a file that cannot be read or written knows no server, and says so when one is to be remembered", () => {
    const path = place();
    fs.mkdirSync(path, { recursive: true });
    const known = openKnownServers(path);
    expect(known.find("10.0.0.1:1")).toBeUndefined();
    expect(codeOf(known.remember("10.0.0.1:1", ONE))).toBe("DISK_ERROR");
  });
});

describe("a server's key", () => {
  const serve = (network: Tcp, port = 0): Listener => {
    const listener = good(network.listen({ ip: "127.0.0.1", port }, () => DEAF));
    closeAfterTest(() => listener.close());
    return listener;
  };
  const servers = [newSecurity("always"), newSecurity("always")] as const;
  const [first, second] = servers.map(({ identity }) => identity.id) as [string, string];
  const { connect } = createTcp(newSecurity("always"));

  test("the key that is met first is told once, and from then on no other passes for the server; the right one does again", async () => {
    const right = serve(createTcp(servers[0]));
    const { address } = right;
    const met: ServerMet[] = [];
    const dial = pinServer(connect, address, (event) => void met.push(event));
    for (let i = 0; i < 2; i++) good(await dial(address, () => DEAF)).destroy();
    expect(met).toEqual([{ type: "server-met", id: first }]);
    right.close();
    const wrong = serve(createTcp(servers[1]), address.port);
    for (let i = 0; i < 2; i++)
      expect(await dial(address, () => expect.unreachable())).toMatchObject({
        fault: "SERVER_KEY_CHANGED",
        detail: second,
        retry: false,
      });
    expect(met.slice(1)).toEqual([{ type: "server-changed", id: second }]);
    wrong.close();
    serve(createTcp(servers[0]), address.port);
    good(await dial(address, () => DEAF)).destroy();
    expect(met.length).toBe(2);
  });

  test("a pinned server that shows another key from the start is SERVER_KEY_CHANGED, and hears nothing of us", async () => {
    const wrong = serve(createTcp(servers[1]));
    const met: ServerMet[] = [];
    const dial = pinServer(connect, { ...wrong.address, id: first }, (event) => void met.push(event));
    expect(codeOf(await dial(wrong.address, () => expect.unreachable()))).toBe("SERVER_KEY_CHANGED");
    expect(met).toEqual([]);
  });

  test("what is no key at all stays what it is", async () => {
    const at = serve(createTcp("never")).address;
    const dial = pinServer(connect, at, () => expect.unreachable());
    expect(codeOf(await dial(at, () => expect.unreachable()))).toMatch(/NOT_ENCRYPTED|PEER_UNREACHABLE/);
    const plain = pinServer(createTcp("never").connect, { ...at, id: first }, () => expect.unreachable());
    good(await plain(at, () => DEAF)).destroy();
  });
});
